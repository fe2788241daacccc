import { describe, expect, test } from "vitest";
import { EXPERIMENT } from "../../src/simulator/experiment.ts";
import { Options } from "../../src/simulator/options.ts";
import { simulate } from "../../src/simulator/run.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { makePopulation } from "../support/population.ts";
import { refresh } from "../support/world.ts";

// The demo of `insights start`, at a fixed time.
const options = { learners: 200, courses: 24, weeks: 8, until: new Date("2026-04-20") };

interface Result {
  variation: string;
  people: number;
  figure: number;
  effect: number | null;
  low: number | null;
  high: number | null;
}

const results = (database: TestDatabase, metric = "videos_finished") =>
  database.rows<Result>(
    `select variation, people::int, figure, effect, low, high
     from experiment.results($1, difference => 'absolute', is_adjusted => false)
     where metric = $2`,
    [EXPERIMENT.key, metric],
  );

describe("the experiment of the simulated platform", async () => {
  const database = await testDatabase();
  await makePopulation(database, { ...options, seed: 1 });
  const truth = new Map(
    (
      await database.rows<{ variation: string; finished_share: number }>(
        "select variation, finished_share from canvas_flow_truth.variation",
      )
    ).map(({ variation, finished_share }) => [variation, finished_share]),
  );
  const effect = (truth.get("resume") ?? 0) - (truth.get("control") ?? 0);

  test("has results whose interval contains the true effect, and not that there is none", async () => {
    expect(effect).toBeCloseTo(0.1, 10);
    const [control, resume] = await results(database);
    expect(control).toMatchObject({ variation: "control", effect: null });
    expect(resume?.low).toBeGreaterThan(0);
    expect(resume?.low).toBeLessThan(effect);
    expect(resume?.high).toBeGreaterThan(effect);
    // Figures of the same people from the events themselves.
    const shares = await database.rows<{ variation: string; people: number; figure: number }>(
      `with exposed as (
         select event.person_id, min(event.occurred_at) as since, min(event.properties ->> 'variationId') as variation
         from track.event join track.event_type using (event_type_id)
         where event_type.name = 'Experiment Viewed'
         group by event.person_id
       )
       select
         exposed.variation,
         count(distinct exposed.person_id)::int as people,
         count(*) filter (where event_type.name = 'Video Playback Completed')::float8
           / count(*) filter (where event_type.name = 'Video Playback Started') as figure
       from exposed
       left join (track.event join track.event_type using (event_type_id))
         on event.person_id = exposed.person_id and event.occurred_at >= exposed.since
       group by exposed.variation
       order by exposed.variation`,
    );
    expect([control, resume].map((arm) => [arm?.variation, arm?.people, arm?.figure?.toFixed(9)])).toEqual(
      shares.map(({ variation, people, figure }) => [variation, people, figure.toFixed(9)]),
    );
  });

  test("assigns people as the database does, and each sees one variation", async () => {
    const differing = await database.rows(
      `select assignment.person
       from canvas_flow_truth.assignment
       join experiment.assign_all($1, array(select person from canvas_flow_truth.assignment)) as assigned
         using (person)
       where assigned.result ->> 'key' is distinct from assignment.variation`,
      [EXPERIMENT.key],
    );
    expect(differing).toEqual([]);
    expect(await database.value("select count(*)::int from canvas_flow_truth.assignment")).toBe(options.learners);
    const [health] = await database.rows<{ srm_p: number; multiple: number; warnings: string[] }>(
      "select srm_p, multiple::int, warnings from experiment.health($1)",
      [EXPERIMENT.key],
    );
    expect(health).toMatchObject({ multiple: 0, warnings: [] });
    expect(health?.srm_p).toBeGreaterThan(0.001);
  });

  test("watches videos to the end at the documented rates, before it and in it", async () => {
    const rates = await database.rows<{ variation: string; running: boolean; started: number; completed: number }>(
      `select
         assignment.variation,
         event.occurred_at >= experiment.started_at as running,
         count(*) filter (where event_type.name = 'Video Playback Started')::int as started,
         count(*) filter (where event_type.name = 'Video Playback Completed')::int as completed
       from experiment.experiment
       cross join track.event
       join track.event_type using (event_type_id)
       join track.identity on identity.person_id = event.person_id and identity.kind = 'user'
       join canvas_flow_truth.assignment on assignment.person = identity.external_id
       where event_type.name like 'Video Playback %' and experiment.experiment_key = $1
       group by 1, 2`,
      [EXPERIMENT.key],
    );
    expect(rates).toHaveLength(4);
    for (const { variation, running, started, completed } of rates) {
      const share = running ? (truth.get(variation) ?? 0) : (truth.get("control") ?? 0);
      expect(started).toBeGreaterThan(100);
      const error = Math.sqrt((share * (1 - share)) / started);
      expect(Math.abs(completed / started - share)).toBeLessThan(4 * error);
    }
  });

  test("has a report for people who do not know statistics, and a decision", async () => {
    const report = await database.value<string>("select experiment.report($1)", [EXPERIMENT.key]);
    expect(report).toContain(EXPERIMENT.name);
    expect(report).toContain("resume");
    expect(await database.value("select verdict from experiment.decision($1)", [EXPERIMENT.key])).toBe("ship");
  });

  test("is repeated without a change", async () => {
    const before = await results(database);
    const client = await database.pool.connect();
    try {
      await simulate(client, Options.parse({ ...options, seed: 1 }));
    } finally {
      client.release();
    }
    await refresh(database);
    expect(await results(database)).toEqual(before);
  });

  test("has another outcome with another seed, whose interval contains the same effect", async () => {
    const other = await testDatabase();
    await makePopulation(other, { ...options, learners: 100, courses: 12, seed: 2 });
    const [, one] = await results(database);
    const [, another] = await results(other);
    expect(another?.effect).not.toBe(one?.effect);
    expect(another?.low).toBeLessThan(effect);
    expect(another?.high).toBeGreaterThan(effect);
  });
});

test("a population without a video has no experiment", async () => {
  const database = await testDatabase();
  await makePopulation(database, { learners: 1, courses: 1, weeks: 1, seed: 5 });
  expect(await database.value("select count(*)::int from experiment.experiment")).toBe(0);
  expect(await database.value("select finished_at is not null from canvas_flow_truth.population")).toBe(true);
});
