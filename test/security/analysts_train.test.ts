import { beforeAll, expect, test } from "vitest";
import { lab } from "../support/lab.ts";

const database = await lab();

beforeAll(async () => {
  await database.query(`
    create schema own;
    grant usage, create on schema own to insights_analyst;
    grant usage on schema lab to insights_analyst;
    create table lab.learner as
    select
      id, id::float8 as days, ((id * 7919) % 97)::float8 as hours, (id * 31 % 17)::float8 as tasks,
      (id * 7919) % 97 + (id * 31 % 17) * 3 > 60 + (id * 13) % 20 as passed, id % 4 as course, (id * 5 % 3)::text as device,
      1 + (id * 7) % 5 as visits, (id % 11) / 12.0::float8 as chance, (id * 17) % 3 as grade,
      timestamptz '2026-01-01 00:00Z' + id * interval '1 day' as seen_at, id % 30 as person_id, 'i' || id % 7 as item_id
    from generate_series(1, 400) as id;
    create table lab.hidden as select * from lab.learner;
    grant select on lab.learner to insights_analyst`);
});

const trainings = [
  "ml.linregr_train('lab.learner', $OUT, 'days', 'array[1, hours, tasks]', 'course', true)",
  "ml.logregr_train('lab.learner', $OUT, 'passed', 'array[1, tasks, days]')",
  "ml.mlogregr_train('lab.learner', $OUT, 'grade', 'array[1, hours, tasks]')",
  "ml.glm('lab.learner', $OUT, 'visits', 'array[1, hours]', 'family=poisson, link=log')",
  "ml.elastic_net_train('lab.learner', $OUT, 'days', 'array[hours, tasks]', 'gaussian', 0.5, 0.1)",
  "ml.ridge_train('lab.learner', $OUT, 'days', 'array[hours, tasks]', 0.1)",
  "ml.coxph_train('lab.learner', $OUT, 'days', 'array[hours, tasks]', 'passed')",
  "ml.robust_variance_linregr('lab.learner', $OUT, 'days', 'array[1, hours]')",
  "ml.robust_variance_logregr('lab.learner', $OUT, 'passed', 'array[1, tasks]')",
  "ml.clustered_variance_linregr('lab.learner', $OUT, 'days', 'array[1, hours]', 'course')",
  "ml.clustered_variance_logregr('lab.learner', $OUT, 'passed', 'array[1, tasks]', 'person_id')",
  "ml.gbm_train('lab.learner', $OUT, 'id', 'passed', 'hours, tasks, device', num_trees => 2)",
  "ml.tree_train('lab.learner', $OUT, 'id', 'days', 'hours, tasks')",
  "ml.forest_train('lab.learner', $OUT, 'id', 'device', 'hours, tasks', num_trees => 2)",
  "ml.kmeanspp_auto('lab.learner', $OUT, 'array[hours, tasks]', array[2, 3], n_init => 1)",
  "ml.kmeans_predict('lab.learner', $OUT, 'id', 'array[hours, tasks]', array[[1, 1], [90, 9]])",
  "ml.pca_train('lab.learner', $OUT, 'id', 2)",
  "ml.summary('lab.learner', $OUT, 'days, device')",
  "ml.correlation('lab.learner', $OUT, 'days, hours, tasks')",
  "ml.covariance('lab.learner', $OUT, 'days, hours, tasks')",
  "ml.pivot('lab.learner', $OUT, 'course', 'device', 'days')",
  "ml.encode_categorical_variables('lab.learner', $OUT, 'device')",
  "ml.train_test_split('lab.learner', $OUT, 0.5)",
  "ml.stratified_sample('lab.learner', $OUT, 0.5, 'course')",
  "ml.time_split('lab.learner', $OUT, 'seen_at', 'seen_at', 'seen_at')",
  "ml.mean_squared_error('lab.learner', $OUT, 'days', 'hours')",
  "ml.area_under_roc('lab.learner', $OUT, 'chance', 'passed')",
  "ml.log_loss('lab.learner', $OUT, 'chance', 'passed')",
  "ml.calibration_curve('lab.learner', $OUT, 'chance', 'passed')",
  "ml.confusion_matrix('lab.learner', $OUT, 'grade', 'course')",
];

test.each(trainings)("an analyst may run %s into pg_temp and a schema of their own, and no other", async (call) => {
  await database.as("insights_analyst", {}, async (db) => {
    for (const output of ["pg_temp.trained", "own.trained"]) {
      await db.query(`select ${call.replace("$OUT", `'${output}'`)}`);
      const name = call.includes("train_test_split") ? `${output}_train` : output;
      const found = await db.value("select coalesce(to_regclass($1), to_regclass($2)) is not null", [name, output]);
      expect(found).toBe(true);
    }
    // With the analyst's own rights.
    expect(await db.rejects(`select ${call.replace("$OUT", "'lab.trained'")}`)).toMatchObject({ code: "CF005" });
  });
  await database.as("insights_analyst", {}, async (db) => {
    const hidden = call.replace("lab.learner", "lab.hidden").replace("$OUT", "'pg_temp.trained'");
    expect(await db.rejects(`select ${hidden}`)).toMatchObject({ code: "CF005" });
  });
});

test("an analyst tests what was trained, and keeps it for the session", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query(
      "select ml.gbm_train('lab.learner', 'pg_temp.boosted', 'id', 'passed', 'hours, tasks', num_trees => 5)",
    );
    await db.query("select ml.gbm_predict('pg_temp.boosted', 'lab.learner', 'pg_temp.scored')");
    await db.query(
      "create temporary view judged as select prediction, passed from pg_temp.scored join lab.learner using (id)",
    );
    await db.query("select ml.area_under_roc('judged', 'own.area', 'prediction', 'passed')");
    expect(await db.value("select area_under_roc from own.area")).toBeGreaterThan(0.9);
    await db.query("select ml.gbm_explain('pg_temp.boosted', 'lab.learner', 'pg_temp.explained', '7')");
    expect(await db.value("select count(*) from pg_temp.explained")).toBe("3");
    expect(await db.value("select (ml.bootstrap_interval('lab.learner', 'avg(days)', 50)).estimate")).toBe(200.5);
    expect(await db.value("select (ml.kmeanspp('lab.learner', 'array[hours]', 2)).objective_fn")).toBeGreaterThan(0);
    // The registry is written by admins and workers.
    expect(await db.rejects("select ml.train('own.model', 'regression', 'lab.learner', 'id', 'days')")).toMatchObject({
      code: "42501",
    });
  });
});
