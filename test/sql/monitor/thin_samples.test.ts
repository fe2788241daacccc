import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const samples = (age: string) =>
  database.rows<{ hours: number; minutes: number; measured: (number | null)[] }>(
    `select extract(hour from sampled_at at time zone 'UTC')::int as hours,
       extract(minute from sampled_at at time zone 'UTC')::int as minutes, measured
     from monitor.sample
     where date_trunc('day', sampled_at, 'UTC') = date_trunc('day', now() - interval '${age}', 'UTC')
     order by sampled_at`,
  );

/** Every half hour of the day; the second series is measured in the second half of each hour, the third is newer. */
const fill = (age: string): Promise<unknown> =>
  database.query(`
    insert into monitor.sample (sampled_at, measured)
    select date_trunc('day', now() - interval '${age}', 'UTC') + n * interval '30 minutes' + interval '1 minute',
      case when n % 2 = 0 then array[n] else array[n, 100 + n] end || case when n >= 2 then array[7]::float8[] else '{}' end
    from generate_series(0, 47) as n`);

test("all of two weeks are kept, then one per hour, then one per day; with the first value of each series", async () => {
  for (const age of ["10 days", "30 days", "200 days", "1200 days"]) await fill(age);
  await database.query("select monitor.thin_samples()");
  expect(await samples("10 days")).toHaveLength(48);

  const hourly = await samples("30 days");
  expect(hourly).toHaveLength(24);
  expect(hourly[0]).toEqual({ hours: 0, minutes: 1, measured: [0, 101] });
  expect(hourly[1]).toEqual({ hours: 1, minutes: 1, measured: [2, 7, 7] });
  expect(await samples("200 days")).toEqual([{ hours: 0, minutes: 1, measured: [0, 101, 7] }]);
  expect(await samples("1200 days")).toEqual([]);
  expect(await database.value("select monitor.thin_samples()")).toBe(0);
});

test("in steps, with the same result", async () => {
  await database.query("truncate monitor.sample");
  await fill("40 days");
  await fill("41 days");
  expect(await database.value("select monitor.thin_samples(1)")).toBe(1);
  while (Number(await database.value("select monitor.thin_samples(5)")) > 0);
  expect(await database.value("select count(*)::int from monitor.sample")).toBe(48);
});

test("samples of the future, of a clock that was ahead, are not touched", async () => {
  await database.query("truncate monitor.sample");
  await fill("-3 days");
  expect(await database.value("select monitor.thin_samples()")).toBe(0);
  expect(await database.value("select count(*)::int from monitor.sample")).toBe(48);
});

test("series and workers that were not seen for long are deleted", async () => {
  await database.query(`
    insert into monitor.series (metric, labels, first_seen_at, probe, value, measured_at)
    select 'insights_queue_waiting_jobs', jsonb_build_object('task', age), now(), 'queue', 1, now() - age::interval
    from unnest('{1 year,4 years}'::text[]) as age;
    insert into monitor.worker (worker, started_at, seen_at, version)
    select age, now() - age::interval, now() - age::interval, '1' from unnest('{1 day,31 days}'::text[]) as age`);
  await database.query("select monitor.thin_samples()");
  expect(await database.rows("select labels ->> 'task' as task from monitor.series")).toEqual([{ task: "1 year" }]);
  expect(await database.rows("select worker from monitor.worker")).toEqual([{ worker: "1 day" }]);
});

test.each(["0", "10001", "null"])("most = %s is refused", async (most) => {
  expect(await database.rejects(`select monitor.thin_samples(${most})`)).toMatchObject({ code: "CF001" });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.thin_samples()")).toEqual(["worker"]);
});
