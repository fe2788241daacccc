import type { TestDatabase } from "../../support/database.ts";

/** A probe `of_a_test` with a gauge and a counter, and their past. */
export async function testMetrics(database: TestDatabase): Promise<void> {
  await database.query(`
    delete from monitor.rule;
    create function monitor._probe_of_a_test() returns setof monitor.measurement language sql stable as $$
      select null::text, null::jsonb, null::float8 where false
    $$;
    insert into monitor.probe (probe, position, function_name, description)
    values ('of_a_test', 1, 'monitor._probe_of_a_test', 'A probe of a test.');
    insert into monitor.metric (metric, kind, unit, labels, description)
    values ('insights_a', 'gauge', 'count', '{task}', 'A gauge.'), ('insights_b_total', 'counter', 'count', '{}', 'A counter.');
  `);
}

/**
 * Samples of a series every five minutes for some days until now: `value` is an expression of `at`, the time of the
 * sample, and `n`, its number backwards from 0 at the latest.
 */
export async function past(
  database: Pick<TestDatabase, "query">,
  { metric, labels = {}, days, value }: { metric: string; labels?: object; days: number; value: string },
): Promise<void> {
  await database.query(
    `insert into monitor.series (metric, labels, first_seen_at, probe, value, measured_at)
     values ($1, $2, now(), 'of_a_test', 0, now())
     on conflict do nothing`,
    [metric, JSON.stringify(labels)],
  );
  await database.query(
    `insert into monitor.sample (sampled_at, measured)
     select at, array_fill(null::float8, array[known.series_id - 1]) || (${value})::float8
     from (select series_id from monitor.series where metric = $1 and labels = $2) as known
     cross join lateral (
       select n, now() - make_interval(mins => 5 * n) as at from generate_series(0, $3::int * 288) as n
     ) as sampled
     on conflict (sampled_at) do update
     set measured = (
       select array_agg(coalesce(sample.measured[i], excluded.measured[i]) order by i)
       from generate_series(1, greatest(cardinality(sample.measured), cardinality(excluded.measured))) as i
     )`,
    [metric, JSON.stringify(labels), days],
  );
}
