import { chromium } from "playwright-core";

/* Opens a page of a running server in Chromium: node .ci/page.ts ADDRESS HEADING. Fails if it reports an error. */

const [address = "", heading = ""] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("403")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(address);
  await page.getByRole("heading", { name: heading }).first().waitFor();
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
  console.log(`${new URL(address).pathname}: "${heading}" is shown`);
} finally {
  await browser.close();
}
