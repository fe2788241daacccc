import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";
import { type ClassModel, classModels, type Saved, savedFeatures, savedModels } from "./xgboost.ts";

const database = await lab();
const { imported } = registry(database);

interface Answer {
  class: string;
  probability: number;
}

const ask = (project: string, given: unknown, version?: number): Promise<Answer[]> =>
  database.rows<Answer>("select * from ml.predict_classes($1, $2, $3)", [project, given, version ?? null]);

const train = async (options: string): Promise<{ metrics: Record<string, number>; [name: string]: unknown }> => {
  const [row] = await database.rows<{ metrics: Record<string, number> }>(
    `select * from ml.train('flower.kind', 'classification', 'lab.flower', 'id', 'kind' ${options})`,
  );
  if (row === undefined) throw new Error("ml.train returned nothing");
  return { ...row };
};

beforeAll(() =>
  database.query(`
    create table lab.flower as
    select
      id, (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 9 > 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      (hashint8extended(id, 6) & 255) / 64.0::float8 as height,
      case
        when (hashint8extended(id, 1) & 1023) / 128.0 + (hashint8extended(id, 4) & 255) / 128.0 < 4 then 'low'
        when (hashint8extended(id, 6) & 255) / 64.0 + (hashint8extended(id, 5) & 255) / 128.0 < 3 then 'mid'
        else 'high'
      end as kind
    from generate_series(1, 1200) as id`),
);

describe("models of several classes that are trained here", () => {
  test("multinomial logistic regression as R's nnet::multinom on the same rows, with its metrics", async () => {
    const trained = await train(", features => 'size, height', algorithm => 'mlogregr'");
    expect(trained).toMatchObject({ version: 1, deployed: true, outcome: "first", metric: "log_loss" });
    expect(trained.metrics).toEqual({
      log_loss: expect.closeTo(0.283374717312, 7),
      accuracy: expect.closeTo(0.876971608833, 11),
      macro_f1: expect.closeTo(0.873320902304, 11),
      row_count: 317,
    });
    const probabilities = await ask("flower.kind", { size: 3, height: 1.5 });
    expect(probabilities).toEqual([
      { class: "low", probability: expect.closeTo(0.694175157686, 6) },
      { class: "mid", probability: expect.closeTo(0.245585776455, 6) },
      { class: "high", probability: expect.closeTo(0.060239065858, 6) },
    ]);
  });

  test("compete, are deployed and rolled back as others are", async () => {
    const boosted = await train(`, features => 'rooms, area', parameters => '{"num_trees": 10, "max_depth": 2}'`);
    expect(boosted).toMatchObject({ version: 2, outcome: "worse", deployed: false, champion_version: 1 });
    const deeper = await train(`, parameters => '{"num_trees": 60, "max_depth": 3}'`);
    expect(deeper).toMatchObject({ version: 3, algorithm: "gbm", champion_version: 1 });
    expect(deeper["champion_value"]).toBeCloseTo(0.283374717312, 7);
    await database.query("select ml.deploy('flower.kind', 2)");
    expect(await database.value("select ml.deployed_version('flower.kind')")).toBe(2);
    await database.query("select ml.rollback('flower.kind')");
    expect(await database.value("select ml.deployed_version('flower.kind')")).not.toBe(2);
    await database.query("select ml.deploy('flower.kind', 1)");
  });

  test.each([
    ["gbm", '{"num_trees": 20, "max_depth": 3}'],
    ["forest", '{"num_trees": 12}'],
    ["tree", '{"max_depth": 4}'],
    ["mlogregr", "{}"],
  ])(
    "%s: the same probabilities for a table and one by one, and metrics that follow from them",
    async (algorithm, p) => {
      const trained = await train(`, algorithm => '${algorithm}', parameters => '${p}'`);
      const version = trained["version"] as number;
      await database.query("drop table if exists lab.answer");
      await database.query("select ml.predict_table('flower.kind', 'lab.flower', 'lab.answer', 'id', $1)", [version]);
      const rows = await database.rows<{ kind: string; prediction: string; p: number[]; held: boolean; same: boolean }>(
        `select kind, prediction, array[estimated_prob_high, estimated_prob_low, estimated_prob_mid] as p,
         ml.in_holdout(id::text) as held,
         id > 100 or abs(estimated_prob_mid - (select probability
           from ml.predict_classes('flower.kind', to_jsonb(flower), $1) where class = 'mid')) < 1e-12 as same
       from lab.answer join lab.flower using (id)`,
        [version],
      );
      expect(rows).toHaveLength(1200);
      const classes = ["high", "low", "mid"];
      for (const { p, prediction, same } of rows) {
        expect(same).toBe(true);
        expect(p.reduce((sum, share) => sum + share)).toBeCloseTo(1, 9);
        expect(prediction).toBe(classes[p.indexOf(Math.max(...p))]);
      }
      const held = rows.filter((row) => row.held);
      const count = (kept: (row: (typeof held)[number]) => boolean): number => held.filter(kept).length;
      const f1 = classes.map(
        (name) =>
          (2 * count((row) => row.kind === name && row.prediction === name)) /
          (count((row) => row.kind === name) + count((row) => row.prediction === name)),
      );
      expect(trained.metrics).toEqual({
        row_count: held.length,
        accuracy: expect.closeTo(count((row) => row.kind === row.prediction) / held.length, 12),
        macro_f1: expect.closeTo(f1.reduce((sum, value) => sum + value) / 3, 12),
        log_loss: expect.closeTo(
          -held.reduce(
            (sum, { kind, p: share }) => sum + Math.log(Math.max(share[classes.indexOf(kind)] ?? 0, 1e-15)),
            0,
          ) / held.length,
          9,
        ),
      });
      expect(trained.metrics["accuracy"]).toBeGreaterThan(0.8);
    },
  );

  test("integers are classes, in the order of numbers, and a class that training did not see is a miss", async () => {
    await database.query(`create table lab.digit as
      select id, size, (case when id <= 3 then 12 else floor(size / 2.7) + 9 end)::int as digit, id <= 3 as late
      from lab.flower`);
    const [trained] = await database.rows<{ metrics: Record<string, number> }>(
      `select * from ml.train('flower.digit', 'classification', 'lab.digit', 'id', 'digit', 'size', algorithm => 'tree',
         holdout => 'late or id % 4 = 0', metric => 'macro_f1')`,
    );
    expect(trained).toMatchObject({
      metric: "macro_f1",
      value: trained?.metrics["macro_f1"],
      holdout_row_count: "303",
    });
    // The three rows of class 12 are missed, and up to 1 % at the borders of bins.
    expect(trained?.metrics["accuracy"]).toBeLessThanOrEqual(300 / 303);
    expect(trained?.metrics["accuracy"]).toBeGreaterThan(297 / 303 - 0.01);
    expect(await database.value("select coefficients -> 'classes' from ml._version('flower.digit')")).toEqual([
      "9",
      "10",
      "11",
    ]);
  });

  test("challenge and drift take the same label", async () => {
    expect(
      await database.rows(
        "select version, outcome from ml.challenge('flower.kind', 2, 'lab.flower', 'kind', 'ml.in_holdout(id::text)')",
      ),
    ).toEqual([{ version: 2, outcome: "worse" }]);
    const drift = await database.rows<{ statistic: string; verdict: string }>(
      "select statistic, verdict from ml.measure_drift('flower.kind', 'lab.flower', 'kind')",
    );
    expect(drift.filter(({ statistic }) => statistic === "metric")).toMatchObject([{ verdict: "stable" }]);
    expect(drift.map(({ statistic }) => statistic)).not.toContain("calibration");
  });

  test.each([
    [
      "logregr for three classes",
      "algorithm => 'logregr'",
      "CF001",
      '"kind" has 3 classes, and logregr answers for two',
    ],
    ["a calibration", "calibration => 'platt'", "CF001", '"kind" has 3 classes, and a calibration answers for two'],
    [
      "a metric of one answer",
      "metric => 'brier_score'",
      "CF001",
      "the metric brier_score is not one of a model of several classes",
    ],
    ["rows of one class", "holdout => 'kind <> ''low'''", "CF004", '"kind" holds one class only, low'],
  ])("%s is refused", async (_, options, code, message) => {
    expect(
      await database.rejects(
        `select ml.train('flower.other', 'classification', 'lab.flower', 'id', 'kind', 'size', ${options})`,
      ),
    ).toMatchObject({ code, message });
  });

  test("one project has one kind of answer", async () => {
    expect(
      await database.rejects(
        "select ml.train('flower.kind', 'classification', 'lab.flower', 'id', 'kind = ''low''', 'size', algorithm => 'tree')",
      ),
    ).toMatchObject({ code: "CF010" });
    expect(await database.rejects("select ml.predict('flower.kind', '{}')")).toMatchObject({
      code: "CF001",
      hint: "Use ml.predict_classes, or ml.predict_table for the rows of a table.",
    });
    expect(await database.rejects("select ml.explain('flower.kind', '{\"size\": 1, \"height\": 1}')")).toMatchObject({
      code: "CF001",
    });
    await imported("flower.number", "linear", { coefficients: { size: 1 } });
    expect(await database.rejects("select ml.predict_classes('flower.number', '{\"size\": 1}')")).toMatchObject({
      code: "CF001",
      hint: "Use ml.predict.",
    });
    expect(
      await database.rejects("select ml.train('flower.text', 'regression', 'lab.flower', 'id', 'kind', 'size')"),
    ).toMatchObject({ code: "CF001", message: 'label: "kind" is text' });
  });

  test("every role that reads models may ask", async () => {
    for (const role of ["insights_reader", "insights_analyst", "insights_admin", "insights_worker"] as const) {
      await database.as(role, {}, async (db) => {
        expect(
          await db.rows("select * from ml.predict_classes('flower.kind', '{\"size\": 3, \"height\": 1}', 1)"),
        ).toHaveLength(3);
      });
    }
  });
});

describe("models of several classes that were made elsewhere", () => {
  test.each(classModels.map((model, i) => [model.name, model, i] as const))(
    "%s: the probabilities of the library",
    async (_, model, i) => {
      const project = `classes.model${i}`;
      await imported(project, model.format, model.document, "classification");
      const classes = model.document.classes ?? ["0", "1", "2"];
      for (const { features, prediction } of model.document.expected) {
        const answers = await ask(project, features);
        for (const { class: name, probability } of answers)
          expect(probability).toBeCloseTo(prediction[classes.indexOf(name)] ?? Number.NaN, 6);
        const shares = answers.map(({ probability }) => probability);
        expect(shares).toEqual([...shares].sort((a, b) => b - a));
      }
      const wrong: ClassModel["document"] = structuredClone(model.document);
      wrong.expected[2]?.prediction.reverse();
      await expect(imported(project, model.format, wrong, "classification")).rejects.toMatchObject({
        code: "CF009",
        message: expect.stringMatching(/^expected answer 3 is \[.*, and the model answers \[/),
      });
    },
  );

  test("a model of XGBoost 3.0.0", async () => {
    const model = savedModels.find(({ name }) => name === "three classes") as Saved;
    await imported("classes.saved", "xgboost", model.saved, "classification");
    for (const [i, row] of model.rows.entries()) {
      const answers = await ask("classes.saved", savedFeatures(model, row));
      const expected = model.predictions[i] as number[];
      expect(answers).toHaveLength(3);
      for (const { class: name, probability } of answers)
        expect(probability).toBeCloseTo(expected[Number(name)] ?? Number.NaN, 5);
    }
    // The first round only: three trees.
    await imported("classes.first", "xgboost", { model: model.saved, iteration_range: [0, 1] }, "classification");
    expect(
      await database.value(
        "select count(distinct tree)::int from ml.tree_node where model_id = (select model_id from ml._version('classes.first'))",
      ),
    ).toBe(3);
    // A base score for each class, as from XGBoost 3.1 on, shifts the classes against each other.
    const shifted = structuredClone(model.saved) as unknown as {
      learner: { learner_model_param: { base_score: string } };
    };
    shifted.learner.learner_model_param.base_score = "[5E-1,1.5E0,5E-1]";
    await imported("classes.shifted", "xgboost", shifted, "classification");
    const given = savedFeatures(model, model.rows[0] ?? []);
    const odds = (answers: Answer[]): number => {
      const of = (name: string): number => answers.find((answer) => answer.class === name)?.probability ?? Number.NaN;
      return Math.log(of("1") / of("0"));
    };
    expect(odds(await ask("classes.shifted", given)) - odds(await ask("classes.saved", given))).toBeCloseTo(1, 6);
    shifted.learner.learner_model_param.base_score = "[5E-1,5E-1]";
    await expect(imported("classes.bad", "xgboost", shifted, "classification")).rejects.toMatchObject({
      code: "CF009",
      message: "there are 2 base scores for 3 classes",
    });
  });

  test("coefficients for each class, as scikit-learn has them", async () => {
    await imported(
      "classes.linear",
      "logistic",
      {
        classes: {
          low: { intercept: 1, coefficients: { size: -1 } },
          mid: { coefficients: { size: 0 } },
          high: { intercept: -1, coefficients: { size: 1 } },
        },
        means: { size: 2 },
      },
      "classification",
    );
    const total = Math.exp(-1) + 1 + Math.exp(1);
    expect(await ask("classes.linear", { size: null })).toEqual([
      { class: "high", probability: expect.closeTo(Math.exp(1) / total, 12) },
      { class: "mid", probability: expect.closeTo(1 / total, 12) },
      { class: "low", probability: expect.closeTo(Math.exp(-1) / total, 12) },
    ]);
  });

  const [saved, , light] = classModels;
  test.each([
    ["names of other number", saved?.format, { ...saved?.document, classes: ["a", "b"] }],
    ["names that are numbers", light?.format, { ...light?.document, classes: [1, 2, 3] }],
    [
      "a dump without the number of classes",
      "xgboost",
      { trees: [{ nodeid: 0, leaf: 1 }], objective: "multi:softprob" },
    ],
    ["classes without coefficients", "logistic", { classes: { low: { intercept: 1 } } }],
    [
      "classes with other coefficients",
      "logistic",
      { classes: { low: { coefficients: { a: 1 } }, high: { coefficients: { b: 1 } } } },
    ],
    ["one class", "logistic", { classes: { low: { coefficients: { a: 1 } } } }],
  ])("%s: refused", async (_, format, document) => {
    await expect(imported("classes.bad", format ?? "", document, "classification")).rejects.toMatchObject({
      code: "CF009",
    });
  });
});
