import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { signToken } from "../src/api/authentication.ts";
import { authenticationOptions, startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/database/connect.ts";
import { packageRoot } from "../src/paths.ts";

/*
 * Writes the pictures of docs/tour.md: `npm run tour -- LEARNER INSTRUCTOR`, beside a running `npm start`, or with a DATABASE_URL that
 * `insights simulate` has filled and `insights worker --once` has refreshed. LEARNER and INSTRUCTOR are people of the simulation,
 * to whom the first two links of `npm start` belong. A picture has at most 60 kB.
 */

const most = 60_000;
const [learner = "hana.nguyen", instructor = "teacher-of-Business"] = process.argv.slice(2);

/** Name, role, address, and the card that the picture begins with, where it is not the first one. */
const pictures = [
  ["overview", "admin", "/overview?days=28"],
  ["explore", "analyst", "/explore?event=Page+Viewed&bucket=day&compare=1"],
  ["funnel", "admin", "/explore?view=funnel&step1=Course+Enrolled&step2=Task+Submitted&step3=Course+Completed&days=90"],
  ["retention", "admin", "/explore?view=retention&days=90"],
  ["boards", "analyst", "/boards"],
  ["courses", "admin", "/courses"],
  ["learners", "instructor", "/courses"],
  ["for-you", "learner", "/for-you"],
  ["experiments", "admin", "/experiments"],
  ["recommendations", "admin", "/recommendations?days=90"],
  ["models", "admin", "/models?project=analytics.dropout", "Importances"],
  ["my-privacy", "learner", "/privacy"],
  ["privacy", "admin", "/privacy"],
  ["operations", "admin", "/operations"],
  ["queries", "analyst", "/queries"],
] as const;

/** The views on the board of the picture; they are deleted afterwards. */
const pinned = [
  ["Active people", "/overview?card=ActivePeople"],
  ["Which courses are used", "/overview?card=PopularItems"],
  ["Who comes back", "/explore?view=retention&days=90"],
] as const;

const config = readConfig({ ...process.env, PORT: "0" });
const database = await openDatabase(config, "tour");
const api = await startApi(config, database);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const options = await authenticationOptions(config);
const tokenOf = (role: (typeof pictures)[number][1]): Promise<string> =>
  signToken(
    { role, person: { learner, instructor, analyst: "analyst", admin: "admin" }[role], source: undefined },
    options,
  );

async function change(mutation: string, values: object): Promise<{ viewId?: string } | null> {
  const response = await fetch(`${api.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${await tokenOf("analyst")}` },
    body: JSON.stringify({ query: mutation, variables: { input: values } }),
  });
  const answer = (await response.json()) as {
    data: { changed: { result: { viewId?: string } | null } };
    errors?: unknown;
  };
  if (answer.errors !== undefined) throw new Error(JSON.stringify(answer.errors));
  return answer.data.changed.result;
}

const saved: string[] = [];
try {
  for (const [index, [name, address]] of pinned.entries()) {
    const view = await change(
      "mutation ($input: AnalyticsSaveViewInput!) { changed: analyticsSaveView(input: $input) { result { viewId } } }",
      { name, address, board: "A tour", boardPosition: index },
    );
    saved.push(view?.viewId ?? "");
  }
  const directory = join(packageRoot, "docs", "tour");
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) await rm(join(directory, name));
  let sum = 0;
  for (const [name, role, path, card] of pictures) {
    const page = await browser.newPage({ viewport: { width: 1200, height: 760 }, colorScheme: "light" });
    await page.goto(`${api.url}${path}${path.includes("?") ? "&" : "?"}board=A+tour#token=${await tokenOf(role)}`);
    await page.waitForSelector("h1");
    const loading = page.locator(".skeleton, [aria-busy=true]");
    for (let tries = 0; tries < 300 && (await loading.count()) > 0; tries += 1) await page.waitForTimeout(200);
    if (name === "queries") {
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForTimeout(1000);
    }
    if (card !== undefined) {
      await page.evaluate(`document.querySelector("[data-card=${card}]").scrollIntoView()`);
    }
    // The animation of the charts.
    await page.waitForTimeout(1500);
    const session = await page.context().newCDPSession(page);
    const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 55 });
    const picture = Buffer.from(data, "base64");
    await writeFile(join(directory, `${name}.webp`), picture);
    await page.close();
    sum += picture.length;
    console.log(`${name}: ${Math.round(picture.length / 1000)} kB`);
    if (picture.length > most) throw new Error(`${name}.webp has ${picture.length} bytes, at most ${most}`);
  }
  console.log(`all: ${Math.round(sum / 1000)} kB`);
} finally {
  for (const viewId of saved) {
    await change(
      "mutation ($input: AnalyticsDeleteViewInput!) { changed: analyticsDeleteView(input: $input) { clientMutationId } }",
      { viewId },
    );
  }
  await browser.close();
  await api.close();
  await database.close();
}
