import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../../../src/paths.ts";
import { crontab } from "../../../../src/worker/tasks.ts";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();

interface Finding {
  health_check: string;
  subject: string;
  severity: string;
  message: string;
  fix: string;
  value: number | null;
  threshold: number | null;
}

interface Health {
  status: string;
  summary: string;
  fix: string | null;
  problems: number;
  checks: number;
}

const health = async (db: Queries): Promise<Health> =>
  (await db.rows<Health>("select status, summary, fix, problems, checks from monitor.health()"))[0] as Health;

const findings = (db: Queries): Promise<Finding[]> =>
  db.rows<Finding>("select found.* from monitor.health() as health cross join unnest(health.findings) as found");

/** A check that exists in a transaction only. */
const registered = async (db: Queries, body: string, position = 1): Promise<void> => {
  await db.query(`
    create function monitor._check_of_a_test() returns setof monitor.finding language plpgsql stable as $$
    begin
      ${body}
    end $$`);
  await db.query(
    `insert into monitor.health_check (health_check, position, function_name, description)
     values ('of_a_test', $1, 'monitor._check_of_a_test', 'A check of a test.')`,
    [position],
  );
};

test("a database that was just installed is healthy: one row without a finding", async () => {
  expect(await findings(database)).toEqual([]);
  const checks = await database.value<number>("select count(*)::int from monitor.health_check");
  expect(await health(database)).toMatchObject({
    status: "ok",
    summary: `${checks} checks found no problem`,
    fix: null,
    problems: 0,
  });
});

test("it changes nothing: it runs in a transaction that is read-only", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("set transaction read only");
    expect(await health(db)).toMatchObject({ status: "ok" });
  });
});

test("the row has the most urgent problem, and the number of the others", async () => {
  await database.as("postgres", {}, async (db) => {
    await registered(
      db,
      `return query values
         ('of_a_test', 'a', 'warning', 'a is slow', 'Hurry.', 2::float8, 1::float8),
         ('of_a_test', 'b', 'critical', 'b is broken', 'Repair it.', null, null),
         ('of_a_test', 'b', 'warning', 'b is slow', 'Wait.', null, null);`,
    );
    expect(await health(db)).toMatchObject({
      status: "critical",
      summary: "b is broken (and 1 more)",
      fix: "Repair it.",
      problems: 2,
    });
    // A subject has one finding, the worst.
    expect((await findings(db)).map(({ subject, severity }) => [subject, severity])).toEqual([
      ["b", "critical"],
      ["a", "warning"],
    ]);
  });
});

describe("a check that", () => {
  test("fails is a finding, without the values of its error, and does not stop the others", async () => {
    await database.as("postgres", {}, async (db) => {
      await registered(db, `raise exception 'no such person: "ada"' using errcode = 'CF002';`);
      await db.query("insert into monitor.run (task, started_at) values ('refresh', now() + interval '1 hour')");
      const found = await findings(db);
      expect(found.map(({ health_check }) => health_check)).toEqual(["of_a_test", "clock"]);
      expect(found[0]).toMatchObject({
        subject: "the check itself",
        severity: "warning",
        message: 'the check of_a_test failed: no such person: "…" [CF002]',
        fix: "Call it to see the error: select * from monitor._check_of_a_test()",
      });
    });
  });

  test("does not exist is a finding", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(
        `insert into monitor.health_check (health_check, position, function_name, description)
         values ('missing', 1, 'monitor._no_such_check', 'Missing.')`,
      );
      expect(await findings(db)).toMatchObject([{ health_check: "missing", subject: "the check itself" }]);
    });
  });

  test("finds without end is cut off", async () => {
    await database.as("postgres", {}, async (db) => {
      await registered(
        db,
        `return query
         select 'of_a_test', n::text, 'warning', 'much', 'Less.', null::float8, null::float8
         from generate_series(1, 1000) as n;`,
      );
      const found = await findings(db);
      expect(found.length).toBe(101);
      expect(found.at(-1)).toMatchObject({ message: "the check of_a_test found more than 100 problems" });
    });
  });

  test("hangs is cancelled by the time limit of the caller; the others are named", async ({ skip }) => {
    if (!database.native) skip("the embedded database has no statement_timeout");
    await database.as("postgres", {}, async (db) => {
      await registered(db, "perform pg_sleep(60);", 350);
      await db.query("insert into monitor.run (task, started_at) values ('refresh', now() + interval '1 hour')");
      await db.query("set local statement_timeout to '700ms'");
      const found = await findings(db);
      expect(found).toMatchObject([
        { health_check: "of_a_test", message: "the check of_a_test was cancelled [57014]" },
        { health_check: "health", subject: "time" },
      ]);
      // Those before it were run, those after it are named.
      expect(found[1]?.message).toMatch(/these were not run: refresh, partitions, .*, rules$/);
    });
  });

  test("waits for a lock gives up after half a second", async ({ skip }) => {
    if (!database.native) skip("the embedded database has one session");
    const blocker = await database.pool.connect();
    try {
      await blocker.query("begin; lock table track.rollup_check in access exclusive mode");
      const found = await findings(database);
      expect(found.map(({ health_check }) => health_check).sort()).toEqual(["clock", "rollups"]);
      expect(found[0]?.message).toMatch(/canceling statement due to lock timeout \[55P03\]$/);
    } finally {
      await blocker.query("rollback");
      blocker.release();
    }
  });
});

test("docs/operations.md describes each check", async () => {
  const text = await readFile(join(packageRoot, "docs/operations.md"), "utf8");
  const described = [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  const checks = await database.rows<{ name: string }>(
    "select health_check as name from monitor.health_check order by position",
  );
  expect(described.sort()).toEqual(checks.map(({ name }) => name).sort());
});

test("the schedule of the checks is that of the crontab", async () => {
  const tasks = await database.rows<{ task: string; minutes: number }>(
    "select task, extract(epoch from every)::int / 60 as minutes from monitor.scheduled_task order by task",
  );
  // The first two fields of a line: minute and hour.
  const minutes = new Map<string, number>();
  for (const [, minute = "", hour = "", task = ""] of crontab.matchAll(/^(\S+) (\S+) \* \* \* insights:(\w+)/gm)) {
    const every = minute === "*" ? 1 : minute.startsWith("*/") ? Number(minute.slice(2)) : hour === "*" ? 60 : 1440;
    minutes.set(task, Math.min(every, minutes.get(task) ?? every));
  }
  expect(tasks).toEqual(
    [...minutes].map(([task, every]) => ({ task, minutes: every })).sort((a, b) => (a.task < b.task ? -1 : 1)),
  );
});

test("each check of the list is a stable function that returns findings", async () => {
  expect(
    await database.rows(`
      select health_check.function_name
      from monitor.health_check
      left join pg_catalog.pg_proc as function on function.oid = to_regprocedure(health_check.function_name || '()')
      where function.provolatile is distinct from 's'
        or function.prorettype <> 'monitor.finding'::regtype`),
  ).toEqual([]);
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select monitor.health()")).toEqual(["analyst", "admin", "worker"]);
});
