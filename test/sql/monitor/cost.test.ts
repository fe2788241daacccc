import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLists, makeWorld, week } from "./lists.ts";

const database = await testDatabase();

beforeAll(async () => {
  await makeWorld(database, 20);
  await makeLists(database, { people: 20, weeks: 2, seed: 0.5 });
  await database.query(
    `insert into monitor.latency (hour_at, operation, counts, failures, messages, seconds)
     select $1::timestamptz, operation, array_fill(0::bigint, array[8]) || calls || array_fill(0::bigint, array[29]), 0,
       messages, seconds
     from (values
       ('trackIngest', 100, 4000, 2.0), ('recommendFeedback', 7, 0, 9.0)
     ) as given (operation, calls, messages, seconds)`,
    [week(0)],
  );
  await database.query(
    `insert into recommend.serving_time (hour_at, function_name, kind, model_id, counts, items, seconds)
     select $1, function_name, kind, 0, array_fill(0::bigint, array[8]) || calls || array_fill(0::bigint, array[29]), 10 * calls,
       seconds
     from (values ('serve_me', 'course', 30::bigint, 0.3), ('serve_next', 'lesson', 10, 0.1))
       as given (function_name, kind, calls, seconds)`,
    [week(0)],
  );
  await database.query(
    `insert into monitor.run (task, started_at, finished_at, outcome, row_count)
     values ('refresh', $1, $1::timestamptz + interval '2 seconds', 'ok', 400),
       ('refresh', $1, $1::timestamptz + interval '9 seconds', 'failed', null)`,
    [week(0)],
  );
  await database.query("update ml.model set trained_at = $1, duration = version * interval '4 seconds'", [week(1)]);
  // Rows of a table that was never analyzed count as well: here they are those of the statistics.
  await database.query("select pg_stat_force_next_flush()");
});

test("each figure is that of its sources", async () => {
  const rows = await database.as("insights_admin", {}, (db) =>
    db.rows<Record<string, number | string | null>>(
      "select subject, unit_count::int, seconds, mean_ms, p50_ms, stored_count::int, stored_bytes::float8, unit_bytes from monitor.cost($1, $2)",
      [week(0), week(2)],
    ),
  );
  expect(rows.map(({ subject }) => subject)).toEqual(["event", "refresh", "list", "recommendation", "training"]);
  expect(rows[0]).toMatchObject({ unit_count: 4000, seconds: 2, mean_ms: 0.5 });
  expect(rows[1]).toMatchObject({ unit_count: 400, seconds: 2, mean_ms: 5 });
  expect(rows[2]).toMatchObject({ unit_count: 40, mean_ms: 10 });
  // The ninth bucket is from 0.5 ms · 2^3.5 to 8 ms.
  expect(Number(rows[2]?.["p50_ms"])).toBeGreaterThan(0.5 * 2 ** 3.5);
  expect(Number(rows[2]?.["p50_ms"])).toBeLessThan(8);
  expect(rows[3]).toMatchObject({ unit_count: 400, stored_count: 400, mean_ms: 1 });
  const bytes = await database.value<number>("select pg_total_relation_size('recommend.impression')::float8");
  expect(rows[3]?.["unit_bytes"]).toBeCloseTo(bytes / 400, 6);
  expect(rows[4]).toMatchObject({ unit_count: 2, seconds: 12, mean_ms: 6000, p50_ms: 6000 });
});

test("a period without anything has no means", async () => {
  const rows = await database.as("insights_admin", {}, (db) =>
    db.rows("select unit_count::int, mean_ms from monitor.cost($1, $2)", [week(40), week(41)]),
  );
  expect(rows).toEqual(Array.from({ length: 5 }, () => ({ unit_count: 0, mean_ms: null })));
  expect(await database.rejects("select monitor.cost($1, $2)", [week(1), week(0)])).toMatchObject({ code: "CF001" });
  expect(await rolesThatMay(database, "select monitor.cost()")).toEqual(["analyst", "admin", "worker"]);
});

test("lists and their rows are of the same hours, also where the period ends within one", async () => {
  const of = (since: number, until: number) =>
    database.as("insights_admin", {}, (db) =>
      db.rows(
        `select subject, unit_count::int, seconds, mean_ms from monitor.cost($1::timestamptz + $2 * interval '1 minute',
           $1::timestamptz + $3 * interval '1 minute') where subject in ('list', 'recommendation')`,
        [week(0), since, until],
      ),
    );
  const all = [
    { subject: "list", unit_count: 40, seconds: 0.4, mean_ms: 10 },
    { subject: "recommendation", unit_count: 400, seconds: 0.4, mean_ms: 1 },
  ];
  expect(await of(0, 60)).toEqual(all);
  expect(await of(0, 1)).toEqual(all);
  expect(await of(-30, 30)).toEqual(all);
  expect(await of(1, 90)).toEqual([
    { subject: "list", unit_count: 0, seconds: null, mean_ms: null },
    { subject: "recommendation", unit_count: 0, seconds: null, mean_ms: null },
  ]);
  // A call that is not counted yet is in both, too.
  await database.query(
    `insert into recommend.serving_call (hour_at, function_name, kind, seconds, item_count)
     values ($1, 'serve_me', 'course', 0.1, 10)`,
    [week(0)],
  );
  expect(await of(0, 1)).toEqual([
    { subject: "list", unit_count: 41, seconds: 0.5, mean_ms: 500 / 41 },
    { subject: "recommendation", unit_count: 410, seconds: 0.5, mean_ms: 500 / 410 },
  ]);
});

test("analysts read the cost of units: no numbers, no weeks of few people", async () => {
  interface Shown {
    subject: string;
    mean_ms: number | null;
    p50_ms: number | null;
  }
  const shown = (since: number, until: number): Promise<Shown[]> =>
    database.as("insights_analyst", {}, async (db) => {
      const rows = await db.rows<{ row: Record<string, unknown> }>(
        "select to_jsonb(cost) as row from monitor.cost($1, $2) as cost",
        [week(since), week(until)],
      );
      return rows.map(({ row: { unit_count, seconds, stored_count, stored_bytes, unit_bytes, ...row } }) => {
        expect([unit_count, seconds, stored_count, stored_bytes]).toEqual([null, null, null, null]);
        if (unit_bytes !== null) expect(unit_bytes).toBe(Number(Number(unit_bytes).toPrecision(2)));
        return { subject: row["subject"], mean_ms: row["mean_ms"], p50_ms: row["p50_ms"] } as Shown;
      });
    });
  const work = async (weeks: number, person: string): Promise<void> => {
    await database.query(
      `insert into track.session (person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by)
       select ${person}, gen_random_uuid(), $1, $1, 1, 0, '0', 'nothing' from generate_series(1, 40) as n`,
      [week(weeks)],
    );
    await database.query(
      `insert into monitor.latency (hour_at, operation, counts, failures, messages, seconds)
       values ($1, 'trackIngest', array_fill(1::bigint, array[38]), 0, 700, 1)`,
      [week(weeks)],
    );
    await database.query(
      `insert into monitor.run (task, started_at, finished_at, outcome, row_count)
       values ('refresh', $1, $1::timestamptz + interval '1 second', 'ok', 300)`,
      [week(weeks)],
    );
  };
  // No person is known to have been active in the first weeks; 20 were served lists.
  const [event, refresh, list, recommendation, training] = await shown(0, 2);
  expect([event?.mean_ms, refresh?.mean_ms]).toEqual([null, null]);
  expect(list?.mean_ms).toBe(Number(((1000 * 0.5) / 41).toPrecision(2)));
  expect(recommendation?.mean_ms).toBe(Number(((1000 * 0.5) / 410).toPrecision(2)));
  expect(training).toMatchObject({ mean_ms: 6000, p50_ms: 6000 });
  // One person, four, and 40 visitors, whom any client can invent.
  const before = await shown(0, 60);
  await work(50, "1");
  await work(51, "1 + n % 4");
  await work(52, "100000 + n");
  for (const weeks of [50, 51, 52])
    expect((await shown(weeks, weeks + 1)).slice(0, 2).map(({ mean_ms }) => mean_ms)).toEqual([null, null]);
  expect(await shown(0, 60)).toEqual(before);
  await work(53, "1 + n % 5");
  // A part of the week is the week.
  expect((await shown(53.2, 53.3)).slice(0, 2).map(({ mean_ms }) => mean_ms)).toEqual([1.4, 3.3]);
  for (const period of ["'-infinity', 'infinity'", "'2025-01-01', '294276-01-01'"])
    await database.as("insights_analyst", {}, async (db) => {
      expect((await db.query(`select monitor.cost(${period})`)).rows.length).toBe(5);
    });
});

test("analysts do not see the durations of few people, however many lists these have", async () => {
  const shown = (since: number, until: number, kind: string | null = "course", byModel = false) =>
    database.as("insights_analyst", {}, (db) =>
      db.rows<{ name: string | null; seconds: number; p50_ms: number; call_count: null }>(
        "select name, seconds, p50_ms, call_count from monitor._list_durations_shown(array[$1::timestamptz], array[$2::timestamptz], $3, $4)",
        [week(since), week(until), kind, byModel],
      ),
    );
  const lists = (weeks: number, person: string, calls: number, seconds: number) =>
    database.query(
      `with listed as (
         insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served)
         select ${person}, gen_random_uuid(), model_id, item_id, 1, 'model', $1, true
         from generate_series(1, $2::int) as n
         join ml.model on version = 1
         join track.item on external_id = 'course 1'
         returning model_id
       )
       insert into recommend.serving_call (hour_at, function_name, kind, model_id, seconds, item_count)
       select $1, 'serve_me', 'course', model_id, $3, 1 from listed`,
      [week(weeks), calls, seconds],
    );
  // The first two weeks have 20 people.
  const before = await shown(0, 30);
  expect(before).toEqual([{ name: null, seconds: 0.4, p50_ms: expect.any(Number), call_count: null }]);
  // One person with 100 lists; four people; 100 visitors, whom any client can invent.
  await lists(20, "1", 100, 3);
  await lists(21, "1 + n % 4", 100, 3);
  await lists(22, "100000 + n", 100, 3);
  for (const weeks of [20, 21, 22]) {
    expect(await shown(weeks, weeks + 1)).toEqual([]);
    expect(await shown(weeks, weeks + 1, "course", true)).toEqual([]);
    expect(await shown(weeks, weeks + 1, null)).toEqual([]);
  }
  // Nor by the difference of two periods.
  expect(await shown(0, 30)).toEqual(before);
  // Five people are a group.
  await lists(23, "1 + n % 5", 10, 3);
  expect(await shown(23, 24)).toEqual([{ name: null, seconds: 30, p50_ms: expect.any(Number), call_count: null }]);
  expect((await shown(23, 24, "course", true)).map(({ name }) => name)).toEqual(["1"]);
  expect(await shown(23, 24, "lesson")).toEqual([]);
  // Hostile periods end without a raw error.
  for (const [starts, ends] of [
    ["{}", "{}"],
    ["{null}", "{null}"],
    ["{-infinity}", "{infinity}"],
    ["{infinity}", "{-infinity}"],
    ["{infinity}", "{infinity}"],
    ["{2025-01-06Z,2025-01-06Z}", "{2025-01-07Z}"],
  ])
    await database.as("insights_analyst", {}, (db) =>
      db.rows("select * from monitor._list_durations_shown($1, $2, 'course', true)", [starts, ends]),
    );
});
