import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makePopulation } from "../../support/population.ts";
import { refresh } from "../../support/world.ts";
import { makeKnownCourse } from "./known-course.ts";

const database = await testDatabase();

describe("before anything is trained", () => {
  beforeAll(() => makeKnownCourse(database));

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
    await makePopulation(database, { learners: 130, courses: 5, weeks: 9 });
    await database.query("select track.sync_enrolments('canvas_flow.enrolment_states')");
    // Beside the little course above, of which too much time has passed.
    await database.query("analyze");
  });

  test("dropout is trained with two methods, and the better one is deployed", async () => {
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
  }, 600_000);

  test("looks at the learners of each course alone are those at all of them", async () => {
    const [both] = await database.rows(
      `with target as (select entry as asked, analytics._snapshot_times(entry, 6) as moments from analytics.prediction_target as entry where entry.target = 'activity'),
       whole as (select snapshot.* from target, analytics._snapshots(target.asked, moments) as snapshot),
       parts as (
         select snapshot.* from target, (select item_id from track.item where kind = 'course') as course, analytics._snapshots(target.asked, moments, array[item_id]) as snapshot
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

  test("drift is measured on the latest snapshots", async () => {
    const statistics = await database.value<string[]>(
      "select array_agg(distinct statistic order by statistic) from analytics.watch_predictions()",
    );
    expect(statistics).toEqual(["calibration", "metric", "population_stability_index"]);
  });

  test.each([["a training of none", "select analytics.train_predictions('luck')", "CF002"]])(
    "%s",
    async (_, sql, code) => {
      expect(await database.rejects(sql)).toMatchObject({ code });
    },
  );

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
