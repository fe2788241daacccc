/*
 * Hostile arguments for every function of the rooms, documents and messages, as each role, for some minutes.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/fuzz.ts [minutes] [seed]
 *
 * It makes a database of its own on that server with a small simulated platform. It prints, by kind and role, the calls,
 * those that were refused with an error code CF, those that a limit of time stopped, the slowest call of a visitor or
 * learner, and the findings: internal errors, lost connections, another person's data, calls of visitors and learners
 * that do not end in 1 s. The exit code is 1 if there is one. A seed repeats the same values.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildSchema } from "postgraphile/graphql";
import { type Role, signToken } from "../src/api/authentication.ts";
import { startApi } from "../src/api/server.ts";
import { readConfig } from "../src/config.ts";
import { createPool } from "../src/database/connect.ts";
import { packageRoot } from "../src/paths.ts";
import { Random } from "../src/simulator/random.ts";
import {
  type Caller,
  emptyTally,
  foreign,
  fuzzDocuments,
  fuzzFunctions,
  fuzzMessages,
  names,
  type Tally,
} from "../test/support/fuzz.ts";
import { makeWorld } from "../test/support/world.ts";
import { benchDatabase } from "./database.ts";

const minutes = Number(process.argv[2] ?? 5);
const seed = process.argv[3] ?? String(Date.now());
const callers: readonly Caller[] = [
  { role: "visitor" },
  { role: "learner", person: "ada" },
  { role: "instructor", person: "ada" },
  { role: "analyst" },
  { role: "admin" },
  { role: "worker" },
];

const bench = await benchDatabase();
const pool = createPool(bench, 4);
const secret = "a key of the bench, longer than 32 characters";
const api = await startApi(
  readConfig({
    DATABASE_URL: bench.url,
    PORT: "0",
    INSIGHTS_JWT_SECRET: secret,
    INSIGHTS_ADDRESS_RATE: "1000000",
    INSIGHTS_PERSON_RATE: "1000000",
  }),
  { ...bench, pooler: bench.embedded, own: false },
);

/** Calls by kind and role. */
const tallies = new Map<string, Tally>();

function add(kind: string, caller: Caller, tally: Tally): void {
  const key = `${kind} as ${caller.role}`;
  const sum = tallies.get(key) ?? emptyTally();
  tallies.set(key, {
    tried: sum.tried + tally.tried,
    refused: sum.refused + tally.refused,
    stopped: sum.stopped + tally.stopped,
    slowest: tally.slowest.milliseconds > sum.slowest.milliseconds ? tally.slowest : sum.slowest,
    findings: [...sum.findings, ...tally.findings],
  });
}

try {
  await makeWorld(pool);
  await pool.query(`
    create schema lab;
    create table lab.houses as select n as id, n * 1.5 as price, n * 3 as area from generate_series(1, 50) as n;
    grant usage on schema lab to public;
    grant select on lab.houses to public;
    select recommend.train()`);
  const schema = buildSchema(await readFile(join(packageRoot, "schema.graphql"), "utf8"));
  const sending = {
    schema,
    names,
    post: (body: string, headers: Record<string, string> = {}) =>
      fetch(`${api.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      }),
    token: (role: Role, person?: string) => signToken({ role, person, source: undefined }, { secret }),
  };
  console.log(`${bench.name}, seed ${seed}`);
  // The findings are printed at the end; the server's log of them is not of interest.
  console.error = () => {};
  const end = performance.now() + minutes * 60_000;
  for (let round = 0; performance.now() < end; round++) {
    for (const caller of callers) {
      const random = new Random(`${seed}/${round}/${caller.role}`);
      const who = caller.person === undefined ? caller.role : `${caller.role}:${caller.person}`;
      // On the embedded database, no limit of time works inside a statement.
      if (!bench.embedded) {
        const options = { count: 200, names, foreign: foreign(caller.role), limit: 1000 };
        add("functions", caller, await fuzzFunctions(pool, random, caller, options));
      }
      add("documents", caller, await fuzzDocuments(random, who, sending, 40));
      add("messages", caller, await fuzzMessages(random, who, sending, 10));
    }
  }
  for (const [key, { tried, refused, stopped, slowest, findings }] of tallies) {
    const slow = slowest.milliseconds > 0 ? `   slowest ${slowest.milliseconds.toFixed(0)} ms` : "";
    console.log(
      `${key.padEnd(26)} ${tried} tried, ${refused} refused, ${stopped} stopped, ${findings.length} findings${slow}`,
    );
    for (const { call, reason } of findings.slice(0, 20)) console.log(`  ${reason}\n    ${call.slice(0, 500)}`);
    if (findings.length > 0) process.exitCode = 1;
  }
} finally {
  await api.close();
  await pool.end();
  await bench.close();
}
