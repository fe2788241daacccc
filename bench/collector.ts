/*
 * Events per second through the routes of the collector, compared with track.ingest alone and with a bare insert, and
 * the server's memory while many times as much arrives.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/collector.ts [seconds] [times] [only]
 *
 * The API is a process of its own, with the database and the senders on the same machine. Eight ways of sending take
 * turns, a second each, so that other work of the machine slows down all of them: Segment's route with batches of 20 events and
 * with one event per request, from connections that send again as soon as they have an answer, and at a rate (10,000 events
 * per second in batches, 2,000 requests of one event), where a latency is measured from the time at which the request should have been
 * sent; the same single requests from 1,000 browsers, each with its own cookie and user agent; `track.ingest` with 1,000 messages per call on two connections; and "insert … select from unnest" of 1,000 rows into a
 * table without an index but the key. The processor time of the server and of the database per event is shown too: it
 * depends little on what else runs. `only`: the ways whose name contains this text. Then `times` as many connections send batches at once.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Agent, type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { packageRoot } from "../src/paths.ts";
import { benchDatabase } from "./database.ts";

const seconds = Number(process.argv[2] ?? 10);
const times = Number(process.argv[3] ?? 10);
const only = process.argv[4] ?? "";
const connections = { batches: 50, single: 200 };
const browserCount = 1000;

let count = 0;
const message = (): object => {
  count += 1;
  return {
    type: "track",
    event: "Task Submitted",
    userId: `person ${count % 1000}`,
    messageId: `${process.pid}-${count}`,
    timestamp: new Date().toISOString(),
    properties: { item: `task-${count % 100}`, score: (count % 11) / 10 },
  };
};
const list = (length: number): object[] => Array.from({ length }, message);

async function startApi(database: string): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [join(packageRoot, "src/cli.ts"), "api"], {
    env: { DATABASE_URL: database, PORT: "0", INSIGHTS_ADDRESS_RATE: "1000000" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  for await (const line of child.stdout) {
    const port = /http:\S+:(\d+)\/graphql/.exec(String(line))?.[1];
    if (port !== undefined) return { child, port: Number(port) };
  }
  throw new Error("the API did not start");
}

/** Megabytes of memory of a process now and at most, and its seconds of processor time, on Linux. */
async function stateOf({ pid }: ChildProcess): Promise<{ memory: number; most: number; processor: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
    .map(Number);
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1000;
  return { memory: read("VmRSS"), most: read("VmHWM"), processor: (user + system) / 100 };
}

const { client, name, url, close } = await benchDatabase();
await client.query("create table public.bare (event_id bigint primary key, received_at timestamptz, message jsonb)");
const { rows: keys } = await client.query<{ write_key: string; hash: string }>(
  `select write_key, encode(sha256(convert_to(write_key, 'UTF8')), 'hex') as hash
   from track.create_write_key('bench', 'server', requests_per_minute => 1000000)`,
);
const [{ write_key: key, hash } = { write_key: "", hash: "" }] = keys;
const pageKey = await client.query<{ write_key: string }>(
  "select write_key from track.create_write_key('pages', 'anonymous', origins => '{http://page.example}', requests_per_minute => 1000000)",
);
const api = await startApi(url);

async function send(agent: Agent, messages: object[], headers: Record<string, string>): Promise<IncomingMessage> {
  const text = JSON.stringify({ batch: messages, sentAt: new Date().toISOString() });
  const sent = request({
    port: api.port,
    host: "127.0.0.1",
    path: "/v1/batch",
    method: "POST",
    agent,
    headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers },
  });
  sent.end(text);
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  answer.resume();
  await once(answer, "end");
  return answer;
}

const post = async (agent: Agent, messages: object[]): Promise<number> =>
  (await send(agent, messages, { "x-write-key": key })).statusCode ?? 0;

/** Headers of each browser; its cookie is the one that its first answer sets. */
const browsers: Record<string, string>[] = [];

async function openBrowsers(): Promise<void> {
  const first = newAgent();
  while (browsers.length < browserCount) {
    const number = browsers.length;
    const headers = {
      "x-write-key": pageKey.rows[0]?.write_key ?? "",
      origin: "http://page.example",
      "user-agent": `Mozilla/5.0 (X11; Linux x86_64; rv:${number % 50}.0) Gecko/20100101 Firefox/${number % 50}.0`,
    };
    const answer = await send(first, [view(number)], headers);
    const cookie = answer.headers["set-cookie"]?.[0]?.split(";")[0];
    if (cookie === undefined) throw new Error(`the answer ${answer.statusCode} sets no cookie`);
    browsers.push({ ...headers, cookie });
  }
  first.destroy();
}

/** A page view of a browser. */
function view(number: number): object {
  count += 1;
  return {
    type: "page",
    anonymousId: `browser ${number}`,
    messageId: `${process.pid}-${count}`,
    timestamp: new Date().toISOString(),
    properties: { path: `/courses/${count % 100}` },
  };
}

/** Connections of the turn: the server closes those that are idle for some seconds, and of more than 1,000 the oldest. */
const newAgent = (): Agent => new Agent({ keepAlive: true, maxSockets: connections.single });
let agent = newAgent();

interface Way {
  /** Events that it stored. */
  events: number;
  spent: number;
  /** Milliseconds of each request. */
  latencies: number[];
  /** Seconds of processor time of the server, and of the sessions of the database. */
  processor: number;
  sessions: number;
}
const ways: Record<string, Way> = {};

/** Seconds of processor time of each session of the database, where it is on this machine. */
async function sessionTimes(): Promise<Map<number, number>> {
  const { rows } = await client.query<{ pid: number }>(
    "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  const times = new Map<number, number>();
  for (const { pid } of rows) {
    const text = await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => undefined);
    if (text !== undefined) times.set(pid, Number(text.split(" ")[0]) / 1e9);
  }
  return times;
}

/** Measures what is sent within a second or a little more. */
async function measure(label: string, send: (way: Way) => Promise<void>): Promise<void> {
  const way = ways[label] ?? { events: 0, spent: 0, latencies: [], processor: 0, sessions: 0 };
  ways[label] = way;
  const [before, sessions] = [await stateOf(api.child), await sessionTimes()];
  const began = performance.now();
  await send(way);
  way.spent += (performance.now() - began) / 1000;
  way.processor += (await stateOf(api.child)).processor - before.processor;
  agent.destroy();
  agent = newAgent();
  for (const [pid, seconds] of await sessionTimes()) way.sessions += seconds - (sessions.get(pid) ?? 0);
}

/** Runs `width` senders for a second. */
const turn = (label: string, width: number, send: () => Promise<number>): Promise<void> =>
  measure(label, async (way) => {
    const began = performance.now();
    const sender = async (): Promise<void> => {
      while (performance.now() - began < 1000) {
        const started = performance.now();
        const events = await send();
        way.events += events;
        way.latencies.push(performance.now() - started);
      }
    };
    await Promise.all(Array.from({ length: width }, sender));
  });

/** Sends `rate` requests in a second at equal intervals, whatever the server answers. */
const pace = (label: string, rate: number, send: () => Promise<number>): Promise<void> =>
  measure(label, async (way) => {
    const began = performance.now();
    const requests: Promise<void>[] = [];
    while (requests.length < rate) {
      const planned = began + (1000 * requests.length) / rate;
      if (planned > performance.now()) await wait(1);
      else {
        requests.push(
          send().then((events) => {
            way.events += events;
            way.latencies.push(performance.now() - planned);
          }),
        );
      }
    }
    await Promise.all(requests);
  });

const stored = async (length: number): Promise<number> => {
  const status = await post(agent, list(length));
  if (status !== 200) throw new Error(`answered ${status}`);
  return length;
};
let visits = 0;
const viewed = async (): Promise<number> => {
  visits += 1;
  const number = visits % browserCount;
  const { statusCode } = await send(agent, [view(number)], browsers[number] ?? {});
  if (statusCode !== 200) throw new Error(`answered ${statusCode}`);
  return 1;
};
const pool = new pg.Pool({ connectionString: url, max: 2 });
const ingest = async (): Promise<number> => {
  const own = await pool.connect();
  try {
    await own.query("begin");
    await own.query("select set_config('insights.write_key', $1, true)", [hash]);
    await own.query("select errors from track.ingest(to_jsonb($1::text))", [JSON.stringify(list(1000))]);
    await own.query("commit");
  } finally {
    own.release();
  }
  return 1000;
};
const bare = async (): Promise<number> => {
  const messages = list(1000);
  await pool.query("insert into public.bare select * from unnest($1::bigint[], $2::timestamptz[], $3::jsonb[])", [
    messages.map((_each, index) => count - index),
    messages.map(() => new Date()),
    messages.map((each) => JSON.stringify(each)),
  ]);
  return 1000;
};

const labels = {
  batches: `/v1/batch, 20 events per request, ${connections.batches} connections`,
  single: `/v1/batch, 1 event per request, ${connections.single} connections`,
  pacedBatches: "/v1/batch, 500 requests of 20 events per second",
  pacedSingle: "/v1/batch, 2,000 requests of 1 event per second",
  browsers: `/v1/batch, 1 page view per request, ${browserCount} browsers`,
  pacedBrowsers: "/v1/batch, 2,000 page views of browsers per second",
  ingest: "track.ingest, 1,000 messages, 2 connections",
  bare: "insert, 1,000 rows, 2 connections",
};
const turns: [label: string, take: (label: string) => Promise<void>][] = [
  [labels.batches, (label) => turn(label, connections.batches, () => stored(20))],
  [labels.single, (label) => turn(label, connections.single, () => stored(1))],
  [labels.pacedBatches, (label) => pace(label, 500, () => stored(20))],
  [labels.pacedSingle, (label) => pace(label, 2000, () => stored(1))],
  [labels.browsers, (label) => turn(label, connections.single, viewed)],
  [labels.pacedBrowsers, (label) => pace(label, 2000, viewed)],
  [labels.ingest, (label) => turn(label, 2, ingest)],
  [labels.bare, (label) => turn(label, 2, bare)],
];
await openBrowsers();
for (let round = -1; round < seconds; round += 1) {
  for (const [label, take] of turns) if (label.includes(only)) await take(label);
  // The first round is a warm-up.
  if (round === -1) for (const label of Object.keys(ways)) delete ways[label];
}

const quantile = (values: number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(share * (values.length - 1))] ?? Number.NaN;
const peer = ways[labels.ingest];
console.log(`${name}: ${seconds} rounds of a second each`);
for (const [label, { events, spent, latencies, processor, sessions }] of Object.entries(ways)) {
  const rate = events / spent;
  const ratio = peer === undefined ? Number.NaN : rate / (peer.events / peer.spent);
  const perEvent = (seconds: number): string => `${((1_000_000 * seconds) / events).toFixed(0)} µs`;
  const ofServer = label.startsWith("/v1") ? `server ${perEvent(processor)}, ` : "";
  console.log(
    `${label.padEnd(52)} ${Math.round(rate).toLocaleString("en").padStart(8)} events/s  ${ratio.toFixed(2)} of track.ingest, ` +
      `p50 ${quantile(latencies, 0.5).toFixed(0)} ms, p99 ${quantile(latencies, 0.99).toFixed(0)} ms; ` +
      `processor time per event: ${ofServer}database ${perEvent(sessions)}`,
  );
}

const calm = await stateOf(api.child);
const flood = new Agent({ keepAlive: true });
const answers: Record<string, number> = {};
const until = performance.now() + 8000;
let highest = 0;
const watch = (async () => {
  while (performance.now() < until) {
    highest = Math.max(highest, (await stateOf(api.child)).memory);
    await wait(100);
  }
})();
const senders = Array.from({ length: times * connections.batches }, async () => {
  while (performance.now() < until) {
    const status = await post(flood, list(200)).catch(() => 0);
    answers[status] = (answers[status] ?? 0) + 1;
  }
});
await Promise.all([watch, ...senders]);
await wait(2000);
const after = await stateOf(api.child);
console.log(
  `${times * connections.batches} connections with 200 events per request for 8 s: memory ${calm.memory.toFixed(0)} MB before, ` +
    `${highest.toFixed(0)} MB at most, ${after.memory.toFixed(0)} MB after; answers ${JSON.stringify(answers)}`,
);

agent.destroy();
flood.destroy();
api.child.kill();
await once(api.child, "exit");
await pool.end();
await close();
