import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { flowers, kinds } from "./flowers.ts";
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

beforeAll(() => flowers(database));

describe("models of several classes that are trained here", () => {
  test("multinomial logistic regression as R's nnet::multinom on the same rows, with its metrics", async () => {
    const trained = await train(", features => 'size, height', algorithm => 'mlogregr'");
    expect(trained).toMatchObject({ version: 1, deployed: true, outcome: "first", metric: "log_loss" });
    expect(trained.metrics).toEqual({
      log_loss: expect.closeTo(0.283374717312, 7),
      accuracy: expect.closeTo(0.876971608833, 11),
      macro_f1: expect.closeTo(0.873320902304, 11),
      calibration_error: expect.any(Number),
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
      for (const { p, prediction, same } of rows) {
        expect(same).toBe(true);
        expect(p.reduce((sum, share) => sum + share)).toBeCloseTo(1, 9);
        expect(prediction).toBe(kinds[p.indexOf(Math.max(...p))]);
      }
      const held = rows.filter((row) => row.held);
      const count = (kept: (row: (typeof held)[number]) => boolean): number => held.filter(kept).length;
      const f1 = kinds.map(
        (name) =>
          (2 * count((row) => row.kind === name && row.prediction === name)) /
          (count((row) => row.kind === name) + count((row) => row.prediction === name)),
      );
      // The reliability of each class, as the README shows it.
      await database.query("drop table if exists lab.share, lab.reliability");
      await database.query(
        `create table lab.share as select class, share, kind = class as hit from lab.answer join lab.flower using (id)
         cross join lateral (values ('high', estimated_prob_high), ('low', estimated_prob_low), ('mid', estimated_prob_mid))
           as listed (class, share) where ml.in_holdout(id::text)`,
      );
      await database.query(
        "select ml.calibration_curve('lab.share', 'lab.reliability', 'share', 'hit', 'class', 10, 'quantile')",
      );
      expect(trained.metrics).toEqual({
        calibration_error: expect.closeTo(
          await database.value<number>(
            "select avg(error) from (select sum(num_rows * abs(mean_predicted - fraction_positive)) / sum(num_rows) as error from lab.reliability group by class) as each",
          ),
          12,
        ),
        row_count: held.length,
        accuracy: expect.closeTo(count((row) => row.kind === row.prediction) / held.length, 12),
        macro_f1: expect.closeTo(f1.reduce((sum, value) => sum + value) / 3, 12),
        log_loss: expect.closeTo(
          -held.reduce(
            (sum, { kind, p: share }) => sum + Math.log(Math.max(share[kinds.indexOf(kind)] ?? 0, 1e-15)),
            0,
          ) / held.length,
          9,
        ),
      });
      expect(trained.metrics["accuracy"]).toBeGreaterThan(0.8);
    },
  );

  test("a forest is stored once: its leaves have a share for each class", async () => {
    const { version } = await train(", algorithm => 'forest', parameters => '{\"num_trees\": 5}'");
    expect(
      await database.rows(
        `select max(tree)::int as trees, bool_and(value is null) as apart, bool_and(cardinality(class_values) = 3) as whole,
           max(abs((select sum(share) from unnest(class_values) as share) - 0.2)) < 1e-12 as shares
         from ml.tree_node where model_id = (select model_id from ml._version('flower.kind', $1)) and feature is null`,
        [version],
      ),
    ).toEqual([{ trees: 5, apart: true, whole: true, shares: true }]);
  });

  test.each([
    ["gbm", '{"num_trees": 30}', "platt"],
    ["gbm", '{"num_trees": 30}', "isotonic"],
    ["forest", '{"num_trees": 12}', "isotonic"],
    ["tree", '{"max_depth": 10, "min_bucket": 1, "min_split": 2}', "platt"],
    ["mlogregr", "{}", "platt"],
  ])(
    "%s %s with %s: each class against the others, the same answers one by one and for a table",
    async (algorithm, parameters, by) => {
      const options = `, algorithm => '${algorithm}', parameters => '${parameters}'`;
      const plain = await train(options);
      const { version, metrics } = await train(`${options}, calibration => '${by}'`);
      const [calibration] = await database.rows<{ method: string; parts: number }>(
        "select coefficients -> 'calibration' ->> 'method' as method, jsonb_array_length(coefficients -> 'calibration' -> 'classes') as parts from ml._version('flower.kind', $1)",
        [version],
      );
      expect(calibration).toEqual({ method: by, parts: 3 });
      await database.query("drop table if exists lab.answer");
      await database.query("select ml.predict_table('flower.kind', 'lab.flower', 'lab.answer', 'id', $1)", [version]);
      const rows = await database.rows<{ same: boolean; total: number }>(
        `select estimated_prob_high + estimated_prob_low + estimated_prob_mid as total,
         id > 60 or abs(estimated_prob_mid - (select probability
           from ml.predict_classes('flower.kind', to_jsonb(flower), $1) where class = 'mid')) < 1e-12 as same
       from lab.answer join lab.flower using (id)`,
        [version],
      );
      for (const { same, total } of rows) {
        expect(same).toBe(true);
        expect(total).toBeCloseTo(1, 9);
      }
      // The small leaves of a deep tree state 0 and 1 too often: what a calibration is for.
      if (algorithm === "tree") expect(metrics["log_loss"]).toBeLessThan(0.7 * (plain.metrics["log_loss"] as number));
    },
  );

  test("Platt's calibration of each class as scikit-learn's, on the log odds", async () => {
    // _SigmoidCalibration of scikit-learn 1.2.1 for each class of 40 rows.
    const given: [number[], number][] = JSON.parse(
      readFileSync(new URL("models/calibration.json", import.meta.url), "utf8"),
    );
    await database.query("create table lab.calibrated (prediction float8[], observed text)");
    await database.query(
      "insert into lab.calibrated select array(select jsonb_array_elements_text(row -> 0)::float8), 'c' || (row ->> 1) from jsonb_array_elements($1) as row",
      [JSON.stringify(given)],
    );
    const fitted = (method: string): Promise<{ classes: Record<string, number | number[]>[] }> =>
      database.value("select ml._fit_class_calibration('lab.calibrated', $1, '{c0, c1, c2}')", [method]);
    const { classes } = await fitted("platt");
    const published = [
      [0.13394036, -0.6043821],
      [0.16712676, -0.49002811],
      [0.47792472, -0.12792881],
    ];
    for (const [k, [slope, intercept]] of published.entries()) {
      expect(classes[k]?.["slope"]).toBeCloseTo(slope ?? Number.NaN, 5);
      expect(classes[k]?.["intercept"]).toBeCloseTo(intercept ?? Number.NaN, 5);
    }
    // The answers of IsotonicRegression of scikit-learn for the first three rows are answers of the blocks here.
    const isotonic = await fitted("isotonic");
    for (const [k, expected] of [
      [0, 3 / 7],
      [1, 0.25],
      [1, 5 / 14],
      [2, 4 / 9],
    ] as const)
      expect(
        ((isotonic.classes[k]?.["answers"] ?? []) as number[]).map((answer) => Math.abs(answer - expected) < 1e-12),
      ).toContain(true);
  });

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
    for (const moved of ["metric", "calibration"])
      expect(drift.filter(({ statistic }) => statistic === moved)).toMatchObject([{ verdict: "stable" }]);
  });

  test.each([
    [
      "logregr for three classes",
      "algorithm => 'logregr'",
      "CF001",
      '"kind" has 3 classes, and logregr answers for two',
    ],
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
