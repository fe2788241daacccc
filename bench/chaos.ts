/*
 * A campaign of faults against the running system, while it collects, refreshes, trains, checks, imports, erases and
 * migrates; after each round of faults, whether anything was lost, stored twice, not erased, or is wrong in a rollup.
 *
 * npm exec -- node bench/chaos.ts [faults] [--seed number] [--only text] [--round faults] [--minutes number] [--keep] [--verbose]
 *
 *   faults     number of faults (default 100)
 *   --seed     of the random numbers that choose the faults, their times and the messages; the default is printed
 *   --only     the faults whose name contains this text
 *   --round    faults between two checks (default 25)
 *   --minutes  ends after the round in which this time has passed
 *   --keep     keeps the logs of the processes, also when nothing was found
 *   --verbose  prints each fault
 *
 * It starts a PostgreSQL server of its own (of this machine, or of the Debian that .ci/run has made), on a file system in
 * memory that it can fill where it may mount one. The API and the worker are processes behind a link that can fail
 * (test/support/link.ts). Faults begin at random times and may overlap with the recovery from earlier ones. A seed gives the same
 * sequence of faults; what they hit depends on the machine.
 *
 * A message counts as acknowledged when its request was answered with 200. A sender repeats each batch, with the same
 * message ids, until then. An import, an erasure and a migration are killed and repeated until they succeed. SIGKILL
 * leaves what was written to the operating system: a loss of power is not simulated.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import pg from "pg";
import { catalogueOf, differences } from "../src/database/catalogue.ts";
import { withClient } from "../src/database/connect.ts";
import { queueSchema } from "../src/database/logins.ts";
import { migrate } from "../src/database/migrate.ts";
import { packageRoot } from "../src/paths.ts";
import { midnight, Options } from "../src/simulator/options.ts";
import { Random } from "../src/simulator/random.ts";
import { simulate } from "../src/simulator/run.ts";
import { refreshAll } from "../src/worker/refresh.ts";
import { pairs } from "../test/properties/rollups.ts";
import { contents } from "../test/support/contents.ts";
import type { Queries } from "../test/support/database.ts";
import { openLink } from "../test/support/link.ts";
import { canMoveClock, canStartServer, limitedDirectory, newDirectory, newServer } from "../test/support/postgres.ts";
import { withDatabase } from "../test/support/server.ts";

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    only: { type: "string", default: "" },
    round: { type: "string", default: "25" },
    minutes: { type: "string", default: "1000000" },
    keep: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
const faultCount = Number(positionals[0] ?? 100);
const faultsPerRound = Number(given.round);
const seed = Number(given.seed ?? Math.floor(Math.random() * 2 ** 31));
if (!canStartServer) throw new Error("This bench needs the programs of PostgreSQL with pgvector on this machine.");

/** Whole numbers from 0 to below a limit. Each use has its own, so that none depends on the pace of another one. */
function randomOf(use: string): (below: number) => number {
  const random = new Random(`${seed}/${use}`);
  return (below) => Math.floor(random.uniform() * below);
}

// ------------------------------------------------------------------------------------------------------------------
// The system
// ------------------------------------------------------------------------------------------------------------------

const logs = mkdtempSync(join(tmpdir(), "insights-chaos-"));
const services: Record<"api" | "worker", { child: ChildProcess | undefined; clock: number; port: number }> = {
  api: { child: undefined, clock: 0, port: 0 },
  worker: { child: undefined, clock: 0, port: 0 },
};
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
const volume = limitedDirectory(3000);
process.on("exit", () => volume?.unmount());
const server = await newServer(volume === undefined ? newDirectory() : `${volume.path}/data`, [
  "max_connections = 60",
  "max_wal_size = 256MB",
  "log_min_messages = warning",
]);
// Before the file system ends.
process.prependListener("exit", () => {
  for (const { child } of Object.values(services)) child?.kill("SIGKILL");
  server.remove();
});
const link = await openLink(server.port);
const linked = server.url().replace(`:${server.port}/`, `:${link.port}/`);
let isOver = false;
const problems: string[] = [];
const problem = (text: string): void => {
  problems.push(text);
  console.log(`  PROBLEM: ${text}`);
};

/** A module that moves the clock of a process. */
const movedClock = (milliseconds: number): string =>
  `data:text/javascript,${encodeURIComponent(`
    const now = Date.now.bind(Date), moved = () => now() + ${milliseconds};
    globalThis.Date = new Proxy(Date, {
      construct: (target, values, created) =>
        Reflect.construct(target, values.length === 0 ? [moved()] : values, created),
      get: (target, name, receiver) => (name === "now" ? moved : Reflect.get(target, name, receiver)),
    });`)}`;

function command(args: string[], { clock = 0, url = linked } = {}): ChildProcess {
  const child = spawn(
    process.execPath,
    [...(clock === 0 ? [] : ["--import", movedClock(clock)]), join(packageRoot, "src/cli.ts"), ...args],
    {
      env: { PATH: process.env["PATH"], DATABASE_URL: url, PORT: "0", INSIGHTS_ADDRESS_RATE: "1000000" },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const log = createWriteStream(join(logs, `${args[0]}.log`), { flags: "a" });
  child.stdout?.pipe(log);
  child.stderr?.pipe(log);
  return child;
}

/** Keeps a service running until the end. A service may end by itself only while it starts without a database. */
async function supervise(name: "api" | "worker"): Promise<void> {
  const service = services[name];
  while (!isOver) {
    if (isStopped) {
      await wait(100);
      continue;
    }
    const child = command([name], { clock: service.clock });
    service.child = child;
    let ready = false;
    child.stdout?.on("data", (data: Buffer) => {
      const port = /http:\S+:(\d+)\/graphql/.exec(String(data))?.[1];
      if (port !== undefined) service.port = Number(port);
      ready ||= port !== undefined || String(data).includes("the worker is running");
    });
    const [status, signal] = await once(child, "exit");
    if (ready && signal !== "SIGKILL" && !isStopped && !isOver)
      problem(`the ${name} ended by itself with ${signal ?? `status ${status}`}`);
    await wait(ready ? 100 : 1000);
  }
}

/** Repeats work that a fault may interrupt, until it succeeds. After two minutes, the cause is not a fault that passes. */
async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  for (const until = performance.now() + 120_000; ; ) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() > until) throw error;
      await wait(300);
    }
  }
}

/** One statement over the link, in a session of its own. */
const overLink = (sql: string, values: unknown[] = []): Promise<unknown> =>
  withClient(linked, (client) => client.query(sql, values));

// ------------------------------------------------------------------------------------------------------------------
// The work
// ------------------------------------------------------------------------------------------------------------------

await migrate(server.url());
const expected = await withClient(server.url(), catalogueOf);
const population = Options.parse({ learners: 60, courses: 8, weeks: 6, until: midnight(new Date()) });
await withClient(server.url(), (client) => simulate(client, population, () => {}));
const items = await server.rows<{ item: string }>("select external_id as item from track.item order by item_id");
const [key] = await server.rows<{ write_key: string }>(
  "select write_key from track.create_write_key('chaos', 'server', requests_per_minute => 1000000)",
);

/** Numbers of messages that were acknowledged, and those of people who were erased since. */
const acknowledged = new Set<string>();
const erased = new Set<string>();
const done = { requests: 0, repeated: 0, erasures: 0, imports: 0, migrations: 0 };
/** Whether the senders wait, so that the system can be compared with itself. */
let isPaused = false;
/** Whether the services are stopped too. */
let isStopped = false;
let busy = 0;

async function send(messages: object[]): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    // By the time of sending, the times of messages are corrected when the clock of the server is another one.
    const body = JSON.stringify({ batch: messages, sentAt: new Date().toISOString() });
    try {
      const answer = await fetch(`http://127.0.0.1:${services.api.port}/v1/batch`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-write-key": key?.write_key ?? "" },
        body,
        signal: AbortSignal.timeout(20_000),
      });
      if (answer.status === 200) {
        const { errors = [] } = (await answer.json()) as { errors?: object[] };
        if (errors.length > 0) problem(`valid messages were rejected: ${JSON.stringify(errors[0])}`);
        done.requests += 1;
        if (attempt > 0) done.repeated += 1;
        return;
      }
      if (answer.status < 500 && answer.status !== 429) problem(`a valid request was answered with ${answer.status}`);
    } catch {
      // No answer.
    }
    await wait(200);
  }
}

let lastNumber = 0;
interface Sent {
  number: string;
  type: "identify" | "track";
}

function messageOf(person: string, random: (below: number) => number, name?: string): Sent & Record<string, unknown> {
  lastNumber += 1;
  const number = `${name ?? "m"}-${lastNumber}`;
  const common = {
    number,
    messageId: `chaos-${seed}-${number}`,
    // Late events too, over two months.
    timestamp: new Date(Date.now() - random(10) ** 3 * 6_000_000 - random(600_000)).toISOString(),
  };
  const kind = name === undefined ? random(40) : 10;
  if (kind === 0) return { ...common, type: "identify", userId: person, traits: { plan: `plan ${random(3)}` } };
  if (kind === 1) return { ...common, type: "identify", userId: person, anonymousId: `browser-${random(80)}` };
  const names = ["Page Viewed", "Task Started", "Task Submitted", "Heartbeat", "Module Completed"];
  return {
    ...common,
    type: "track",
    ...(kind < 8 ? { anonymousId: `browser-${random(80)}` } : { userId: person }),
    event: names[random(names.length)],
    properties: { item: items[random(items.length)]?.item, number },
  };
}

/** Counts these messages, whose request was answered, as acknowledged. Only events have rows of their own. */
function acknowledge(messages: readonly Sent[]): void {
  for (const { type, number } of messages) if (type === "track") acknowledged.add(number);
}

/** Does some work again and again, with a pause before it, but not while the system is compared with itself. */
async function repeatedly(pause: () => number, work: (index: number) => Promise<void>): Promise<void> {
  for (let index = 0; !isOver; index += 1) {
    await wait(pause());
    if (isPaused) continue;
    busy += 1;
    await work(index);
    busy -= 1;
  }
}

/** A command that is killed at a random time, and repeated until it succeeds. */
async function untilSuccess(args: string[], random: (below: number) => number, url = linked): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const child = command(args, { url });
    const timer = setTimeout(() => child.kill("SIGKILL"), attempt < 2 ? 300 + random(4000) : 120_000);
    const [status] = await once(child, "exit");
    clearTimeout(timer);
    if (status === 0) return;
    await wait(300);
  }
}

async function sendAll(number: number): Promise<void> {
  const random = randomOf(`sender ${number}`);
  await repeatedly(
    () => random(400),
    async () => {
      const messages = Array.from({ length: 1 + random(20) }, () => messageOf(`person-${random(150)}`, random));
      await send(messages);
      acknowledge(messages);
    },
  );
}

/** People who are erased after their messages were acknowledged. */
async function eraseAll(): Promise<void> {
  const random = randomOf("erasures");
  await repeatedly(
    () => 500 + random(2500),
    async (index) => {
      const person = `gone-${seed}-${index}`;
      await send(Array.from({ length: 12 }, () => messageOf(person, random, person)));
      await wait(random(3000));
      // An erasure whose answer was lost is repeated: the person is unknown then.
      await untilDone(() =>
        overLink("select privacy.erase_person($1)", [person]).catch((error: { code?: string }) => {
          if (error.code !== "CF002") throw error;
        }),
      );
      erased.add(person);
      done.erasures += 1;
    },
  );
}

async function importAll(): Promise<void> {
  const random = randomOf("imports");
  const file = join(logs, "import.jsonl");
  await repeatedly(
    () => 2000 + random(8000),
    async (index) => {
      const messages = Array.from({ length: 2000 }, () => messageOf(`person-${random(150)}`, random));
      writeFileSync(file, messages.map((message) => JSON.stringify(message)).join("\n"));
      await untilSuccess(["import", "segment", file, "--source", `file-${index % 3}`], random);
      acknowledge(messages);
      done.imports += 1;
    },
  );
}

/** New databases, migrated from nothing. */
async function migrateAll(): Promise<void> {
  const random = randomOf("migrations");
  await repeatedly(
    () => 5000 + random(20_000),
    async (index) => {
      const name = `migrated_${index}`;
      const url = withDatabase(linked, name);
      await untilDone(() =>
        overLink(`create database ${name}`).catch((error: { code?: string }) => {
          if (error.code !== "42P04") throw error;
        }),
      );
      await untilSuccess(["migrate"], random, url);
      await untilDone(async () => {
        const found = differences(await withClient(url, catalogueOf), expected, {
          actual: name,
          expected: "the first",
        });
        if (found.length > 0) problem(`${name} differs after its migration: ${found.slice(0, 3).join("; ")}`);
      });
      await untilDone(() => overLink(`drop database if exists ${name} with (force)`));
      done.migrations += 1;
    },
  );
}

/** Scheduled tasks, more often than their schedule. */
async function schedule(): Promise<void> {
  const random = randomOf("tasks");
  const tasks = (
    "refresh refresh train evaluate check_rollups refresh_views vacuum pack_messages refresh_cohorts seal erase " +
    "find_anomalies refresh_decisions verify_ledger fit_clusters"
  ).split(" ");
  await repeatedly(
    () => 200 + random(800),
    async () => {
      const task = tasks[random(tasks.length)];
      await overLink(`select ${queueSchema}.add_job($1, $2::json, job_key => $1, max_attempts => 3)`, [
        `insights:${task}`,
        JSON.stringify(task === "train" ? { share: 0 } : {}),
      ]).catch(() => {});
    },
  );
}

// ------------------------------------------------------------------------------------------------------------------
// The faults
// ------------------------------------------------------------------------------------------------------------------

const random = randomOf("faults");
const pid = (name: "api" | "worker"): number | undefined =>
  services[name].child?.exitCode === null ? services[name].child?.pid : undefined;

function signal(process_: number | undefined, name: NodeJS.Signals): void {
  if (process_ === undefined) return;
  try {
    process.kill(process_, name);
  } catch {
    // It has ended meanwhile.
  }
}

async function stopFor(process_: number | undefined, duration: number): Promise<void> {
  signal(process_, "SIGSTOP");
  await wait(duration);
  signal(process_, "SIGCONT");
}

/** A process of PostgreSQL that carries out a statement, or that waits for one. */
async function backend(place: number): Promise<number | undefined> {
  const rows = await server.rows<{ pid: number }>(
    `select pid
     from pg_stat_activity
     where backend_type in ('client backend', 'parallel worker', 'autovacuum worker', 'checkpointer')
       and pid <> pg_backend_pid()
     order by state = 'active' desc, pid
     limit 12`,
  );
  return rows[place % Math.max(rows.length, 1)]?.pid;
}

async function terminateAll(): Promise<void> {
  await server.rows(
    `select pg_terminate_backend(pid)
     from pg_stat_activity
     where backend_type = 'client backend' and pid <> pg_backend_pid()`,
  );
}

/** Seconds that the clock of PostgreSQL is ahead. */
let serverClock = 0;

async function startAgain(): Promise<void> {
  await wait(200);
  for (let attempt = 1; ; attempt += 1) {
    try {
      server.start(serverClock);
      return;
    } catch (error) {
      if (attempt === 20) throw error;
      await wait(500);
    }
  }
}

/** The time that a fault lasts, in milliseconds, and a number to choose with. */
type Fault = (duration: number, choice: number) => Promise<void>;

const faults: Record<string, Fault> = {
  "the API is killed": async () => signal(pid("api"), "SIGKILL"),
  "the worker is killed": async () => signal(pid("worker"), "SIGKILL"),
  "the API is stopped": (duration) => stopFor(pid("api"), duration),
  "the worker is stopped": (duration) => stopFor(pid("worker"), duration),
  "a backend is killed": async (_, choice) => signal(await backend(choice), "SIGKILL"),
  "a backend is stopped": async (duration, choice) => stopFor(await backend(choice), duration),
  "a session is terminated": async (_, choice) => {
    await server.rows("select pg_terminate_backend($1)", [await backend(choice)]);
  },
  "all sessions are terminated": terminateAll,
  "statements are cancelled": async () => {
    await server.rows(
      "select pg_cancel_backend(pid) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()",
    );
  },
  "PostgreSQL is killed": async () => {
    server.kill();
    await startAgain();
  },
  "PostgreSQL is stopped without a checkpoint": async (duration) => {
    server.stop("immediate");
    await wait(duration / 2);
    await startAgain();
  },
  "all connections are taken": async (duration) => {
    const taken: pg.Client[] = [];
    for (let index = 0; index < 60; index += 1) {
      const client = new pg.Client({ connectionString: server.url() });
      client.on("error", () => {});
      const connected = await client.connect().then(
        () => true,
        () => false,
      );
      if (!connected) break;
      taken.push(client);
    }
    await wait(duration);
    await Promise.all(taken.map((client) => client.end().catch(() => {})));
  },
  "the network is cut": (duration) => link.cut(duration),
  "the network is silent": (duration) => link.silence(duration),
  "answers of PostgreSQL are lost": (duration) => link.loseAnswers(duration),
  "the clock of the API jumps": async (_, choice) => {
    services.api.clock = [0, 86_400_000, -86_400_000, 3_600_000][choice % 4] ?? 0;
    signal(pid("api"), "SIGKILL");
  },
  "the clock of the worker jumps": async (_, choice) => {
    services.worker.clock = [0, 86_400_000, -86_400_000, 3_600_000][choice % 4] ?? 0;
    signal(pid("worker"), "SIGKILL");
  },
};
if (canMoveClock) {
  // It jumps back at the end: what an import brings is otherwise in the future, and refused.
  faults["the clock of PostgreSQL jumps"] = async (duration, choice) => {
    for (const clock of [[86_400, -86_400, 3_600, -3_600][choice % 4] ?? 0, 0]) {
      serverClock = clock;
      server.stop("fast");
      await startAgain();
      await wait(duration);
    }
  };
}
if (volume !== undefined) {
  faults["the disk is full"] = async (duration, choice) => {
    const ballast = join(volume.outside, "ballast");
    const { bavail, bsize } = statfsSync(volume.outside);
    writeFileSync(ballast, Buffer.alloc(Math.max(bavail * bsize - (choice % 64) * 16_384, 0)));
    await wait(duration);
    rmSync(ballast);
    // It ends when it cannot write its log.
    await server.rows("select").catch(() => startAgain());
  };
}

// ------------------------------------------------------------------------------------------------------------------
// The checks
// ------------------------------------------------------------------------------------------------------------------

/** Ends a service as its operator does. */
async function end(name: "api" | "worker"): Promise<void> {
  const { child } = services[name];
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => {
    problem(`the ${name} does not end within a minute`);
    child.kill("SIGKILL");
  }, 60_000);
  await once(child, "exit");
  clearTimeout(timer);
}

type Rows = <T extends object>(sql: string, values?: readonly unknown[]) => Promise<T[]>;

async function checkMessages(rows: Rows): Promise<void> {
  const stored = new Map<string, number>();
  for (const { number, count } of await rows<{ number: string; count: number }>(
    `select properties ->> 'number' as number, count(*)::int as count
     from track.event
     where properties ? 'number'
     group by 1`,
  ))
    stored.set(number, count);
  const isErased = (number: string): boolean => erased.has(number.replace(/-\d+$/, ""));
  const found = {
    "acknowledged events are lost": [...acknowledged].filter((number) => !stored.has(number)),
    "events are stored twice": [...stored].flatMap(([number, count]) => (count > 1 ? [number] : [])),
    "events of erased people remain": [...stored.keys()].filter(isErased),
    "names of erased people remain": (
      await rows<{ name: string }>("select external_id as name from track.identity where external_id like 'gone-%'")
    ).flatMap(({ name }) => (erased.has(name) ? [name] : [])),
  };
  for (const [text, list] of Object.entries(found))
    if (list.length > 0) problem(`${list.length} ${text}: ${list.slice(0, 3).join(", ")}`);
}

/** All that is derived from events: as plain SQL computes it, and as a refresh from nothing leaves it. */
async function checkDerived(rows: Rows, client: pg.Client): Promise<void> {
  for (const text of (await refreshAll(rows)).failed) problem(`refresh: ${text}`);
  for (const [name, [incremental, plain]] of Object.entries(pairs)) {
    const [one, other] = [JSON.stringify(await rows(incremental)), JSON.stringify(await rows(plain))];
    if (one !== other) problem(`rollup "${name}" differs from the events`);
  }
  const [wrong] = await rows<{ rollup: string }>("select rollup from track.rollup_check where differing > 0 limit 1");
  if (wrong !== undefined) problem(`the worker has found and repaired a difference in ${wrong.rollup}`);

  const read = { rows, query: (sql: string) => client.query(sql) } as unknown as Queries;
  const before = await contents(read);
  await rows("select track.rebuild()");
  for (const text of (await refreshAll(rows)).failed) problem(`refresh from nothing: ${text}`);
  for (const [table, after] of Object.entries(await contents(read))) {
    const [one, other] = [new Set(before[table]), new Set(after)];
    const example = [...one].find((line) => !other.has(line)) ?? after.find((line) => !one.has(line));
    if (example !== undefined || before[table]?.length !== after.length)
      problem(`${table} differs after a refresh from nothing: ${example?.slice(0, 300)}`);
  }
}

async function checkLedger(rows: Rows): Promise<void> {
  for (const { text } of await rows<{ text: string }>(
    `select format('%s: %s', found.problem, found.description) as text
     from privacy.verify_ledger() as report, unnest(report.problems) as found`,
  ))
    problem(`the ledger: ${text}`);
}

async function check(): Promise<void> {
  isPaused = true;
  for (let tenths = 0; busy > 0; tenths += 1) {
    if (tenths === 3000) problem(`${busy} senders, imports, erasures or migrations do not end within five minutes`);
    await wait(100);
  }
  isStopped = true;
  await Promise.all([end("api"), end("worker")]);
  // Sessions that a killed process has left, or a network that was cut.
  await untilDone(terminateAll);
  await withClient(server.url(), async (client) => {
    const rows: Rows = async <T extends object>(sql: string, values: readonly unknown[] = []) =>
      (await client.query(sql, [...values])).rows as T[];
    await checkMessages(rows);
    await checkDerived(rows, client);
    await checkLedger(rows);
  });
  isPaused = false;
  isStopped = false;
}

// ------------------------------------------------------------------------------------------------------------------
// The campaign
// ------------------------------------------------------------------------------------------------------------------

console.log(`seed ${seed}: ${faultCount} faults, logs in ${logs}`);
if (volume === undefined) console.log("without full disks: this process may not mount a file system");
void Promise.all([supervise("api"), supervise("worker")]);
while (services.api.port === 0) await wait(100);
void Promise.all([eraseAll(), importAll(), migrateAll(), schedule(), ...[1, 2, 3, 4].map(sendAll)]);

const chosen = Object.entries(faults).filter(([name]) => name.includes(given.only));
const counts = new Map<string, number>();
const started = performance.now();
const pending: Promise<void>[] = [];
for (let index = 0; index < faultCount; ) {
  for (let inRound = 0; inRound < faultsPerRound && index < faultCount; inRound += 1, index += 1) {
    const [gap, duration, choice] = [random(3000), 200 + random(3000), random(1_000_000)];
    const [name, fault] = chosen[random(chosen.length)] as [string, Fault];
    await wait(gap);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    // The next fault may come before this one is over, but two of them would not start PostgreSQL at once.
    if (given.verbose) console.log(`${new Date().toISOString().slice(11, 19)} ${name} (${duration} ms)`);
    const one = fault(duration, choice).catch(() => {});
    if (/PostgreSQL (is|jumps)|disk/.test(name)) await one;
    else pending.push(one);
  }
  await Promise.all(pending.splice(0));
  await untilDone(() => server.rows("select"));
  const settled = performance.now();
  await check();
  console.log(
    `${String(index).padStart(6)} faults  ${acknowledged.size.toLocaleString("en")} events acknowledged  ` +
      `${done.repeated} of ${done.requests} requests repeated  ${done.erasures} erasures  ${done.imports} imports  ` +
      `${done.migrations} migrations  ${problems.length} problems  (checked in ${((performance.now() - settled) / 1000).toFixed(0)} s)`,
  );
  if (performance.now() - started > Number(given.minutes) * 60_000) break;
}

console.log("");
for (const [name, count] of [...counts].sort(([, a], [, b]) => b - a))
  console.log(`${String(count).padStart(6)}  ${name}`);
console.log(
  `\nseed ${seed}: ${problems.length} problems in ${((performance.now() - started) / 60_000).toFixed(1)} minutes` +
    (problems.length > 0 ? `\n${[...new Set(problems)].join("\n")}` : ""),
);
isOver = true;
if (problems.length === 0 && !given.keep) rmSync(logs, { recursive: true });
process.exit(problems.length === 0 ? 0 : 1);
