import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import { catalogueOf } from "../../src/database/catalogue.ts";
import { withClient } from "../../src/database/connect.ts";
import { bootstrap, installWorker, runAsOwner } from "../../src/database/migrate.ts";
import { checkout } from "../support/checkout.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { endAtEndOfFile } from "../support/insights.ts";
import { learners, makeWorld, refresh } from "../support/world.ts";

/*
 * A database of the previous release, with data and with concurrent readers and writers, gets a release with a change
 * of each kind. No session waits for long, no event is lost, and the result equals a fresh installation.
 */

endAtEndOfFile();
const template = await testDatabase();

/** A batch of events of the last three months, the same for the same number. */
const batch = (number: number): object[] =>
  Array.from({ length: 10 }, (_, place) => ({
    type: "track",
    messageId: `load-${number}-${place}`,
    userId: learners[(number + place) % learners.length],
    event: place % 3 === 0 ? "Task Submitted" : "Page Viewed",
    timestamp: new Date(start - ((number * 7919 + place * 104_729) % 90) * 86_400_000).toISOString(),
    properties: { item: ["course-algebra", "course-analysis", "course-poetry", "course-drama"][(number + place) % 4] },
  }));
const start = Date.now() - 86_400_000;

/** The data of the other tests, at one time for all databases. */
async function makeSameWorld(database: TestDatabase): Promise<void> {
  vi.useFakeTimers({ toFake: ["Date"], now: start });
  await makeWorld(database).finally(() => vi.useRealTimers());
}

const answers = {
  popular: "select * from analytics.popular_items(since => now() - interval '200 days')",
  trend:
    "select bucket_start, event_count, person_count, running_average, slope from analytics.trend('Page Viewed', since => now() - interval '200 days')",
  recommended: "select rank, item, round(score::numeric, 9) as score, basis from recommend.for_person('ada', 3)",
  notes: "select count(*) from monitor.notes()",
};

/** Readers and writers on connections of their own, until they are stopped. */
class Load {
  /** Batches that were acknowledged, and the events in them. */
  readonly batches: number[] = [];
  accepted = 0;
  reads = 0;
  readonly errors: string[] = [];
  longestQuery = 0;
  /** The longest observed wait for a lock, and the waiting statement. */
  longestWait = 0;
  #stopped = false;
  readonly #working: Promise<void>[] = [];

  constructor(database: TestDatabase, first: number) {
    let next = first;
    const loop = (work: () => Promise<void>, pause: number): void => {
      this.#working.push(
        (async () => {
          while (!this.#stopped) {
            const began = performance.now();
            await work().catch((error: unknown) => this.errors.push(String(error)));
            this.longestQuery = Math.max(this.longestQuery, performance.now() - began);
            await wait(pause);
          }
        })(),
      );
    };
    for (let writer = 0; writer < 2; writer++) {
      loop(async () => {
        const number = next++;
        const accepted = await database.value<number>("select (track.ingest($1)).accepted", [
          JSON.stringify(batch(number)),
        ]);
        this.accepted += accepted;
        this.batches.push(number);
      }, 10);
    }
    for (const sql of Object.values(answers)) {
      loop(async () => {
        await database.query(sql);
        this.reads++;
      }, 10);
    }
    loop(async () => {
      const waited = await database.value<number>(
        `select coalesce(max(extract(epoch from clock_timestamp() - lock.waitstart)), 0)::float8
         from pg_locks as lock
         join pg_stat_activity as activity using (pid)
         where not lock.granted and lock.locktype <> 'advisory' and activity.datname = current_database()
           and activity.query !~ '^(--!|create (unique )?index concurrently)'`,
      );
      this.longestWait = Math.max(this.longestWait, waited);
    }, 20);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#working);
  }
}

describe.skipIf(!template.native)("an upgrade under load (needs a real server)", async () => {
  if (!template.native) return;
  const copy = await checkout();
  const server = template.url();
  const note = (columns: string): string => `create or replace function monitor.notes()
returns setof monitor.note
language sql
stable
set search_path to pg_catalog, pg_temp
as $$ select ${columns} from monitor.run $$;
grant execute on function monitor.notes() to insights_admin;
`;
  const tables = "src/sql/monitor/tables.sql";
  await copy.write(tables, `${await copy.read(tables)}\ncreate type monitor.note as (task text);\n`);
  await copy.write("src/sql/monitor/functions/notes.sql", note("task"));
  await copy.write(
    "src/sql/all.sql",
    `${(await copy.read("src/sql/all.sql")).trimEnd()}\n--!include monitor/functions/notes.sql\n`,
  );
  await copy.firstRelease(server);

  const database = await testDatabase({ empty: true });
  const migrate = (environment: Record<string, string> = {}) => copy.insights(["migrate"], database.url(), environment);
  const first = migrate();
  if ((await first.exitCode()) !== 0) throw new Error(first.output());
  await makeSameWorld(database);
  const loaded = 100;
  for (let number = 0; number < loaded; number++) {
    await database.query("select track.ingest($1)", [JSON.stringify(batch(number))]);
  }
  await refresh(database);
  const stored = (): Promise<number> => database.value<number>("select count(*)::int from track.event");

  test("a release with a change of each kind", async () => {
    const trend = "src/sql/analytics/trend/trend.sql";
    const before = await copy.read(trend);
    await copy.write(
      trend,
      before.replace(/(comment on function analytics\.trend[^$]*\$\$\s*(?:@.*\n)*)/, "$1Newly described. "),
    );
    await copy.edit("src/sql/privacy/views.sql", "valid_until, decided_by\n", "valid_until, decided_by, recorded_at\n");
    await copy.write(
      "src/sql/track/policies.sql",
      `${await copy.read("src/sql/track/policies.sql")}
drop policy if exists workers on track.session;
create policy workers on track.session for select to insights_worker using (true);
`,
    );
    await copy.write("src/sql/monitor/functions/notes.sql", note("task, outcome"));
    const structure = await copy.read("src/sql/track/tables.sql");
    const column = "alter table track.event add column if not exists device text;\n";
    await copy.write(
      "src/sql/track/tables.sql",
      `${structure}\n${column}create index event_kind on track.event (event_type_id, device, occurred_at);\n`,
    );
    const monitor = await copy.read(tables);
    await copy.write(
      tables,
      monitor.replace("monitor.note as (task text)", "monitor.note as (task text, outcome text)"),
    );
    await copy.write(
      "current.sql",
      `${column}create index if not exists event_kind on only track.event (event_type_id, device, occurred_at);
alter type monitor.note add attribute outcome text;
`,
    );
    await copy.commit(server, "--message", "each kind");
    const planned = copy.insights(["migrate", "--plan"], database.url());
    expect(await planned.exitCode()).toBe(0);
    expect(planned.output()).toMatch(
      /ACCESS EXCLUSIVE on track\.event and \d+ partitions \(.*\): reads and writes wait/,
    );
    expect(planned.output()).toMatch(
      /create index on only event_kind\n.*SHARE on track\.event .*\n.*each partition is indexed concurrently/,
    );
    expect(planned.output()).toContain("ACCESS EXCLUSIVE on privacy.current_consent");

    const had = await stored();
    const load = new Load(database, loaded);
    await wait(1000);
    const readsBefore = load.reads;
    // Two concurrent ones have the effect of one.
    const runs = [migrate(), migrate()];
    const codes = await Promise.all(runs.map((run) => run.exitCode()));
    await wait(1000);
    await load.stop();
    const said = runs.map((run) => run.output()).join("\n");
    expect(codes, said).toEqual([0, 0]);
    expect(said.match(/applied 000002-each-kind\.sql/g)).toHaveLength(1);
    console.log(
      `an upgrade under load: ${load.batches.length} batches and ${load.reads} reads; the longest wait for a lock ` +
        `${Math.round(load.longestWait * 1000)} ms, the longest query ${Math.round(load.longestQuery)} ms`,
    );
    expect(load.errors).toEqual([]);
    expect(load.reads).toBeGreaterThan(readsBefore);
    // The bound of one try is a second; the rest is room for a busy machine. A release that kept its locks between tries would take longer.
    expect(load.longestWait).toBeLessThan(30);
    expect(load.accepted).toBe(load.batches.length * 10);
    expect(await stored()).toBe(had + load.accepted);

    // The same events into a fresh installation of the new source.
    const fresh = await testDatabase({ empty: true });
    const sql = (await import(join(copy.root, "src/database/sql.ts"))) as typeof import("../../src/database/sql.ts");
    await withClient(fresh.url(), async (client) => {
      await bootstrap(client);
      await installWorker(fresh.url());
      await runAsOwner(client, await sql.expandSql("install.sql"));
    });
    await makeSameWorld(fresh);
    for (const number of [...Array(loaded).keys(), ...load.batches]) {
      await fresh.query("select track.ingest($1)", [JSON.stringify(batch(number))]);
    }
    await refresh(fresh);
    await refresh(database);
    expect(await stored()).toBe(await fresh.value<number>("select count(*)::int from track.event"));
    for (const sql of Object.values(answers)) expect(await database.rows(sql)).toEqual(await fresh.rows(sql));
    const catalogue = (of: TestDatabase): Promise<unknown> => of.as("insights_owner", { search_path: "" }, catalogueOf);
    expect(await catalogue(database)).toEqual(await catalogue(fresh));
  });

  test("a long transaction that holds a lock is named; other sessions continue between the tries, and nothing is changed", async () => {
    await copy.write(
      "current.sql",
      "comment on table monitor.run is 'Changed first.';\nalter table track.event add column if not exists browser text;\n",
    );
    const structure = await copy.read("src/sql/track/tables.sql");
    await copy.write("src/sql/track/tables.sql", `${structure}\nalter table track.event add column browser text;\n`);
    const monitor = await copy.read(tables);
    await copy.write(tables, `${monitor}\ncomment on table monitor.run is 'Changed first.';\n`);
    await copy.commit(server, "--message", "a column");
    const report = await database.pool.connect();
    try {
      await report.query("set application_name to 'the report'");
      await report.query("begin");
      await report.query("select count(*) from track.event /* long */");
      const waiting = migrate();
      await waiting.prints(
        /release 000003-a-column\.sql: a lock is held by pid \d+, user \w+, application "the report", idle in transaction since [\d:]+: select count\(\*\) from track\.event \/\* long \*\/\. Try 1 of 10; the next in 1 s/,
      );
      // While the report is still open.
      await database.query(answers.popular);
      await database.query("select track.ingest($1)", [JSON.stringify(batch(1_000_000))]);

      // Long enough for the connection that finds the holder, on a busy machine.
      const hasty = migrate({ INSIGHTS_LOCK_TRIES: "1", INSIGHTS_LOCK_TIMEOUT: "2000" });
      expect(await hasty.exitCode()).toBe(1);
      expect(hasty.output()).toMatch(
        /error: release 000003-a-column\.sql was not applied: a lock was held by pid \d+.* at each of 1 tries/,
      );
      expect(hasty.output()).toContain("hint: Nothing was changed.");
      expect(await database.value("select obj_description('monitor.run'::regclass)")).not.toBe("Changed first.");
      await report.query("commit");
      expect(await waiting.exitCode(), waiting.output()).toBe(0);
      expect(waiting.output()).toContain("applied 000003-a-column.sql");
      expect(await database.value("select obj_description('monitor.run'::regclass)")).toBe("Changed first.");
    } finally {
      await report.query("rollback").catch(() => {});
      report.release();
    }
  });

  test("a process that is killed in the middle of a release leaves nothing behind", async () => {
    const structure = await copy.read("src/sql/track/tables.sql");
    const column = "alter table track.session add column if not exists tag text;\n";
    await copy.write("src/sql/track/tables.sql", `${structure}\n${column}`);
    await copy.write("current.sql", `${column}select pg_catalog.pg_advisory_xact_lock(4711);\n`);
    await copy.commit(server, "--message", "a slow one");
    const holder = await database.pool.connect();
    try {
      await holder.query("begin; select pg_advisory_xact_lock(4711)");
      const killed = migrate({ INSIGHTS_LOCK_TIMEOUT: "60000" });
      const waiting = "select pid from pg_stat_activity where wait_event = 'advisory' and datname = current_database()";
      let pids: { pid: number }[] = [];
      while (pids.length === 0 && killed.child.exitCode === null) {
        await wait(50);
        pids = await database.rows<{ pid: number }>(waiting);
      }
      expect(pids, killed.output()).toHaveLength(1);
      killed.child.kill("SIGKILL");
      await killed.exitCode();
      await holder.query("commit");
      const left = "select from pg_stat_activity where pid = $1";
      while ((await database.rows(left, [pids[0]?.pid])).length > 0) await wait(50);
    } finally {
      await holder.query("rollback");
      holder.release();
    }
    const present =
      "select count(*)::int from pg_attribute where attrelid = 'track.session'::regclass and attname = 'tag'";
    expect(await database.value(present)).toBe(0);
    const again = migrate();
    expect(await again.exitCode(), again.output()).toBe(0);
    expect(again.output()).toBe("applied 000004-a-slow-one.sql\n");
    expect(await database.value(present)).toBe(1);
  });

  test("an index build that is killed is finished by the next run, with the partitions created in the meantime", async () => {
    const structure = await copy.read("src/sql/track/tables.sql");
    await copy.write(
      "src/sql/track/tables.sql",
      `${structure}\ncreate index event_source on track.event (source_id);\n`,
    );
    await copy.write("current.sql", "create index if not exists event_source on only track.event (source_id);\n");
    await copy.commit(server, "--message", "an index");
    const [smallest] = await database.rows<{ partition: string }>(
      `select inhrelid::regclass::text as partition from pg_inherits where inhparent = 'track.event'::regclass
       order by pg_table_size(inhrelid), 1`,
    );
    const state = (): Promise<{ valid: boolean; parts: number; broken: number; partitions: number }[]> =>
      database.rows(`
        select
          (select indisvalid from pg_index where indexrelid = 'track.event_source'::regclass) as valid,
          (select count(*)::int from pg_inherits where inhparent = 'track.event_source'::regclass) as parts,
          (select count(*)::int from pg_index where not indisvalid and indrelid in (
            select inhrelid from pg_inherits where inhparent = 'track.event'::regclass)) as broken,
          (select count(*)::int from pg_inherits where inhparent = 'track.event'::regclass) as partitions
      `);
    // A transaction that has written blocks a concurrent index build, and no other session.
    const writer = await database.pool.connect();
    try {
      await writer.query("begin");
      await writer.query(`lock table ${smallest?.partition} in row exclusive mode`);
      const killed = migrate();
      await killed.prints(/the index on track\.event_\d{4}_\d\d: waiting for pid \d+/);
      killed.child.kill("SIGKILL");
      await killed.exitCode();
      const [building] = await database.rows<{ pid: number }>("select pid from pg_stat_progress_create_index");
      await database.query("select pg_terminate_backend($1)", [building?.pid]);
      while ((await database.rows("select from pg_stat_progress_create_index")).length > 0) await wait(50);
      await writer.query("commit");
    } finally {
      await writer.query("rollback").catch(() => {});
      writer.release();
    }
    expect(await state()).toMatchObject([{ valid: false, parts: 0, broken: 1 }]);
    const doctor = copy.insights(["doctor"], database.url());
    await doctor.exitCode();
    expect(doctor.output()).toMatch(/migrations +incomplete: index track\.event_source, on \d+ partitions/);
    await database.query("select track.make_partitions(now() + interval '2 years', now() + interval '2 years')");
    const again = migrate();
    expect(await again.exitCode(), again.output()).toBe(0);
    expect(again.output()).toContain(", which an interrupted run left invalid");
    const [after] = await state();
    expect(after).toMatchObject({ valid: true, broken: 0, parts: after?.partitions });
    const nothing = migrate();
    await nothing.exitCode();
    expect(nothing.output()).toBe("up to date\n");
  });
});
