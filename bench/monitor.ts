/*
 * The observation of an installation: time of `monitor.observe()` with all probes, of `monitor.metrics()` and
 * `monitor.history()`, and the size of the tables of the observation after a simulated year, thinned as by the worker.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/monitor.ts
 */
import { nativeDatabase } from "./database.ts";

const days = 365;
const database = await nativeDatabase(`insights_bench_monitor_${process.pid}`);
try {
  const { client } = database;
  const timed = async (sql: string, times = 10): Promise<string> => {
    const taken: number[] = [];
    for (let n = 0; n < times; n++) {
      const begin = performance.now();
      await client.query(sql);
      taken.push(performance.now() - begin);
    }
    taken.sort((a, b) => a - b);
    return `${(taken[Math.floor(times / 2)] ?? 0).toFixed(1).padStart(8)} ms`;
  };
  const size = async (): Promise<{ bytes: string; samples: number }> =>
    (
      await client.query<{ bytes: string; samples: number }>(
        `select pg_size_pretty(sum(pg_total_relation_size(name))) as bytes, (select count(*)::int from monitor.sample) as samples
         from unnest('{monitor.sample,monitor.series,monitor.probe_state}'::regclass[]) as name`,
      )
    ).rows[0] as { bytes: string; samples: number };

  console.log(database.name);
  await client.query("select track.make_partitions(now() - interval '3 years', now())");
  await client.query("select monitor.observe()");
  const { rows } = await client.query<{ series: number }>("select count(*)::int as series from monitor.series");
  console.log(`${rows[0]?.series} series`);
  console.log(
    `observe, all probes     ${await timed("select monitor.observe((select array_agg(probe) from monitor.probe))")}`,
  );
  console.log(`metrics                 ${await timed("select count(*) from monitor.metrics()")}`);
  console.log(
    `a bare select of series ${await timed("select count(*) from (select * from monitor.series order by metric) as s")}`,
  );

  // A sample every five minutes, with random values: tables and sizes once an hour. Once a day, the worker thins.
  await client.query("truncate monitor.sample");
  let rawBytes = 0;
  for (let day = days; day > 0; day--) {
    await client.query(
      `insert into monitor.sample (sampled_at, measured)
       select now() - $1 * interval '1 day' + minute * interval '1 minute',
         array(
           select case when probe.every < interval '1 hour' or minute % 60 = 0 then round(random()::numeric * 1e6, 3)::float8 end
           from generate_series(1, (select max(series_id) from monitor.series)) as id
           left join monitor.series on series_id = id
           left join monitor.probe using (probe)
           where minute >= 0
           order by id
         )
       from generate_series(0, 1435, 5) as minute`,
      [day],
    );
    if (day === days) {
      const { rows: raw } = await client.query<{ bytes: string }>(
        "select sum(pg_column_size(measured)) as bytes from monitor.sample",
      );
      rawBytes = Number(raw[0]?.bytes) * days;
    }
    // As of that day: the ages of the settings are counted from now.
    if (day % 30 === 1) {
      while (Number((await client.query("select monitor.thin_samples(2000) as n")).rows[0]?.n) > 0);
      await client.query("vacuum monitor.sample");
    }
  }
  const { bytes, samples } = await size();
  console.log(
    `after ${days} days           ${bytes}, ${samples} samples (all samples would be ${(rawBytes / 1e6).toFixed(0)} MB)`,
  );
  console.log(
    `history of a day        ${await timed("select count(*) from monitor.history('insights_queue_waiting_jobs')")}`,
  );
  console.log(
    `history of a year       ${await timed("select count(*) from monitor.history('insights_database_bytes', since => now() - interval '1 year', bucket => '1 day')")}`,
  );
  console.log(`thin_samples, no work   ${await timed("select monitor.thin_samples()")}`);
  console.log(`table_state             ${await timed("select count(*) from monitor.table_state()", 3)}`);
} finally {
  await database.close();
}
