import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataset, hasDataset } from "../../../support/datasets.ts";
import { lab, load } from "../../../support/lab.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { exactLeastSquares, published, putIndicators, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  r2: number;
  std_err: number[];
  t_stats: number[];
  p_values: number[];
  condition_no: number;
  bp_stats: number;
  bp_p_value: number;
  num_rows_processed: string;
  num_missing_rows_skipped: string;
  variance_covariance: number[][];
  arithmetic: string;
  failure: string | null;
}

const linregr = (source: string, y: string, x: string, more = ""): Promise<Fit[]> =>
  train<Fit>(database, `ml.linregr_train('${source}', 'lab.model', '${y}', '${x}'${more})`);

async function only(source: string, y: string, x: string, more = ""): Promise<Fit> {
  const [fit] = await linregr(source, y, x, more);
  if (fit === undefined) throw new Error("no model");
  return fit;
}

const powers = (degree: number): string =>
  `array[${[
    "1",
    ...Array.from({ length: degree }, (_, i) =>
      Array(i + 1)
        .fill("x")
        .join("*"),
    ),
  ].join(", ")}]`;

/**
 * Certified by NIST (Statistical Reference Datasets, linear least squares, www.itl.nist.gov/div898/strd/lls/lls.shtml; public
 * domain). Wampler's data are a polynomial plus multiples of one sequence of deviations.
 */
const wampler = [
  759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048, -2048, 1838, -2048, 2048, -2048, 2523, -2048,
  2048, -2048, 759,
];
const wamplerErrors = [
  2152.3262467817, 2363.55173469681, 779.343524331583, 101.47550755035, 5.64566512170752, 0.112324854679312,
];
const sum = (x: number, base: number): number =>
  [0, 1, 2, 3, 4, 5].reduce((total, power) => total + (x / base) ** power, 0);

interface Certified {
  name: string;
  columns: string;
  rows: Record<string, unknown>[];
  x: string;
  coef: number[];
  stdErr: number[];
  r2: number;
}

const polynomial = (name: string, deviation: number, stdErr: number[], r2: number): Certified => ({
  name,
  columns: "x int, y int",
  rows: wampler.map((delta, x) => ({ x, y: sum(x, 1) + deviation * delta })),
  x: powers(5),
  coef: [1, 1, 1, 1, 1, 1],
  stdErr,
  r2,
});

const certified: Certified[] = [
  {
    name: "NoInt2",
    columns: "x int, y int",
    rows: [
      { x: 4, y: 3 },
      { x: 5, y: 4 },
      { x: 6, y: 4 },
    ],
    x: "array[x]",
    coef: [0.727272727272727],
    stdErr: [0.0420827318078432],
    r2: 0.993348115299335,
  },
  {
    name: "Pontius",
    columns: "x int, y numeric",
    rows: [
      ".11019 .21956 .32949 .43899 .54803 .65694 .76562 .87487 .98292 1.09146 1.20001 1.30822 1.41599 1.52399 1.63194 1.73947 1.84646 1.95392 2.06128 2.16844",
      ".11052 .22018 .32939 .43886 .54798 .65739 .76596 .87474 .98300 1.09150 1.20004 1.30818 1.41613 1.52408 1.63159 1.73965 1.84696 1.95445 2.06177 2.16829",
    ].flatMap((half) => half.split(" ").map((y, i) => ({ x: 150_000 * (i + 1), y: Number(y) }))),
    x: "array[1, x, x::numeric * x]",
    coef: [0.673565789473684e-3, 0.732059160401003e-6, -0.316081871345029e-14],
    stdErr: [0.107938612033077e-3, 0.157817399981659e-9, 0.486652849992036e-16],
    r2: 0.999999900178537,
  },
  polynomial("Wampler1", 0, [0, 0, 0, 0, 0, 0], 1),
  {
    name: "Wampler2",
    columns: "x int, y numeric",
    rows: wampler.map((_, x) => ({ x, y: Number(sum(x, 10).toFixed(5)) })),
    x: powers(5),
    coef: [1, 0.1, 0.01, 0.001, 0.0001, 0.00001],
    stdErr: [0, 0, 0, 0, 0, 0],
    r2: 1,
  },
  polynomial("Wampler3", 1, wamplerErrors, 0.99999555902582),
  polynomial(
    "Wampler4",
    100,
    wamplerErrors.map((error) => 100 * error),
    0.957478440825662,
  ),
  polynomial(
    "Wampler5",
    10_000,
    wamplerErrors.map((error) => 10_000 * error),
    0.22466892157494e-2,
  ),
];

const nist = hasDataset("nist_strd_linear/data") && hasDataset("nist_strd_linear/certified");
if (nist) {
  const values = dataset("nist_strd_linear/certified");
  const models: [string, string, string][] = [
    ["norris", "array[1, x1]", "x1 numeric"],
    ["noint1", "array[x1]", "x1 numeric"],
    [
      "longley",
      "array[1, x1, x2, x3, x4, x5, x6]",
      "x1 numeric, x2 numeric, x3 numeric, x4 numeric, x5 numeric, x6 numeric",
    ],
    ["filip", powers(10).replaceAll("x", "x1"), "x1 numeric"],
  ];
  for (const [name, x, columns] of models) {
    const of = (statistic: string): Record<string, string | null>[] =>
      values.filter((row) => row["dataset"] === name && row["statistic"] === statistic);
    certified.push({
      name,
      columns: `${columns}, y numeric`,
      rows: dataset("nist_strd_linear/data").filter((row) => row["dataset"] === name),
      x,
      coef: of("coef").map((row) => Number(row["value"])),
      stdErr: of("coef").map((row) => Number(row["std_error"])),
      r2: Number(of("r_squared")[0]?.["value"]),
    });
  }
}

describe("NIST's certified values, to nine digits", () => {
  test.each(certified)("$name", async ({ columns, rows, x, coef, stdErr, r2 }) => {
    await load(database, "lab.nist", columns, rows);
    const fit = await only("lab.nist", "y", x);
    expect(fewestDigits(fit.coef, coef)).toBeGreaterThanOrEqual(9);
    expect(fewestDigits(fit.std_err, stdErr)).toBeGreaterThanOrEqual(9);
    expect(digits(fit.r2, r2)).toBeGreaterThanOrEqual(9);
  });

  test.skipIf(!nist)("Norris, NoInt1, Longley and Filip (needs the data set nist_strd_linear)", () => {
    expect(certified).toHaveLength(11);
  });

  test("reports the arithmetic that it used", async () => {
    await load(database, "lab.nist", "x int, y int", certified.find(({ name }) => name === "Wampler5")?.rows ?? []);
    expect((await only("lab.nist", "y", powers(5))).arithmetic).toBe("numeric");
    expect((await only("lab.nist", "y", "array[1, x]")).arithmetic).toBe("float8");
  });

  test("takes double precision by its shortest decimals", async () => {
    // 0.1, 0.2, 0.3 as float8 are not tenths; read as tenths the line is exact
    await load(
      database,
      "lab.tenths",
      "x float8, y float8",
      [1, 2, 3, 4, 5].map((i) => ({ x: i / 10, y: Number(((3 * i) / 10 + 0.7).toFixed(1)) })),
    );
    const fit = await only("lab.tenths", "y", "array[1, x]");
    expect(fit).toMatchObject({ coef: [0.7, 3], r2: 1, std_err: [0, 0], arithmetic: "numeric" });
  });
});

describe.skipIf(!hasDataset("stat_oracles/houses"))("MADlib's houses (needs the data set stat_oracles)", async () => {
  const oracle = hasDataset("stat_oracles/expected") ? dataset("stat_oracles/expected") : [];
  if (oracle.length > 0) {
    await load(
      database,
      "lab.houses",
      "id int, tax int, bedroom int, bath float8, price int, size int, lot int",
      dataset("stat_oracles/houses"),
    );
  }

  test("the documented example, to every digit", async () => {
    const fit = await only("lab.houses", "price", "ARRAY[1, tax, bath, size]");
    expect(
      fewestDigits(fit.coef, [-12849.4168959872, 28.9613922651765, 10181.6290712648, 50.516894915354]),
    ).toBeGreaterThan(11);
    expect(digits(fit.r2, 0.768577580597443)).toBeGreaterThan(12);
    expect(digits(fit.condition_no, 9002.50457085737)).toBeGreaterThan(9);
    expect(fewestDigits(fit.p_values, [0.708223, 0.095801, 0.610804, 0.153235])).toBeGreaterThan(5);
  });

  test("the install check", async () => {
    const model = "OLS price ~ 1 + bedroom";
    const fit = await only("lab.houses", "price", "array[1, bedroom, bath, size]");
    for (const [statistic, values] of [
      ["coef", fit.coef],
      ["std_err", fit.std_err],
      ["t", fit.t_stats],
      ["p", fit.p_values],
      ["r2", [fit.r2]],
      ["condition_no", [fit.condition_no]],
    ] as const) {
      expect(fewestDigits(values, published(oracle, model, statistic)), statistic).toBeGreaterThan(4);
    }
  });

  test("grouped, with Breusch and Pagan's test", async () => {
    const fits = await linregr("lab.houses", "price", "array[1, tax, bath, size]", ", 'bedroom', true");
    for (const bedroom of [2, 3]) {
      const model = `OLS price ~ 1 + tax + bath + size where bedroom = ${bedroom}`;
      const fit = fits.find((row) => (row as unknown as { bedroom: number }).bedroom === bedroom);
      expect(fewestDigits(fit?.coef ?? null, published(oracle, model, "coef"))).toBeGreaterThan(3);
      expect(fewestDigits(fit?.std_err ?? null, published(oracle, model, "std_err"))).toBeGreaterThan(3);
      expect(digits(fit?.bp_stats ?? 0, published(oracle, model, "breusch_pagan_koenker_nR2")[0] ?? 0)).toBeGreaterThan(
        4,
      );
      expect(digits(fit?.bp_p_value ?? 0, published(oracle, model, "breusch_pagan_p")[0] ?? 0)).toBeGreaterThan(3);
    }
    const small = fits.find((row) => (row as unknown as { bedroom: number }).bedroom === 4);
    expect(small).toMatchObject({ coef: null, failure: "1 complete rows for 4 columns", num_rows_processed: "1" });
    expect(await database.rows("select * from lab.model_summary")).toEqual([
      {
        method: "linregr",
        source_table: "lab.houses",
        out_table: "lab.model",
        dependent_varname: "price",
        independent_varname: "array[1, tax, bath, size]",
        num_rows_processed: "15",
        num_missing_rows_skipped: "0",
        grouping_cols: "bedroom",
        num_all_groups: "3",
        num_failed_groups: "1",
        weights: null,
        offsets: null,
      },
    ]);
  });
});

const whole = fc.integer({ min: -50, max: 50 });
const sample = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 8, max: 25 }))
  .chain(([width, count]) =>
    fc.record({
      x: fc.array(fc.array(whole, { minLength: width, maxLength: width }), { minLength: count, maxLength: count }),
      y: fc.array(whole, { minLength: count, maxLength: count }),
    }),
  )
  .filter(
    ({ x, y }) =>
      exactLeastSquares(
        x.map((row) => [1, ...row]),
        y,
      ) !== null,
  );

const asRows = (x: readonly (readonly number[])[], y: readonly number[]): Record<string, unknown>[] =>
  x.map((row, i) => ({ id: i, x: `{${row.join(",")}}`, y: y[i] }));

const list = (width: number): string =>
  `array[1, ${Array.from({ length: width }, (_, i) => `x[${i + 1}]`).join(", ")}]`;

describe("properties", () => {
  test("equals exact rational arithmetic, with an intercept and without", async () => {
    await fc.assert(
      fc.asyncProperty(sample, async ({ x, y }) => {
        await load(database, "lab.sample", "id int, x float8[], y int", asRows(x, y));
        const fit = await only("lab.sample", "y", list(x[0]?.length ?? 0));
        const exact =
          exactLeastSquares(
            x.map((row) => [1, ...row]),
            y,
          ) ?? [];
        for (const [i, value] of exact.entries()) expect(fit.coef[i]).toBeCloseTo(value, 9);
        const bare = await only("lab.sample", "y", "x");
        for (const [i, value] of (exactLeastSquares(x, y) ?? []).entries()) expect(bare.coef[i]).toBeCloseTo(value, 9);
      }),
      { numRuns: 12, seed: 20260101 },
    );
  });

  test("follows the units of the columns", async () => {
    await fc.assert(
      fc.asyncProperty(
        sample,
        fc.integer({ min: -60, max: 60 }),
        fc.integer({ min: -60, max: 60 }),
        async ({ x, y }, a, b) => {
          await load(database, "lab.sample", "id int, x float8[], y int", asRows(x, y));
          const before = await only("lab.sample", "y", "array[1, x[1]]").catch(() => null);
          if (before === null) return; // the first column happens to be constant
          const after = await only("lab.sample", `y * 1e${a}::float8`, `array[1, x[1] * 1e${b}::float8]`);
          expect(digits(after.coef[0] ?? 0, (before.coef[0] ?? 0) * 10 ** a)).toBeGreaterThan(7);
          expect(digits(after.std_err[1] ?? 0, (before.std_err[1] ?? 0) * 10 ** (a - b))).toBeGreaterThan(7);
          expect(after.r2).toBeCloseTo(before.r2, 9);
        },
      ),
      { numRuns: 12, seed: 20260102 },
    );
  });

  test("does not depend on the order of rows, nor on how many processes scan them", async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => ({
      id: i,
      x: Math.sin(i) * 100,
      y: Math.cos(i * 1.7) * 10 + i / 1000,
    }));
    await load(database, "lab.forward", "id int, x float8, y float8", rows);
    await load(database, "lab.backward", "id int, x float8, y float8", rows.toReversed());
    const forward = await only("lab.forward", "y", "array[1, x, x * x]");
    const backward = await only("lab.backward", "y", "array[1, x, x * x]");
    expect(fewestDigits(backward.coef, forward.coef)).toBeGreaterThan(10);
    expect(fewestDigits(backward.std_err, forward.std_err)).toBeGreaterThan(10);
  });

  test("does not depend on how the rows are cut into partitions", async () => {
    const rows = Array.from({ length: 500 }, (_, i) => ({
      id: i,
      x: (i * 37) % 101,
      z: (i * i) % 53,
      y: (i * 11) % 97,
    }));
    await load(database, "lab.whole", "id int, x int, z int, y int", rows);
    await database.query(`
      drop table if exists lab.parts;
      create table lab.parts (id int, x int, z int, y int) partition by hash (id);
      create table lab.parts_0 partition of lab.parts for values with (modulus 3, remainder 0);
      create table lab.parts_1 partition of lab.parts for values with (modulus 3, remainder 1);
      create table lab.parts_2 partition of lab.parts for values with (modulus 3, remainder 2);
      insert into lab.parts select * from lab.whole`);
    const whole = await only("lab.whole", "y", "array[1, x, z]");
    const parts = await only("lab.parts", "y", "array[1, x, z]");
    for (const statistic of ["coef", "std_err", "t_stats", "p_values"] as const)
      expect(fewestDigits(parts[statistic], whole[statistic])).toBeGreaterThan(11);
    expect(fewestDigits(parts.variance_covariance.flat(), whole.variance_covariance.flat())).toBeGreaterThan(11);
    expect(parts.num_rows_processed).toBe(whole.num_rows_processed);
  });

  test("each row twice leaves the coefficients and divides the variance", async () => {
    await fc.assert(
      fc.asyncProperty(sample, async ({ x, y }) => {
        const width = x[0]?.length ?? 0;
        await load(database, "lab.sample", "id int, x float8[], y int", asRows(x, y));
        const once = await only("lab.sample", "y", list(width));
        await load(database, "lab.sample", "id int, x float8[], y int", [...asRows(x, y), ...asRows(x, y)]);
        const twice = await only("lab.sample", "y", list(width));
        const n = x.length;
        const shrink = Math.sqrt((n - width - 1) / (2 * n - width - 1));
        for (const [i, value] of once.coef.entries()) expect(twice.coef[i]).toBeCloseTo(value, 9);
        expect(
          fewestDigits(
            twice.std_err,
            once.std_err.map((error) => error * shrink),
          ),
        ).toBeGreaterThan(7);
      }),
      { numRuns: 8, seed: 20260103 },
    );
  });

  test("one model a group equals one training a group", async () => {
    const rows = Array.from({ length: 90 }, (_, i) => ({
      course: i % 3 === 0 ? null : `course ${i % 3}`,
      late: i % 2 === 0,
      x: (i * 37) % 19,
      y: (i * 53) % 23,
    }));
    await load(database, "lab.grouped", "course text, late boolean, x int, y int", rows);
    const fits = await linregr("lab.grouped", "y", "array[1, x]", ", 'course, late'");
    expect(fits).toHaveLength(6);
    for (const fit of fits as unknown as (Fit & { course: string | null; late: boolean })[]) {
      await database.query(
        "create or replace view lab.one as select * from lab.grouped where false; drop view lab.one",
      );
      const of = rows.filter((row) => row.course === fit.course && row.late === fit.late);
      const exact =
        exactLeastSquares(
          of.map((row) => [1, row.x]),
          of.map((row) => row.y),
        ) ?? [];
      expect(fewestDigits(fit.coef, exact)).toBeGreaterThan(9);
      expect(fit.num_rows_processed).toBe(String(of.length));
    }
  });

  test("ten thousand groups in one pass (a tenth of them on the embedded database)", async () => {
    const groups = database.native ? 10_000 : 1000;
    await database.query("drop table if exists lab.many");
    await database.query(
      `create table lab.many as
       select i % ${groups} as g, i / ${groups} as x, 3 * (i / ${groups}) + i % 7 as y from generate_series(0, ${5 * groups - 1}) as i`,
    );
    const fits = await linregr("lab.many", "y", "array[1, x]", ", 'g'");
    expect(fits).toHaveLength(groups);
    expect(fits.every((fit) => fit.failure === null && fit.coef.length === 2)).toBe(true);
  });
});

describe("what a row is", () => {
  test("rows with a null are skipped and counted", async () => {
    await load(database, "lab.holes", "y int, a int, b int", [
      { y: 1, a: 1, b: 2 },
      { y: null, a: 1, b: 2 },
      { y: 3, a: null, b: 4 },
      { y: 2, a: 3, b: 1 },
      { y: 5, a: 4, b: 4 },
      { y: 4, a: 2, b: 7 },
    ]);
    expect(await only("lab.holes", "y", "array[1, a, b]")).toMatchObject({
      num_rows_processed: "4",
      num_missing_rows_skipped: "2",
    });
  });

  test("views, materialized views, array columns, quoted names and expressions", async () => {
    await load(database, 'lab."Odd; ""table"""', '"the y" int, "a;b" int, "Select" int', [
      { "the y": 3, "a;b": 1, Select: 4 },
      { "the y": 5, "a;b": 2, Select: 1 },
      { "the y": 4, "a;b": 3, Select: 5 },
      { "the y": 9, "a;b": 5, Select: 2 },
    ]);
    const plain = await only('lab."Odd; ""table"""', '"the y"', 'array[1, "a;b", "Select" * 2]');
    await database.query(
      'create view lab.view as select * , array["a;b", "Select" * 2] as x from lab."Odd; ""table"""',
    );
    await database.query("create materialized view lab.stored as select * from lab.view");
    for (const source of ["lab.view", "lab.stored"]) {
      const fit = await only(source, '"the y" + 0', "array[1] || x");
      expect(fewestDigits(fit.coef, plain.coef)).toBeGreaterThan(10);
    }
  });

  test("a column of pgvector's type", async () => {
    await database.query(
      `drop table if exists lab.embedded;
       create table lab.embedded as select i as id, i + i % 3 as y, array[1, i, i % 5]::real[]::vector as v from generate_series(1, 20) as i`,
    );
    const plain = await only("lab.embedded", "y", "array[1, id, id % 5]");
    expect(fewestDigits((await only("lab.embedded", "y", "v")).coef, plain.coef)).toBeGreaterThan(12);
  });

  test("the caller's search_path finds the table", async () => {
    await database.as("insights_worker", {}, async (db) => {
      await db.query("create temporary table mine as select i as x, i * i as y from generate_series(1, 9) as i");
      await db.query("set local search_path to pg_temp");
      await db.query("select ml.linregr_train('mine', 'mine_model', 'y', 'array[1, x]')");
      const coef = await db.value<number[]>("select coef from mine_model");
      expect(fewestDigits(coef, [-55 / 3, 10])).toBeGreaterThan(13);
    });
  });
});

test.skipIf(!database.native)(
  "two hundred and fifty columns are fitted, the most that are allowed",
  async () => {
    await putIndicators(database);
    const wide = await only("lab.indicator", "value", "x");
    expect(
      fewestDigits(
        wide.coef,
        wide.coef.map((_, j) => (j === 0 ? 4 : j)),
      ),
    ).toBeGreaterThan(9);
    // each group has the variance 2.5, with 1,000 degrees of freedom
    expect(digits(wide.std_err[0] ?? 0, Math.sqrt(2.5 / 5))).toBeGreaterThan(9);
    expect(digits(wide.std_err[249] ?? 0, Math.sqrt((2 * 2.5) / 5))).toBeGreaterThan(9);
  },
  120_000,
);

test("a null after the first thousand rows is skipped and counted", async () => {
  await database.query(`
    create table lab.late_null as
    select i, i % 7 as a, case when i <> 3000 then i % 11 end as b, (i * i % 13)::float8 as y
    from generate_series(1, 4000) as i`);
  const late = await only("lab.late_null", "y", "array[1, a, b]");
  expect(late).toMatchObject({ num_rows_processed: "3999", num_missing_rows_skipped: "1", arithmetic: "float8" });
  await database.query("delete from lab.late_null where i = 3000");
  const without = await only("lab.late_null", "y", "array[1, a, b]");
  expect(fewestDigits(late.coef, without.coef)).toBeGreaterThan(13);
  expect(fewestDigits(late.std_err, without.std_err)).toBeGreaterThan(13);
});

describe("bad input", () => {
  const setup = database
    .query(
      `create table lab.course (id int primary key, score float8, hours float8, same int default 7, name text, double float8 generated always as (hours * 2) stored);
       insert into lab.course (id, score, hours, name) select i, i * 3 % 7, i * 5 % 11, 'n' || i from generate_series(1, 20) as i;
       create table lab.empty (y int, x int);
       create table lab.bad (id int primary key, y float8, x float8[]);
       insert into lab.bad values (1, 1, '{1,2}'), (2, 3, '{1,5}'), (3, 2, '{1,4}'), (41, 2, '{1,NaN}');
       create table lab.ragged (id int primary key, y float8, x float8[]);
       insert into lab.ragged values (1, 1, '{1,2}'), (2, 3, '{1,5}'), (3, 2, '{1,4}'), (4, 2, '{1,2,3}');
       create table lab.taken (a int)`,
    )
    .then(() => undefined);

  test.each([
    ["an unknown table", ["lab.coarse", "score", "array[1, hours]"], "CF002", /no table "lab.coarse"/, /course/],
    ["an unknown column", ["lab.course", "score", "array[1, hour]"], "CF002", /no column "hour"/, /hours/],
    ["an unknown dependent variable", ["lab.course", "scor", "array[1, hours]"], "CF002", /"scor"/, /score/],
    ["no rows", ["lab.empty", "y", "array[1, x]"], "CF004", /no rows/, /rows/],
    ["more columns than rows", ["(lab.course)", "score", "array[1]"], "CF001", /not the name of a table/, /./],
    ["a text column", ["lab.course", "score", "array[1, name]"], "CF001", /is of type text/, /encode_categorical/],
    ["a text dependent variable", ["lab.course", "name", "array[1, hours]"], "CF001", /is of type text/, /./],
    [
      "a constant column beside the intercept",
      ["lab.course", "score", "array[1, hours, same]"],
      "CF007",
      /"same" is constant/,
      /ridge/,
    ],
    ["two literals", ["lab.course", "score", "array[1, hours, 5]"], "CF007", /"5" is constant/, /./],
    [
      "a collinear column",
      ["lab.course", "score", "array[1, hours, double]"],
      "CF007",
      /"double" is a linear combination/,
      /./,
    ],
    ["a second statement", ["lab.course", "score", "array[1, hours]; drop table lab.taken"], "CF001", /semicolon/, /./],
    [
      "a statement in disguise",
      ["lab.course", "score", "array[1, hours]) from lab.course; drop table lab.taken --"],
      "CF001",
      /not an expression/,
      /./,
    ],
    ["a comment", ["lab.course", "score -- ", "array[1, hours]"], "CF001", /comment/, /./],
    ["an aggregate", ["lab.course", "sum(score)", "array[1, hours]"], "CF001", /./, /./],
    ["a list instead of an array", ["lab.course", "score", "1, hours"], "CF001", /list|array/, /./],
    ["NaN", ["lab.bad", "y", "x"], "CF001", /id = 41.*NaN or infinity/, /null/],
    [
      "arrays of several lengths",
      ["lab.ragged", "y", "x"],
      "CF001",
      /id = 4 with 3 independent variables instead of 2/,
      /./,
    ],
    ["division by zero", ["lab.course", "score", "array[1, 1 / (id - 5)]"], "CF001", /division by zero/, /./],
    [
      "numbers too large to be squared",
      ["lab.course", "score", "array[1, hours * 1e300]"],
      "CF007",
      /too large/,
      /units/,
    ],
  ])("%s", async (_, [source, y, x], code, message, hint) => {
    await setup;
    await database.query("drop table if exists lab.model, lab.model_summary");
    const error = await database.rejects("select ml.linregr_train($1, 'lab.model', $2, $3)", [source, y, x]);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(error.hint).toMatch(hint);
    expect(await database.value("select to_regclass('lab.model')")).toBeNull();
    expect(await database.value("select to_regclass('lab.taken')")).not.toBeNull();
  });

  test("an output table that exists, or whose summary does", async () => {
    await setup;
    await database.query("drop table if exists lab.fresh_summary; create table lab.fresh_summary (a int)");
    for (const out of ["lab.taken", "lab.fresh"]) {
      expect(
        await database.rejects("select ml.linregr_train('lab.course', $1, 'score', 'array[1, hours]')", [out]),
      ).toMatchObject({ code: "CF003" });
    }
    expect(await database.value("select to_regclass('lab.fresh')")).toBeNull();
  });

  test("a grouping column may be named as what trainers use inside", async () => {
    await database.query(
      `create table lab.named as
       select i % 2 as key, i % 2 as beta, i % 2 as fit, i % 2 as g2, i % 2 as group_key, i as x, i * (1 + i % 2) as y
       from generate_series(1, 20) as i`,
    );
    const fits = await train<{ key: number; group_key: number; coef: number[] }>(
      database,
      "ml.linregr_train('lab.named', 'lab.model', 'y', 'array[1, x]', 'key, beta, fit, g2, group_key')",
    );
    expect(
      fits.map(({ key, group_key, coef }) => [key, group_key, coef.map((value) => Math.round(value))]).sort(),
    ).toEqual([
      [0, 0, [0, 1]],
      [1, 1, [0, 2]],
    ]);
  });

  test("a grouping column named as an output column", async () => {
    await load(
      database,
      "lab.named",
      "coef int, x int",
      [1, 2, 3, 4].map((x) => ({ coef: x % 2, x })),
    );
    expect(
      await database.rejects("select ml.linregr_train('lab.named', 'lab.never', 'x', 'array[1]', 'coef')"),
    ).toMatchObject({ code: "CF001", hint: expect.stringContaining("r2") as string });
  });

  test("fewer rows than columns", async () => {
    await load(database, "lab.wide", "y int, a int, b int, c int", [
      { y: 1, a: 1, b: 2, c: 9 },
      { y: 2, a: 4, b: 3, c: 5 },
    ]);
    expect(
      await database.rejects("select ml.linregr_train('lab.wide', 'lab.model_wide', 'y', 'array[1, a, b, c]')"),
    ).toMatchObject({ code: "CF004", message: expect.stringContaining("2 complete rows for 4 columns") as string });
  });

  test("a view whose caller may not read it, or whose owner may not read the relation below", async () => {
    await setup;
    await database.query(`
      create table lab.secret as select i as y, i * i as x from generate_series(1, 9) as i;
      create view lab.door with (security_invoker = true) as select * from lab.secret;
      create schema if not exists desk; grant usage on schema lab to insights_worker; grant all on schema desk to insights_worker;
      grant select on lab.door to insights_worker`);
    await database.as("insights_worker", {}, async (db) => {
      const error = await db.rejects("select ml.linregr_train('lab.secret', 'desk.model', 'y', 'array[1, x]')");
      expect(error).toMatchObject({ code: "CF005" });
    });
    await database.as("insights_worker", {}, async (db) => {
      const error = await db.rejects("select ml.linregr_train('lab.door', 'desk.model', 'y', 'array[1, x]')");
      expect(error).toMatchObject({ code: "CF005" });
    });
  });

  test("learners and visitors may not train", async () => {
    for (const role of ["insights_learner", "insights_visitor"]) {
      await database.as(role, {}, async (db) => {
        const error = await db.rejects(
          "select ml.linregr_train('lab.course', 'lab.model', 'score', 'array[1, hours]')",
        );
        expect(error.code).toBe("42501");
      });
    }
  });
});

test.skipIf(!database.native)("the scan is parallel (needs parallel workers)", async () => {
  await database.query(
    "create table lab.large as select i as id, random() as x, random() as y from generate_series(1, 300000) as i; analyze lab.large",
  );
  const statement = await database.value<string>(
    `select format('explain (costs off) select key, complete, array[%s] from (%s) as row group by key, complete', array_to_string(ml._product_sums(design, 'd'), ', '), ml._rows(design))
     from ml._design('lab.large', 'y', 'array[1, x, x * x]', null) as design`,
  );
  const plan = (await database.rows<Record<string, string>>(statement)).map((row) => Object.values(row)[0]).join("\n");
  expect(plan).toMatch(/Partial (Hash)?Aggregate|Partial GroupAggregate/);
  expect(plan).toContain("Parallel Seq Scan on large");
});
