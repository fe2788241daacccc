import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { runs } from "../../../support/runs.ts";
import { boosting, population, type Row } from "./trees.ts";

const database = await lab();
const { load, predict, train } = boosting(database);

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const squares = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0);

/** The least squared error that any single split allows: every threshold, every subset of categories, missing values on either side. */
function bestSplit(rows: readonly Row[]): number {
  const all = squares(rows.map((row) => row.y));
  let best = all;
  const judge = (left: readonly Row[]): void => {
    const right = rows.filter((row) => !left.includes(row));
    if (left.length === 0 || right.length === 0) return;
    best = Math.min(best, squares(left.map((row) => row.y)) + squares(right.map((row) => row.y)));
  };
  for (const name of ["a", "b"] as const) {
    const missing = rows.filter((row) => row[name] === null);
    for (const value of new Set(rows.map((row) => row[name]))) {
      const left = rows.filter((row) => row[name] !== null && value !== null && row[name] <= value);
      judge(left);
      judge([...left, ...missing]);
    }
  }
  const categories = [...new Set(rows.map((row) => row.c).filter((c) => c !== null))];
  for (let subset = 0; subset < 2 ** categories.length; subset++) {
    const left = rows.filter((row) => row.c !== null && (subset >> categories.indexOf(row.c)) % 2 === 1);
    judge(left);
    judge([...left, ...rows.filter((row) => row.c === null)]);
  }
  return best;
}

const number = fc.option(fc.integer({ min: 0, max: 5 }), { freq: 5 });
const row = fc.record({
  a: number,
  b: number,
  c: fc.option(fc.constantFrom("u", "v", "w", "x"), { freq: 5 }),
  y: fc.integer({ min: -20, max: 20 }),
});
const rows = fc
  .array(row, { minLength: 6, maxLength: 30 })
  .filter(
    (drawn) => squares(drawn.map((one) => one.y)) > 0 && bestSplit(drawn) < squares(drawn.map((one) => one.y)) - 1e-6,
  );
const plain = ", num_trees => 1, learning_rate => 1, min_rows => 1, lambda => 0, min_child_weight => 0";

describe("a single split", () => {
  test("is the best there is, over thresholds, subsets of categories and sides for missing values", async () => {
    await fc.assert(
      fc.asyncProperty(rows, async (drawn) => {
        await load(drawn);
        await train(`${plain}, max_depth => 1`);
        const predicted = await predict();
        const error = drawn.reduce((sum, one, i) => sum + (one.y - (predicted[i] ?? Number.NaN)) ** 2, 0);
        expect(error).toBeCloseTo(bestSplit(drawn), 6);
        const gain = await database.value<number>("select gain from lab.model where node = 0");
        expect(gain).toBeCloseTo(squares(drawn.map((one) => one.y)) - bestSplit(drawn), 6);
      }),
      { numRuns: runs(15, 10, database.native) },
    );
  });

  test("of second derivatives is XGBoost's: leaf = -rate * G / (H + lambda)", async () => {
    await load(Array.from({ length: 8 }, (_, i) => ({ a: i, b: null, c: null, y: i < 5 ? 0 : 1 })));
    await train(
      ", 'b, c', 'logistic', num_trees => 1, learning_rate => 0.5, max_depth => 1, min_rows => 1, lambda => 2",
    );
    const p = 3 / 8;
    const nodes = await database.rows<{ value: number | null; threshold: number; cover: number; gain: number }>(
      "select * from lab.model order by node",
    );
    expect(nodes[0]?.threshold).toBe(4.5);
    expect(nodes[1]?.value).toBeCloseTo((-0.5 * 5 * p) / (5 * p * (1 - p) + 2), 12);
    expect(nodes[2]?.value).toBeCloseTo((0.5 * 3 * (1 - p)) / (3 * p * (1 - p) + 2), 12);
    expect(nodes[0]?.gain).toBeCloseTo(
      (5 * p) ** 2 / (5 * p * (1 - p) + 2) + (3 * (1 - p)) ** 2 / (3 * p * (1 - p) + 2),
      12,
    );
    expect(await database.value("select base_score from lab.model_summary")).toBeCloseTo(Math.log(p / (1 - p)), 12);
  });
});

describe("boosting", () => {
  test("learns a law of numbers, categories and missing values, and predicts what it measured", async () => {
    const learned = population(2000);
    await load(learned);
    await train(", num_trees => 25, max_depth => 4, learning_rate => 0.4");
    const predicted = await predict();
    const error = mean(learned.map((one, i) => (one.y - (predicted[i] ?? Number.NaN)) ** 2));
    const [summary] = await database.rows<{ training_loss: number[]; num_trees: number }>(
      "select * from lab.model_summary",
    );
    expect(summary?.training_loss.at(-1)).toBeCloseTo(error, 10);
    expect(summary?.num_trees).toBe(25);
    for (const [i, loss] of (summary?.training_loss ?? []).entries())
      expect(loss).toBeLessThanOrEqual((summary?.training_loss[i - 1] ?? Infinity) + 1e-12);
    await load(population(1000, 77), "lab.unseen");
    const unseen = population(1000, 77);
    const ahead = await predict("null", "lab.unseen");
    const errorAhead = mean(unseen.map((one, i) => (one.y - (ahead[i] ?? Number.NaN)) ** 2));
    expect(1 - errorAhead / (squares(unseen.map((one) => one.y)) / unseen.length)).toBeGreaterThan(0.97);
  });

  test("does not mind the order of rows, the unit of a feature, or the scale of the target", async () => {
    const learned = population(300).map((one) => ({ ...one, y: Math.round(one.y * 1024) / 1024 }));
    const options = ", num_trees => 5, max_depth => 3, learning_rate => 0.5, lambda => 0";
    await load(learned);
    await train(options);
    const before = await predict();
    await database.query("create table lab.shuffled as select * from lab.rows order by md5(id::text)");
    await train(options, "lab.shuffled");
    const shuffled = await predict();
    await load(learned.map((one) => ({ ...one, a: one.a === null ? null : one.a ** 3 + 5, y: one.y * 1000 - 70 })));
    await train(options);
    const moved = await predict();
    for (const [i, value] of before.entries()) {
      expect(shuffled[i]).toBeCloseTo(value, 8);
      expect(((moved[i] ?? Number.NaN) + 70) / 1000).toBeCloseTo(value, 8);
    }
  });

  test("takes a weight of two for two rows", async () => {
    const learned = population(200).map((one, i) => ({ ...one, weight: 1 + (i % 3) }));
    const options = ", num_trees => 4, max_depth => 3, min_rows => 1, min_child_weight => 0";
    await load(learned);
    await train(`${options}, weights => 'weight'`);
    const weighted = await predict();
    await load(
      learned.flatMap((one) => Array.from({ length: one.weight }, () => one)),
      "lab.repeated",
    );
    await train(options, "lab.repeated");
    const repeated = await predict();
    for (const [i, value] of weighted.entries()) expect(repeated[i]).toBeCloseTo(value, 8);
  });

  test("stops early, keeps the best trees, and never trains on the rows it validates on", async () => {
    const noisy = population(400).map((one, i) => ({ ...one, y: one.y + ((i * 7919) % 97) / 24 }));
    await load(noisy);
    await train(
      ", num_trees => 200, learning_rate => 0.3, min_rows => 2, validation => 'id % 4 = 0', early_stopping_rounds => 5",
    );
    const [summary] = await database.rows<Record<string, number> & { validation_loss: number[] }>(
      "select * from lab.model_summary",
    );
    const losses = summary?.validation_loss ?? [];
    expect(losses.length).toBe(summary?.["num_trees_grown"]);
    expect(losses.indexOf(Math.min(...losses)) + 1).toBe(summary?.["num_trees"]);
    expect(losses.length).toBe((summary?.["num_trees"] ?? 0) + 5);
    expect(Number(summary?.["num_validation_rows"])).toBe(100);
    expect(await database.value("select max(tree) from lab.model")).toBe(summary?.["num_trees"]);
    // Whatever the rows for validation hold, the trees are the same.
    const trees = "select tree, node, threshold, value from lab.model where tree <= 3 order by tree, node";
    const before = await database.rows(trees);
    await database.query("update lab.rows set y = y + 0.01 * id where id % 4 = 0");
    await train(", num_trees => 8, learning_rate => 0.3, min_rows => 2, validation => 'id % 4 = 0'");
    expect(await database.rows(trees)).toEqual(before);
  });

  test("draws rows and features by the seed", async () => {
    await load(population(300));
    const options = ", num_trees => 5, row_sample => 0.5, feature_sample => 0.5";
    await train(`${options}, seed => 1`);
    const once = await predict();
    await train(`${options}, seed => 1`);
    expect(await predict()).toEqual(once);
    await train(`${options}, seed => 2`);
    expect(await predict()).not.toEqual(once);
    expect(await database.value("select max(num_rows) < 200 from lab.model")).toBe(true);
  });
});

describe("several classes", () => {
  /** The rows of an example: one number and one of three classes. */
  const example: [number, string][] = [
    [1, "p"],
    [2, "p"],
    [3, "q"],
    [4, "p"],
    [5, "q"],
    [6, "q"],
    [7, "r"],
    [8, "q"],
    [9, "r"],
  ];
  const classes = ["p", "q", "r"];
  const rate = 0.5;
  const lambda = 2;

  /** Rounds of stumps by the formulas of XGBoost's multi:softprob: a table of scores, one row per row and one column per class. */
  function rounds(count: number): { scores: number[][]; gains: number[]; loss: number } {
    const shares = classes.map((level) => example.filter(([, y]) => y === level).length / example.length);
    const scores = example.map(() => shares.map(Math.log));
    const gains: number[] = [];
    for (let round = 0; round < count; round++) {
      const chances = scores.map((row) => {
        const whole = row.reduce((sum, score) => sum + Math.exp(score), 0);
        return row.map((score) => Math.exp(score) / whole);
      });
      for (const [k, level] of classes.entries()) {
        const gradient = example.map(([, y], i) => (chances[i]?.[k] ?? 0) - (y === level ? 1 : 0));
        const curvature = example.map((_, i) => 2 * (chances[i]?.[k] ?? 0) * (1 - (chances[i]?.[k] ?? 0)));
        const part = (from: number, to: number): [number, number] => [
          gradient.slice(from, to).reduce((sum, value) => sum + value, 0),
          curvature.slice(from, to).reduce((sum, value) => sum + value, 0),
        ];
        const score = ([g, h]: [number, number]): number => g ** 2 / (h + lambda);
        const gain = (cut: number): number => score(part(0, cut)) + score(part(cut, 9)) - score(part(0, 9));
        const cut = Array.from({ length: 8 }, (_, i) => i + 1).reduce(
          (best, one) => (gain(one) > gain(best) ? one : best),
          1,
        );
        gains.push(gain(cut));
        for (const [i, row] of scores.entries()) {
          const [g, h] = i < cut ? part(0, cut) : part(cut, 9);
          row[k] = (row[k] ?? 0) - (rate * g) / (h + lambda);
        }
      }
    }
    const loss = mean(
      example.map(([, y], i) => {
        const row = scores[i] ?? [];
        return Math.log(row.reduce((sum, score) => sum + Math.exp(score), 0)) - (row[classes.indexOf(y)] ?? 0);
      }),
    );
    return { scores, gains, loss };
  }

  test("are boosted by softmax: the gains, scores and losses of its formulas", async () => {
    await database.query("create table lab.three (id int, x float8, level text)");
    for (const [x, level] of example)
      await database.query("insert into lab.three values ($1::int, $1::int, $2)", [x, level]);
    await database.query(
      `select ml.gbm_train('lab.three', 'lab.soft', 'id', 'level', 'x', num_trees => 3, learning_rate => ${rate},
        max_depth => 1, min_rows => 1, lambda => ${lambda}, min_child_weight => 0)`,
    );
    const expected = rounds(3);
    const gains = await database.rows<{ gain: number }>(
      "select gain from lab.soft where node = 0 order by tree, class",
    );
    expect(gains.length).toBe(9);
    for (const [i, { gain }] of gains.entries()) expect(gain).toBeCloseTo(expected.gains[i] ?? 0, 10);
    await database.query("select ml.gbm_predict('lab.soft', 'lab.three', 'lab.soft_raw', 'raw')");
    const raw = await database.rows<{ prediction: number[] }>("select prediction from lab.soft_raw order by id");
    for (const [i, { prediction }] of raw.entries())
      for (const [k, score] of prediction.entries()) expect(score).toBeCloseTo(expected.scores[i]?.[k] ?? 0, 10);
    expect(
      await database.rows("select objective, dependent_var_levels, num_trees, base_score from lab.soft_summary"),
    ).toEqual([{ objective: "softmax", dependent_var_levels: classes, num_trees: 3, base_score: null }]);
    const losses: number[] = await database.value("select training_loss from lab.soft_summary");
    for (const [i, loss] of losses.entries()) expect(loss).toBeCloseTo(rounds(i + 1).loss, 10);
    await database.query("select ml.get_var_importance('lab.soft', 'lab.soft_why')");
    expect(await database.value("select gain from lab.soft_why")).toBeCloseTo(
      expected.gains.reduce((sum, gain) => sum + gain, 0),
      9,
    );
  });

  test("two classes of softmax have the probabilities of a logistic model", async () => {
    // With two classes both scores move by the same amount in opposite directions, so their difference is a logistic score.
    await load(population(400).map((one) => ({ ...one, y: one.y > 1 ? 1 : 0 })));
    await database.query("drop table if exists lab.two, lab.two_summary, lab.two_out");
    await database.query(
      "select ml.gbm_train('lab.rows', 'lab.two', 'id', 'y::int', 'a, b, c', objective => 'softmax', num_trees => 10, lambda => 0)",
    );
    await train(", objective => 'logistic', num_trees => 10, lambda => 0");
    const logistic = await predict("'prob'");
    await database.query("select ml.gbm_predict('lab.two', 'lab.rows', 'lab.two_out', 'prob')");
    const soft = await database.rows<{ estimated_prob_0: number; estimated_prob_1: number }>(
      "select * from lab.two_out order by id",
    );
    for (const [i, row] of soft.entries()) {
      expect(row.estimated_prob_0 + row.estimated_prob_1).toBeCloseTo(1, 12);
      expect(row.estimated_prob_1).toBeCloseTo(logistic[i] ?? Number.NaN, 10);
    }
  });

  test("a class without rows to train on, or one class only, is refused", async () => {
    for (const [where, more] of [
      ["level = 'p'", ""],
      ["true", ", validation => 'level = ''r'''"],
    ]) {
      await database.query(`create or replace view lab.some as select * from lab.three where ${where}`);
      expect(
        await database.rejects(
          `select ml.gbm_train('lab.some', 'lab.refused', 'id', 'level', 'x', min_rows => 1 ${more})`,
        ),
      ).toMatchObject({ code: "CF004" });
    }
  });
});

describe("invalid input is refused by name, and leaves nothing behind", () => {
  const refused = async (
    more: string,
    table = "lab.rows",
    dependent = "y",
    features = "a, b, c",
  ): Promise<{ code: string | undefined; hint: string | undefined }> => {
    const { code, hint } = await database.rejects(
      `select ml.gbm_train('${table}', 'lab.refused', 'id', '${dependent}', '${features}' ${more})`,
    );
    expect(
      await database.value("select to_regclass('lab.refused') is null and to_regclass('lab.refused_summary') is null"),
    ).toBe(true);
    return { code, hint };
  };

  test("bad arguments", async () => {
    await load(population(50));
    for (const bad of [
      "num_trees => 0",
      "learning_rate => 2",
      "lambda => -1",
      "max_depth => 40",
      "row_sample => 0",
      "max_bins => 1",
      "min_rows => 0",
      "objective => 'poisson'",
      "seed => null",
      "validation => 'a'",
      "gamma => 'NaN'",
    ]) {
      expect((await refused(`, ${bad}`)).code, bad).toBe("CF001");
    }
    expect(await refused("", "lab.row")).toEqual({ code: "CF002", hint: 'Did you mean "lab.rows"?' });
    expect(await refused("", "lab.rows", "weigth")).toEqual({ code: "CF002", hint: 'Did you mean "weight"?' });
    expect((await refused(", objective => 'logistic'", "lab.rows", "c")).code).toBe("CF001");
    expect((await refused("", "lab.rows", "y", "a, d")).code).toBe("CF002");
    expect((await refused("", "lab.rows", "y", "a); drop table lab.rows; --")).code).toBe("CF001");
    expect((await refused(", objective => 'logistic'")).code).toBe("CF001");
  });

  test("bad data", async () => {
    await load([]);
    expect((await refused("")).code).toBe("CF004");
    await load(population(50).map((one) => ({ ...one, a: 1, b: 2, c: null })));
    expect((await refused("")).code).toBe("CF004");
    await load(population(10));
    expect((await refused("")).code).toBe("CF004");
    await load(population(50).map((one) => ({ ...one, y: 1 })));
    expect((await refused(", objective => 'logistic'")).code).toBe("CF004");
    await load(population(50).map((one, i) => (i === 3 ? { ...one, y: Number.NaN } : one)));
    expect((await refused("")).code).toBe("CF001");
    await load(population(50));
    expect((await refused(", validation => 'id < 0'")).code).toBe("CF004");
    expect((await refused(", validation => 'true'")).code).toBe("CF004");
    expect((await refused(", weights => 'weight - 2'")).code).toBe("CF001");
  });

  test("an existing table, or one that the caller may not read", async () => {
    await load(population(50));
    await train(", num_trees => 1, min_rows => 1");
    expect(await database.rejects("select ml.gbm_train('lab.rows', 'lab.model', 'id', 'y', 'a')")).toMatchObject({
      code: "CF003",
    });
    await database.query("grant usage, create on schema lab to insights_worker");
    await database.as("insights_worker", {}, async (db) => {
      expect(await db.rejects("select ml.gbm_train('lab.rows', 'lab.mine', 'id', 'y', 'a')")).toMatchObject({
        code: "CF005",
      });
    });
  });

  test("odd names, expressions and views work", async () => {
    await database.query(
      `create view lab."odd; view" as select id as "the ""id""", a as "a, b", c as "c; c", y > 1 as "y" from lab.rows`,
    );
    await database.query(
      `select ml.gbm_train('lab."odd; view"', 'lab."odd; model"', '"the ""id"""', '"y"', '"a, b", "c; c", coalesce("a, b", 0) * 2', min_rows => 1, num_trees => 3)`,
    );
    await database.query(`select ml.gbm_predict('lab."odd; model"', 'lab."odd; view"', 'lab."odd; out"')`);
    expect(
      await database.value(`select count("the ""id""")::int from lab."odd; out" where prediction between 0 and 1`),
    ).toBe(50);
    await database.query(`select ml.gbm_explain('lab."odd; model"', 'lab."odd; view"', 'lab."odd; why"', '1')`);
    expect(await database.value('select count(*)::int from lab."odd; why"')).toBe(4);
  });
});
