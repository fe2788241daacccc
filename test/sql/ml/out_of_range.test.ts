import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();
await database.query(`
  create table lab.data as
  select n as id, n % 2 as yes, n % 3 as k, (n % 11)::float8 as z,
    case when n = 3 then 1e-40 else 1e10 end * (n % 5 + 1) as mixed, (n % 7) * 1e-40 as tiny, (n % 7) * 1e160 as big,
    (n % 3) * 1e-200 as small
  from generate_series(1, 60) as n;
  create table lab.big as select id, array[small, big]::float8[] as row_vec from lab.data;
  create table lab.day as
  select date '2024-01-01' + n as at, 1e-200 * (n % 7 + 1) as small, 1e200 * (n % 7 + 1) as big
  from generate_series(1, 60) as n`);

const columns = [
  "array[1, mixed]",
  "array[1, tiny, mixed]",
  "array[1, big]",
  "array[1, small]",
  "array[1, small, big]",
];
const calls = [
  ...columns.flatMap((x) => [
    `ml.linregr_train('lab.data', 'lab.m', 'z', '${x}', null, true)`,
    `ml.logregr_train('lab.data', 'lab.m', 'yes', '${x}')`,
    `ml.glm('lab.data', 'lab.m', 'z + 1', '${x}', 'family=poisson,link=log')`,
    `ml.glm('lab.data', 'lab.m', 'z + 1', '${x}', 'family=gamma,link=inverse')`,
    `ml.glm('lab.data', 'lab.m', 'z + 1', '${x}', 'family=inverse_gaussian,link=sqr_inverse')`,
    `ml.glm('lab.data', 'lab.m', 'yes', '${x}', 'family=binomial,link=probit')`,
    `ml.mlogregr_train('lab.data', 'lab.m', 'k', '${x}')`,
    `ml.coxph_train('lab.data', 'lab.m', 'z + 1', '${x.replace("1, ", "")}')`,
    `ml.elastic_net_train('lab.data', 'lab.m', 'z', '${x.replace("1, ", "")}', 'gaussian', 0.5, 0.1)`,
    `ml.elastic_net_train('lab.data', 'lab.m', 'yes', '${x.replace("1, ", "")}', 'binomial', 0.5, 0.1)`,
    `ml.ridge_train('lab.data', 'lab.m', 'z', '${x}', 0.1)`,
    `ml.robust_variance_linregr('lab.data', 'lab.m', 'z', '${x}')`,
    `ml.robust_variance_logregr('lab.data', 'lab.m', 'yes', '${x}')`,
    `ml.robust_variance_mlogregr('lab.data', 'lab.m', 'k', '${x}')`,
  ]),
  ...["big", "small"].flatMap((y) => [
    `ml.linregr_train('lab.data', 'lab.m', '${y}', 'array[1, z]')`,
    `ml.glm('lab.data', 'lab.m', '${y}', 'array[1, z]', 'family=gaussian,link=identity')`,
    `ml.tree_train('lab.data', 'lab.m', 'id', '${y}', 'z, mixed')`,
    `ml.gbm_train('lab.data', 'lab.m', 'id', '${y}', 'z, mixed', num_trees => 2)`,
    `ml.correlation('lab.data', 'lab.m', '${y}, z')`,
    `ml.mean_squared_error('lab.data', 'lab.m', '${y}', 'z')`,
    `ml.r2_score('lab.data', 'lab.m', '${y}', '${y}')`,
    `ml.ets_train('lab.day', 'lab.m', 'at', '${y}', null, 7)`,
    `ml.arima_train('lab.day', 'lab.m', 'at', '${y}')`,
    `ml.seasonal_naive_forecast('lab.day', 'lab.m', 'at', '${y}', 3, 5)`,
  ]),
  "ml.pca_train('lab.big', 'lab.m', 'id', 2)",
  "ml.kmeanspp('lab.big', 'row_vec', 2)",
  "ml.kmeans_predict('lab.big', 'lab.m', 'id', 'row_vec', '{{0, 1e300}, {1e-40, -1e300}}')",
  "ml.kmeans_predict('lab.big', 'lab.m', 'id', 'row_vec', '{{0, 1e30}, {1e-40, -1e30}}')",
  "ml.knn('lab.big', 'row_vec', 'id', null, 'lab.big', 'row_vec', 'id', 'lab.m', 3)",
];

test("numbers of any size give a result or an error of class CF", async () => {
  const raw: string[] = [];
  for (const call of calls) {
    await database.query("drop table if exists lab.m, lab.m_summary, lab.m_residual, lab.m_mean");
    await database.query(`select ${call}`).catch((error: { code?: string; message: string }) => {
      if (!error.code?.startsWith("CF")) raw.push(`${error.code} ${error.message}: ${call}`);
    });
  }
  expect(raw).toEqual([]);
});

test("an independent variable is an array of numbers or a number", async () => {
  await database.query("drop table if exists lab.m, lab.m_summary");
  await database.query("select ml.elastic_net_train('lab.data', 'lab.m', 'z', 'mixed', 'gaussian', 0.5, 0.1)");
  expect(await database.value("select features from lab.m")).toEqual(["mixed"]);
  expect(
    await database.rejects("select ml.elastic_net_train('lab.data', 'lab.n', 'z', '(k, id)', 'gaussian', 0.5, 0.1)"),
  ).toMatchObject({ code: "CF001", message: 'the independent variable "(k, id)" is of type record' });
  expect(await database.rejects("select ml.ridge_train('lab.data', 'lab.n', 'z', 'array[small]', 0.1)")).toMatchObject({
    code: "CF007",
    message: "column 1 is too small beside the penalty lambda 0.1",
  });
});
