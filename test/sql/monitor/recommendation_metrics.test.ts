import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makeWorld } from "./lists.ts";

/* The probe `recommendations`, and the rules about its metrics. */

const database = await testDatabase();
const people = 60;

/** Lists of five courses per person, some hours ago, which a share of the people clicks. */
const serve = (db: Queries, hours: number, clicks: number, score = "random()", most = people): Promise<unknown> =>
  db.query(
    `insert into recommend.impression (
       person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at, dismissed_at, score
     )
     select n, gen_random_uuid(), model_id, item_id, rank, 'model', listed_at, true,
       case when (n * 7 + rank * 3) % 10 < $2 then listed_at end, case when n % 20 = 0 then listed_at end, ${score}
     from generate_series(1, $3::int) as n
     cross join generate_series(1, 5) as rank
     cross join lateral (select now() - make_interval(hours => $1) - n * interval '1 second' as listed_at) as time
     join ml.model on model.version = 1
     join track.item on item.external_id = 'course ' || (rank + n % 4)`,
    [hours, clicks, most],
  );

const measured = async (db: Queries): Promise<Record<string, number>> => {
  await db.query("select monitor.observe('{models,recommendations}')");
  const rows = await db.rows<{ metric: string; labels: { project: string }; value: number }>(
    "select metric, labels, value from monitor.metrics() where metric ~ 'recommendation|input_drift'",
  );
  return Object.fromEntries(
    rows.map(({ metric, labels, value }) => [
      `${metric.replace("insights_", "").replace(/_ratio$/, "")} ${labels.project}`,
      value,
    ]),
  );
};

beforeAll(async () => {
  await makeWorld(database, people);
  await database.query("select setseed(0.4)");
  await database.query(
    `insert into ml.deployment (project_id, model_id, strategy, deployed_at)
     select project_id, model_id, 'manual', now() - interval '30 days' from ml.model where version = 1`,
  );
  for (const hours of [25 * 24, 27 * 24]) await serve(database, hours, 5);
  for (const hours of [30, 100]) await serve(database, hours, 2);
  // Too new to have been answered, and too old.
  await serve(database, 20, 9);
  await serve(database, 24 * 9, 9);
});

test("the figures are those of lists that are one to eight days old", async () => {
  const got = await database.as("postgres", {}, measured);
  const [expected] = await database.rows<Record<string, number>>(
    `with week as (
       select * from recommend.impression
       where listed_at between now() - interval '8 days' and now() - interval '1 day'
     ), share as (
       select item_id, (select count(*) from week where week.item_id = item.item_id)::float8 / (select count(*) from week) as share
       from track.item where kind = 'course'
     )
     select (select count(*) from week)::float8 as rows, (select count(clicked_at)::float8 / count(*) from week) as clicked,
       (select count(dismissed_at)::float8 / count(*) from week) as dismissed,
       (select count(*) filter (where share > 0)::float8 / count(*) from share) as coverage,
       (select sum(abs(a.share - b.share))::float8 / (2 * 60) from share as a cross join share as b) as gini`,
  );
  expect(got).toMatchObject({
    "recommendation_rows recommend.course": 2 * 5 * people,
    "recommendation_completion recommend.course": 0,
  });
  expect(got["recommendation_rows recommend.course"]).toBe(expected?.["rows"]);
  for (const [name, key] of [
    ["click", "clicked"],
    ["dismissal", "dismissed"],
    ["coverage", "coverage"],
    ["gini", "gini"],
  ] as const)
    expect(got[`recommendation_${name} recommend.course`]).toBeCloseTo(expected?.[key] ?? 9, 10);
});

test("few people, and kinds without a project, are not measured", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("delete from recommend.impression");
    await serve(db, 30, 2, "random()", 4);
    expect(Object.keys(await measured(db))).toEqual([]);
  });
  await database.as("postgres", {}, async (db) => {
    await db.query("delete from recommend.impression");
    await serve(db, 30, 2, "random()", 5);
    expect(Object.keys(await measured(db))).toHaveLength(6);
  });
  await database.as("postgres", {}, async (db) => {
    await db.query("update track.item set kind = 'page'");
    expect(Object.keys(await measured(db)).filter((name) => /rows/.test(name))).toEqual([]);
  });
});

test("scores and inputs that moved are measured, and the rule reports the scores", async () => {
  const rules = (db: Queries): Promise<object[]> =>
    db.rows("select health_check, severity, message from monitor._check_rules() where health_check = 'score_drift'");
  await database.as("postgres", {}, async (db) => {
    const got = await measured(db);
    expect(got["recommendation_score_drift recommend.course"]).toBeLessThan(0.1);
    expect(got["model_input_drift recommend.course"]).toBeUndefined();
    expect(await rules(db)).toEqual([]);
  });
  await database.as("postgres", {}, async (db) => {
    await db.query("update recommend.impression set score = score + 0.5 where listed_at > now() - interval '7 days'");
    for (const [feature, values] of [
      ["weeks", [0.9, 0.2]],
      ["views", [0.1, 0.4]],
    ] as const)
      for (const value of values)
        await db.query(
          `insert into ml.drift (model_id, statistic, feature, value, verdict, row_count)
           select model_id, 'population_stability_index', $1, $2, 'stable', 10 from ml.model where version = 1`,
          [feature, value],
        );
    const got = await measured(db);
    expect(got["recommendation_score_drift recommend.course"]).toBeGreaterThan(0.25);
    // The largest of the latest values.
    expect(got["model_input_drift recommend.course"]).toBe(0.4);
    expect(await rules(db)).toMatchObject([
      {
        severity: "warning",
        message: expect.stringMatching(/score_drift .*recommend\.course.* above the set bound 0\.25/),
      },
    ]);
  });
});

test("a daily metric is learned from two weeks, and a fall of the clicks is reported", async () => {
  const findings = (days: number): Promise<string[]> =>
    database.as("postgres", {}, async (db) => {
      await measured(db);
      const metric = "metric = 'insights_recommendation_click_ratio'";
      const id = await db.value<number>(`select series_id from monitor.series where ${metric}`);
      await db.query("delete from monitor.sample");
      // Days with 20 % clicks, more or less; today it is 12 %.
      await db.query(
        `insert into monitor.sample (sampled_at, measured)
         select now() - n * interval '1 day', array_fill(null::float8, array[$1::int - 1])
           || case n when 0 then 0.12 else 0.2 + 0.004 * (n % 5 - 2) end::float8
         from generate_series(0, $2::int) as n`,
        [id, days],
      );
      await db.query("select monitor._learn_bounds('1 minute')");
      const [state] = await db.rows<{ state: string }>("select state from monitor.rule_state('recommendation_clicks')");
      const found = await db.rows<{ message: string }>(
        "select message from monitor._check_rules() where health_check = 'recommendation_clicks'",
      );
      return [state?.state ?? "", ...found.map(({ message }) => message)];
    });
  expect(await findings(13)).toEqual(["learning"]);
  const [state, message, ...others] = await findings(14);
  expect([state, others]).toEqual(["firing", []]);
  expect(message).toMatch(
    /click_ratio \{"project": "recommend\.course"\} is 0\.120, below the learned bound 0\.1[3-7]/,
  );
  // With four weeks, too: four values of the same weekday are too few.
  expect((await findings(28))[0]).toBe("firing");
});
