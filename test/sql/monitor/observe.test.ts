import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await database.query("update monitor.setting set longest_observation = '1 hour'");

test("the scheduled probes run, and their values are stored as one sample", async () => {
  const [observed] = await database.rows("select probes, failed, measured from monitor.observe()");
  const probes = await database.value<number>("select count(*)::int from monitor.probe");
  expect(observed).toMatchObject({ probes, failed: 0 });
  const [size] = await database.rows<{ sampled: number; latest: number }>(
    `select sample.measured[series_id] as sampled, series.value as latest
     from monitor.series cross join monitor.sample where metric = 'insights_database_bytes'`,
  );
  expect(size?.latest).toBeGreaterThan(1_000_000);
  expect(size?.sampled).toBe(size?.latest);
  // None is scheduled again before its time.
  expect(await database.rows("select sampled_at, probes from monitor.observe()")).toEqual([
    { sampled_at: null, probes: 0 },
  ]);
  expect(await database.value("select monitor.needs_observation()")).toBe(false);
});

/** A probe whose function has this body. */
const probe = (name: string, body: string, position: number): Promise<unknown> =>
  database.query(`
    create function public.${name}() returns setof monitor.measurement language plpgsql as $$ begin ${body} end $$;
    grant execute on function public.${name}() to insights_owner;
    insert into monitor.probe (probe, position, function_name, description)
    values ('${name}', ${position}, 'public.${name}', 'A test.')`);

const measure = (metric: string, labels: string, value: string) =>
  `return next row('${metric}', ${labels}, ${value})::monitor.measurement;`;
const valid = measure("insights_queue_waiting_jobs", `'{"task": "valid"}'`, "7");

const state = async (name: string) =>
  (
    await database.rows(
      "select measured, failures, error, measured_at is not null as has_measured from monitor.probe_state where probe = $1",
      [name],
    )
  )[0];

const stored = (task: string) =>
  database.value("select value from monitor.series where metric = 'insights_queue_waiting_jobs' and labels = $1", [
    JSON.stringify({ task }),
  ]);

test("a probe that fails is recorded, and does not stop the others", async () => {
  await probe("failing", "raise 'no such luck'; ", 1001);
  await probe("well", valid, 1002);
  const [observed] = await database.rows("select probes, failed, measured from monitor.observe('{failing,well}')");
  expect(observed).toEqual({ probes: 2, failed: 1, measured: 1 });
  expect(await state("failing")).toEqual({
    measured: 0,
    failures: 1,
    error: "no such luck [P0001]",
    has_measured: false,
  });
  expect(await stored("valid")).toBe(7);
  await database.query("select monitor.observe('{failing}')");
  expect(await state("failing")).toMatchObject({ failures: 2 });
  // Its function was dropped.
  await database.query("drop function public.failing()");
  await database.query("select monitor.observe('{failing}')");
  expect(await state("failing")).toMatchObject({ failures: 3, error: expect.stringContaining("[42883]") });
  // It works again.
  await database.query(
    "create function public.failing() returns setof monitor.measurement language sql as $$ select null, null::jsonb, null::float8 $$; grant execute on function public.failing() to insights_owner",
  );
  await database.query("select monitor.observe('{failing}')");
  expect(await state("failing")).toEqual({ measured: 0, failures: 0, error: null, has_measured: true });
});

test.each([
  ["NaN", measure("insights_queue_waiting_jobs", `'{"task": "a"}'`, "'NaN'"), "the value NaN"],
  ["infinity", measure("insights_queue_waiting_jobs", `'{"task": "a"}'`, "'-Infinity'"), "the value -Infinity"],
  ["an unknown metric", measure("insights_unknown", "null", "1"), "a metric that is not in monitor.metric"],
  ["no metric", "return next row(null, null, 1)::monitor.measurement;", "a metric that is not in monitor.metric"],
  ["a missing label", measure("insights_queue_waiting_jobs", "null", "1"), "labels other than {task}"],
  ["another label", measure("insights_queue_waiting_jobs", `'{"task": "a", "person": "b"}'`, "1"), "labels other than"],
  ["labels in a list", measure("insights_queue_waiting_jobs", `'["task"]'`, "1"), "not an object"],
  ["a number as label", measure("insights_queue_waiting_jobs", `'{"task": 1}'`, "1"), "not a text"],
  [
    "a long label",
    measure("insights_queue_waiting_jobs", "jsonb_build_object('task', repeat('x', 201))", "1"),
    "not a text",
  ],
  ["two values", valid.repeat(2), "two values"],
])("%s is refused, and the other values of the probe are stored", async (_name, body, problem) => {
  await database.query("delete from monitor.probe where probe = 'wrong'; drop function if exists public.wrong()");
  await probe("wrong", `${body} ${measure("insights_queue_running_jobs", `'{"task": "right"}'`, "3")}`, 1003);
  await database.query("select monitor.observe('{wrong}')");
  expect(await state("wrong")).toMatchObject({ failures: 0, error: expect.stringContaining(problem) });
  expect(await database.value('select value from monitor.series where labels = \'{"task": "right"}\'')).toBe(3);
  expect(await database.value('select count(*)::int from monitor.series where labels = \'{"task": "a"}\'')).toBe(0);
});

test("a probe that measures without end is stopped, and series have a limit", async () => {
  const many = (count: string) =>
    `return query select 'insights_queue_waiting_jobs', jsonb_build_object('task', n::text), 1::float8 from generate_series(1, ${count}) as n;`;
  await probe("endless", many("20000"), 1004);
  await database.query("select monitor.observe('{endless}')");
  expect(await state("endless")).toMatchObject({ measured: 0, failures: 1, error: "more than 10000 values" });
  const series = await database.value<number>("select count(*)::int from monitor.series");
  await database.query("update monitor.setting set most_series = 1000");
  await probe("crowd", many("2000"), 1005);
  await database.query("select monitor.observe('{crowd}')");
  expect(await state("crowd")).toMatchObject({
    measured: 1000 - series,
    error: expect.stringContaining("no room: see monitor.setting.most_series"),
  });
  await database.query(
    "update monitor.setting set most_series = 5000; delete from monitor.probe where probe in ('endless', 'crowd')",
  );
});

test("an observation ends when its time is over; the rest is run first by the next one", async () => {
  await database.query("update monitor.setting set longest_observation = '100 milliseconds'");
  await probe("slow", `perform pg_sleep(0.2); ${valid}`, 1006);
  await database.query("delete from monitor.probe_state where probe in ('slow', 'well')");
  await database.query("update monitor.probe set position = 1007 where probe = 'well'");
  expect(await database.value("select probes from monitor.observe('{slow,well}')")).toBe(1);
  expect(await state("well")).toBeUndefined();
  expect(await database.value("select probes from monitor.observe('{slow,well}')")).toBe(2);
  expect(await state("well")).toMatchObject({ measured: 1 });
  await database.query(
    "update monitor.setting set longest_observation = '1 hour'; delete from monitor.probe where probe = 'slow'",
  );
});

test.skipIf(!database.native)("a probe that hangs is cancelled by the time limit, and the others follow", async () => {
  await probe("hanging", "perform pg_sleep(3600);", 1008);
  await database.query(
    "delete from monitor.probe_state where probe = 'well'; update monitor.probe set position = 1009 where probe = 'well'",
  );
  await database.as("insights_worker", {}, async (db) => {
    await db.query("set local statement_timeout to '500ms'");
    expect(await db.rows("select probes, failed from monitor.observe('{hanging,well}')")).toEqual([
      { probes: 1, failed: 1 },
    ]);
    expect(await db.rows("select probe, error from monitor.probe_state where probe in ('hanging', 'well')")).toEqual([
      { probe: "hanging", error: "canceling statement due to statement timeout [57014]" },
    ]);
    expect(await db.rows("select probes, failed from monitor.observe('{well}')")).toEqual([{ probes: 1, failed: 0 }]);
  });
  await database.query("delete from monitor.probe where probe = 'hanging'");
});

test.skipIf(!database.native)("of two workers at once, one observes and the other does not wait", async () => {
  await database.as("insights_worker", {}, async (one) => {
    expect(await one.value("select probes from monitor.observe('{well}')")).toBe(1);
    expect(await database.rows("select sampled_at, probes from monitor.observe('{well}')")).toEqual([
      { sampled_at: null, probes: 0 },
    ]);
  });
});

test("a clock that was ahead: probes are run at once, and the present values are returned", async () => {
  await database.query("select monitor.observe('{well}')");
  await database.query(`
    update monitor.probe_state set started_at = started_at + interval '1 day', measured_at = measured_at + interval '1 day';
    update monitor.series set measured_at = measured_at + interval '1 day';
    update monitor.sample set sampled_at = sampled_at + interval '1 day'`);
  expect(await database.value("select monitor.needs_observation()")).toBe(true);
  const before = await database.value<number>("select count(*)::int from monitor.sample");
  expect(await database.value("select failed from monitor.observe('{well,queue}')")).toBe(0);
  expect(await database.value("select count(*)::int from monitor.sample")).toBe(before + 1);
  expect(
    await database.value(
      `select measured_at between now() - interval '1 minute' and clock_timestamp() from monitor.metrics()
       where metric = 'insights_queue_waiting_jobs' and labels = '{"task": "valid"}'`,
    ),
  ).toBe(true);
});

test("an unknown probe is refused with the nearest name", async () => {
  expect(await database.rejects("select monitor.observe('{queu}')")).toMatchObject({
    code: "CF002",
    message: 'there is no probe "queu"',
    hint: expect.stringContaining('Did you mean "queue"?'),
  });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.observe()")).toEqual(["worker"]);
});
