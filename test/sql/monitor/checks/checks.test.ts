import { makeWorkerUtils } from "graphile-worker";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";

/* Each check on the state that it is for, and on the state just before it. */

const database = await testDatabase();

interface Finding {
  health_check: string;
  subject: string;
  severity: string;
  message: string;
  fix: string;
  value: number | null;
}

const found = (db: Queries): Promise<Finding[]> =>
  db.rows<Finding>("select found.* from monitor.health() as health cross join unnest(health.findings) as found");

/** The findings after these statements, in a transaction that is rolled back. */
const foundAfter = (...statements: string[]): Promise<Finding[]> =>
  database.as("postgres", {}, async (db) => {
    for (const statement of statements) await db.query(statement);
    return await found(db);
  });

const brief = (findings: Finding[]): string[] =>
  findings.map(({ health_check, subject, severity }) => `${health_check}/${subject}: ${severity}`);

const runs = (task: string, ...ages: [string, string][]): string =>
  `insert into monitor.run (task, started_at, finished_at, outcome)
   values ${ages
     .map(
       ([age, outcome]) =>
         `('${task}', now() - interval '${age}', ${outcome === "running" ? "null" : `now() - interval '${age}'`}, '${outcome}')`,
     )
     .join(", ")}`;

/** The queue of graphile-worker, whose schedule was last executed at this age. */
const schedule = (executed: string, known = "30 days"): string =>
  `insert into insights_queue._private_known_crontabs (identifier, known_since, last_execution)
   values ('insights-refresh', now() - interval '${known}', now() - interval '${executed}')`;

const utils = await makeWorkerUtils({ pgPool: database.pool, schema: "insights_queue", noPreparedStatements: true });
await utils.release();

describe("queue", () => {
  const job = (task: string, age: string, number = 1): string =>
    `select insights_queue.add_job('insights:${task}', run_at => now() - interval '${age}') from generate_series(1, ${number})`;

  test("a job that waits for a quarter of an hour, for two hours", async () => {
    expect(await foundAfter(job("refresh", "14 minutes"))).toEqual([]);
    const [waiting] = await foundAfter(job("refresh", "16 minutes"));
    expect(waiting).toMatchObject({
      health_check: "queue",
      subject: "refresh",
      severity: "warning",
      message: "a job of the task refresh has waited for 16 minutes",
      fix: expect.stringContaining("Start a worker: insights worker"),
    });
    expect(brief(await foundAfter(job("refresh", "121 minutes")))).toEqual(["queue/refresh: critical"]);
  });

  test("a queue that grows", async () => {
    expect(await foundAfter(job("train", "1 minute", 999))).toEqual([]);
    expect(await foundAfter(job("train", "1 minute", 1000))).toMatchObject([
      { subject: "train (many)", severity: "warning", message: "1000 jobs of the task train are waiting" },
    ]);
  });

  test("a job that failed in all attempts, with a fix that works", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(job("train", "1 minute"));
      await db.query("update insights_queue._private_jobs set attempts = max_attempts, last_error = 'secret'");
      const [failed, ...others] = await found(db);
      expect(others).toEqual([]);
      expect(failed).toMatchObject({
        subject: "train (failed)",
        message: "1 job of the task train failed in all attempts",
      });
      expect(JSON.stringify(failed)).not.toContain("secret");
      const [read, again] = [...(failed?.fix ?? "").matchAll(/: (select .*?)(?:\. |$)/g)].map(([, sql]) => sql);
      expect(await db.rows(read ?? "")).toEqual([{ last_error: "secret" }]);
      await db.query(again ?? "");
      expect(brief(await found(db))).toEqual([]);
      expect(await db.value("select attempts from insights_queue.jobs")).toBe(0);
    });
  });

  test("jobs of an application in the same queue are its own", async () => {
    expect(
      await foundAfter("select insights_queue.add_job('their_task', run_at => now() - interval '3 days')"),
    ).toEqual([]);
  });
});

describe("tasks", () => {
  test("one that fails: once is tried again, three times in a row is not by chance", async () => {
    expect(await foundAfter(runs("refresh", ["2 minutes", "ok"], ["1 minute", "failed"]))).toEqual([]);
    expect(
      brief(await foundAfter(runs("refresh", ["9 minutes", "ok"], ["2 minutes", "failed"], ["1 minute", "failed"]))),
    ).toEqual(["tasks/refresh (failed): warning"]);
    const three: [string, string][] = [
      ["4 minutes", "ok"],
      ["3 minutes", "failed"],
      ["2 minutes", "failed"],
      ["1 minute", "failed"],
    ];
    const [refresh] = await foundAfter(runs("refresh", ...three));
    expect(refresh).toMatchObject({
      severity: "critical",
      value: 3,
      message: expect.stringMatching(
        /^the task refresh failed in its last 3 runs, last on \d{4}-\d\d-\d\d \d\d:\d\d UTC$/,
      ),
      fix: expect.stringMatching(/^Read the error: select error from monitor\.run where run_id = \d+\./),
    });
    // A task that can wait.
    expect(brief(await foundAfter(runs("evaluate", ...three)))).toEqual(["tasks/evaluate (failed): warning"]);
    // Success ends it.
    expect(await foundAfter(runs("refresh", ...three, ["30 seconds", "ok"]))).toEqual([]);
  });

  test("a daily one that failed and was not tried again", async () => {
    expect(brief(await foundAfter(runs("watch_models", ["5 hours", "failed"])))).toEqual([
      "tasks/watch_models (failed): warning",
    ]);
  });

  test("one that is late against its schedule, unless no worker runs at all", async () => {
    const late = runs("refresh_views", ["151 minutes", "ok"]);
    const recorded = await database.rows<{ task: string }>(
      "select task from monitor.scheduled_task where is_always_recorded and task <> 'refresh_views'",
    );
    expect(recorded.length).toBeGreaterThan(5);
    const others = recorded.map(({ task }) => runs(task, ["1 minute", "ok"]));
    const partitions = "select track.make_partitions()";
    expect(brief(await foundAfter(partitions, ...others, late, schedule("1 minute")))).toEqual([
      "tasks/refresh_views (late): warning",
    ]);
    expect(await foundAfter(partitions, ...others, late, schedule("1 minute", "2 hours"))).toEqual([]);
    expect(
      brief(await foundAfter(partitions, ...others, late, schedule("20 minutes"))).filter((name) =>
        name.startsWith("tasks"),
      ),
    ).toEqual([]);
    expect(
      await foundAfter(partitions, ...others, runs("refresh_views", ["149 minutes", "ok"]), schedule("1 minute")),
    ).toEqual([]);
  });

  test("one that does not end", async () => {
    expect(await foundAfter(runs("train", ["11 hours", "running"]))).toEqual([]);
    expect(brief(await foundAfter(runs("train", ["13 hours", "running"])))).toEqual(["tasks/train (running): warning"]);
  });
});

describe("worker", () => {
  const worker = (seen: string, stopped = "null"): string =>
    `insert into monitor.worker (worker, started_at, seen_at, version, stopped_at)
     values ('w', now() - interval '1 day', now() + interval '${seen}', '1', ${stopped})`;
  const findingsOf = async (...statements: string[]): Promise<string[]> =>
    of(await foundAfter(...statements), "worker");

  test("a heartbeat of a clock that was ahead does not hide that the worker is dead", async () => {
    const dead = [
      "w: critical, no worker is running: the last heartbeat of w has a time in the future, and it was not stopped",
    ].map((found) => found.replace("w:", ":"));
    expect(await findingsOf(worker("1 day"), runs("watch", ["-1 day", "ok"]))).toEqual(dead);
    expect(await findingsOf(worker("1 day"), runs("watch", ["4 minutes", "ok"]))).toEqual(dead);
    // A task runs, so that the next heartbeat is about to come.
    expect(await findingsOf(worker("1 day"), runs("watch", ["1 minute", "ok"]))).toEqual([]);
    expect(await findingsOf(worker("1 day", "now()"))).toEqual([]);
    // Clocks of a cluster differ by seconds.
    expect(await findingsOf(worker("30 seconds"), runs("watch", ["1 minute", "ok"]))).toEqual([]);
    expect(
      await database.as("postgres", {}, async (db) => {
        await db.query(worker("1 day"));
        return await db.rows("select metric, value from monitor._probe_workers()");
      }),
    ).toEqual([
      { metric: "insights_workers", value: 0 },
      { metric: "insights_worker_silence_seconds", value: null },
    ]);
  });

  test("tasks that ran by a clock that was ahead do not hide that none runs", async () => {
    expect(await findingsOf(worker("-1 minute"), runs("watch", ["1 minute", "ok"]))).toEqual([]);
    expect(await findingsOf(worker("-1 minute"), runs("watch", ["-1 day", "ok"], ["3 hours", "ok"]))).toEqual([
      "tasks: critical, a worker sends heartbeats, but no task has run for 3 hours",
    ]);
  });
});

describe("refresh", () => {
  const stale = "insert into track.stale (person_id, since, until) values (1, now(), now())";

  test("changes that wait while refreshes do not succeed", async () => {
    expect(await foundAfter(runs("refresh", ["14 minutes", "ok"]), stale)).toEqual([]);
    expect(await foundAfter(runs("refresh", ["3 hours", "ok"]))).toEqual([]);
    expect(await foundAfter(runs("refresh", ["16 minutes", "ok"]), stale)).toMatchObject([
      {
        health_check: "refresh",
        subject: "lag",
        severity: "warning",
        message: "1 changes of people wait to be refreshed, the last refresh was 16 minutes ago",
        fix: expect.stringContaining("track.refresh(100000)"),
      },
    ]);
    expect(brief(await foundAfter(runs("refresh", ["3 hours", "ok"]), stale))).toEqual(["refresh/lag: critical"]);
  });

  test("the lag is that of the last success, however many attempts have failed since", async () => {
    const failed = Array.from({ length: 30 }, (_, n): [string, string] => [`${n + 1} seconds`, "failed"]);
    const lag = async (...before: [string, string][]): Promise<string[]> =>
      of(await foundAfter(runs("refresh", ...before, ...failed), stale), "refresh");
    expect(await lag(["3 hours", "ok"])).toEqual([
      "lag: critical, 1 changes of people wait to be refreshed, the last refresh was 3 hours ago",
    ]);
    expect(await lag(["3 hours", "failed"])).toEqual([
      "lag: critical, 1 changes of people wait to be refreshed, no refresh has succeeded since the first attempt 3 hours ago",
    ]);
  });

  test("its metric, too", async () => {
    const metric = "select value from monitor._probe_refresh() where metric = 'insights_refresh_lag_seconds'";
    const lag = (...statements: string[]): Promise<number | null> =>
      database.as("postgres", {}, async (db) => {
        for (const statement of statements) await db.query(statement);
        return await db.value(metric);
      });
    const tried: [string, string][] = [
      ["3 hours", "failed"],
      ["1 minute", "failed"],
    ];
    expect(await lag(runs("refresh", ...tried))).toBe(0);
    expect(await lag(stale)).toBeNull();
    expect(await lag(runs("refresh", ...tried), stale)).toBeCloseTo(10_800, -2);
    expect(await lag(runs("refresh", ...tried, ["1 hour", "ok"]), stale)).toBeCloseTo(3600, -2);
  });

  test("more than 100,000 changes", async () => {
    const many = (number: number): string =>
      `insert into track.stale (person_id, since, until) select n, now(), now() from generate_series(1, ${number}) as n`;
    const ran = runs("refresh", ["1 minute", "ok"]);
    expect(await foundAfter(ran, many(99_999))).toEqual([]);
    await database.query("vacuum track.stale");
    expect(brief(await foundAfter(ran, many(100_000))).slice(0, 1)).toEqual(["refresh/queue: warning"]);
    await database.query("vacuum track.stale");
  });
});

describe("partitions", () => {
  const month = (ahead: number): Promise<string> =>
    database.value(
      `select to_char((now() at time zone 'UTC') + make_interval(months => $1), '"track.event_"YYYY_MM')`,
      [ahead],
    );

  test("a partition that is missing for this month or the next one, with a fix that works", async () => {
    const made = runs("make_partitions", ["1 hour", "ok"]);
    const make = "select track.make_partitions()";
    expect(await foundAfter(make, made)).toEqual([]);
    const [now, next, later] = await Promise.all([month(0), month(1), month(2)]);
    expect(await foundAfter(make, made, `drop table ${later}`)).toEqual([]);
    await database.as("postgres", {}, async (db) => {
      for (const sql of [make, made, `drop table ${now}, ${next}`]) await db.query(sql);
      const missing = await found(db);
      expect(missing).toMatchObject([
        { subject: now, severity: "critical", fix: expect.stringContaining("select track.make_partitions()") },
        { subject: next, severity: "warning" },
      ]);
      await db.query("select track.make_partitions()");
      expect(await found(db)).toEqual([]);
      // A table of this name that is detached.
      await db.query(`alter table track.event detach partition ${next}`);
      const [detached] = await found(db);
      await db.query(/: (alter table .*)$/.exec(detached?.fix ?? "")?.[1] ?? "");
      expect(await found(db)).toEqual([]);
      // One whose concurrent detachment was interrupted takes no rows either.
      await db.query("update pg_inherits set inhdetachpending = true where inhrelid = $1::regclass", [next]);
      const [pending, ...more] = await found(db);
      expect([pending?.subject, pending?.severity, more]).toEqual([next, "warning", []]);
      for (const [, fix] of (pending?.fix ?? "").matchAll(/: (alter table .*?)(?:\. [A-Z]|$)/g))
        await db.query(fix ?? "");
      expect(await found(db)).toEqual([]);
    });
  });

  test("the time until the first month without one", async () => {
    const ahead = (...statements: string[]): Promise<number> =>
      database.as("postgres", {}, async (db) => {
        for (const statement of statements) await db.query(statement);
        return await db.value<number>(
          `select value / 86400 from monitor._probe_partitions()
           where metric = 'insights_event_partitions_ahead_seconds'`,
        );
      });
    const make = "select track.make_partitions()";
    expect(await ahead(make)).toBeGreaterThan(28);
    expect(await ahead(make, `drop table ${await month(1)}`)).toBeLessThanOrEqual(31);
    expect(await ahead(make, `drop table ${await month(0)}`)).toBe(0);
    // More than the probe reads.
    expect(
      await ahead(
        make,
        `do $do$
         declare v_month timestamp;
         begin
           for v_month in
             select date_trunc('month', now() at time zone 'UTC') + make_interval(months => n) from generate_series(0, 30) as n
           loop
             if to_regclass(to_char(v_month, '"track.event_"YYYY_MM')) is null then
               execute format(
                 'create table %s partition of track.event for values from (%L) to (%L)',
                 to_char(v_month, '"track.event_"YYYY_MM'), v_month::text || '+00', (v_month + interval '1 month')::text || '+00'
               );
             end if;
           end loop;
         end $do$`,
      ),
    ).toBeGreaterThan(700);
  });

  test("rows in a default partition", async () => {
    const make =
      "create table track.stray partition of track.event default; alter table track.stray owner to insights_owner";
    expect(await foundAfter(make)).toEqual([]);
    expect(
      await foundAfter(
        make,
        `insert into track.event (person_id, occurred_at, event_id, identity_id, event_type_id, received_at, source_id)
         values (0, '1999-01-01', gen_random_uuid(), 1, 1, now(), 1)`,
      ),
    ).toMatchObject([{ health_check: "partitions", subject: "track.stray", value: 1 }]);
  });
});

describe("rollups", () => {
  const check = (age: string, differing: number, id = 1): string =>
    `insert into track.rollup_check (check_id, rollup, checked_at, month, block, checked, differing, example, duration)
     values (${id}, 'track.presence', now() - interval '${age}', '2026-01-01', 0, 100, ${differing}, 'person 17', '1 ms')`;

  test("one that differed is named with its fix for a day, and is critical when it differs again and again", async () => {
    expect(await foundAfter(check("1 minute", 0))).toEqual([]);
    expect(await foundAfter(check("25 hours", 3))).toEqual([]);
    const [differed] = await foundAfter(check("1 minute", 3));
    expect(differed).toMatchObject({
      subject: "track.presence",
      severity: "warning",
      value: 3,
      message: expect.stringMatching(/^track\.presence differed from the events in 3 of 100 compared cells, last on /),
      fix: expect.stringContaining("The data is repaired; find the cause"),
    });
    expect(JSON.stringify(differed)).not.toContain("person 17");
    expect(brief(await foundAfter(check("5 minutes", 1), check("2 hours", 1, 2), check("4 hours", 1, 3)))).toEqual([
      "rollups/track.presence: critical",
    ]);
    // One change may be found by several checks of a run.
    expect(brief(await foundAfter(check("1 minute", 1), check("1 minute", 1, 2), check("1 minute", 1, 3)))).toEqual([
      "rollups/track.presence: warning",
    ]);
  });

  test("no comparison for a day, while a worker runs", async () => {
    const old = check("25 hours", 0);
    expect(brief(await foundAfter(old)).filter((name) => name.startsWith("rollups"))).toEqual([]);
    expect(brief(await foundAfter(old, schedule("1 minute"))).filter((name) => name.startsWith("rollups"))).toEqual([
      "rollups/: warning",
    ]);
  });
});

describe("models", () => {
  const model = (trained: string, marked = "null"): string =>
    `with project as (
       insert into ml.project (name, task, metric) values ('recommend.course', 'recommendation', 'ndcg') returning *
     ), model as (
       insert into ml.model (project_id, version, algorithm, trained_at, marked_at, marked_reason)
       select project_id, 1, 'ease', now() - interval '${trained}', ${marked}, 'erased "ada"' from project returning *
     )
     insert into ml.deployment (project_id, model_id, strategy) select project_id, model_id, 'first' from model`;
  const active = (age: string): string =>
    `insert into track.presence (event_type_id, day, block, people, event_count, counted_count)
     values (0, (now() - interval '${age}')::date, 0, b'1'::bit(4096), 1, 1)`;
  const drift = (age: string, verdict: string): string =>
    `insert into ml.drift (model_id, statistic, feature, value, verdict, row_count, measured_at)
     select model_id, 'population_stability_index', 'weeks', 0.5, '${verdict}', 10, now() - interval '${age}' from ml.model`;

  test("one that is marked for training for a day", async () => {
    expect(await foundAfter(model("1 hour", "now() - interval '23 hours'"))).toEqual([]);
    const [marked] = await foundAfter(model("1 hour", "now() - interval '25 hours'"));
    expect(marked).toMatchObject({
      subject: "recommend.course (marked)",
      message: 'version 1 of recommend.course was marked for training 25 hours ago: erased "…"',
      fix: expect.stringContaining("insights train"),
    });
  });

  test("one that is old while there is newer activity", async () => {
    expect(await foundAfter(model("30 days"))).toEqual([]);
    expect(await foundAfter(model("30 days"), active("20 days"))).toEqual([]);
    expect(brief(await foundAfter(model("30 days"), active("1 day")))).toEqual([
      "models/recommend.course (old): warning",
    ]);
  });

  test("one whose inputs drifted, until they no longer do", async () => {
    expect(await foundAfter(model("1 day"), drift("1 hour", "shifting"))).toEqual([]);
    expect(await foundAfter(model("1 day"), drift("1 hour", "drifted"))).toMatchObject([
      {
        subject: "recommend.course (drifted)",
        value: 0.5,
        message: "version 1 of recommend.course has drifted from its training data: 1 input, by up to 0.500",
      },
    ]);
    expect(await foundAfter(model("1 day"), drift("2 days", "drifted"), drift("1 hour", "stable"))).toEqual([]);
  });
});

describe("ledger", () => {
  test("one that could not be verified", async () => {
    expect(await foundAfter(runs("verify_ledger", ["2 hours", "ok"]))).toEqual([]);
    const failed = await foundAfter(runs("verify_ledger", ["2 hours", "ok"], ["1 minute", "failed"]));
    expect(failed).toMatchObject([{ health_check: "ledger", severity: "critical", subject: "verification" }]);
  });

  test("one that was not verified for three days, or not sealed for two", async () => {
    const names = brief(await foundAfter(runs("verify_ledger", ["73 hours", "ok"])));
    expect(names).toContain("ledger/age of the verification: warning");
    const sealed = (age: string): string =>
      `insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
       values (1000, 'checkpoint', '\\x00', '\\x00', now() - interval '${age}')`;
    expect(await foundAfter(sealed("47 hours"))).toEqual([]);
    expect(brief(await foundAfter(sealed("49 hours")))).toEqual(["ledger/seal: warning"]);
  });
});

describe("requests", () => {
  const request = (due: string, state = "open", person = 7): string =>
    `insert into privacy.request (kind, regime, person_id, identity_id, subject_hash, received_at, due_at, state, completed_at)
     select 'access', regime, ${state === "open" ? `${person}, ${person}` : "null, null"}, sha256('x'), now() - interval '60 days',
       now() + interval '${due}', '${state}', ${state === "open" ? "null" : "now()"}
     from privacy.regime order by regime limit 1`;

  test("those that are overdue, and those that soon will be", async () => {
    expect(await foundAfter(request("4 days"), request("-1 day", "completed"))).toEqual([]);
    expect(brief(await foundAfter(request("2 days")))).toEqual(["requests/access (soon): warning"]);
    const [overdue] = await foundAfter(request("-3 days"), request("-5 days", "open", 8));
    expect(overdue).toMatchObject({
      subject: "access (overdue)",
      severity: "critical",
      message: "2 requests of people for access, the oldest of which had to be answered 5 days ago",
      fix: expect.stringContaining("privacy.complete_request"),
    });
  });

  test("erasures that are not completed", async () => {
    const erasure = (age: string): string =>
      `insert into privacy.erasure (requested_at, erased_at, subject_hash, counts)
       values (now() - interval '${age}', now() - interval '${age}', sha256('x'), '{}')`;
    expect(await foundAfter(erasure("23 hours"))).toEqual([]);
    expect(brief(await foundAfter(erasure("25 hours")))).toEqual(["requests/erasures: warning"]);
  });
});

test("retention: rules that are not applied", async () => {
  const rule = (age: string): string =>
    `insert into privacy.retention (data_class, keep, set_at) values ('events', '1 year', now() - interval '${age}')`;
  expect(await foundAfter(rule("47 hours"))).toEqual([]);
  expect(brief(await foundAfter(rule("49 hours")))).toEqual(["retention/: warning"]);
  expect(brief(await foundAfter(rule("8 days")))).toEqual(["retention/: critical"]);
  const applied = await foundAfter(rule("8 days"), runs("apply_retention", ["1 hour", "ok"]));
  expect(applied).toEqual([]);
});

test("tables: an index that is not valid", async () => {
  const invalid = await foundAfter(
    "update pg_index set indisvalid = false where indexrelid = 'monitor.run_task_started'::regclass",
  );
  expect(invalid).toMatchObject([
    {
      health_check: "tables",
      subject: "monitor.run_task_started",
      fix: "reindex index concurrently monitor.run_task_started",
    },
  ]);
});

test("tables: many dead rows", async ({ skip }) => {
  if (!database.native) skip("the embedded database counts dead rows in its session only");
  await database.query(`
    alter table monitor.run set (autovacuum_enabled = false);
    -- Autovacuum may have been there before.
    select pg_stat_reset_single_table_counters('monitor.run'::regclass);
    insert into monitor.run (task) select 'x' from generate_series(1, 110000);
  `);
  // The server may otherwise report the numbers of a session late.
  await database.query("delete from monitor.run where task = 'x'; select pg_stat_force_next_flush()");
  try {
    await expect
      .poll(async () => brief(await found(database)), { timeout: 20_000 })
      .toEqual(["tables/monitor.run: warning"]);
  } finally {
    await database.query("vacuum monitor.run");
  }
  await expect.poll(async () => brief(await found(database)), { timeout: 20_000 }).toEqual([]);
});

test("wraparound: an old database", async () => {
  const aged = (age: number): string =>
    `update pg_database
     set datfrozenxid = ((pg_current_xact_id()::text::bigint + 4294967296 - ${age}) % 4294967296)::text::xid
     where datname = current_database()`;
  expect(await foundAfter(aged(999_000_000))).toEqual([]);
  expect(brief(await foundAfter(aged(1_001_000_000)))).toEqual(["wraparound/transaction: warning"]);
  expect(brief(await foundAfter(aged(1_600_000_000)))).toEqual(["wraparound/transaction: critical"]);
});

/** Statements that give a view of the catalogue these rows, until the transaction is rolled back. */
const pretend = async (view: string, ...rows: Record<string, string>[]): Promise<string> => {
  const columns = await database.rows<{ name: string; type: string }>(
    `select attname as name, format_type(atttypid, atttypmod) as type
     from pg_attribute where attrelid = ('pg_catalog.' || $1)::regclass and attnum > 0 order by attnum`,
    [view],
  );
  const selects = rows.map(
    (row) =>
      `select ${columns.map(({ name, type }) => `cast(${row[name] ?? "null"} as ${type}) as ${name}`).join(", ")}`,
  );
  return `set local allow_system_table_mods to on;
    create or replace view pg_catalog.${view} as ${selects.join(" union all ")}`;
};

/** The statement in the fix of a finding, run as it stands. */
const runFix = async (db: Queries, finding: Finding | undefined): Promise<unknown[]> => {
  const [, sql] = /: (select .*?)(?:\. [A-Z].*|\.?)$/.exec(finding?.fix ?? "") ?? [];
  return await db.rows(sql ?? "no statement");
};

const of = (findings: Finding[], check: string): string[] =>
  findings
    .filter(({ health_check }) => health_check === check)
    .map(({ subject, severity, message }) => `${subject}: ${severity}, ${message}`);

describe("replication", () => {
  const slot = (name: string, status: string, active: boolean, bytes: string): Record<string, string> => ({
    slot_name: `'${name}'`,
    wal_status: `'${status}'`,
    active: `${active}`,
    restart_lsn: `'100/0'::pg_lsn - ${bytes}::numeric`,
  });
  // Views and positions are of this transaction.
  const position = `create or replace function pg_catalog.pg_current_wal_lsn() returns pg_lsn language sql volatile
    as $$ select '100/0'::pg_lsn $$`;

  test("a slot that nothing reads, one that is behind, one that has lost data", async ({ skip }) => {
    if (!database.native) skip("the embedded database has no replication");
    const findingsOf = async (...rows: Record<string, string>[]): Promise<string[]> =>
      of(await foundAfter(position, await pretend("pg_replication_slots", ...rows)), "replication");
    expect(
      await findingsOf(slot("idle", "reserved", false, "0.99e9"), slot("read", "extended", true, "9.9e9")),
    ).toEqual([]);
    expect(await findingsOf(slot("idle", "extended", false, "1.1e9"), slot("read", "extended", true, "11e9"))).toEqual([
      "slot idle: warning, the replication slot idle is not in use and holds 1049 MB of WAL",
      "slot read: warning, the replication slot read is behind and holds 10 GB of WAL",
    ]);
    expect(await findingsOf(slot("idle", "extended", false, "51e9"))).toEqual([
      "slot idle: critical, the replication slot idle is not in use and holds 47 GB of WAL",
    ]);
    expect(await findingsOf(slot("idle", "unreserved", true, "2e9"), slot("gone", "lost", false, "0"))).toEqual([
      "slot idle: critical, the replication slot idle is behind and holds 1907 MB of WAL",
      "slot gone: critical, the replication slot gone has lost data that its standby needs",
    ]);
  });

  test("the fix of a slot that has lost data drops it", async ({ skip }) => {
    if (!database.native) skip("the embedded database has no replication");
    const name = `of_a_test_${process.pid}`;
    const exists = async (): Promise<boolean> =>
      await database.value("select exists (select from pg_replication_slots where slot_name = $1)", [name]);
    await database.query("select pg_create_physical_replication_slot($1, true)", [name]);
    try {
      expect(of(await found(database), "replication")).toEqual([]);
      const [lost] = await foundAfter(await pretend("pg_replication_slots", slot(name, "lost", false, "0")));
      await runFix(database, lost);
      expect(await exists()).toBe(false);
    } finally {
      if (await exists()) await database.query("select pg_drop_replication_slot($1)", [name]);
    }
  });

  test("a standby that is five minutes behind, an hour", async ({ skip }) => {
    if (!database.native) skip("the embedded database has no replication");
    const standby = (name: string, lag: string): Record<string, string> => ({
      pid: "7",
      application_name: `'${name}'`,
      state: "'streaming'",
      replay_lag: lag,
    });
    const findingsOf = async (...rows: Record<string, string>[]): Promise<Finding[]> =>
      (await foundAfter(await pretend("pg_stat_replication", ...rows))).filter(
        ({ health_check }) => health_check === "replication",
      );
    // A standby that has replayed everything has no lag.
    expect(await findingsOf(standby("near", "'4 minutes 59 seconds'"), standby("still", "null"))).toEqual([]);
    const late = await findingsOf(standby("late", "'5 minutes'"), standby("", "'61 minutes'"));
    expect(of(late, "replication")).toEqual([
      "standby 7: critical, the standby 7 is 61 minutes behind",
      "standby late: warning, the standby late is 5 minutes behind",
    ]);
    expect(late[0]?.fix).toContain("select pg_wal_replay_resume()");
  });
});

describe("connections", () => {
  const findingsOf = async (view: string, ...rows: Record<string, string>[]): Promise<Finding[]> =>
    (await foundAfter(await pretend(view, ...rows))).filter(({ health_check }) => health_check === "connections");
  const client = { backend_type: "'client backend'", datname: "current_database()" };

  test("80 percent of them, 95", async ({ skip }) => {
    const most = await database.value<number>(
      "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int",
    );
    if (most <= 10) skip("a database of one session");
    const used = (share: number): Record<string, string>[] =>
      Array.from({ length: Math.ceil(share * most) }, (_, n) => ({ ...client, pid: `${-n}` }));
    // Processes of the server do not count.
    const others = used(0.5).map((row) => ({ ...row, backend_type: "'walsender'" }));
    expect(await findingsOf("pg_stat_activity", ...used(0.79).slice(1), ...others)).toEqual([]);
    const many = await findingsOf("pg_stat_activity", ...used(0.8));
    expect(of(many, "connections")).toEqual([`: warning, ${Math.ceil(0.8 * most)} of ${most} connections are in use`]);
    expect((await runFix(database, many[0])).length).toBeGreaterThan(0);
    expect(of(await findingsOf("pg_stat_activity", ...used(0.95)), "connections")).toEqual([
      `: critical, ${Math.ceil(0.95 * most)} of ${most} connections are in use`,
    ]);
  });

  test("a transaction that has been open for an hour; its fix ends it", async ({ skip }) => {
    if (!database.native) skip("the embedded database has one session");
    const open = await database.pool.connect();
    const ended = new Promise<void>((resolve) => {
      open.on("error", () => resolve());
      open.on("end", () => resolve());
    });
    await open.query("begin");
    const pid = String((await open.query("select pg_backend_pid() as pid")).rows[0]?.pid);
    const transaction = (age: string, from = client): Record<string, string> => ({
      ...from,
      pid,
      state: "'idle in transaction'",
      xact_start: `clock_timestamp() - interval '${age}'`,
    });
    expect(await findingsOf("pg_stat_activity", transaction("59 minutes"))).toEqual([]);
    expect(await findingsOf("pg_stat_activity", transaction("3 hours", { ...client, datname: "'other'" }))).toEqual([]);
    const [old] = await findingsOf("pg_stat_activity", transaction("61 minutes"), transaction("3 hours"));
    expect(old).toMatchObject({
      subject: "open transaction",
      severity: "warning",
      message: `a transaction has been open for 3 hours (process ${pid}, idle in transaction)`,
    });
    expect(await runFix(database, old)).toEqual([{ pg_terminate_backend: true }]);
    await ended;
    open.release(true);
  });

  test("prepared transactions that are older than an hour", async () => {
    const prepared = (age: string): Record<string, string> => ({
      gid: "'a'",
      database: "current_database()",
      prepared: `clock_timestamp() - interval '${age}'`,
    });
    expect(await findingsOf("pg_prepared_xacts", prepared("59 minutes"))).toEqual([]);
    const old = await findingsOf("pg_prepared_xacts", prepared("61 minutes"), prepared("1 day"));
    expect(of(old, "connections")).toEqual([
      "prepared transaction: warning, 2 prepared transactions are older than an hour",
    ]);
    expect(await runFix(database, old[0])).toEqual([]);
  });
});

describe("probes", () => {
  const state = (failures: number, error: string | null, age = "1 minute"): string =>
    `insert into monitor.probe_state (probe, started_at, duration, measured_at, measured, failures, error)
     values ('database', now(), '1 ms', now() - interval '${age}', 1, ${failures}, ${error === null ? "null" : `'${error}'`})`;
  const worker = (age: string): string =>
    `insert into monitor.worker (worker, started_at, seen_at, version) values ('w', now() - interval '${age}', now(), '1')`;

  test("one that failed three times in a row, with a fix that works, without values of the error", async () => {
    expect(of(await foundAfter(state(2, "fails")), "probes")).toEqual([]);
    const [failed] = await foundAfter(state(3, 'there is no "Ann"'));
    expect(failed).toMatchObject({ health_check: "probes", subject: "database", severity: "warning" });
    expect(failed?.message).toMatch(/^the probe database failed 3 times in a row: /);
    expect(failed?.message).not.toContain("Ann");
    expect((await runFix(database, failed)).length).toBeGreaterThan(0);
  });

  test("one whose values are refused", async () => {
    expect(of(await foundAfter(state(0, "metric unknown")), "probes")).toEqual([
      "database: warning, values of the probe database are refused: metric unknown",
    ]);
  });

  test("half an hour without a measurement, while a worker runs", async () => {
    const measured = (age: string, started: string): Promise<Finding[]> =>
      foundAfter(state(0, null, age), worker(started), schedule("1 minute"), runs("refresh", ["1 minute", "ok"]));
    expect(of(await measured("29 minutes", "1 day"), "probes")).toEqual([]);
    // It may not have had the time.
    expect(of(await measured("31 minutes", "29 minutes"), "probes")).toEqual([]);
    expect(of(await foundAfter(state(0, null, "31 minutes")), "probes")).toEqual([]);
    const findings = await measured("31 minutes", "1 day");
    expect(of(findings, "probes")).toEqual([": warning, nothing has been measured for 31 minutes"]);
    expect(
      await runFix(
        database,
        findings.find(({ health_check }) => health_check === "probes"),
      ),
    ).toHaveLength(1);
  });
});

describe("growth", () => {
  const limit = (bytes: number): string => `update monitor.alert_setting set database_limit_bytes = ${bytes}`;
  const series = (bytes: number): string =>
    `insert into monitor.series (metric, first_seen_at, probe, value, measured_at)
     values ('insights_database_bytes', now(), 'database', ${bytes}, now())`;
  /** Samples of the last days, which end at `bytes` and grow by `daily`. */
  const samples = (days: number, bytes: number, daily: number): string =>
    `insert into monitor.sample (sampled_at, measured)
     select now() - day * interval '1 day' - interval '1 minute',
       array_fill(null::float8, array[series_id - 1]) || array[${bytes} - day * ${daily}::float8]
     from generate_series(0, ${days - 1}) as day, monitor.series where metric = 'insights_database_bytes'`;
  const findingsOf = async (...statements: string[]): Promise<Finding[]> =>
    (await foundAfter(...statements)).filter(({ health_check }) => health_check === "growth");

  test("85 percent of the limit, 95, more than the limit", async () => {
    expect(await findingsOf(series(9e11))).toEqual([]);
    expect(await findingsOf(limit(1e12), series(8.4e11))).toEqual([]);
    const [large] = await findingsOf(limit(1e12), series(8.6e11));
    expect(large).toMatchObject({ severity: "warning", message: "the database has 801 GB of 931 GB", value: 8.6e11 });
    expect((await runFix(database, large)).length).toBe(10);
    expect(await findingsOf(limit(1e12), series(9.6e11))).toMatchObject([{ severity: "critical" }]);
    expect(await findingsOf(limit(1e12), series(1.1e12), samples(14, 1.1e12, 1e9))).toMatchObject([
      { severity: "critical", message: "the database has 1024 GB of 931 GB" },
    ]);
  });

  test("30 days until the limit, 3; none that shrinks", async () => {
    const forecast = (daily: number, days = 14): Promise<Finding[]> =>
      findingsOf(limit(1e12), series(4e11), samples(days, 4e11, daily));
    expect(await forecast(1.9e10)).toEqual([]);
    expect(await forecast(2.1e10)).toMatchObject([
      { severity: "warning", message: "the database has 373 GB of 931 GB, and reaches it in 28 days" },
    ]);
    expect(await forecast(2.1e11, 2)).toMatchObject([{ severity: "critical" }]);
    expect(await forecast(-2.1e10)).toEqual([]);
    // One day has no slope.
    expect(await forecast(2.1e11, 1)).toEqual([]);
  });
});

test("clock: records of the future, in each of the tables", async () => {
  const records: Record<string, string> = {
    "monitor.worker": `insert into monitor.worker (worker, started_at, seen_at, version, stopped_at)
      values ('w', now(), now() + interval '2 hours', '1', now())`,
    "monitor.sample": "insert into monitor.sample (sampled_at, measured) values (now() + interval '2 hours', '{}')",
    "privacy.ledger": `insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
      values (1000, 'checkpoint', '\\x00', '\\x00', now() + interval '2 hours')`,
    "track.rollup_check": `insert into track.rollup_check
        (check_id, rollup, checked_at, month, block, checked, differing, duration)
      values (1, 'track.presence', now() + interval '2 hours', '2026-01-01', 0, 100, 0, '1 ms')`,
  };
  for (const [name, record] of Object.entries(records))
    expect(of(await foundAfter(record), "clock"), name).toEqual([expect.stringContaining(`(${name})`)]);
  const ahead = (time: string): string => runs("refresh", [`-${time}`, "ok"]);
  expect(await foundAfter(ahead("50 seconds"))).toEqual([]);
  expect(await foundAfter(ahead("3630 seconds"))).toMatchObject([
    {
      health_check: "clock",
      message:
        "there are records of the future, 60 minutes from now (monitor.run): the clock of the server moved back, or was ahead",
    },
  ]);
});
