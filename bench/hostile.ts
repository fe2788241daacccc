/*
 * Response times of a single client alone, and while twelve hostile clients send one request after another.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/hostile.ts [requests] [part of a kind's name]
 *
 * Without DATABASE_URL it runs on the embedded database. The API is a process of its own on 127.0.0.1, the hostile
 * clients share a thread. The measured client is a learner who requests recommendations, one request at a time with 20
 * ms between them. The hostile ones continue until the measured client has its answers, for at most 60 s; requests in
 * progress are then aborted.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Role, signToken } from "../src/api/authentication.ts";
import { packageRoot } from "../src/paths.ts";
import { midnight, Options } from "../src/simulator/options.ts";
import { simulate } from "../src/simulator/run.ts";
import { benchDatabase } from "./database.ts";

const longest = 60_000;

async function post(url: string, body: string, token = "", signal?: AbortSignal): Promise<string> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token === "" ? {} : { authorization: `Bearer ${token}` }) },
    body,
    ...(signal === undefined ? {} : { signal }),
  });
  const text = await response.text();
  const code = /"code":"(\w+)"/.exec(text)?.[1];
  return code === undefined ? "answered" : `${response.status} ${code}`;
}

const asQuery = (query: string, variables: object = {}): string => JSON.stringify({ query, variables });
const ingest = "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }";
const asBatch = (batch: string): string => `{"query": ${JSON.stringify(ingest)}, "variables": {"batch": ${batch}}}`;

interface Crowd {
  url: string;
  learner: string;
  tokens: { learner: string; analyst: string };
  kind: string;
}

function hostile({ learner, tokens }: Crowd): Record<string, { token?: string; body: (round: number) => string }> {
  const track = (round: number, letter: string, bytes: number): string =>
    asBatch(
      `[{"type": "track", "messageId": "m${round}", "anonymousId": "b", "event": "X", "properties": {"a": "${letter.repeat(bytes / letter.length)}"}}]`,
    );
  const braces = (count: number): string => asBatch(`[${"{},".repeat(count)}{}]`);
  return {
    "3.5 MB of \\ud800": { body: (round) => track(round, "\\ud800", 3_500_000) },
    "1.2 million {}": { body: () => braces(1_200_000) },
    "500 kB of \\ud800, as a visitor may send": { body: (round) => track(round, "\\ud800", 500_000) },
    "160,000 {}, as a visitor may send": { body: () => braces(160_000) },
    "7 kB of \\ud800, not a large body": { body: (round) => track(round, "\\ud800", 7000) },
    "950 kB of \\ud800, sent by a learner": {
      token: tokens.learner,
      body: (round) => track(round, "\\ud800", 950_000),
    },
    "similar items of 10,000 letters": {
      token: tokens.learner,
      body: () =>
        asQuery("query ($item: String!) { recommendSimilarItems(item: $item) { nodes { item } } }", {
          item: "x".repeat(10_000),
        }),
    },
    "a report of a year by hours": {
      token: tokens.analyst,
      body: () =>
        asQuery(
          `query ($since: Datetime!) {
            analyticsTrend(eventName: "Page Viewed", bucket: "hour", since: $since) { nodes { eventCount personCount slope } }
          }`,
          { since: new Date(Date.now() - 365 * 86_400_000).toISOString() },
        ),
    },
    "2,000 anonymous ids of one user": {
      token: tokens.learner,
      body: (round) =>
        asBatch(
          JSON.stringify(
            Array.from({ length: 2000 }, (_, index) => ({
              type: "identify",
              messageId: `identify ${round} ${index}`,
              userId: learner,
              anonymousId: `browser ${round} ${index}`,
            })),
          ),
        ),
    },
  };
}

/** The thread of the hostile clients: until it is stopped; then the answers that they received. */
async function beHostile(crowd: Crowd): Promise<void> {
  const abort = new AbortController();
  parentPort?.once("message", () => abort.abort());
  const kinds = Object.entries(hostile(crowd)).filter(([kind]) => kind.includes(crowd.kind));
  const told = new Map<string, number>();
  let round = 0;
  await Promise.all(
    Array.from({ length: 12 }, async (_, index) => {
      const [kind, { token, body }] = kinds[index % kinds.length] as (typeof kinds)[number];
      while (!abort.signal.aborted) {
        round += 1;
        const said = await post(crowd.url, body(round), token, abort.signal).catch(() =>
          abort.signal.aborted ? "abandoned" : "cut off",
        );
        told.set(`${kind}: ${said}`, (told.get(`${kind}: ${said}`) ?? 0) + 1);
      }
    }),
  );
  parentPort?.postMessage(told);
}

/** The measured client is faster than a person, and the limits of rates would stop the hostile ones. */
const noRates = { INSIGHTS_ADDRESS_RATE: "1000000", INSIGHTS_PERSON_RATE: "1000000" };

async function startApi(
  database: string,
  pooler: boolean,
  secret: string,
): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [join(packageRoot, "src/cli.ts"), "api"], {
    env: {
      DATABASE_URL: database,
      INSIGHTS_POOLER: String(pooler),
      INSIGHTS_JWT_SECRET: secret,
      PORT: "0",
      ...noRates,
    },
    stdio: ["ignore", "pipe", "ignore"],
  });
  for await (const line of child.stdout) {
    const url = /(http:\S+)\/graphql/.exec(String(line))?.[1];
    if (url !== undefined) return { child, url };
  }
  throw new Error("the API did not start");
}

const at = (times: readonly number[], part: number): number =>
  times[Math.floor(part * (times.length - 1))] ?? Number.NaN;
function report(label: string, times: readonly number[]): void {
  const [median, most, last] = [0.5, 0.95, 1].map((part) => `${at(times, part).toFixed(1).padStart(8)} ms`);
  console.log(`${label.padEnd(30)} median ${median}   95 % ${most}   longest ${last}   of ${times.length}`);
}

async function main(requests: number, kind: string): Promise<void> {
  const { client, url, embedded, name, close } = await benchDatabase();
  await simulate(client, Options.parse({ learners: 100, until: midnight(new Date()) }));
  while (((await client.query("select from track.refresh()")).rowCount ?? 0) > 0);
  await client.query("select analytics.refresh_views()");
  await client.query("select from recommend.train()");
  await client.query("vacuum analyze");
  const { rows: learners } = await client.query<{ name: string }>(
    `select identity.external_id as name
     from track.identity as identity
     join recommend.interaction as interaction on interaction.person_id = identity.person_id
     where identity.kind = 'user'
     group by 1
     order by count(*) desc, 1
     limit 2`,
  );
  const [mine = "", others = ""] = learners.map((learner) => learner.name);

  const secret = randomBytes(32).toString("hex");
  const token = (role: Role, person: string): Promise<string> =>
    signToken({ role, person, source: undefined }, { secret });
  const api = await startApi(url, embedded, secret);
  const quiet = asQuery("{ recommendForMe(top: 5) { nodes { item score reasons { item contribution } } } }");
  const quietToken = await token("learner", mine);

  async function quietly(until: number): Promise<number[]> {
    const times: number[] = [];
    while (times.length < requests && performance.now() < until) {
      const began = performance.now();
      const said = await post(api.url, quiet, quietToken);
      times.push(performance.now() - began);
      if (said !== "answered") console.log(`the measured client received: ${said}`);
      await wait(20);
    }
    return times.sort((a, b) => a - b);
  }

  try {
    console.log(`${name}, ${requests} requests of a learner for recommendations`);
    for (let count = 0; count < 20; count += 1) await post(api.url, quiet, quietToken);
    const alone = await quietly(performance.now() + longest);
    report("alone", alone);

    const crowd: Crowd = {
      url: api.url,
      learner: others,
      tokens: { learner: await token("learner", others), analyst: await token("analyst", "analyst") },
      kind,
    };
    const worker = new Worker(new URL(import.meta.url), { workerData: crowd });
    await wait(2000);
    const beside = await quietly(performance.now() + longest);
    worker.postMessage("end");
    const [told] = (await once(worker, "message")) as [Map<string, number>];
    report("with twelve hostile clients", beside);
    const times = (part: number): string => (at(beside, part) / at(alone, part)).toFixed(1).padStart(8);
    console.log(`${"times".padEnd(30)} median ${times(0.5)}      95 % ${times(0.95)}`);
    console.log("\nAnswers to the hostile clients:");
    for (const [what, count] of [...told].sort()) console.log(`  ${String(count).padStart(5)}  ${what}`);
  } finally {
    api.child.kill();
    await once(api.child, "exit");
    await close();
  }
}

if (isMainThread) await main(Number(process.argv[2] ?? 200), process.argv[3] ?? "");
else await beHostile(workerData as Crowd);
