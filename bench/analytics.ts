/*
 * Analytics: each function beside plain SQL on the events and DuckDB over the same events, what an event costs in bytes
 * and in upkeep, and how much of that depends on the number of events stored.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/analytics.ts [options]
 *
 *   --events 1000000,10000000   sizes; upkeep is compared between the first and the last
 *   --people 50000              learners of the largest size; the others have fewer in proportion (default: events / 200)
 *   --seed 1                    another seed gives other events
 *   --only 'trend|28 days'      only the questions whose name matches this regular expression
 *   --no-upkeep                 without ingestion and refreshes
 *   --clusters                  also the clusters of behaviour: time, memory, and the names that stay in a second fit
 *   --keep                      keeps the databases, and DuckDB's files in the temporary directory
 *   --reuse                     uses those that an earlier run kept; nothing is generated
 *   --processor                 processor time instead of wall time, for a machine with other work: the smallest of five
 *                               times, of the server's process (on this Linux machine, without parallel workers) and of
 *                               DuckDB's threads
 *
 * Needs a PostgreSQL server. The events are those of a simulated platform over twelve to thirteen months, up to the
 * last UTC midnight (bench/platform.ts describes the distributions). All data that is derived from them is computed by
 * track.rebuild and track.refresh.
 *
 * Plain SQL reads track.event, without just-in-time compilation, which here costs more than it gains. DuckDB (two
 * threads) has the events in a table of its own file, sorted by person and time. Both take engaged times from the page
 * views, and paths from the page views with their sessions: dividing events into sessions is not part of any question.
 * Each answer is compared with those of plain SQL and
 * of DuckDB, all rows and columns, before any time is printed. Cold is the first call in a new session; the other times
 * are medians of five (of plain SQL, three or fewer). The smallest group is set to one person, since neither plain SQL
 * nor DuckDB withholds groups.
 *
 * Upkeep is measured in transactions that are rolled back, so that each begins with the same data.
 */
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import type { Message } from "../src/importer/message.ts";
import { type BenchDatabase, nativeDatabase } from "./database.ts";
import { type Duck, openDuck } from "./duck.ts";
import { ingest, Platform, type Step, storePlatform } from "./platform.ts";
import { DAY, date, popularItems, questions, trend } from "./questions.ts";

const { values: given } = parseArgs({
  options: {
    events: { type: "string", default: "1000000,10000000" },
    people: { type: "string" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    "no-upkeep": { type: "boolean", default: false },
    clusters: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    reuse: { type: "boolean", default: false },
    processor: { type: "boolean", default: false },
  },
});
const sizes = given.events.split(",").map(Number);
if (!sizes.every((size) => size >= 1_000)) throw new Error(`--events ${given.events}: give numbers from 1000`);
const largest = Math.max(...sizes);
const peopleOf = (size: number): number => Math.ceil((Number(given.people ?? largest / 200) * size) / largest);

/* --------------------------------------------------------------------------------------------------- measurements -- */

const started = (): (() => number) => {
  const began = performance.now();
  return () => performance.now() - began;
};

async function timed(work: () => Promise<unknown>): Promise<number> {
  const passed = started();
  await work();
  return passed();
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** A clock in milliseconds. */
type Clock = () => number;

const wall: Clock = () => performance.now();

/** The processor time of DuckDB's threads, which are those of this process. */
const ownProcessor: Clock = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

/** The processor time of the server's process of a session. */
async function processorOf(client: pg.Client): Promise<Clock> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return () => Number(readFileSync(`/proc/${rows[0]?.pid}/schedstat`, "utf8").split(" ")[0]) / 1_000_000;
}

/** The median of five times, or of fewer when they take more than 10 s together; with `--processor` the smallest. */
async function warm(work: () => Promise<unknown>, clock: Clock, most = 5): Promise<number> {
  const times: number[] = [];
  for (const passed = started(); times.length < most && (passed() < 10_000 || times.length === 0); ) {
    const began = clock();
    await work();
    times.push(clock() - began);
  }
  return given.processor ? Math.min(...times) : median(times);
}

const milliseconds = (time: number): string => `${time.toFixed(time < 10 ? 1 : 0).padStart(7)} ms`;

const step: Step = async (label, work) => {
  const passed = started();
  let told = 0;
  const result = await work((share) => {
    if (!process.stderr.isTTY || passed() - told < 1_000) return;
    told = passed();
    process.stderr.write(`\r${label} ${Math.round(100 * share)} % `);
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(`${label.padEnd(60)} ${(passed() / 1_000).toFixed(1).padStart(7)} s`);
  return result;
};

type Answer = (string | number | null)[][];

async function ask(client: pg.Client, question: string): Promise<Answer> {
  const text = question
    .replaceAll(/'([\d-]+)'::moment/g, "timestamptz '$1 00:00Z'")
    .replaceAll(/'(\w+)'::property/g, "properties ->> '$1'");
  const { rows } = await client.query<(string | number | null)[]>({ text, rowMode: "array" });
  return rows;
}

/** Numbers may differ in their last digits, which depend on the order of addition. */
function compareAnswers(name: string, ours: Answer, theirs: Answer, peer: string): void {
  const same = (a: string | number | null | undefined, b: string | number | null | undefined): boolean => {
    if (a === b) return true;
    if (a === null || b === null || a === "" || b === "") return false;
    return Math.abs(Number(a) - Number(b)) <= 1e-9 * Math.max(1, Math.abs(Number(a)));
  };
  const at = ours.findIndex((row, index) => row.some((value, column) => !same(value, theirs[index]?.[column])));
  if (at < 0 && ours.length === theirs.length && ours.length > 0) return;
  const row = Math.max(0, at);
  throw new Error(
    `${name}: ${ours.length} rows, ${peer} ${theirs.length}; row ${row}: ${JSON.stringify(ours[row])}, ${peer} ${JSON.stringify(theirs[row])}`,
  );
}

async function measureQuestions({ client, url }: BenchDatabase, duck: Duck, until: number): Promise<void> {
  const asked = questions(until).filter(({ name }) => new RegExp(given.only).test(name));
  if (asked.length === 0) throw new Error(`no question matches --only ${given.only}`);
  const server = given.processor ? await processorOf(client) : wall;
  const columns = ["cold", "warm", "plain SQL", "DuckDB", "warm / DuckDB", "plain / warm"];
  console.log(`\n${"".padEnd(48)}${columns.map((column) => column.padStart(14)).join("")}`);
  for (const { name, ours, plain, duck: form = plain, aim = 50, times = 1, prepare: before } of asked) {
    if (before !== undefined) {
      await client.query(before);
      await refreshAll(client);
    }
    const fresh = new pg.Client({ connectionString: url });
    await fresh.connect();
    await fresh.query(SETTINGS);
    const cold = await timed(() => ask(fresh, ours));
    await fresh.end();
    const answer = await ask(client, ours);
    compareAnswers(name, answer, await ask(client, plain), "plain SQL");
    compareAnswers(name, answer, await duck.ask(form), "DuckDB");
    const own = await warm(() => ask(client, ours), server);
    const peer = await warm(() => duck.ask(form), given.processor ? ownProcessor : wall);
    const base = await warm(() => ask(client, plain), server, 3);
    const missed = [
      ...(own > aim ? [`${aim} ms`] : []),
      ...(own > times * peer ? [times === 1 ? "DuckDB" : `${times} times DuckDB`] : []),
    ].join(", ");
    console.log(
      name.padEnd(48) +
        [...[cold, own, base, peer].map(milliseconds), (own / peer).toFixed(2), (base / own).toFixed(1)]
          .map((text) => text.padStart(14))
          .join("") +
        (missed === "" ? "" : `   over ${missed}`),
    );
  }
}

/* ------------------------------------------------------------------------------------------------------- clusters -- */

/**
 * Two fits with different seeds, which are rolled back, in a session of their own. Memory is that of the server's process
 * alone, without shared buffers, above that of the idle session.
 */
async function measureClusters(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(SETTINGS);
  await client.query("begin");
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const clock = given.processor ? await processorOf(client) : wall;
  const memory = (): number =>
    Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${rows[0]?.pid}/status`, "utf8"))?.[1]) / 1_024;
  const idle = memory();
  let most = 0;
  const sampling = setInterval(() => {
    most = Math.max(most, memory() - idle);
  }, 50);
  const names: string[][] = [];
  for (const seed of [1, 2]) {
    const began = clock();
    await client.query("select analytics.fit_clusters($1)", [seed]);
    const time = clock() - began;
    const found = await client.query<{ cluster: string; people: number }>(
      "select cluster, person_count::int as people from analytics.clusters() where person_count > 0",
    );
    names.push(found.rows.map(({ cluster }) => cluster));
    const people = found.rows.reduce((sum, row) => sum + row.people, 0);
    console.log(
      `analytics.fit_clusters, seed ${seed}: ${(time / 1_000).toFixed(1)} s, ${people.toLocaleString("en")} people in ` +
        `${found.rows.length} clusters, at most ${most.toFixed(0)} MB`,
    );
  }
  clearInterval(sampling);
  await client.query("rollback");
  await client.end();
  const stayed = names[1]?.filter((name) => names[0]?.includes(name)).length;
  console.log(`${stayed} of ${names[0]?.length} names stay`);
}

/* --------------------------------------------------------------------------------------------------------- upkeep -- */

/** 10,000 events of 1,000 people, a session each, sent in the order of their times. */
function sessionsOf(people: readonly string[], end: number, round: number): Message[] {
  const now = new Date().toISOString();
  return people
    .flatMap((userId, index) => {
      const course = `course-${(index % 200) + 1}`;
      const item = (step: number): string => `${course}/module-${1 + Math.floor(step / 4)}/${1 + (step % 4)}`;
      const steps: [event: string | undefined, item: string | undefined][] = [
        [undefined, course],
        ...[0, 1, 2, 3].map((each): [undefined, string] => [undefined, item(4 * (index % 4) + each)]),
        ["Video Playback Started", item(1)],
        ["Task Started", item(3)],
        ["Task Submitted", item(3)],
        [undefined, "home"],
        ["Search", undefined],
      ];
      return steps.map(([event, about], position): Message & { at: number } => {
        const at = end - 2_400_000 + ((index * 7_919) % 2_000_000) + position * 20_000;
        const time = new Date(at).toISOString();
        return {
          type: event === undefined ? "page" : "track",
          ...(event === undefined ? {} : { event }),
          messageId: `upkeep ${round} ${index} ${position}`,
          userId,
          properties: about === undefined ? { query: "x" } : { item: about },
          timestamp: time,
          sentAt: now,
          receivedAt: now,
          at,
        };
      });
    })
    .sort((a, b) => a.at - b.at)
    .map(({ at: _at, ...message }) => message);
}

async function refreshAll(client: pg.Client): Promise<void> {
  while (((await client.query("select from track.refresh()")).rowCount ?? 0) > 0);
}

async function ingestAll(client: pg.Client, messages: readonly Message[], size: number): Promise<void> {
  for (let start = 0; start < messages.length; start += size) await ingest(client, messages.slice(start, start + size));
}

/** Medians of three rounds, by name. */
async function measureUpkeep(client: pg.Client, until: number): Promise<Map<string, number>> {
  const { rows } = await client.query<{ name: string }>(`
    select external_id as name
    from track.identity
    join person on person.person_id = identity.person_id
    where identity.kind = 'user' and is_counted
    order by hashint8(identity.identity_id), identity.identity_id
    limit 1000`);
  const people = rows.map(({ name }) => name);
  const found = new Map<string, number[]>();
  const note = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    found.set(name, [...(found.get(name) ?? []), await timed(work)]);
  };
  const undone = async (work: () => Promise<unknown>): Promise<void> => {
    await client.query("begin");
    await work();
    await client.query("rollback");
  };
  for (let round = 0; round < 3; round += 1) {
    await note("track.refresh, nothing new", () => client.query("select from track.refresh()"));
    await undone(async () => {
      const messages = sessionsOf(people, Date.now(), round);
      await note("track.ingest, 10,000 events in batches of 500", () => ingestAll(client, messages, 500));
    });
    await undone(async () => {
      const messages = sessionsOf(people, Date.now(), round);
      await note("track.ingest, 10,000 events in one batch", () => ingestAll(client, messages, 10_000));
      const tomorrow = Math.ceil(Date.now() / DAY) * DAY;
      for (const { name, ours, plain } of [
        popularItems("28 days, these events queued", [date(tomorrow - 28 * DAY), date(tomorrow)]),
        trend("Page Viewed", "day", date(tomorrow - 365 * DAY), date(tomorrow - DAY)),
      ]) {
        const label = name.includes("queued") ? name : `${name}, these events queued`;
        await note(label, async () => ask(client, ours));
        if (round === 0) compareAnswers(label, await ask(client, ours), await ask(client, plain), "plain SQL");
      }
      await note("track.refresh after 10,000 events of 1,000 people", () => refreshAll(client));
    });
    await undone(async () => {
      await ingestAll(client, sessionsOf(people, until - 40 * DAY, round), 10_000);
      await note("track.refresh after 10,000 events, 40 days late", () => refreshAll(client));
    });
    await undone(async () => {
      await client.query(
        `with deleted as (
          delete from track.event
          using (
            select numbered.person_id, numbered.occurred_at, numbered.event_id
            from (
              select event.*, row_number() over (partition by event.person_id order by event.occurred_at desc) as place
              from track.identity
              join track.event using (person_id)
              where identity.kind = 'user'
                and identity.external_id = any ($1)
                and event.occurred_at < $2
            ) as numbered
            where place <= 10
          ) as chosen
          where event.person_id = chosen.person_id
            and event.occurred_at = chosen.occurred_at
            and event.event_id = chosen.event_id
          returning event.person_id, event.occurred_at
        )
        insert into track.stale (person_id, since, until)
        select person_id, min(occurred_at), max(occurred_at)
        from deleted
        group by person_id, date_trunc('month', occurred_at)`,
        [people, new Date(until - 40 * DAY)],
      );
      await note("track.refresh after 10,000 events deleted, 40 days old", () => refreshAll(client));
    });
    await note("analytics.refresh_views", () => client.query("select analytics.refresh_views()"));
    await client.query("vacuum");
  }
  return new Map([...found].map(([name, times]) => [name, median(times)]));
}

/** Bytes of each table with its indexes and partitions, per event. */
async function measureBytes(client: pg.Client, events: number): Promise<Map<string, number>> {
  await client.query("vacuum analyze");
  const { rows } = await client.query<{ name: string; bytes: string }>(`
    select coalesce(parent.inhparent, relation.oid)::regclass::text as name, sum(pg_total_relation_size(relation.oid)) as bytes
    from pg_class as relation
    left join pg_inherits as parent on parent.inhrelid = relation.oid
    where relation.relkind in ('r', 'm')
      and relation.relnamespace::regnamespace::text in ('track', 'analytics', 'recommend')
    group by 1
    order by 2 desc`);
  const bytes = new Map<string, number>();
  let rest = 0;
  for (const row of rows) {
    const each = Number(row.bytes) / events;
    if (each >= 0.2) bytes.set(row.name, each);
    else rest += each;
  }
  bytes.set("other tables", rest);
  bytes.set(
    "bytes per event",
    [...bytes.values()].reduce((sum, each) => sum + each, 0),
  );
  return bytes;
}

/* ----------------------------------------------------------------------------------------------------------- runs -- */

const SETTINGS = `set search_path to public; set timezone to 'UTC'; set jit to off${
  given.processor ? "; set max_parallel_workers_per_gather to 0" : ""
}`;

/** Settings, and the additional tables and function that plain SQL uses. */
async function prepare(client: pg.Client): Promise<void> {
  await client.query(SETTINGS);
  await client.query("update analytics.setting set smallest_group = 1 where smallest_group <> 1");
  // The platform's events, as its application would have stored them.
  await client.query(`
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select
      done.person_id, done.item_id, case when max(done.at) filter (where name = 'Course Completed') is null then 'active'
        else 'completed' end,
      min(done.at), max(done.at) filter (where name = 'Course Completed'), min(identity.identity_id)
    from (
      select person_id, item_id, name, min(occurred_at) as at
      from track.event
      join track.event_type using (event_type_id)
      where name in ('Course Enrolled', 'Course Completed')
        and person_id <> 0
      group by 1, 2, 3
    ) as done
    join track.identity on identity.person_id = done.person_id and identity.kind = 'user'
    group by 1, 2
    on conflict do nothing`);
  await client.query(`
    create or replace function public.seconds(interval) returns float8
    language sql immutable parallel safe return extract(epoch from $1);

    drop table if exists public.person;
    create table public.person as
      select
        person.person_id,
        coalesce(get_bit(counted.people, (person.person_id % 4096)::int) = 1, false) as is_counted,
        exists (
          select
          from track.exclusion
          join track.identity using (identity_id)
          where identity.person_id = person.person_id
        ) as is_excluded
      from track.person
      left join track.person_set_block as counted
        on counted.name = 'counted' and counted.block = person.person_id / 4096;
    analyze public.person;

    drop table if exists public.viewed;
    create table public.viewed as
      select page_view.person_id, session.started_at as session_at, page_view.view_number, page_view.item_id
      from track.session
      join track.page_view using (person_id, session_id)
      where not page_view.is_continued
      order by page_view.person_id, session.started_at, page_view.view_number;
    analyze public.viewed`);
}

/** A whole cycle. The call that has nothing to pack gives the space of the packed messages back. */
async function packMessages(client: pg.Client): Promise<void> {
  for (let position = 1; position > 0; ) {
    await client.query("select track.pack_messages(false)");
    const { rows } = await client.query<{ position: string }>("select position from track.message_packing");
    position = Number(rows[0]?.position);
  }
  let moved: number | null;
  do {
    const { rows } = await client.query<{ moved: number | null }>("select track.pack_messages() as moved");
    moved = rows[0]?.moved ?? null;
  } while (moved !== null);
}

/** Everything that is derived from the events. People have entered their sets before, as in use. */
async function rebuild(client: pg.Client, events: number): Promise<void> {
  await step("sets of people", async () => {
    while (((await client.query("select from track.refresh(2000, 'track.person_set')")).rowCount ?? 0) > 0);
  });
  await client.query("select track.rebuild()");
  const { rows } = await client.query<{ consumer: string }>(
    "select 'track.session' as consumer union all (select consumer from track.consumer order by position)",
  );
  const passed = started();
  for (const { consumer } of rows) {
    await step(`track.refresh of all, ${consumer}`, async () => {
      while (((await client.query("select from track.refresh(2000, $1)", [consumer])).rowCount ?? 0) > 0);
    });
  }
  console.log(`${"in all, per million events".padEnd(60)} ${((1_000 * passed()) / events).toFixed(1).padStart(7)} s`);
}

const upkeep: Map<string, number>[] = [];
const storage: Map<string, number>[] = [];

async function run(database: BenchDatabase, size: number, file: string): Promise<void> {
  const { client } = database;
  if (!given.reuse) {
    const until = Math.floor(Date.now() / DAY) * DAY;
    const platform = new Platform({ events: size, people: peopleOf(size), seed: Number(given.seed), until });
    const stored = await storePlatform(client, platform, step);
    await step("messages, packed by track.pack_messages", () => packMessages(client));
    await step("vacuum analyze", () => client.query("vacuum analyze"));
    await rebuild(client, stored);
    await client.query("select analytics.refresh_views()");
    await step("vacuum analyze", () => client.query("vacuum analyze"));
  }
  await prepare(client);
  const { rows } = await client.query<{ events: string; people: string; until: Date }>(`
    select
      count(*) as events, count(distinct person_id) as people,
      date_trunc('day', max(occurred_at)) + interval '1 day' as until
    from track.event`);
  const events = Number(rows[0]?.events);
  const until = rows[0]?.until.getTime() ?? Number.NaN;
  const duck = await openDuck(file, client, events, step);
  console.log(
    `${database.name}: ${events.toLocaleString("en")} events of ${Number(rows[0]?.people).toLocaleString("en")} people ` +
      `until ${date(until)}; ${duck.name}`,
  );
  await measureQuestions(database, duck, until);
  duck.close();
  if (given.clusters) await measureClusters(database.url);
  if (given["no-upkeep"]) return;
  storage.push(await measureBytes(client, events));
  upkeep.push(await measureUpkeep(client, until));
}

for (const size of sizes) {
  const name = `insights_bench_analytics_${size}`;
  const file = join(tmpdir(), `${name}.duckdb`);
  const database = await nativeDatabase(name, given.reuse);
  try {
    await run(database, size, file);
  } finally {
    if (given.keep) await database.client.end();
    else {
      await database.close();
      for (const each of [file, `${file}.csv`, `${file}.wal`]) await rm(each, { force: true });
    }
  }
}

const heads = sizes.map((size) => size.toLocaleString("en").padStart(14)).join("");
const show = (tables: readonly Map<string, number>[], format: (value: number) => string): void => {
  console.log(`\n${"".padEnd(60)}${heads}${sizes.length > 1 ? "last / first".padStart(14) : ""}`);
  for (const name of new Set(tables.flatMap((table) => [...table.keys()]))) {
    const values = tables.map((table) => table.get(name) ?? Number.NaN);
    const ratio = sizes.length > 1 ? ((values.at(-1) ?? 0) / (values[0] ?? 0)).toFixed(2).padStart(14) : "";
    console.log(`${name.padEnd(60)}${values.map((value) => format(value).padStart(14)).join("")}${ratio}`);
  }
};
if (upkeep.length > 0) {
  show(upkeep, milliseconds);
  show(storage, (value) => value.toFixed(1));
}
process.exit();
