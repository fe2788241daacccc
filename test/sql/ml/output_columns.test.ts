import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(`
  create table lab.data as
  select
    n as id, n as estimated_prob_x, n as estimated_sex, n as estimated_prob_0, n as prediction, n as category, n as class,
    n as cluster_id, n as distance, n as feature, n as contribution, n as variable, n as column_position, n as encoded,
    n as sex_x, n as pivoted, n as val_avg_sex_x, n as column_name, n as pval, n as row_vec, 1 as step_ahead,
    1 as forecast_value, n % 3 as tpr, n % 3 as threshold, n % 3 as mean_squared_error, n % 3 as num_rows, n % 3 as lift,
    n % 3 as row_id, n % 3 as row_count, n as _ml_part, n as predicted_value,
    (array['x', 'y', 'z'])[1 + n % 3] as sex, n % 3 as k, (n % 7)::float8 as a, (n % 11)::float8 as b, n % 2 as yes,
    (n * 37 % 101)::float8 as val, array[n % 7, n % 11]::float8[] as point, (n % 10) / 10.0 as p,
    timestamptz '2024-01-01 00:00+00' + n * interval '1 day' as at
  from generate_series(1, 200) as n;
  create table lab.vectors as select id, point from lab.data;
  create table lab.points as select id as row_vec, point from lab.data`);

// Columns of an output are named by data: classes, values, and the columns that the caller keeps.
test.each([
  [
    "estimated_prob_x",
    "ml.tree_train('lab.data', 'lab.m', 'estimated_prob_x', 'sex', 'a, b')",
    "ml.tree_predict('lab.m', 'lab.data', 'lab.o', 'prob')",
  ],
  [
    "estimated_sex",
    "ml.tree_train('lab.data', 'lab.m', 'estimated_sex', 'sex', 'a, b')",
    "ml.tree_predict('lab.m', 'lab.data', 'lab.o')",
  ],
  [
    "estimated_prob_x",
    "ml.forest_train('lab.data', 'lab.m', 'estimated_prob_x', 'sex', 'a, b', num_trees => 2)",
    "ml.forest_predict('lab.m', 'lab.data', 'lab.o', 'prob')",
  ],
  [
    "estimated_prob_x",
    "ml.forest_train('lab.data', 'lab.m', 'estimated_prob_x', 'sex', 'a, b', num_trees => 2, grouping_cols => 'yes')",
    "ml.forest_predict('lab.m', 'lab.data', 'lab.o', 'prob')",
  ],
  [
    "estimated_prob_x",
    "ml.gbm_train('lab.data', 'lab.m', 'estimated_prob_x', 'sex', 'a, b', num_trees => 2)",
    "ml.gbm_predict('lab.m', 'lab.data', 'lab.o', 'prob')",
  ],
  [
    "prediction",
    "ml.gbm_train('lab.data', 'lab.m', 'prediction', 'val', 'a, b', num_trees => 2)",
    "ml.gbm_predict('lab.m', 'lab.data', 'lab.o')",
  ],
  [
    "contribution",
    "ml.gbm_train('lab.data', 'lab.m', 'contribution', 'val', 'a, b', num_trees => 2)",
    "ml.gbm_explain('lab.m', 'lab.data', 'lab.o')",
  ],
  [
    "class",
    "ml.gbm_train('lab.data', 'lab.m', 'class', 'sex', 'a, b', num_trees => 2)",
    "ml.gbm_explain('lab.m', 'lab.data', 'lab.o')",
  ],
  [
    "estimated_prob_0",
    "ml.mlogregr_train('lab.data', 'lab.m', 'k', 'array[1, a, b]')",
    "ml.mlogregr_predict('lab.m', 'lab.data', 'estimated_prob_0', 'lab.o', 'prob')",
  ],
  [
    "category",
    "ml.mlogregr_train('lab.data', 'lab.m', 'k', 'array[1, a, b]')",
    "ml.mlogregr_predict('lab.m', 'lab.data', 'category', 'lab.o')",
  ],
  [
    "predicted_value",
    "ml.coxph_train('lab.data', 'lab.m', 'val + 1', 'array[a, b]', 'yes = 1')",
    "ml.coxph_predict('lab.m', 'lab.data', 'predicted_value', 'lab.o')",
  ],
  ["distance", "ml.kmeans_predict('lab.data', 'lab.o', 'distance', 'point', '{{1, 2}, {3, 4}}')"],
  ["sex_x", "ml.encode_categorical_variables('lab.data', 'lab.o', 'sex')"],
  [
    "encoded",
    "ml.encode_categorical_variables('lab.data', 'lab.o', 'sex', row_id => 'encoded', output_type => 'array')",
  ],
  ["val_avg_sex_x", "ml.pivot('lab.data', 'lab.o', 'val_avg_sex_x', 'sex', 'val')"],
  ["pivoted", "ml.pivot('lab.data', 'lab.o', 'pivoted', 'sex', 'val', output_type => 'array')"],
  ["pval", "ml.pivot('lab.data', 'lab.o', 'id', 'k, pval', 'val', output_type => 'array')"],
  ["variable", "ml.correlation('lab.data', 'lab.o', 'variable, a')"],
  ["column_position", "ml.covariance('lab.data', 'lab.o', 'a, b', false, 'column_position')"],
  [
    "row_vec",
    "ml.pca_train('lab.vectors', 'lab.m', 'id', 2)",
    "ml.pca_project('lab.points', 'lab.m', 'lab.o', 'row_vec')",
  ],
  [
    "step_ahead",
    "ml.arima_train('lab.data', 'lab.m', 'at', 'val', 'step_ahead')",
    "ml.arima_forecast('lab.m', 'lab.o', 3)",
  ],
  ["forecast_value", "ml.seasonal_naive_forecast('lab.data', 'lab.o', 'at', 'val', 3, 7, 'forecast_value')"],
  ["mean_squared_error", "ml.mean_squared_error('lab.data', 'lab.o', 'a', 'b', 'mean_squared_error')"],
  ["threshold", "ml.binary_classifier('lab.data', 'lab.o', 'p', 'yes', 'threshold')"],
  ["num_rows", "ml.calibration_curve('lab.data', 'lab.o', 'p', 'yes', 'num_rows')"],
  ["lift", "ml.lift('lab.data', 'lab.o', 'p', 'yes', 'lift')"],
  ["row_id", "ml.confusion_matrix('lab.data', 'lab.o', 'yes', 'yes', 'row_id')"],
  ["_ml_part", "ml.train('lab.data', 'regression', 'lab.data', 'id', 'val', 'a, b')"],
])("a kept column %s has the name of an output column: %s", async (name, ...calls) => {
  await database.query(
    "drop table if exists lab.m, lab.m_summary, lab.m_residual, lab.m_group, lab.m_mean, lab.o cascade",
  );
  for (const call of calls.slice(0, -1)) {
    await database.query(`select ${call}`);
  }
  expect(await database.rejects(`select ${calls.at(-1)}`)).toMatchObject({
    code: "CF001",
    message: `the column "${name}" has the name of an output column`,
    hint: "Rename it in a view of the table.",
  });
});

test("names of the statements themselves are free", async () => {
  await database.query("select ml.covariance('lab.data', 'lab.counted', 'a, b', false, 'row_count')");
  expect(await database.value<string>("select count(*)::text from lab.counted")).toBe("6");
});

test.each([
  "ml.pivot('lab.data', 'lab.twice', 'id, id', 'sex', 'val')",
  "ml.encode_categorical_variables('lab.data', 'lab.twice', 'sex, SEX')",
  "ml.linregr_train('lab.data', 'lab.twice', 'val', 'array[1, a]', 'k, k')",
  "ml.correlation('lab.data', 'lab.twice', 'a, a')",
])("a column that is listed twice is refused: %s", async (call) => {
  expect(await database.rejects(`select ${call}`)).toMatchObject({
    code: "CF001",
    message: expect.stringMatching(/: \w+ is listed twice$/),
  });
});
