import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

/** Whether the server has loaded the extension, so that its view has rows. */
const loaded: boolean =
  database.native &&
  (await database.value<boolean>("select current_setting('shared_preload_libraries') ~ 'pg_stat_statements'"));
const available = await database.value<boolean>(
  "select exists (select from pg_available_extensions where name = 'pg_stat_statements')",
);

test("without the extension, the error states how to install it", async () => {
  await database.as("insights_admin", {}, async (db) => {
    expect(await db.rejects("select * from monitor.slow_statements()")).toMatchObject({
      code: "CF002",
      message: 'the extension "pg_stat_statements" is not installed in this database',
      hint: expect.stringContaining("create extension pg_stat_statements"),
    });
  });
});

test.skipIf(!available || loaded)("with the extension, but not loaded by the server", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("create extension pg_stat_statements schema public");
    expect(await db.rejects("select * from monitor.slow_statements()")).toMatchObject({
      code: "CF002",
      hint: expect.stringContaining("restart the server"),
    });
  });
});

test.skipIf(!loaded)("the statements of the database, without values", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("create extension pg_stat_statements schema public; grant pg_read_all_stats to insights_owner");
    await db.query("select /* ada */ count(*) from track.event_type where name = 'a secret' -- eve");
    await db.query("set local insights.person = 'a secret'");
    const rows = await db.rows<{ statement: string | null; calls: string }>(
      "select statement, calls from monitor.slow_statements(1000)",
    );
    expect(rows.some(({ statement }) => statement?.includes("from track.event_type where name = $1"))).toBe(true);
    expect(JSON.stringify(rows)).not.toMatch(/a secret|ada|eve/);
  });
});

/* The view itself cannot be had everywhere: a table of its shape and name stands in for it. */
test("the statements with most time in total come first; text that is not a query is not shown", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      create schema statements;
      create table statements.pg_stat_statements as
      select oid as dbid, query, calls, total as total_exec_time, total / calls as mean_exec_time, total as max_exec_time,
        calls as rows, calls as shared_blks_hit, 1::bigint as shared_blks_read
      from pg_database
      cross join (values
        ('select 1 from a where b = $1 /* traceparent = 7 */', 10::bigint, 6000::float8),
        ('-- eve
with a as (select) insert into b', 2, 3000),
        ('set insights.person = ''ada''', 5, 1000)
      ) as counted (query, calls, total)
      where datname in (current_database(), 'template1');
      grant usage on schema statements to insights_owner;
      grant select on statements.pg_stat_statements to insights_owner;
      update pg_extension set extname = 'pg_stat_statements', extnamespace = 'statements'::regnamespace
      where extname = 'plpgsql'`);
    expect(await db.rows("select * from monitor.slow_statements()")).toEqual([
      {
        statement: "select 1 from a where b = $1 ",
        calls: "10",
        total_seconds: 6,
        mean_milliseconds: 600,
        greatest_milliseconds: 6000,
        share: 0.6,
        row_count: "10",
        blocks: "11",
      },
      expect.objectContaining({ statement: expect.stringContaining("with a as"), share: 0.3 }),
      expect.objectContaining({ statement: null, calls: "5", share: 0.1 }),
    ]);
    expect(await db.rows("select calls from monitor.slow_statements(1)")).toEqual([{ calls: "10" }]);
  });
});

test.each(["0", "1001", "null"])("top = %s is refused", async (top) => {
  expect(await database.rejects(`select * from monitor.slow_statements(${top})`)).toMatchObject({ code: "CF001" });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select * from monitor.slow_statements()")).toEqual(["admin"]);
});
