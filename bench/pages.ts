/*
 * Times of the pages in Chromium, on a database that has data: DATABASE_URL=… npm exec -- node bench/pages.ts [learner [instructor [page]]]
 *
 * The instructor is one of a course (`track.sync_item_roles`). `page` is a part of an address: only such pages are opened. The board has three cards, which are
 * saved before and deleted afterwards.
 *
 * Each page is opened three times as one of its roles, each time in a new browser without a cache; the figures are
 * medians. `first paint` and `largest paint` are First and Largest Contentful Paint, and `blocked` the Total Blocking
 * Time (what tasks of the main thread take beyond 50 ms), as Lighthouse defines them. `in view`: until nothing is
 * loading in the window as it was opened; `drawn`: until nothing is loading any more. `kB`: transferred, compressed as served. `slowest`: the longest request and its operation.
 */
import { type Browser, chromium } from "playwright-core";
import { signToken } from "../src/api/authentication.ts";
import { authenticationOptions, startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { openDatabase } from "../src/database/connect.ts";

const pages = [
  ["analyst", "/overview"],
  ["analyst", "/explore?event=Page+Viewed"],
  ["analyst", "/explore?view=funnel&step1=Course+Enrolled&step2=Page+Viewed"],
  ["analyst", "/explore?view=retention"],
  ["analyst", "/explore?view=paths"],
  ["analyst", "/explore?view=lifecycle"],
  ["analyst", "/explore?view=sessions"],
  ["analyst", "/boards"],
  ["admin", "/courses"],
  ["instructor", "/courses"],
  ["analyst", "/recommendations"],
  ["analyst", "/models"],
  ["admin", "/experiments"],
  ["admin", "/privacy"],
  ["admin", "/operations"],
  ["learner", "/for-you"],
  ["learner", "/privacy"],
  ["analyst", "/queries"],
] as const;

const [learner = "nuria.almeida", instructor = "instructor", only = ""] = process.argv.slice(2);

/** Views that the bench pins, as an analyst of its own. */
const pinned = [
  "/overview?card=ActivePeople",
  "/explore?event=Page+Viewed",
  "/recommendations?card=WeeklyRelevance",
] as const;
const author = "bench/pages.ts";

interface Load {
  firstPaint: number;
  largestPaint: number;
  blocked: number;
  inView: number;
  drawn: number;
  kilobytes: number;
  slowest: number;
  operation: string;
}

async function load(browser: Browser, address: string): Promise<Load> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  try {
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    await session.send("Network.enable");
    let bytes = 0;
    session.on("Network.loadingFinished", ({ encodedDataLength }) => {
      bytes += encodedDataLength;
    });
    let [slowest, operation] = [0, ""];
    page.on("requestfinished", (request) => {
      const { responseEnd } = request.timing();
      if (responseEnd <= slowest) return;
      slowest = responseEnd;
      operation = /(?:query|mutation) (\w+)/.exec(request.postData() ?? "")?.[1] ?? new URL(request.url()).pathname;
    });
    // As text: it runs in the page.
    await page.addInitScript(`
      window.seen = { largest: 0, blocked: 0 };
      new PerformanceObserver((list) => {
        for (const { startTime } of list.getEntries()) seen.largest = startTime;
      }).observe({ type: "largest-contentful-paint", buffered: true });
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) seen.blocked += Math.max(0, duration - 50);
      }).observe({ type: "longtask", buffered: true });`);
    await page.goto(address);
    const state = `({
      now: performance.now(),
      loading: document.querySelector("h1") === null ? [0] : [...document.querySelectorAll(".skeleton, [aria-busy=true]")]
        .map((each) => each.getBoundingClientRect().top),
      height: innerHeight,
    })`;
    // Until nothing has been loading for half a second: a part may begin to load when another one is there.
    let [inView, drawn] = [0, 0];
    for (let now = 0; drawn === 0 || now < drawn + 500; ) {
      const seen = await page.evaluate<{ now: number; loading: number[]; height: number }>(state);
      now = seen.now;
      if (seen.loading.some((top) => top < seen.height)) inView = 0;
      else if (inView === 0) inView = now;
      if (seen.loading.length > 0) drawn = 0;
      else if (drawn === 0) drawn = now;
      await page.waitForTimeout(10);
    }
    const { firstPaint, largest, blocked } = await page.evaluate<Record<"firstPaint" | "largest" | "blocked", number>>(
      `({ ...seen, firstPaint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN })`,
    );
    return { firstPaint, largestPaint: largest, blocked, inView, drawn, kilobytes: bytes / 1000, slowest, operation };
  } finally {
    await context.close();
  }
}

const config = readConfig({ ...process.env, PORT: "0" });
const database = await openDatabase(config, "pages");
const api = await startApi(config, database);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const options = await authenticationOptions(config);
  const heads = ["first paint", "largest paint", "blocked", "in view", "drawn", "kB", "slowest"];
  const send = async (query: string, input: object): Promise<{ result: { viewId: string } }> => {
    const token = await signToken({ role: "analyst", person: author, source: undefined }, options);
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables: { input } }),
    });
    const { data, errors } = (await response.json()) as {
      data: { done: { result: { viewId: string } } };
      errors?: unknown;
    };
    if (errors !== undefined) throw new Error(JSON.stringify(errors));
    return data.done;
  };
  const saved: string[] = [];
  for (const [index, address] of pinned.entries()) {
    const view = await send(
      "mutation ($input: AnalyticsSaveViewInput!) { done: analyticsSaveView(input: $input) { result { viewId } } }",
      { name: address, address, board: "bench", boardPosition: index },
    );
    saved.push(view.result.viewId);
  }
  console.log(`${"".padEnd(72)}${heads.map((head) => head.padStart(14)).join("")}`);
  for (const [role, path] of pages) {
    if (!path.includes(only)) continue;
    const person =
      path === "/boards" ? author : role === "learner" ? learner : role === "instructor" ? instructor : role;
    const token = await signToken({ role, person, source: undefined }, options);
    const loads: Load[] = [];
    for (let time = 0; time < 3; time += 1) loads.push(await load(browser, `${api.url}${path}#token=${token}`));
    const median = (of: (load: Load) => number): string =>
      (loads.map(of).sort((one, other) => one - other)[1] ?? 0).toFixed(0).padStart(14);
    const figures = [
      median(({ firstPaint }) => firstPaint),
      median(({ largestPaint }) => largestPaint),
      median(({ blocked }) => blocked),
      median(({ inView }) => inView),
      median(({ drawn }) => drawn),
      median(({ kilobytes }) => kilobytes),
      median(({ slowest }) => slowest),
    ];
    console.log(`${`${role} ${path}`.padEnd(72)}${figures.join("")}  ${loads[1]?.operation ?? ""}`);
  }
  for (const viewId of saved) {
    await send(
      "mutation ($input: AnalyticsDeleteViewInput!) { done: analyticsDeleteView(input: $input) { clientMutationId } }",
      {
        viewId,
      },
    );
  }
} finally {
  await browser.close();
  await api.close();
  await database.close();
}
