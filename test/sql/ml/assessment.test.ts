import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { dataset, hasDataset } from "../../support/datasets.ts";

const database = await testDatabase();
await database.query("create schema lab");

/** One row of predictions and what was observed. */
interface Pair {
  prediction: number;
  observed: number;
  course?: string;
}

/** Fills lab.pairs with rows, in the given order. */
async function load(pairs: readonly Pair[]): Promise<void> {
  await database.query("drop table if exists lab.pairs");
  await database.query("create table lab.pairs (prediction float8, observed float8, course text)");
  await database.query("insert into lab.pairs select * from unnest($1::float8[], $2::float8[], $3::text[])", [
    pairs.map((pair) => pair.prediction),
    pairs.map((pair) => pair.observed),
    pairs.map((pair) => pair.course ?? null),
  ]);
}

/** Runs a measure over lab.pairs and returns its output table. */
async function measure(name: string, more = ""): Promise<Record<string, unknown>[]> {
  await database.query("drop table if exists lab.measured");
  await database.query(`select ml.${name}('lab.pairs', 'lab.measured', 'prediction', 'observed'${more})`);
  return database.rows("select * from lab.measured");
}

async function single(name: string, more = ""): Promise<number> {
  const [row] = await measure(name, more);
  return Object.values(row ?? {})[0] as number;
}

// The textbook definitions, pair by pair.
function areaUnderRoc(pairs: readonly Pair[]): number {
  const positives = pairs.filter((pair) => pair.observed === 1);
  const negatives = pairs.filter((pair) => pair.observed === 0);
  let won = 0;
  for (const positive of positives) {
    for (const negative of negatives) {
      won += positive.prediction > negative.prediction ? 1 : positive.prediction === negative.prediction ? 0.5 : 0;
    }
  }
  return won / (positives.length * negatives.length);
}

function averagePrecision(pairs: readonly Pair[]): number {
  const positives = pairs.filter((pair) => pair.observed === 1).length;
  const thresholds = [...new Set(pairs.map((pair) => pair.prediction))].sort((a, b) => b - a);
  let recallBefore = 0;
  let sum = 0;
  for (const threshold of thresholds) {
    const above = pairs.filter((pair) => pair.prediction >= threshold);
    const hits = above.filter((pair) => pair.observed === 1).length;
    sum += (hits / positives - recallBefore) * (hits / above.length);
    recallBefore = hits / positives;
  }
  return sum;
}

const scored = fc
  .array(
    fc.record({ prediction: fc.integer({ min: 0, max: 20 }).map((n) => n / 20), observed: fc.constantFrom(0, 1) }),
    {
      minLength: 4,
      maxLength: 40,
    },
  )
  .filter((pairs) => new Set(pairs.map((pair) => pair.observed)).size === 2);

describe("regression measures", () => {
  const name = "stat_oracles/pred_metrics";
  test.skipIf(!hasDataset(name))("agree with MADlib's answers (needs stat_oracles)", async () => {
    const rows = dataset(name).filter((row) => row["gr1"] === "1");
    await load(rows.map((row) => ({ prediction: Number(row["pred"]), observed: Number(row["obs"]) })));
    expect(await single("mean_abs_error")).toBeCloseTo(13.825, 10);
    expect(await single("mean_squared_error")).toBeCloseTo(220.3525, 10);
    expect(await single("root_mean_squared_error")).toBeCloseTo(Math.sqrt(220.3525), 10);
    expect(await single("mean_abs_perc_error")).toBeCloseTo(0.2945, 3);
    expect(await single("mean_perc_error")).toBeCloseTo(-0.1724, 3);
    expect(await single("r2_score")).toBeCloseTo(0.2799, 4);
  });

  test("adjusted r2 corrects for the predictors, in MADlib's argument order", async () => {
    await load([1, 2, 3, 4, 5].map((x) => ({ prediction: x, observed: x + (x % 2 ? 0.5 : -0.5) })));
    const [row] = await measure("adjusted_r2_score", ", 2, 50");
    const r2 = row?.["r2_score"] as number;
    expect(row?.["adjusted_r2_score"]).toBeCloseTo(1 - ((1 - r2) * 49) / 47, 12);
  });

  test("an error of a scaled problem is the scaled error", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ prediction: fc.integer({ min: -99, max: 99 }), observed: fc.integer({ min: -99, max: 99 }) }),
          { minLength: 2 },
        ),
        fc.constantFrom(0.5, 3, 1000),
        async (pairs, factor) => {
          await load(pairs);
          const plain = [
            await single("mean_abs_error"),
            await single("mean_squared_error"),
            await single("r2_score"),
          ] as const;
          await load(pairs.map((pair) => ({ prediction: pair.prediction * factor, observed: pair.observed * factor })));
          expect(await single("mean_abs_error")).toBeCloseTo(plain[0] * factor, 6);
          expect(await single("mean_squared_error")).toBeCloseTo(plain[1] * factor ** 2, 3);
          const r2 = await single("r2_score");
          if (plain[2] === null) expect(r2).toBeNull();
          else expect(Math.abs(r2 - plain[2])).toBeLessThan(1e-9 * (1 + Math.abs(plain[2])));
        },
      ),
      { numRuns: 15 },
    );
  });

  test("groups are measured apart, in one table", async () => {
    await load([
      { prediction: 1, observed: 2, course: "a" },
      { prediction: 5, observed: 2, course: "b" },
      { prediction: 4, observed: 2, course: "b" },
    ]);
    expect(await measure("mean_abs_error", ", 'course'")).toEqual(
      expect.arrayContaining([
        { course: "a", mean_abs_error: 1 },
        { course: "b", mean_abs_error: 2.5 },
      ]),
    );
  });
});

describe("measures of a score", () => {
  test("area and average precision are those of the definitions, in any order of rows, duplicated or rescaled", async () => {
    await fc.assert(
      fc.asyncProperty(scored, async (pairs) => {
        await load(pairs);
        const area = await single("area_under_roc");
        expect(area).toBeCloseTo(areaUnderRoc(pairs), 12);
        expect(await single("average_precision")).toBeCloseTo(averagePrecision(pairs), 12);
        await load([...pairs, ...pairs].reverse().map((pair) => ({ ...pair, prediction: 7 * pair.prediction - 3 })));
        expect(await single("area_under_roc")).toBeCloseTo(area, 12);
        await load(pairs.map((pair) => ({ ...pair, prediction: -pair.prediction })));
        expect(await single("area_under_roc")).toBeCloseTo(1 - area, 12);
      }),
      { numRuns: 20 },
    );
  });

  test("binary_classifier counts every threshold", async () => {
    await fc.assert(
      fc.asyncProperty(scored, async (pairs) => {
        await load(pairs);
        const rows = await measure("binary_classifier");
        expect(rows.length).toBe(new Set(pairs.map((pair) => pair.prediction)).size);
        for (const row of rows) {
          const positive = pairs.filter((pair) => pair.prediction >= (row["threshold"] as number));
          const hits = positive.filter((pair) => pair.observed === 1).length;
          const positives = pairs.filter((pair) => pair.observed === 1).length;
          expect([row["tp"], row["fp"], row["fn"], row["tn"]].map(Number)).toEqual([
            hits,
            positive.length - hits,
            positives - hits,
            pairs.length - positives - positive.length + hits,
          ]);
          expect(row["tpr"]).toBeCloseTo(hits / positives, 12);
          expect(row["ppv"]).toBeCloseTo(hits / positive.length, 12);
          expect(row["f1"]).toBeCloseTo((2 * hits) / (positives + positive.length), 12);
        }
      }),
      { numRuns: 10 },
    );
  });

  test("lift finds the positives that the highest scores hold", async () => {
    await load(Array.from({ length: 100 }, (_, i) => ({ prediction: i, observed: i >= 80 || i < 5 ? 1 : 0 })));
    const rows = await measure("lift", ", null, 10");
    expect(rows.length).toBe(10);
    expect(rows[0]).toMatchObject({
      bucket: 1,
      num_rows: "10",
      positives: "10",
      rate: 1,
      lift: 4,
      cumulative_lift: 4,
      captured: 0.4,
    });
    expect(rows[9]).toMatchObject({
      bucket: 10,
      lowest: 0,
      positives: "5",
      rate: 0.5,
      lift: 2,
      cumulative_lift: 1,
      captured: 1,
    });
  });

  test("equal scores stay in one bucket", async () => {
    await load(Array.from({ length: 20 }, (_, i) => ({ prediction: 0.5, observed: i % 2 })));
    expect((await measure("lift", ", null, 10")).length).toBe(1);
  });
});

describe("measures of a probability", () => {
  test("log loss and Brier score are those of the definitions, never infinite", async () => {
    await load([
      { prediction: 0.9, observed: 1 },
      { prediction: 0.2, observed: 0 },
      { prediction: 0.6, observed: 0 },
    ]);
    expect(await single("log_loss")).toBeCloseTo(-(Math.log(0.9) + Math.log(0.8) + Math.log(0.4)) / 3, 12);
    expect(await single("brier_score")).toBeCloseTo((0.01 + 0.04 + 0.36) / 3, 12);
    await load([{ prediction: 0, observed: 1 }]);
    expect(await single("log_loss")).toBeCloseTo(-Math.log(1e-15), 10);
  });

  test("a calibration curve holds every row once, and a calibrated forecast lies in its intervals", async () => {
    // 1,000 rows a decile whose observed share is exactly the prediction.
    const pairs = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95].flatMap((p) =>
      Array.from({ length: 100 }, (_, i) => ({ prediction: p, observed: i < p * 100 - 1e-9 ? 1 : 0 })),
    );
    await load(pairs);
    for (const strategy of ["uniform", "quantile"]) {
      const rows = await measure("calibration_curve", `, null, 10, '${strategy}'`);
      expect(rows.length).toBe(10);
      expect(rows.reduce((sum, row) => sum + Number(row["num_rows"]), 0)).toBe(1000);
      for (const row of rows) {
        expect(row["fraction_positive"]).toBeCloseTo(row["mean_predicted"] as number, 10);
        expect(row["lower_95"] as number).toBeLessThan(row["mean_predicted"] as number);
        expect(row["upper_95"] as number).toBeGreaterThan(row["mean_predicted"] as number);
      }
    }
  });

  test("the Wilson interval is the published one", async () => {
    // Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, 1998: 81 of 263.
    await load(Array.from({ length: 263 }, (_, i) => ({ prediction: 0.31, observed: i < 81 ? 1 : 0 })));
    const [row] = await measure("calibration_curve");
    expect(row?.["lower_95"]).toBeCloseTo(0.2553, 4);
    expect(row?.["upper_95"]).toBeCloseTo(0.3662, 4);
  });
});

describe("confusion_matrix", () => {
  test("counts every pair of classes, numbers in order, also by group", async () => {
    await load([
      { prediction: 10, observed: 9, course: "a" },
      { prediction: 9, observed: 9, course: "a" },
      { prediction: 10, observed: 10, course: "b" },
      { prediction: 2, observed: 10, course: "b" },
    ]);
    expect(await measure("confusion_matrix")).toEqual([
      { row_id: "1", class: "2", confusion_arr: ["0", "0", "0"] },
      { row_id: "2", class: "9", confusion_arr: ["0", "1", "1"] },
      { row_id: "3", class: "10", confusion_arr: ["1", "0", "1"] },
    ]);
    const rows = await measure("confusion_matrix", ", 'course'");
    expect(rows.length).toBe(6);
    expect(rows[2]).toEqual({ course: "a", row_id: "3", class: "10", confusion_arr: ["0", "0", "0"] });
  });
});

describe("bootstrap_interval", () => {
  test("covers the mean and has its standard error", async () => {
    await load(Array.from({ length: 400 }, (_, i) => ({ prediction: (i * 7919) % 400, observed: 0 })));
    const row = await database.rows<{
      estimate: number;
      std_err: number;
      lower: number;
      upper: number;
      resamples: number;
    }>("select * from ml.bootstrap_interval('lab.pairs', 'avg(prediction)', 500)");
    const deviation = Math.sqrt((400 ** 2 - 1) / 12);
    expect(row[0]?.estimate).toBeCloseTo(199.5, 10);
    expect(Math.abs((row[0]?.std_err ?? 0) / (deviation / 20) - 1)).toBeLessThan(0.12);
    expect(row[0]?.lower).toBeLessThan(199.5);
    expect(row[0]?.upper).toBeGreaterThan(199.5);
    expect(row[0]?.resamples).toBe(500);
  });

  test("draws whole clusters, so that identical rows of a cluster count once", async () => {
    const clusters = Array.from({ length: 40 }, (_, i) => i);
    await load(
      clusters.flatMap((i) => Array.from({ length: 25 }, () => ({ prediction: i, observed: 0, course: `c${i}` }))),
    );
    const by = async (more: string): Promise<number> =>
      database.value(`select (ml.bootstrap_interval('lab.pairs', 'avg(prediction)', 300${more})).std_err`);
    const ratio = (await by(", cluster_col => 'course'")) / (await by(""));
    expect(ratio).toBeGreaterThan(4);
    expect(ratio).toBeLessThan(6.2);
  });

  test("the same seed gives the same answer", async () => {
    const once = await database.rows(
      "select * from ml.bootstrap_interval('lab.pairs', 'max(prediction)', 50, seed => 7)",
    );
    expect(
      await database.rows("select * from ml.bootstrap_interval('lab.pairs', 'max(prediction)', 50, seed => 7)"),
    ).toEqual(once);
  });
});

describe("what can not be measured is refused by name", () => {
  const call = (name: string, more = "", prediction = "prediction", table = "lab.pairs", out = "lab.refused"): string =>
    `select ml.${name}('${table}', '${out}', '${prediction}', 'observed'${more})`;

  test("tables and columns", async () => {
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await database.rejects(call("log_loss", "", "prediction", "lab.pears"))).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "pairs"?',
    });
    expect(await database.rejects(call("log_loss", "", "predicted"))).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "prediction"?',
    });
    expect(await database.rejects(call("log_loss", "", "course"))).toMatchObject({ code: "CF001" });
    expect(await database.rejects(call("log_loss", "", "prediction", "lab.pairs", "lab.pairs"))).toMatchObject({
      code: "CF003",
    });
    expect(await database.rejects(call("log_loss", "", "1) from lab.pairs; drop table lab.pairs; --"))).toMatchObject({
      code: "CF001",
    });
    expect(await database.value("select count(*)::int from lab.pairs")).toBe(1);
    expect(await database.value("select to_regclass('lab.refused')")).toBeNull();
  });

  test("values", async () => {
    expect(await database.rejects(call("area_under_roc"))).toMatchObject({ code: "CF004" });
    await load([]);
    expect(await database.rejects(call("mean_abs_error"))).toMatchObject({ code: "CF004" });
    await load([{ prediction: 1.5, observed: 1 }]);
    expect(await database.rejects(call("brier_score"))).toMatchObject({ code: "CF001" });
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await database.rejects(call("mean_abs_error"))).toMatchObject({ code: "CF001" });
    await load([
      { prediction: 0.5, observed: 2 },
      { prediction: 0.5, observed: 1 },
    ]);
    expect(await database.rejects(call("lift"))).toMatchObject({ code: "CF001" });
    expect(await database.rejects(call("calibration_curve", ", null, 1"))).toMatchObject({ code: "CF001" });
    expect(await database.rejects("select ml.bootstrap_interval('lab.pairs', 'prediction')")).toMatchObject({
      code: "CF001",
    });
    expect(await database.rejects("select ml.bootstrap_interval('lab.pairs', 'avg(predicted)')")).toMatchObject({
      code: "CF002",
    });
  });

  test("odd names work, and a caller gains no rights", async () => {
    await database.query('create table lab."odd; name" ("the ""score""" float8, "was; so" boolean)');
    await database.query('insert into lab."odd; name" values (0.2, false), (0.7, true)');
    await database.query(
      `select ml.area_under_roc('lab."odd; name"', 'lab."out; put"', '"the ""score"""', '"was; so"')`,
    );
    expect(await database.value('select area_under_roc from lab."out; put"')).toBe(1);
    await database.query("grant usage, create on schema lab to insights_worker");
    await database.as("insights_worker", {}, async (db) => {
      expect(
        await db.rejects(`select ml.area_under_roc('lab."odd; name"', 'lab.mine', '"the ""score"""', '"was; so"')`),
      ).toMatchObject({ code: "CF005" });
    });
  });
});
