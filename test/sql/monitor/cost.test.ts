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
     select $1, function_name, kind, 0, array_fill(0::bigint, array[8]) || calls || array_fill(0::bigint, array[29]), 400,
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
  await database.query("analyze recommend.impression");
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
  expect(await rolesThatMay(database, "select monitor.cost()")).toEqual(["admin", "worker"]);
});
