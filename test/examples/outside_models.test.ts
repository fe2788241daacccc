import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Logger, makeWorkerUtils, runOnce } from "graphile-worker";
import { beforeAll, describe, expect, test, vi } from "vitest";
import trainWithTensorflow from "../../examples/train_with_tensorflow.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
database.pool.on("connect", (client) => client.on("error", () => {}));
const logger = new Logger(() => () => {});
// TensorFlow.js recommends its native build.
vi.spyOn(console, "warn").mockImplementation(() => {});

beforeAll(async () => {
  await database.query("create schema app");
  // The true log odds are known: -2 + 0.8 x - 1.1 (level = 3), by hashes, so the same on every server.
  await database.query(`
    create table app.learner as
    select id, days_idle, level, tasks,
      chance < 1 / (1 + exp(2 - 0.8 * days_idle + 1.1 * (coalesce(level, 0) = 3)::int)) as dropped
    from (
      select id, (hashint8extended(id, 1) & 1023) / 170.0::float8 as days_idle, case when id % 11 > 0 then (hashint8extended(id, 2) & 3)::int end as level,
        (hashint8extended(id, 3) & 15)::int as tasks, (hashint8extended(id, 4) & 65535) / 65536.0::float8 as chance
      from generate_series(1, 1500) as id
    ) as drawn`);
  await database.query("grant usage on schema app to insights_worker; grant select on app.learner to insights_worker");
});

test("TensorFlow.js: a worker task trains on the export and registers the result", async () => {
  const utils = await makeWorkerUtils({ pgPool: database.pool, logger });
  try {
    await utils.migrate();
    await utils.addJob("train_with_tensorflow", {
      project: "app.dropped",
      source_table: "app.learner",
      id: "id",
      label: "dropped",
    });
  } finally {
    await utils.release();
  }
  await runOnce({
    pgPool: database.pool,
    logger,
    taskList: { train_with_tensorflow: trainWithTensorflow },
    noPreparedStatements: !database.native,
    noHandleSignals: true,
  });
  expect(await database.rows("select outcome, error from monitor.run where task = 'train_with_tensorflow'")).toEqual([
    { outcome: "ok", error: null },
  ]);
  const [model] = await database.rows<{ algorithm: string; area: number; log_loss: number }>(
    "select algorithm, (metrics ->> 'area_under_roc')::float8 as area, (metrics ->> 'log_loss')::float8 as log_loss from ml._version('app.dropped')",
  );
  expect(model?.algorithm).toBe("TensorFlow.js");
  // The score of the true model on the same rows, except for its missing levels.
  await database.query(
    "create table app.law as select dropped as observed, 1 / (1 + exp(2 - 0.8 * days_idle + 1.1 * (coalesce(level, 0) = 3)::int)) as prediction from app.learner where ml.in_holdout(id::text)",
  );
  await database.query("select ml.area_under_roc('app.law', 'app.law_area', 'prediction', 'observed')");
  const best = await database.value<number>("select area_under_roc from app.law_area");
  expect(model?.area).toBeGreaterThan(best - 0.03);
  // It serves predictions and explanations like any other model, and agrees with the same training inside the database.
  const answer = await database.value<number>(
    `select ml.predict('app.dropped', '{"days_idle": 5, "level": null, "tasks": 3}')`,
  );
  const [own] = await database.rows<{ outcome: string; value: number }>(
    "select outcome, value from ml.train('app.dropped', 'classification', 'app.learner', 'id', 'dropped', algorithm => 'logregr')",
  );
  expect(Math.abs((own?.value ?? 0) - (model?.area ?? 1))).toBeLessThan(0.01);
  const ours = await database.value<number>(
    `select ml.predict('app.dropped', '{"days_idle": 5, "level": null, "tasks": 3}', 2)`,
  );
  expect(Math.abs(answer - ours)).toBeLessThan(0.05);
});

const python = ["python3", "/usr/bin/python3"].find((candidate) => {
  try {
    execFileSync(candidate, ["-c", "import sklearn"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});

describe.skipIf(python === undefined)("scikit-learn (needs python3-sklearn)", () => {
  test.each([
    ["logistic", "logistic", 1e-9],
    // Trees use single precision for features; sums agree to seven digits.
    ["boosting", "xgboost", 1e-6],
  ])("%s: ml.predict agrees with scikit-learn on the held-out rows", async (method, format, tolerance) => {
    const lines = await database.rows<{ line: string }>(
      "select line from ml.export_training_set('app.learner', 'id', 'dropped') as line",
    );
    const script = fileURLToPath(new URL("../../examples/train_with_sklearn.py", import.meta.url));
    const printed = execFileSync(python ?? "python3", [script, method], {
      input: lines.map(({ line }) => line).join("\n"),
      encoding: "utf8",
    });
    const project = `app.sklearn_${method}`;
    await database.value("select ml.import_model($1, 'classification', $2, $3, 'scikit-learn')", [
      project,
      format,
      printed,
    ]);
    const [worst] = await database.rows<{ rows: string; difference: number }>(
      `select count(*) as rows, max(abs(ml.predict($1, to_jsonb(learner)) - value::float8)) as difference
       from jsonb_each_text($2::jsonb -> 'predictions') as told (id, value)
       join app.learner on learner.id = told.id::bigint`,
      [project, printed],
    );
    expect(Number(worst?.rows)).toBeGreaterThan(300);
    expect(worst?.difference).toBeLessThan(tolerance);
    const [challenge] = await database.rows(
      "select outcome, deployed, value from ml.challenge($1, 1, 'app.learner', 'dropped', 'ml.in_holdout(id::text)')",
      [project],
    );
    expect(challenge).toMatchObject({ outcome: "first", deployed: true });
    expect(challenge?.["value"]).toBeGreaterThan(0.7);
  });
});
