import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

/** Browser, major version, operating system, device and whether it is a bot. */
type Agent = [string | null, number | null, string | null, string, boolean];

const parse = async (text: string | null): Promise<Agent | null> => {
  const [row] = await database.rows<{
    browser: string | null;
    browser_version: number | null;
    os: string | null;
    device: string | null;
    is_bot: boolean | null;
  }>("select * from track.parse_user_agent($1)", [text]);
  if (row === undefined || row.device === null) return null;
  return [row.browser, row.browser_version, row.os, row.device, row.is_bot ?? false];
};

const windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
const mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)";
const webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
const iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";

test.each([
  [`${windows} ${webkit} Chrome/120.0.0.0 Safari/537.36`, ["Chrome", 120, "Windows", "desktop", false]],
  [`${windows} ${webkit} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91`, ["Edge", 120, "Windows", "desktop", false]],
  [`${windows} ${webkit} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763`, ["Edge", 18, "Windows", "desktop", false]],
  [`${mac} ${webkit} Chrome/119.0.0.0 Safari/537.36 OPR/105.0.0.0`, ["Opera", 105, "macOS", "desktop", false]],
  ["Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", ["Opera", 12, "Windows", "desktop", false]],
  [
    `${windows} ${webkit} Chrome/118.0 YaBrowser/23.11.0 Safari/537.36`,
    ["Yandex Browser", 23, "Windows", "desktop", false],
  ],
  [`${windows.slice(0, -1)}; rv:121.0) Gecko/20100101 Firefox/121.0`, ["Firefox", 121, "Windows", "desktop", false]],
  [
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    ["Firefox", 120, "Linux", "desktop", false],
  ],
  [
    "Mozilla/5.0 (Android 14; Mobile; rv:121.0) Gecko/121.0 Firefox/121.0",
    ["Firefox", 121, "Android", "mobile", false],
  ],
  [
    "Mozilla/5.0 (Android 14; Tablet; rv:121.0) Gecko/121.0 Firefox/121.0",
    ["Firefox", 121, "Android", "tablet", false],
  ],
  [
    `${mac} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Safari/605.1.15`,
    ["Safari", 17, "macOS", "desktop", false],
  ],
  [`${iphone} Version/17.2 Mobile/15E148 Safari/604.1`, ["Safari", 17, "iOS", "mobile", false]],
  [`${iphone} CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1`, ["Chrome", 120, "iOS", "mobile", false]],
  [`${iphone} FxiOS/121.0 Mobile/15E148 Safari/605.1.15`, ["Firefox", 121, "iOS", "mobile", false]],
  [`${iphone} EdgiOS/120.0 Version/17.0 Mobile/15E148 Safari/604.1`, ["Edge", 120, "iOS", "mobile", false]],
  [`${iphone} Mobile/15E148 Instagram 312.0.0.22 (iPhone14,5)`, ["Instagram", 312, "iOS", "mobile", false]],
  [
    "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
    ["Safari", 16, "iOS", "tablet", false],
  ],
  [
    `Mozilla/5.0 (Linux; Android 13; SM-S901B) ${webkit} Chrome/112.0.0.0 Mobile Safari/537.36`,
    ["Chrome", 112, "Android", "mobile", false],
  ],
  [
    `Mozilla/5.0 (Linux; Android 12; SM-X906C) ${webkit} Chrome/80.0.3987.119 Safari/537.36`,
    ["Chrome", 80, "Android", "tablet", false],
  ],
  [
    `Mozilla/5.0 (Linux; Android 13; SM-S901B) ${webkit} SamsungBrowser/23.0 Chrome/115.0 Mobile Safari/537.36`,
    ["Samsung Internet", 23, "Android", "mobile", false],
  ],
  [
    `Mozilla/5.0 (Linux; Android 13; Pixel 7; wv) ${webkit} Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36`,
    ["Android WebView", 116, "Android", "mobile", false],
  ],
  [
    `Mozilla/5.0 (Linux; Android 11; CUBOT X30) ${webkit} Chrome/96.0 Mobile Safari/537.36`,
    ["Chrome", 96, "Android", "mobile", false],
  ],
  [
    "Mozilla/5.0 (Linux; Android 9; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/108.4 like Chrome/108.0 Safari/537.36",
    ["Silk", 108, "Android", "tablet", false],
  ],
  [
    `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${webkit} Chrome/119.0.0.0 Safari/537.36`,
    ["Chrome", 119, "ChromeOS", "desktop", false],
  ],
  [
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    ["Internet Explorer", 11, "Windows", "desktop", false],
  ],
  ["Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", ["Internet Explorer", 8, "Windows", "desktop", false]],
  [
    `${mac} ${webkit} CanvasFlow/2.1 Chrome/118.0 Electron/27.1 Safari/537.36`,
    ["Electron", 27, "macOS", "desktop", false],
  ],
  [
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/6.0 TV Safari/537.36",
    [null, null, "Linux", "other", false],
  ],
  ["okhttp/4.9.3", [null, null, null, "other", false]],
  ["Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F)", [null, null, "Android", "mobile", false]],
  ["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", [null, null, null, "bot", true]],
  [
    `Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) ${webkit} Chrome/118.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)`,
    ["Chrome", 118, "Android", "bot", true],
  ],
  ["Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", [null, null, null, "bot", true]],
  [
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.0; +https://openai.com/gptbot)",
    [null, null, null, "bot", true],
  ],
  ["facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", [null, null, null, "bot", true]],
  [
    `Mozilla/5.0 (X11; Linux x86_64) ${webkit} HeadlessChrome/120.0.0.0 Safari/537.36`,
    ["Chrome", 120, "Linux", "bot", true],
  ],
  ["curl/8.4.0", [null, null, null, "bot", true]],
  ["python-requests/2.31.0", [null, null, null, "bot", true]],
  ["Go-http-client/1.1", [null, null, null, "bot", true]],
  ["something new", [null, null, null, "other", false]],
] as [string, Agent][])("%s", async (text, agent) => {
  expect(await parse(text)).toEqual(agent);
});

test("of nothing there is nothing", async () => {
  expect(await parse(null)).toBeNull();
  expect(await parse("")).toBeNull();
  expect(await parse("  ")).toBeNull();
});

test("reads the first 512 characters of a long text", async () => {
  expect(await parse(`${"x".repeat(512)} Firefox/121.0`)).toEqual([null, null, null, "other", false]);
  for (const piece of ["Mozilla/5.0 (", "Chrome/", "Android ", "bot", "; wv)", "((((", "Version/1 ", "\u00e9"]) {
    expect(await parse(piece.repeat(100_000 / piece.length))).toHaveLength(5);
  }
});

test("a version has four digits at most", async () => {
  expect(await parse("Firefox/99999999999999999999")).toEqual(["Firefox", 9999, null, "other", false]);
});

test("is for analysts, administrators and workers", async () => {
  expect(await rolesThatMay(database, "select track.parse_user_agent('curl/8')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
