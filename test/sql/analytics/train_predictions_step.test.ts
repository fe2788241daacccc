import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makePopulation } from "../../support/population.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

// Before there is anything to learn from.
test("without enough data, each target runs its steps and reports the reason", async () => {
  const steps: { target: string; step: string; hint: string | null; finished: boolean; version: number | null }[] = [];
  do {
    steps.push(
      ...(await database.rows<(typeof steps)[number]>(
        "select target, step, hint, finished, (trained).version from analytics.train_predictions_step()",
      )),
    );
  } while (steps.at(-1)?.finished === false);
  expect(steps.map(({ target }) => target)).toEqual(["activity", "completion", "dropout"]);
  for (const { step, hint, version } of steps) {
    expect(step).toContain("not enough data to train: 0 snapshots of learners");
    expect(hint).toContain("import enrolments with track.sync_enrolments");
    expect(version).toBeNull();
  }
  expect(await database.value("select count(*) from analytics.training")).toBe("0");
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.train_predictions_step()")).toEqual(["admin", "worker"]);
});

test("a training by steps, each in a transaction of its own, gives the models of the whole one", async () => {
  await makePopulation(database, { learners: 60, courses: 3 });
  await database.query("update analytics.prediction_target set fewest_rows = 100, weeks = 4");
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
  // A training with another seed is abandoned, and one that fails in the middle of a step continues with that step.
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
}, 600_000);
