import { beforeAll, describe, expect, test } from "vitest";
import { Options } from "../../../src/simulator/options.ts";
import { simulate } from "../../../src/simulator/run.ts";
import { testDatabase } from "../../support/database.ts";
import { refresh } from "../../support/world.ts";

const database = await testDatabase();

interface Features {
  person: string;
  [name: string]: unknown;
}

const featuresAt = (moment: string, course: string): Promise<Features[]> =>
  database.rows<Features>(
    `select identity.external_id as person, feature.*
     from analytics._learner_features(array[$1::timestamptz], (select array_agg(item_id) from track.item where external_id = $2)) as feature
     join track.identity using (person_id)
     where identity.kind = 'user'
     order by 1`,
    [moment, course],
  );

describe("what is known of a learner as of a time", () => {
  const message = (person: string, at: string, event: string, item: string): object => ({
    type: "track",
    messageId: `${person} ${at}`,
    userId: person,
    event,
    timestamp: `2025-03-${at}Z`,
    properties: { item },
  });

  beforeAll(async () => {
    await database.query(`
      create schema lab;
      create table lab.item (external_id text, kind text, parent text, due_at timestamptz, available_until timestamptz);
      insert into lab.item values
        ('known', 'course', null, null, '2025-04-01 00:00Z'), ('module', 'module', 'known', null, null),
        ('essay', 'task', 'module', '2025-03-10 18:00Z', null), ('exam', 'task', 'module', '2025-03-20 18:00Z', null),
        ('page', 'page', 'module', null, null), ('other', 'course', null, null, null);
      create table lab.enrolment (person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz);
      insert into lab.enrolment values
        ('ann', 'known', '2025-03-01 00:00Z', 'active', null), ('bob', 'known', '2025-03-02 00:00Z', 'active', null),
        ('cat', 'known', '2025-03-01 00:00Z', 'active', null), ('dan', 'known', '2025-03-01 00:00Z', 'completed', '2025-03-04 12:00Z'),
        ('eve', 'known', '2025-03-15 00:00Z', 'active', null)`);
    await database.query("select track.sync_items('lab.item')");
    await database.query("select track.sync_enrolments('lab.enrolment')");
    await database.query("select track.ingest($1)", [
      JSON.stringify([
        message("ann", "03 10:00", "Page Viewed", "page"),
        message("ann", "05 10:00", "Task Submitted", "essay"),
        message("ann", "12 09:00", "Page Viewed", "page"),
        message("ann", "14 20:00", "Page Viewed", "other"),
        message("ann", "15 00:00", "Task Submitted", "exam"),
        message("bob", "16 00:00", "Page Viewed", "page"),
        message("cat", "04 10:00", "Page Viewed", "page"),
        message("dan", "03 10:00", "Page Viewed", "page"),
      ]),
    ]);
    await database.query(
      "select privacy.record_consent(track.find_person('cat'), 'analytics', false, '2025-03-02 00:00Z', 'api', null)",
    );
    await refresh(database);
  });

  test("is what a calendar says, of those who take the course then and do not object", async () => {
    const [ann, bob, ...others] = await featuresAt("2025-03-15 00:00Z", "known");
    expect(others).toEqual([]);
    expect(ann).toMatchObject({
      person: "ann",
      days_enrolled: 14,
      days_idle: 3,
      active_days: 3,
      active_days_week_1: 1,
      active_days_week_2: 2,
      active_days_week_3: 0,
      events: 3,
      events_week_1: 1,
      events_week_2: 2,
      mean_gap: 4.5,
      gap_deviation: 2.5,
      longest_gap: 7,
      share_of_items: 2 / 3,
      share_of_tasks: 1 / 2,
      tasks_overdue: 0,
      mean_days_late: -5,
      active_days_anywhere_week_1: 2,
      course_active_share: 1 / 2,
      days_to_end: 17,
      known_at: new Date("2025-03-13T00:00Z"),
    });
    expect(bob).toMatchObject({
      person: "bob",
      days_enrolled: 13,
      days_idle: 13,
      active_days: 0,
      events: 0,
      mean_gap: null,
      share_of_items: 0,
      tasks_overdue: 1,
      mean_days_late: null,
      known_at: new Date("2025-03-02T00:00Z"),
    });
  });

  test("counts the hours since midnight, and not what comes later that day", async () => {
    const before = (await featuresAt("2025-03-12 09:00Z", "known")).find(({ person }) => person === "ann");
    expect(before).toMatchObject({ days_idle: 7, active_days: 2, known_at: new Date("2025-03-06T00:00Z") });
    const after = (await featuresAt("2025-03-12 09:00:01Z", "known")).find(({ person }) => person === "ann");
    expect(after).toMatchObject({ days_idle: 0, active_days: 3, known_at: new Date("2025-03-12T09:00Z") });
    // Who had not completed it yet, took it.
    expect((await featuresAt("2025-03-04 00:00Z", "known")).map(({ person }) => person)).toEqual(["ann", "bob", "dan"]);
  });

  test("what became of them", async () => {
    const outcomes = (question: string, horizon: string): Promise<{ person: string; outcome: number }[]> =>
      database.rows(
        `select external_id as person, outcome
         from analytics._learner_outcomes($1, array['2025-03-04 00:00Z'::timestamptz], $2::interval)
         join track.identity using (person_id)
         where kind = 'user' order by 1`,
        [question, horizon],
      );
    const of = async (question: string, horizon: string): Promise<Record<string, number>> =>
      Object.fromEntries((await outcomes(question, horizon)).map(({ person, outcome }) => [person, outcome]));
    expect(await of("dropout", "7 days")).toEqual({ ann: 0, bob: 1, cat: 0, dan: 0 });
    expect(await of("dropout", "14 days")).toEqual({ ann: 0, bob: 0, cat: 0, dan: 0 });
    expect(await of("completion", "7 days")).toEqual({ ann: 0, bob: 0, cat: 0, dan: 1 });
    expect(await of("activity", "14 days")).toEqual({ ann: 3, bob: 1, cat: 1, dan: 0 });
  });

  test("nothing is predicted before anything is trained, and too little is said to be too little", async () => {
    expect(await database.rejects("select analytics.dropout_risk('known')")).toMatchObject({ code: "CF006" });
    expect(await database.rejects("select analytics.course_outlook()")).toMatchObject({ code: "CF006" });
    expect(await database.rows("select * from analytics.train_predictions()")).toEqual([]);
    expect(await database.rejects("select analytics.train_predictions('dropout')")).toMatchObject({ code: "CF004" });
    expect(await database.rows("select * from analytics.watch_predictions()")).toEqual([]);
  });
});

describe("a simulated population, whose truth is known", () => {
  const asOf = "2025-05-20 00:00Z";

  beforeAll(async () => {
    await database.query("drop schema lab cascade");
    const client = await database.pool.connect();
    try {
      await simulate(
        client,
        Options.parse({ learners: 130, courses: 5, weeks: 9, seed: 5, until: new Date("2025-06-02") }),
      );
    } finally {
      client.release();
    }
    await refresh(database);
    await database.query("select track.sync_enrolments('canvas_flow.enrolment_states')");
    // Beside the little course above, of which too much time has passed.
    await database.query("analyze");
  });

  test("dropout is learned by two methods, and the better one is in force", async () => {
    const trained = await database.rows<{
      algorithm: string;
      outcome: string;
      metrics: Record<string, number>;
      value: number;
      champion_value: number | null;
    }>("select * from analytics.train_predictions('dropout')");
    expect(trained.map(({ algorithm }) => algorithm)).toEqual(["elastic_net", "gbm"]);
    const [linear, trees] = trained;
    expect(linear?.outcome).toBe("first");
    expect(trees?.outcome).toBe((trees?.value ?? 0) < (linear?.value ?? 0) ? "better" : "worse");
    expect(trees?.champion_value).toBeCloseTo(linear?.value ?? Number.NaN, 12);
    // On weeks that came after all that was learned from.
    expect(Math.max(...trained.map(({ metrics }) => metrics["area_under_roc"] ?? 0))).toBeGreaterThan(0.7);
    expect(await database.value("select data_watermark <= '2025-06-02' from ml._version('analytics.dropout')")).toBe(
      true,
    );
  }, 180_000);

  test("a training by steps, each in a transaction of its own, gives the models of the whole one", async () => {
    // Both begin with nothing: the versions of the test before stay, and are judged as well.
    const models = (): Promise<unknown[]> =>
      database.rows(
        `select project.name, model.algorithm, model.coefficients, model.metrics, model.row_count, model.data_watermark
         from ml.model join ml.project using (project_id)
         where model.model_id > $1 and project.name <> 'analytics.completion'
         order by project.name, model.algorithm`,
        [newest],
      );
    let newest = await database.value<string>("select coalesce(max(model_id), 0) from ml.model");
    await database.query("select analytics.train_predictions(null, 7)");
    const whole = await models();
    expect(whole.length).toBeGreaterThanOrEqual(4);

    newest = await database.value<string>("select max(model_id) from ml.model");
    const step = (seed: number): Promise<{ step: string; finished: boolean }[]> =>
      database.rows("select step, finished from analytics.train_predictions_step($1)", [seed]);
    // One of another seed is given up, and one that fails in the middle of a step goes on with that step.
    await step(1);
    const steps = await step(7);
    const looked = await database.value("select count(*) from analytics.snapshot");
    expect(
      await database.rejects(
        "select analytics.train_predictions_step(7), 1 / (select count(*) - count(*) from track.item)",
      ),
    ).toMatchObject({ code: "22012" });
    expect(await database.value("select count(*) from analytics.snapshot")).toBe(looked);
    while (steps.at(-1)?.finished === false) steps.push(...(await step(7)));
    expect(steps.filter(({ step }) => step.startsWith("took snapshots")).length).toBeGreaterThanOrEqual(3);
    expect(await models()).toEqual(whole);
    expect(await database.value("select count(*) from analytics.snapshot")).toBe("0");
    expect(await database.rejects("select analytics.train_predictions_step(null)")).toMatchObject({ code: "CF001" });
  }, 180_000);

  test("looks at the learners of each course alone are those at all of them", async () => {
    const [both] = await database.rows(
      `with question as (select entry as asked, analytics._snapshot_times(entry, 6) as moments from analytics.prediction_target as entry where entry.target = 'activity'),
       whole as (select snapshot.* from question, analytics._snapshots(question.asked, moments) as snapshot),
       parts as (
         select snapshot.* from question, (select item_id from track.item where kind = 'course') as course, analytics._snapshots(question.asked, moments, array[item_id]) as snapshot
       )
       select (select count(*) from whole) > 100 as many, (select count(*) from (table whole except table parts) as missing) as missing,
         (select count(*) from (table parts except table whole) as wrong) as wrong`,
    );
    expect(both).toEqual({ many: true, missing: "0", wrong: "0" });
  });

  test("the riskiest are those who truly give up more readily", async () => {
    const [hazard] = await database.rows<{ high: number; low: number; people: string }>(
      `with scored as (
         select scored.score, truth.dropped_at, truth.weekly_hazard, ntile(3) over (order by scored.score) as third
         from analytics._learner_scores('dropout', $1) as scored
         join track.item on item.item_id = scored.course_id
         join track.identity on identity.person_id = scored.person_id and identity.kind = 'user'
         join canvas_flow_truth.enrolment as truth on truth.person = identity.external_id and truth.item = item.external_id
       )
       select
         avg((coalesce(dropped_at < $1::timestamptz + interval '14 days', false))::int) filter (where third = 3)::float8 as high,
         avg((coalesce(dropped_at < $1::timestamptz + interval '14 days', false))::int) filter (where third = 1)::float8 as low,
         count(*) as people
       from scored`,
      [asOf],
    );
    expect(Number(hazard?.people)).toBeGreaterThan(20);
    expect(hazard?.high).toBeGreaterThan((hazard?.low ?? 1) + 0.2);
  });

  test("each score comes with the features that moved it most, which are exact", async () => {
    const course = await database.value<string>(
      "select external_id from analytics._learner_scores('dropout', $1) as scored join track.item on item_id = course_id group by 1 order by count(*) desc limit 1",
      [asOf],
    );
    const risks = await database.rows<{
      rank: number;
      person: string;
      person_id: string;
      score: number;
      reasons: { feature: string; contribution: number }[];
    }>("select rank, person, person_id, score, to_jsonb(reasons) as reasons from analytics.dropout_risk($1, $2, 5)", [
      course,
      asOf,
    ]);
    expect(risks.map(({ rank }) => rank)).toEqual([1, 2, 3, 4, 5].slice(0, risks.length));
    expect(risks.map(({ score }) => score)).toEqual(risks.map(({ score }) => score).toSorted((a, b) => b - a));
    for (const { person_id, score, reasons } of risks) {
      const given = await database.value<Record<string, unknown>>(
        `select to_jsonb(feature) from analytics._learner_features(array[$1::timestamptz], array[(select item_id from track.item where external_id = $2)]) as feature
         where person_id = $3`,
        [asOf, course, person_id],
      );
      expect(await database.value("select ml.predict('analytics.dropout', $1)", [given])).toBeCloseTo(score, 12);
      const explained = await database.rows<{ feature: string; contribution: number }>(
        "select feature, contribution from ml.explain('analytics.dropout', $1) where feature <> '(base)'",
        [given],
      );
      expect(reasons).toHaveLength(5);
      for (const [i, { contribution }] of reasons.entries()) {
        expect(contribution).toBeCloseTo(explained[i]?.contribution ?? Number.NaN, 9);
      }
    }
    const outlook = await database.rows<{ course: string; person_count: string; mean_score: number }>(
      "select * from analytics.course_outlook('dropout', $1)",
      [asOf],
    );
    const [mean] = await database.rows<{ mean: number; people: string }>(
      "select avg(score) as mean, count(*) as people from analytics._learner_scores('dropout', $1) as scored join track.item on item_id = course_id where external_id = $2",
      [asOf, course],
    );
    expect(outlook.find((row) => row.course === course)).toMatchObject({
      person_count: mean?.people,
      mean_score: expect.closeTo(mean?.mean ?? Number.NaN, 9),
    });
  });

  test("analysts see groups of enough people, admins see people, learners neither", async () => {
    const course = await database.value<string>(
      "select external_id from analytics._learner_scores('dropout', $1) as scored join track.item on item_id = course_id group by 1 order by count(*) desc limit 1",
      [asOf],
    );
    await database.as("insights_analyst", {}, async (db) => {
      expect((await db.rows("select * from analytics.course_outlook('dropout', $1)", [asOf])).length).toBeGreaterThan(
        0,
      );
      expect(await db.rejects("select analytics.dropout_risk($1, $2)", [course, asOf])).toMatchObject({
        code: "42501",
      });
      expect(await db.rejects("select analytics._learner_scores('dropout', $1)", [asOf])).toMatchObject({
        code: "42501",
      });
      expect(await db.rejects("select analytics.train_predictions()")).toMatchObject({ code: "42501" });
    });
    await database.query("update analytics.setting set smallest_group = 1000");
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rows("select * from analytics.course_outlook('dropout', $1)", [asOf])).toEqual([]);
    });
    await database.query("update analytics.setting set smallest_group = 5");
    await database.as("insights_admin", {}, async (db) => {
      expect(await db.rows("select * from analytics.dropout_risk($1, $2, 3)", [course, asOf])).not.toEqual([]);
    });
    await database.as("insights_learner", { "insights.person": "ann" }, async (db) => {
      expect(await db.rejects("select analytics.dropout_risk($1, $2)", [course, asOf])).toMatchObject({
        code: "42501",
      });
      expect(await db.rejects("select analytics.course_outlook()")).toMatchObject({ code: "42501" });
    });
  });

  test("drift is watched on the latest looks", async () => {
    const statistics = await database.value<string[]>(
      "select array_agg(distinct statistic order by statistic) from analytics.watch_predictions()",
    );
    expect(statistics).toEqual(["calibration", "metric", "population_stability_index"]);
  });

  test.each([
    ["an unknown course", "select analytics.dropout_risk('knowm')", "CF002"],
    ["a module", "select analytics.dropout_risk('module')", "CF002"],
    ["no time", "select analytics.dropout_risk('known', null)", "CF001"],
    ["the end of time", "select analytics.dropout_risk('known', 'infinity')", "CF001"],
    ["nobody at the top", "select analytics.dropout_risk('known', now(), 0)", "CF001"],
    ["a question that is none", "select analytics.course_outlook('luck')", "CF002"],
    ["a training of none", "select analytics.train_predictions('luck')", "CF002"],
    ["another prediction, not trained", "select analytics.completion_probability('known')", "CF006"],
  ])("%s", async (_, sql, code) => {
    expect(await database.rejects(sql)).toMatchObject({ code });
  });

  test("nothing that happens later changes what is known as of a time", async () => {
    // A midnight, and later a time in the middle of a day: the past is taken away from its end.
    for (const moment of ["2025-05-12 00:00Z", "2025-05-07 15:37:11Z"]) {
      const known = (): Promise<Record<string, unknown>[]> =>
        database.rows(
          "select * from analytics._learner_features(array[$1::timestamptz]) order by course_id, person_id",
          [moment],
        );
      const before = await known();
      expect(before.length).toBeGreaterThan(30);
      for (const { known_at, as_of } of before as { known_at: Date; as_of: Date }[]) {
        expect(known_at.getTime()).toBeLessThanOrEqual(as_of.getTime());
      }
      await database.query("delete from track.event where occurred_at >= $1", [moment]);
      await database.query("delete from track.enrolment where enrolled_at >= $1", [moment]);
      await database.query("update track.enrolment set status = 'active', ended_at = null where ended_at >= $1", [
        moment,
      ]);
      await database.query("select track.rebuild()");
      await refresh(database);
      expect(await known()).toEqual(before);
    }
  });
});
