/*
 * Experiments: the speed of exposures and results, and how often the results are wrong.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/experiment.ts speed [people 1000000]
 * DATABASE_URL=postgres://… npm exec -- node bench/experiment.ts rates [experiments 1000] [learners 200]
 *
 * speed: people with an exposure and six further events each, and an experiment with ten metrics. The events are stored
 * without track.ingest, whose speed bench/ingest.ts measures; exposures go through track.refresh. The peer is one plain
 * query that computes the ten metrics of both variations from the same events.
 * rates: a simulated population and experiments on it, each with a random assignment of its own and exposures over two
 * weeks. All measure page views, on which no variation has an effect (A/A). Half of them measure exercises too: each person
 * has a rate of her own, so that the time before predicts the time after, and the treatment adds exercises to half of
 * the people: an effect that is known exactly. All figures are those of experiment.results. Peeking reads the results of
 * every day, and stops at the first significant one.
 */
import { readFileSync } from "node:fs";
import type pg from "pg";
import { Options } from "../src/simulator/options.ts";
import { Random } from "../src/simulator/random.ts";
import { simulate } from "../src/simulator/run.ts";
import { nativeDatabase } from "./database.ts";

const mode = process.argv[2] ?? "speed";

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const started = performance.now();
  const result = await work();
  return [result, performance.now() - started];
}

/** Milliseconds of processor time that a session of a server on this machine has used; 0 for a server elsewhere. */
async function processorTime(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  try {
    return Number(readFileSync(`/proc/${rows[0]?.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  } catch {
    return 0;
  }
}

const seconds = (ms: number): string => (ms < 2000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);

async function refreshed(client: pg.Client, mostPeople: number, step: string | null): Promise<void> {
  while ((await client.query("select from track.refresh($1, $2)", [mostPeople, step])).rowCount !== 0);
}

/** People with the keys from … until, as ingest and the refresh of sessions would store them. */
async function addPeople(client: pg.Client, from: number, until: number): Promise<void> {
  for (let start = from; start < until; start += 100_000) {
    const range = [start, Math.min(start + 100_000, until) - 1];
    await client.query(
      `insert into track.identity (identity_id, kind, external_id, person_id) overriding system value
       select i, 'user', 'u' || i, i from generate_series($1::bigint, $2::bigint) as i`,
      range,
    );
    await client.query(
      "insert into track.person (person_id) select i from generate_series($1::bigint, $2::bigint) as i",
      range,
    );
    await client.query(
      `insert into track.event
         (person_id, occurred_at, event_id, identity_id, event_type_id, received_at, source_id, properties)
       select person_id, occurred_at, gen_random_uuid(), person_id, event_type_id, occurred_at, 1, properties
       from (
         select i as person_id, now() - interval '20 days' + random() * interval '15 days' as occurred_at, event_type_id,
           jsonb_build_object('experiment_id', 'page', 'variation_id', i % 2) as properties
         from generate_series($1::bigint, $2::bigint) as i
         join track.event_type on event_type.name = 'Experiment Viewed'
         union all
         select i, now() - interval '34 days' + random() * interval '33 days', event_type_id,
           jsonb_build_object('value', round((random() * 100)::numeric, 2))
         from generate_series($1::bigint, $2::bigint) as i
         cross join generate_series(1, 6) as repetition
         join lateral (select 1 + floor(random() * 9)::int + 0 * (i + repetition)::int as n) as drawn on true
         join track.event_type on event_type.name = 'Metric ' || drawn.n
       ) as event`,
      range,
    );
    await client.query(
      `insert into track.step (person_id, event_type_id, is_automatic, since, occurred_at, item_ids)
       select person_id, event_type_id, false, date_trunc('year', occurred_at at time zone 'UTC')::date,
         array_agg(occurred_at order by occurred_at), array_fill(0, array[count(*)::int])
       from track.event
       where person_id between $1 and $2
       group by 1, 2, 4`,
      range,
    );
  }
}

async function speed(client: pg.Client, people: number): Promise<void> {
  await client.query("select track.make_partitions(now() - interval '40 days', now())");
  await client.query("insert into track.event_type (name) select 'Metric ' || i from generate_series(1, 9) as i");
  await addPeople(client, 1000, 1000 + people);
  await client.query("analyze");
  await client.query(`
    select
      experiment.define_metric('p1', 'proportion', '{Metric 1}'),
      experiment.define_metric('p2', 'proportion', '{Metric 2}', period => '3 days'),
      experiment.define_metric('c3', 'count', '{Metric 3}'),
      experiment.define_metric('c4', 'count', '{Metric 4}', cap => 3),
      experiment.define_metric('m5', 'mean', '{Metric 5}', value_property => 'value'),
      experiment.define_metric('m6', 'mean', '{Metric 6}', value_property => 'value', cap => 100),
      experiment.define_metric('r7', 'retention', '{Metric 7}', delay => '1 day', period => '2 days'),
      experiment.define_metric('c8', 'count', '{Metric 8}'),
      experiment.define_metric('p9', 'proportion', '{Metric 9}')`);
  await client.query("select experiment.define_metric('ratio', 'ratio', numerator => 'm5', denominator => 'c3')");
  await client.query("select experiment.define_experiment($1)", [
    JSON.stringify({
      key: "page",
      variations: [{ key: "control" }, { key: "treatment" }],
      goals: ["p1", "c3"],
      secondary: ["p2", "c4", "m5", "m6", "r7", "c8", "ratio"],
      guardrails: ["p9"],
    }),
  ]);
  await client.query("select experiment.start('page')");
  await client.query("update experiment.experiment set started_at = now() - interval '25 days'");
  await client.query("update experiment.weighting set since = now() - interval '25 days'");
  const results = () => client.query("select * from experiment.results('page')");

  await client.query("select experiment.rebuild('page')");
  const start = await processorTime(client);
  const [, cold] = await timed(() => refreshed(client, 10_000, "experiment.exposure"));
  const coldWork = (await processorTime(client)) - start;
  console.log(
    `${people} people, 10 metrics: exposures from nothing   ${seconds(cold)}, processor ${seconds(coldWork)}`,
  );
  await client.query("vacuum analyze");
  const [rows, first] = await timed(results);
  console.log(`results, first call of the connection     ${seconds(first)} (${rows.rowCount} rows)`);
  const times: number[] = [];
  for (let i = 0; i < 9; i += 1) times.push((await timed(results))[1]);
  times.sort((a, b) => a - b);
  console.log(`results, median of the following          ${seconds(times[4] ?? 0)}`);

  // Several times, because other work on the machine changes the time of one; the median counts.
  const added: number[] = [];
  const worked: number[] = [];
  let after = 0;
  for (let from = 1000 + people; added.length < 5; from += 10_000) {
    await addPeople(client, from, from + 10_000);
    const [, queued] = await timed(() =>
      client.query(
        `insert into track.changed (person_id, consumer, since, until)
         select i, 'experiment.exposure', now() - interval '40 days', now()
         from generate_series($1::bigint, $2::bigint) as i`,
        [from, from + 9_999],
      ),
    );
    // As the worker does, 2,000 people per call.
    const before = await processorTime(client);
    const [, refreshing] = await timed(() => refreshed(client, 2_000, "experiment.exposure"));
    worked.push((await processorTime(client)) - before);
    const [, reading] = await timed(results);
    added.push(refreshing);
    after = reading;
    // As autovacuum does between the batches of a day.
    await client.query("vacuum track.changed");
    console.log(
      `10,000 new exposures                      ${seconds(refreshing)}, queued in ${seconds(queued)}, results after them ${seconds(reading)}`,
    );
  }
  added.sort((a, b) => a - b);
  worked.sort((a, b) => a - b);
  console.log(
    `10,000 new exposures, median              ${seconds(added[2] ?? 0)}, processor ${seconds(worked[2] ?? 0)}`,
  );

  const plain = `
    with exposed as (
      select person_id, min(occurred_at) as exposed_at, min(properties ->> 'variation_id') as variation
      from track.event
      join track.event_type using (event_type_id)
      where event_type.name = 'Experiment Viewed'
      group by person_id
      having min(properties ->> 'variation_id') = max(properties ->> 'variation_id')
    ),
    person as (
      select exposed.person_id, exposed.variation,
        ${Array.from({ length: 9 }, (_, i) => `coalesce(sum((event.properties ->> 'value')::numeric) filter (where event_type.name = 'Metric ${i + 1}'), 0) as y${i}`).join(", ")}
      from exposed
      left join track.event on event.person_id = exposed.person_id and event.occurred_at >= exposed.exposed_at
      left join track.event_type using (event_type_id)
      group by 1, 2
    )
    select variation, count(*), ${Array.from({ length: 9 }, (_, i) => `sum(y${i}), sum(y${i} * y${i})`).join(", ")}
    from person
    group by variation`;
  const scanned = await processorTime(client);
  const [, scan] = await timed(() => client.query(plain));
  const scanWork = (await processorTime(client)) - scanned;
  console.log(
    `peer: nine sums by one plain query         ${seconds(scan)} (session's processor ${seconds(scanWork)}), ${(scan / after).toFixed(0)} times the results`,
  );
}

/** Wilson's interval of a rate at 95 %. */
function interval(hits: number, of: number): string {
  const z = 1.96;
  const middle = (hits + (z * z) / 2) / (of + z * z);
  const half = (z / (of + z * z)) * Math.sqrt((hits * (of - hits)) / of + (z * z) / 4);
  const percent = (x: number): string => `${(Math.max(x, 0) * 100).toFixed(1)} %`;
  return `${percent(hits / of).padStart(7)} (${percent(middle - half)} to ${percent(middle + half)}, ${hits} of ${of})`;
}

async function rates(client: pg.Client, experiments: number, learners: number): Promise<void> {
  const day = 86_400_000;
  const until = new Date(Math.floor(Date.now() / day) * day);
  await simulate(client, Options.parse({ learners, courses: 6, weeks: 10, seed: 7, until }));
  await refreshed(client, 10_000, null);
  const names = (
    await client.query<{ name: string }>(
      "select external_id as name from track.identity where kind = 'user' order by identity_id",
    )
  ).rows.map(({ name }) => name);
  await client.query("select experiment.define_metric('views', 'count', '{Page Viewed}', period => '14 days')");
  const random = new Random("experiments");
  const share = 0.5;
  const bonus = 3;
  const start = until.getTime() - 28 * day;
  const effects = new Map<string, number>();
  const messages: Record<string, unknown>[] = [];
  let sent = 0;
  const flush = async (least: number): Promise<void> => {
    while (messages.length > least) {
      const batch = messages.splice(0, 5_000);
      const { rows } = await client.query("select (track.ingest($1::jsonb)).rejected", [JSON.stringify(batch)]);
      if (rows[0]?.rejected !== 0) throw new Error("rejected");
    }
  };
  const track = (userId: string, event: string, at: number, properties: object): void => {
    sent += 1;
    messages.push({
      type: "track",
      messageId: `bench ${sent}`,
      userId,
      event,
      properties,
      timestamp: new Date(at).toISOString(),
    });
  };
  // About ten exercises in two weeks, with a deviation of four between people.
  for (const name of names) {
    const rate = random.gamma(6) / 6 / 1.4;
    for (let at = start - 28 * day; at < until.getTime(); at += day) {
      for (let left = random.poisson(rate); left > 0; left -= 1) {
        track(name, "Exercise Finished", at + random.uniform() * day, {});
      }
    }
    await flush(5_000);
  }
  for (let index = 1; index < experiments; index += 2) track(names[0] ?? "", `Bonus ${index}`, start - 50 * day, {});
  await flush(0);
  for (let index = 0; index < experiments; index += 1) {
    const key = `x${index}`;
    const isReal = index % 2 === 1;
    if (isReal) {
      await client.query("select experiment.define_metric($1, 'count', $2, period => '14 days')", [
        `m${index}`,
        ["Exercise Finished", `Bonus ${index}`],
      ]);
    }
    await client.query("select experiment.define_experiment($1)", [
      JSON.stringify({
        key,
        variations: [{ key: "control" }, { key: "treatment" }],
        goals: isReal ? [`m${index}`, "views"] : ["views"],
        before_period: "28 days",
      }),
    ]);
    await client.query("select experiment.start($1)", [key]);
    let added = 0;
    for (const name of names) {
      const arm = random.uniform() < 0.5 ? 0 : 1;
      const at = start + random.uniform() * 14 * day;
      track(name, "Experiment Viewed", at, { experiment_id: key, variation_id: arm });
      // Chosen before the arm is known: the mean effect on all people follows from their number.
      const isChosen = random.uniform() < share;
      if (isReal && isChosen) {
        added += bonus;
        if (arm === 1) for (let i = 0; i < bonus; i += 1) track(name, `Bonus ${index}`, at + (i + 1) * 60_000, {});
      }
    }
    effects.set(key, isReal ? added / names.length : 0);
    await flush(5_000);
  }
  await flush(0);
  await client.query("update experiment.experiment set started_at = $1", [new Date(start - day)]);
  await client.query("update experiment.weighting set since = $1", [new Date(start - day)]);
  await client.query("select track.rebuild('experiment.exposure')");
  await refreshed(client, 200, null);

  interface Answer {
    low: number;
    high: number;
    verdict: string;
  }
  const ask = async (
    key: string,
    metric: string,
    test: string,
    isAdjusted: boolean,
    limit: Date | null,
  ): Promise<Answer> => {
    const { rows } = await client.query<Answer>(
      `select low, high, verdict
       from experiment.results($1, test => $2, is_adjusted => $3, difference => 'absolute', until => $4)
       where variation = 'treatment' and metric = $5`,
      [key, test, isAdjusted, limit, metric],
    );
    return rows[0] as Answer;
  };
  const wrong = { plain: 0, adjusted: 0, peeked: 0 };
  const covered = { plain: 0, adjusted: 0 };
  const found = { plain: 0, adjusted: 0 };
  let real = 0;
  for (const [key, effect] of effects) {
    const own = effect > 0 ? key.replace("x", "m") : "views";
    for (const kind of ["plain", "adjusted"] as const) {
      const answer = await ask(key, own, "welch", kind === "adjusted", null);
      if (answer.low <= effect && effect <= answer.high) covered[kind] += 1;
      if (effect > 0 && answer.verdict !== "unclear") found[kind] += 1;
      const none = effect > 0 ? await ask(key, "views", "welch", kind === "adjusted", null) : answer;
      if (none.verdict !== "unclear") wrong[kind] += 1;
    }
    if (effect > 0) real += 1;
    for (let peek = 0; peek < 14; peek += 1) {
      const answer = await ask(key, "views", "sequential", true, new Date(start + peek * day));
      if (answer.verdict !== "unclear") {
        wrong.peeked += 1;
        break;
      }
    }
  }
  console.log(`${effects.size} experiments on ${names.length} simulated people, half of them with an effect`);
  console.log(`coverage of 95 % intervals                ${interval(covered.plain, effects.size)}`);
  console.log(`the same, with CUPED                      ${interval(covered.adjusted, effects.size)}`);
  console.log(`false positives, fixed                    ${interval(wrong.plain, effects.size)}`);
  console.log(`the same, with CUPED                      ${interval(wrong.adjusted, effects.size)}`);
  console.log(`false positives, sequential, daily peeks  ${interval(wrong.peeked, effects.size)}`);
  console.log(`power without CUPED                       ${interval(found.plain, real)}`);
  console.log(`power with CUPED                          ${interval(found.adjusted, real)}`);
}

const database = await nativeDatabase(`insights_bench_experiment_${process.pid}`);
try {
  console.log(database.name);
  if (mode === "rates") await rates(database.client, Number(process.argv[3] ?? 1000), Number(process.argv[4] ?? 200));
  else await speed(database.client, Number(process.argv[3] ?? 1_000_000));
} finally {
  await database.close();
}
