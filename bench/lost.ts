/*
 * Events that the clients of other systems lose when the server, and PostgreSQL, are killed while they send: events sent, stored
 * and lost per client.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/lost.ts [events] [--crash 'command']
 *
 *   events    events of each client (default 1,000), a tenth of a second between two batches
 *   --crash   a command that kills PostgreSQL (kill -9) and starts it again, such as a script around pg_ctl
 *
 * The API is killed (SIGKILL) after a third and started again half a second later; after two thirds, PostgreSQL is. Each
 * client has its own key and the settings with which it keeps what was not acknowledged. The client of xAPI repeats nothing
 * itself: like that of plain HTTP, it is called again by an application that keeps what was not answered with 200.
 * `acknowledged` is what these know to be stored.
 *
 * With Chromium, also the clients for browsers, on a page of another origin. They keep what was not acknowledged in the page or its
 * storage, and send it again for as long as the page is open: at the end it stays open for two minutes at most.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { Analytics } from "@segment/analytics-node";
import { buildStructEvent, newTracker } from "@snowplow/node-tracker";
import xapiClient from "@xapi/xapi";
import pg from "pg";
import { PostHog } from "posthog-node";
import { packageRoot } from "../src/paths.ts";
import { chromium, openBrowser, type Page } from "../test/support/chromium.ts";
import { benchDatabase } from "./database.ts";

// Its types are those of a CommonJS module, which it is not for Node.
const XAPI = xapiClient as unknown as typeof xapiClient.default;

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: { crash: { type: "string" } },
});
const count = Number(positionals[0] ?? 1000);

const { client, name, url, close } = await benchDatabase();
// Durable when it is committed, whatever the server's default.
await client.query(`alter database ${new URL(url).pathname.slice(1)} set synchronous_commit to on`);
const keyOf = async (source: string, level = "server", origins: string[] = []): Promise<string> => {
  const { rows } = await client.query<{ write_key: string }>(
    "select write_key from track.create_write_key($1, $2, origins => $3, requests_per_minute => 1000000)",
    [source, level, origins],
  );
  return rows[0]?.write_key ?? "";
};

let port = 0;
async function startApi(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(packageRoot, "src/cli.ts"), "api"], {
    env: { PATH: process.env["PATH"], DATABASE_URL: url, PORT: String(port), INSIGHTS_ADDRESS_RATE: "1000000" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  for await (const line of child.stdout) {
    const found = /http:\S+:(\d+)\/graphql/.exec(String(line))?.[1];
    if (found === undefined) continue;
    port = Number(found);
    child.stdout.resume();
    return child;
  }
  throw new Error("the API did not start");
}
let api = await startApi();
const host = `http://127.0.0.1:${port}`;

interface Sender {
  send(index: number): void;
  /** Ends when nothing waits any more, or the client has given up. */
  finish(): Promise<void>;
  /** Events that the client reported as stored; undefined when it does not tell. */
  acknowledged?: () => number;
}

/** An application that repeats each request until it is answered with one of these statuses. */
function repeating(post: (index: number) => Promise<boolean>): Sender {
  const open = new Set<Promise<void>>();
  let acknowledged = 0;
  return {
    acknowledged: () => acknowledged,
    send(index) {
      const one = (async () => {
        while (!(await post(index).catch(() => false))) await wait(200);
        acknowledged += 1;
      })();
      open.add(one);
    },
    async finish() {
      await Promise.all(open);
    },
  };
}

const senders: Record<string, (key: string) => Sender> = {
  "@segment/analytics-node"(key) {
    const segment = new Analytics({ writeKey: key, host, flushAt: 10, flushInterval: 100 });
    segment.on("error", () => {});
    return {
      send: (index) => segment.track({ userId: `u${index}`, event: "Sent" }),
      finish: () => segment.closeAndFlush({ timeout: 120_000 }),
    };
  },
  "@rudderstack/rudder-sdk-node"(key) {
    const rudder = new RudderAnalytics(key, {
      dataPlaneUrl: host,
      flushAt: 10,
      flushInterval: 100,
      // Three tries are usual, within two seconds.
      retryCount: 9,
      errorHandler: () => {},
    });
    return {
      send: (index) => rudder.track({ userId: `u${index}`, event: "Sent" }),
      finish: async () => {
        await rudder.flush().catch(() => {});
      },
    };
  },
  "posthog-node"(key) {
    const posthog = new PostHog(key, {
      host,
      flushAt: 10,
      flushInterval: 100,
      fetchRetryCount: 300,
      fetchRetryDelay: 500,
    });
    return {
      send: (index) => posthog.capture({ distinctId: `u${index}`, event: "Sent" }),
      finish: () => posthog.shutdown(120_000),
    };
  },
  "@snowplow/node-tracker"(key) {
    let acknowledged = 0;
    const snowplow = newTracker(
      { namespace: "t", appId: key },
      {
        endpoint: host,
        bufferSize: 10,
        onRequestSuccess: (batch) => {
          acknowledged += batch.length;
        },
      },
    );
    return {
      acknowledged: () => acknowledged,
      send(index) {
        snowplow.setUserId(`u${index}`);
        snowplow.track(buildStructEvent({ category: "bench", action: "Sent" }));
      },
      // It repeats what failed when it sends again.
      async finish() {
        for (let round = 0; round < 120 && acknowledged < count; round += 1) {
          snowplow.flush();
          await wait(1000);
        }
      },
    };
  },
  "@xapi/xapi, repeated"(key) {
    const xapi = new XAPI({ endpoint: `${host}/xapi/`, auth: XAPI.toBasicAuth(key, "any"), version: "1.0.3" });
    const ids = Array.from({ length: count }, () => randomUUID());
    return repeating(async (index) => {
      const answer = await xapi.sendStatement({
        statement: {
          id: ids[index] ?? "",
          actor: { objectType: "Agent", mbox: `mailto:u${index}@example.org` },
          verb: { id: "https://example.org/verbs/sent" },
          object: { objectType: "Activity", id: "https://example.org/activities/1" },
        },
      });
      return answer.status === 200;
    });
  },
  "HTTP, repeated until 200"(key) {
    const ids = Array.from({ length: count }, () => randomUUID());
    return repeating(async (index) => {
      const answer = await fetch(`${host}/v1/batch`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-write-key": key },
        body: JSON.stringify({
          batch: [{ type: "track", event: "Sent", userId: `u${index}`, messageId: ids[index] }],
        }),
      });
      return answer.status === 200;
    });
  },
};

/** How each client for browsers is loaded and started on a page, and how it sends the event with a number. */
const browserClients: Record<
  string,
  { file: string; start: (key: string) => string; send: (index: number) => string }
> = {
  "@segment/analytics-next": {
    file: "node_modules/@segment/analytics-next/dist/umd/index.js",
    start: (key) => `window.client = window.AnalyticsNext.AnalyticsBrowser.load(
      { writeKey: "${key}", cdnURL: "${host}" },
      { integrations: { "Segment.io": { apiHost: "${host.replace("http://", "")}/v1", protocol: "http" } } },
    )`,
    send: (index) => `void window.client.track("Sent", { index: ${index} })`,
  },
  "posthog-js": {
    file: "node_modules/posthog-js/dist/array.full.no-external.js",
    start: (key) => `window.posthog.init("${key}", {
      api_host: "${host}", opt_out_useragent_filter: true, capture_pageview: false, capture_pageleave: false,
      autocapture: false, disable_session_recording: true, request_batching: false,
      // The usual rate is 10 events per second, above which it discards them.
      rate_limiting: { events_per_second: 1000, events_burst_limit: 10000 },
    })`,
    send: (index) => `void window.posthog.capture("Sent", { index: ${index} })`,
  },
  "canvas-flow-insights/browser": {
    file: "",
    start: (key) => `import("${host}/insights.js").then(({ load }) => {
      window.insights = load({ url: "${host}", key: "${key}" });
    })`,
    send: (index) => `void window.insights.track("Sent", { index: ${index} })`,
  },
};

const pages = createServer(async (request, response) => {
  const file = Object.values(browserClients).find((each) => each.file !== "" && request.url === `/${each.file}`)?.file;
  response.setHeader("content-type", file === undefined ? "text/html" : "text/javascript");
  response.end(file === undefined ? "<!doctype html><title>Page</title>" : await readFile(join(packageRoot, file)));
});
const browser = chromium === undefined ? undefined : await openBrowser(chromium);

async function browserSenders(): Promise<{ label: string; source: string; sender: Sender }[]> {
  if (browser === undefined) return [];
  await once(pages.listen(0, "127.0.0.1"), "listening");
  const site = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
  const { page } = browser;
  await page.open(site);
  await page.until(`document.title === "Page"`);
  return await Promise.all(
    Object.entries(browserClients).map(async ([label, { file, start, send }]) => {
      const key = await keyOf(label, "anonymous", [site]);
      if (file !== "") {
        await page.until(`new Promise((done, fail) => {
          const script = document.createElement("script");
          script.src = "/${file}";
          script.onload = () => done(true);
          script.onerror = fail;
          document.head.append(script);
        })`);
      }
      await page.until(`Promise.resolve(${start(key)}).then(() => true)`);
      const sender: Sender = {
        send: (index) => void evaluate(page, send(index)),
        finish: () => allStored(label),
      };
      return { label, source: label, sender };
    }),
  );
}

const evaluate = (page: Page, expression: string): Promise<unknown> =>
  page.send("Runtime.evaluate", { expression: `{ ${expression} }` });

/** Ends when all events of a source are stored, or after two minutes. */
async function allStored(source: string): Promise<void> {
  const reader = new pg.Client({ connectionString: url });
  await reader.connect();
  for (let round = 0; round < 120; round += 1) {
    const { rows } = await reader.query<{ stored: number }>(
      "select count(*)::int as stored from track.event join track.source using (source_id) where source.name = $1",
      [source],
    );
    if ((rows[0]?.stored ?? 0) >= count) break;
    await wait(1000);
  }
  await reader.end();
}

const running = [
  ...(await Promise.all(
    Object.entries(senders).map(async ([label, make], index) => ({
      label,
      source: `client ${index}`,
      sender: make(await keyOf(`client ${index}`)),
    })),
  )),
  ...(await browserSenders()),
];
await client.end();

const killed: Promise<unknown>[] = [];
for (let index = 0; index < count; index += 1) {
  for (const { sender } of running) sender.send(index);
  if (index === Math.floor(count / 3)) {
    killed.push(
      (async () => {
        api.kill("SIGKILL");
        await once(api, "exit");
        await wait(500);
        api = await startApi();
        console.log("the API was killed and started again");
      })(),
    );
  }
  if (index === Math.floor((2 * count) / 3) && given.crash !== undefined) {
    // The API starts with a database only.
    await Promise.all(killed);
    killed.push(
      promisify(execFile)("sh", ["-c", given.crash]).then(() => {
        console.log("PostgreSQL was killed and started again");
      }),
    );
  }
  if (index % 10 === 9) await wait(100);
}
await Promise.all(killed);
await Promise.all(running.map(({ sender }) => sender.finish()));
await wait(1000);

const reader = new pg.Client({ connectionString: url });
await reader.connect();
const { rows } = await reader.query<{ source: string; stored: string; sent: string }>(`
  select
    source.name as source, count(*) as stored,
    count(distinct coalesce(properties ->> 'index', person_id::text)) as sent
  from track.event
  join track.event_type using (event_type_id)
  join track.source using (source_id)
  where event_type.name = 'Sent'
  group by 1`);
console.log(
  `\n${name}\n${"".padEnd(32)}${["sent", "acknowledged", "stored", "twice", "lost"].map((head) => head.padStart(14)).join("")}`,
);
for (const { label, source, sender } of running) {
  const row = rows.find((each) => each.source === source);
  const stored = Number(row?.stored ?? 0);
  const sent = Number(row?.sent ?? 0);
  const figures = [count, sender.acknowledged?.() ?? "", sent, stored - sent, count - sent];
  console.log(label.padEnd(32) + figures.map((figure) => figure.toLocaleString("en").padStart(14)).join(""));
}
await reader.end();
await browser?.close();
pages.close();
api.kill();
await once(api, "exit");
await close().catch(() => {});
process.exit();
