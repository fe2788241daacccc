import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { dataset, hasDataset } from "../../../support/datasets.ts";
import { lab, load } from "../../../support/lab.ts";
import { dot, generator } from "../../../support/matrix.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { patients, published, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  log_likelihood: number;
  std_err: number[];
  z_stats: number[];
  p_values: number[];
  odds_ratios: number[];
  condition_no: number;
  num_rows_processed: string;
  num_missing_rows_skipped: string;
  num_iterations: number;
  converged: boolean;
  failure: string | null;
}

const logregr = (source: string, y: string, x: string, more = ""): Promise<Fit[]> =>
  train<Fit>(database, `ml.logregr_train('${source}', 'lab.model', '${y}', '${x}'${more})`);

async function only(source: string, y: string, x: string, more = ""): Promise<Fit> {
  const [fit] = await logregr(source, y, x, more);
  if (fit === undefined) throw new Error("no model");
  return fit;
}

const asRows = (rows: readonly (readonly [number, number, number])[]): Record<string, unknown>[] =>
  rows.map(([y, a, b], id) => ({ id, y, a, b }));
const columns = "id int, y int, a float8, b float8";

/** Rows with overlapping classes, so that an optimum exists. */
function sample(seed: number, count: number): [number, number, number][] {
  const next = generator(seed);
  return Array.from({ length: count }, () => {
    const [a, b] = [next() * 4 - 2, next() * 10 + 3];
    return [next() < 1 / (1 + Math.exp(-(a - 0.3 * (b - 8)))) ? 1 : 0, a, b];
  });
}

describe("published values", () => {
  beforeAll(() => load(database, "lab.patients", columns, asRows(patients)));

  test("MADlib's documented example", async () => {
    const fit = await only("lab.patients", "y", "ARRAY[1, a, b]");
    expect(fewestDigits(fit.coef, [-6.36346994178187, -1.02410605239327, 0.119044916668607])).toBeGreaterThan(9);
    expect(digits(fit.log_likelihood, -9.41018298388876)).toBeGreaterThan(10);
    expect(digits(fit.condition_no, 326.081922791575)).toBeGreaterThan(5);
    expect(fit).toMatchObject({
      num_rows_processed: "20",
      num_missing_rows_skipped: "0",
      converged: true,
      failure: null,
    });
  });

  test.skipIf(!hasDataset("stat_oracles/expected"))(
    "its install check, nulls skipped (needs the data set stat_oracles)",
    async () => {
      const oracle = dataset("stat_oracles/expected");
      await load(
        database,
        "lab.attack",
        "id int, second_attack int, treatment int, trait_anxiety int",
        dataset("stat_oracles/patients"),
      );
      const fit = await only("lab.attack", "second_attack", "array[1, treatment, trait_anxiety]");
      expect(fit.num_missing_rows_skipped).toBe("3");
      for (const [statistic, values] of [
        ["coef", fit.coef],
        ["std_err", fit.std_err],
        ["z", fit.z_stats],
        ["p", fit.p_values],
        ["odds_ratio", fit.odds_ratios],
      ] as const) {
        expect(fewestDigits(values, published(oracle, "logit second_attack", statistic)), statistic).toBeGreaterThan(2);
      }
    },
  );
});

describe("properties", () => {
  test("the score vanishes at the optimum, with an intercept and without", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.constantFrom("array[1, a, b]", "array[a, b]"),
        async (seed, x) => {
          const rows = sample(seed, 80);
          await load(database, "lab.sample", columns, asRows(rows));
          const { coef } = await only("lab.sample", "y", x);
          for (let j = 0; j < coef.length; j++) {
            const score = rows.reduce((total, [y, a, b]) => {
              const values = coef.length === 3 ? [1, a, b] : [a, b];
              return total + (values[j] ?? 0) * (y - 1 / (1 + Math.exp(-dot(coef, values))));
            }, 0);
            expect(Math.abs(score)).toBeLessThan(1e-7);
          }
        },
      ),
      { numRuns: 10, seed: 20260301 },
    );
  });

  test("follows the units of the columns and swapped classes", async () => {
    await load(database, "lab.sample", columns, asRows(sample(7, 120)));
    const plain = await only("lab.sample", "y", "array[1, a, b]");
    const scaled = await only("lab.sample", "y", "array[1, a * 1e30, b / 1e40::float8]");
    expect(
      fewestDigits(scaled.coef, [plain.coef[0] ?? 0, (plain.coef[1] ?? 0) / 1e30, (plain.coef[2] ?? 0) * 1e40]),
    ).toBeGreaterThan(8);
    const moved = await only("lab.sample", "y", "array[1, a + 1e6, b]");
    expect(fewestDigits(moved.coef.slice(1), plain.coef.slice(1))).toBeGreaterThan(8);
    const swapped = await only("lab.sample", "y = 0", "array[1, a, b]");
    expect(
      fewestDigits(
        swapped.coef,
        plain.coef.map((value) => -value),
      ),
    ).toBeGreaterThan(9);
  });

  test("row order does not matter, each row twice halves the variance", async () => {
    const rows = sample(11, 150);
    await load(database, "lab.sample", columns, asRows(rows));
    const once = await only("lab.sample", "y", "array[1, a, b]");
    await load(database, "lab.sample", columns, asRows([...rows, ...rows].toReversed()));
    const twice = await only("lab.sample", "y", "array[1, a, b]");
    expect(fewestDigits(twice.coef, once.coef)).toBeGreaterThan(9);
    expect(
      fewestDigits(
        twice.std_err,
        once.std_err.map((error) => error / Math.SQRT2),
      ),
    ).toBeGreaterThan(6);
    expect(digits(twice.log_likelihood, 2 * once.log_likelihood)).toBeGreaterThan(9);
  });

  test("one model a group equals one training a group", async () => {
    const groups = ["a", "b;", 'c"'].map((name, i) => ({ name, rows: sample(i + 40, 90) }));
    await load(
      database,
      "lab.grouped",
      `${columns}, g text`,
      groups.flatMap(({ name, rows }) => asRows(rows).map((row) => ({ ...row, g: name }))),
    );
    const fits = (await logregr("lab.grouped", "y", "array[1, a, b]", ", 'g'")) as (Fit & { g: string })[];
    expect(fits).toHaveLength(3);
    for (const { name, rows } of groups) {
      await load(database, "lab.sample", columns, asRows(rows));
      const alone = await only("lab.sample", "y", "array[1, a, b]");
      expect(fewestDigits(fits.find((fit) => fit.g === name)?.coef ?? null, alone.coef)).toBeGreaterThan(8);
    }
    expect(await database.value("select count(*) from lab.model")).toBe("1");
  });
});

describe("what has no optimum is named", () => {
  beforeAll(async () => {
    await database.query(`
      create table lab.classes as select i as id, i as x, i % 3 as z, (i > 10)::int as y, (i > 10 or i = 3)::int as mixed, 2 * i + 1 as copy,
        i % 2 = 0 and i < 15 as rare, 'n' || i as name, 1 as always, case when i = 17 then 'Infinity'::float8 else i end as broken
      from generate_series(1, 20) as i;
      create table lab.nothing as select * from lab.classes where false`);
  });

  test.each([
    ["complete separation", "y", "array[1, z, x]", "CF007", /column "x" separates/, /ridge/],
    ["separation without an intercept", "y", "array[x - 10.5]", "CF007", /separates/, /ridge/],
    ["quasi-complete separation", "mixed", "array[1, z, (id > 15)::int]", "CF007", /id > 15.* separates/, /ridge/],
    ["a collinear column", "mixed", "array[1, x, copy]", "CF007", /column "copy" is a linear combination/, /ridge/],
    ["a constant column", "mixed", "array[1, x, always]", "CF007", /column "always" is constant/, /./],
    ["one class only", "always", "array[1, x]", "CF004", /one class only, 1/, /Both classes/],
    ["three classes", "z", "array[1, x]", "CF001", /holds 2, a class is 0 or 1/, /boolean/],
    ["infinity", "mixed", "array[1, broken]", "CF001", /NaN or infinity/, /./],
    ["text", "name", "array[1, x]", "CF001", /type text/, /./],
  ])("%s", async (_, y, x, code, message, hint) => {
    await database.query("drop table if exists lab.model, lab.model_summary");
    const error = await database.rejects("select ml.logregr_train('lab.classes', 'lab.model', $1, $2)", [y, x]);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(error.hint).toMatch(hint);
    expect(await database.value("select to_regclass('lab.model')")).toBeNull();
  });

  test.each([
    ["no rows", "'lab.nothing', 'lab.model', 'y', 'array[1, x]'", "CF004"],
    ["an unknown optimizer", "'lab.classes', 'lab.model', 'mixed', 'array[1, x]', null, 20, 'igd'", "CF001"],
    ["no iterations", "'lab.classes', 'lab.model', 'mixed', 'array[1, x]', null, 0", "CF001"],
    ["a negative tolerance", "'lab.classes', 'lab.model', 'mixed', 'array[1, x]', null, 20, 'irls', -1", "CF001"],
    ["an unknown grouping column", "'lab.classes', 'lab.model', 'mixed', 'array[1, x]', 'zz'", "CF002"],
  ])("%s", async (_, call, code) => {
    await database.query("drop table if exists lab.model, lab.model_summary");
    expect(await database.rejects(`select ml.logregr_train(${call})`)).toMatchObject({ code });
    expect(await database.value("select to_regclass('lab.model')")).toBeNull();
  });

  test("a group that fails leaves the others", async () => {
    const fits = await logregr("lab.classes", "mixed", "array[1, x]", ", 'id > 15'").catch(() => []);
    expect(fits).toEqual([]); // grouping columns are columns
    await database.query(
      "create or replace view lab.halves as select *, case when id <= 10 then 'low' else 'high' end as half from lab.classes",
    );
    const halves = (await logregr("lab.halves", "mixed", "array[1, x]", ", 'half'")) as (Fit & { half: string })[];
    expect(halves.find(({ half }) => half === "high")).toMatchObject({
      coef: null,
      failure: expect.stringMatching(/one class/) as string,
    });
    expect(halves.find(({ half }) => half === "low")?.coef).toHaveLength(2);
  });
});
