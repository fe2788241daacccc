import { chromium } from "playwright-core";

/*
 * Opens a page of a running server in Chromium: node .ci/page.ts ADDRESS HEADING. Fails if the heading is not shown, a request is
 * answered by an error, or the browser reports one.
 */

const [address = "", heading = ""] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${new URL(response.url()).pathname}`);
  });
  await page.goto(address);
  await page.getByRole("heading", { name: heading }).first().waitFor();
  await page.locator(".skeleton, [aria-busy=true]").first().waitFor({ state: "detached" });
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
  console.log(`${new URL(address).pathname}: "${heading}" is shown`);
} finally {
  await browser.close();
}
