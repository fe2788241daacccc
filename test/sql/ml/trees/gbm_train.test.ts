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
    expect((await refused("", "lab.rows", "c")).code).toBe("CF001");
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
