import { execFile } from "node:child_process";
import { mkdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { signToken } from "../src/api/authentication.ts";
import { authenticationOptions, startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/database/connect.ts";
import { packageRoot } from "../src/paths.ts";

/*
 * Writes the pictures of docs/tour.md: `DATABASE_URL=… npm run tour -- LEARNER`, on a database that `insights simulate` has filled and
 * `insights worker --once` has refreshed. A picture has at most 150 kB.
 */

const most = 150_000;

const pictures = [
  ["overview", "analyst", "/overview?days=28"],
  ["courses", "admin", "/courses"],
  ["for-you", "learner", "/for-you"],
  ["recommendations", "admin", "/recommendations"],
  ["privacy", "admin", "/privacy"],
  ["operations", "admin", "/operations"],
] as const;

const config = readConfig({ ...process.env, PORT: "0" });
const database = await openDatabase(config, "tour");
const api = await startApi(config, database);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const directory = join(packageRoot, "docs", "tour");
  await mkdir(directory, { recursive: true });
  const options = await authenticationOptions(config);
  for (const [name, role, path] of pictures) {
    const person = role === "learner" ? (process.argv[2] ?? "nuria.almeida") : role;
    const token = await signToken({ role, person, source: undefined }, options);
    const page = await browser.newPage({ viewport: { width: 1200, height: 800 }, colorScheme: "light" });
    await page.goto(`${api.url}${path}#token=${token}`);
    await page.waitForSelector("h1");
    const loading = page.locator(".skeleton, [aria-busy=true]");
    for (let tries = 0; tries < 300 && (await loading.count()) > 0; tries += 1) await page.waitForTimeout(200);
    // The animation of the charts.
    await page.waitForTimeout(1500);
    const file = join(directory, `${name}.png`);
    await page.screenshot({ path: file, timeout: 120_000 });
    await page.close();
    // Fewer colours, where the program is installed.
    await promisify(execFile)("pngquant", ["--force", "--output", `${file}.small`, "64", file])
      .then(() => rename(`${file}.small`, file))
      .catch(() => {});
    const { size } = await stat(file);
    console.log(`${name}: ${Math.round(size / 1000)} kB`);
    if (size > most) throw new Error(`${file} has ${size} bytes: install pngquant`);
  }
} finally {
  await browser.close();
  await api.close();
  await database.close();
}
