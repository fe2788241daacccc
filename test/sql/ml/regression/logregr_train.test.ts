import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { dataset, hasDataset } from "../../../support/datasets.ts";
import { lab, load } from "../../../support/lab.ts";
import { dot, generator } from "../../../support/matrix.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { patients, published, putIndicators, train } from "./regression.ts";

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

describe("what can be fitted is fitted", () => {
  test("steep classes that overlap at two rows: R's glm gives 1.310 (0.827)", async () => {
    await database.query(`create table lab.steep as
      select x, x > 50 and x <> 51 or x = 50 as y, x > 50 as separated from generate_series(1, 100) as x`);
    const [fit] = await logregr("lab.steep", "y", "array[1, x]");
    expect(fit?.coef[0]).toBeCloseTo(-66.161575, 5);
    expect(fit?.coef[1]).toBeCloseTo(1.3101302, 6);
    expect(fit?.std_err[1]).toBeCloseTo(0.8267471, 6);
    expect(
      await database.rejects("select ml.logregr_train('lab.steep', 'lab.none', 'separated', 'array[1, x]')"),
    ).toMatchObject({ code: "CF007", message: expect.stringContaining('column "x" separates the classes') });
  });

  test("of simulated sets with slopes from 8 to 30 exactly those are refused that are separated", async () => {
    await database.query(`
      create table lab.slope as
      select g, slope, x, (hashint8extended(g * 1000 + i, 3) & 1048575) / 1048576.0 < 1 / (1 + exp(-slope * (x - 0.2))) as y
      from generate_series(1::bigint, 120) as g
      cross join lateral (select 8 + (hashint8extended(g, 1) & 1023) / 1024.0 * 22 as slope) as drawn
      cross join generate_series(1::bigint, 120) as i
      cross join lateral (
        select ((hashint8extended(g * 1000 + i, 2) & 1048575) / 1048576.0 * 4 - 2)::float8 as x
      ) as placed`);
    await database.query("select ml.logregr_train('lab.slope', 'lab.slopes', 'y', 'array[1, x]', 'g', max_iter => 40)");
    const [seen] = await database.rows(`
      select
        count(*) filter (where separated and failure is null) as missed,
        count(*) filter (where not separated and failure is not null) as refused,
        count(*) filter (where not separated and not converged) as unsettled,
        count(*) filter (where separated) > 0 and count(*) filter (where not separated) > 60 as both
      from lab.slopes
      join (
        select g, max(x) filter (where not y) < min(x) filter (where y) as separated from lab.slope group by g
      ) as known using (g)`);
    expect(seen).toEqual({ missed: "0", refused: "0", unsettled: "0", both: true });
  });

  test.skipIf(!database.native)(
    "two hundred and fifty columns are fitted, the most that are allowed",
    async () => {
      await putIndicators(database);
      const wide = await only("lab.indicator", "yes", "x", ", max_iter => 1");
      // Newton's first step from the mean, .5: (.6 - .5) / .25, and the opposite
      const first = (g: number): number => (g % 2 === 0 ? -0.4 : 0.4);
      for (const [j, coefficient] of wide.coef.entries()) {
        expect(coefficient).toBeCloseTo(j === 0 ? first(1) : first(j + 1) - first(1), 10);
      }
      expect(
        await database.rejects("select ml.logregr_train('lab.indicator', 'lab.wider', 'yes', 'x || 1.5::float8')"),
      ).toMatchObject({
        code: "CF008",
      });
    },
    120_000,
  );

  test("a hundred and twenty columns are fitted: more than a function has arguments", async () => {
    const columns = Array.from({ length: 120 }, (_, i) => `x${i + 1}`);
    await database.query(`create table lab.wide as
      select i, ${columns.map((name, j) => `(hashint8extended(i, ${j}) & 1023) / 1024.0::float8 as ${name}`).join(", ")},
        (hashint8extended(i, 500) & 1023) / 1024.0 < 1 / (1 + exp(-4 * ((hashint8extended(i, 0) & 1023) / 1024.0 - 0.5))) as y
      from generate_series(1::bigint, 800) as i`);
    const [fit] = await logregr("lab.wide", "y", `array[1, ${columns.join(", ")}]`, ", tolerance => 0.1");
    expect(fit?.coef).toHaveLength(121);
    expect(fit?.coef[1]).toBeGreaterThan(2);
    await database.query(
      `select ml.linregr_train('lab.wide', 'lab.wide_line', 'x1 + 2 * x120', 'array[1, ${columns.join(", ")}]')`,
    );
    const coef = await database.value<number[]>("select coef from lab.wide_line");
    expect(coef[1]).toBeCloseTo(1, 9);
    expect(coef[60]).toBeCloseTo(0, 9);
    expect(coef[120]).toBeCloseTo(2, 9);
  });
});

test("a statement that an interrupted fit has left is replaced, and none is left", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`create table lab.left_over as
      select n, 1 as g, (hashint8extended(n, 1) & 1023) / 512.0::float8 - 1 as x,
        (hashint8extended(n, 2) & 1023) < 700 - 300 * (hashint8extended(n, 1) & 1023) / 1024 as y
      from generate_series(1, 200) as n`);
    await db.query("prepare _ml_glm_step as select 1");
    await db.query("select ml.logregr_train('lab.left_over', 'lab.left_one', 'y', 'array[1, x]')");
    expect(await db.value("select count(*)::int from pg_prepared_statements where name = '_ml_glm_step'")).toBe(0);
    // The same numbers as by the statement of groups, whose coefficients are literals.
    await db.query("select ml.logregr_train('lab.left_over', 'lab.left_group', 'y', 'array[1, x]', 'g')");
    expect(
      await db.value(
        "select (select (coef, std_err) from lab.left_one) = (select (coef, std_err) from lab.left_group)",
      ),
    ).toBe(true);
  });
});
