import { beforeAll, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { patients } from "./regression.ts";

const database = await lab();

interface Margins {
  variables: string[];
  margins: number[];
  std_err: number[];
  z_stats: number[];
  p_values: number[];
}

beforeAll(async () => {
  await load(
    database,
    "lab.visit",
    "attack int, treatment int, anxiety int",
    patients.map(([attack, treatment, anxiety]) => ({ attack, treatment, anxiety })),
  );
  await database.query(`
    select ml.logregr_train('lab.visit', 'lab.model', 'attack',
      'array[1, treatment, anxiety, treatment * anxiety]', null, 20, 'irls', 1e-9)
  `);
});

async function margins(rest: string, model = "lab.model"): Promise<Margins> {
  await database.query("drop table if exists lab.effect");
  await database.query(`select ml.margins('${model}', 'lab.effect'${rest})`);
  const [row] = await database.rows<Margins>("select * from lab.effect");
  if (row === undefined) throw new Error("no effects");
  return row;
}

test("the example of MADlib's manual, and its definition in R", async () => {
  const effect = await margins(", 'intercept, treatment, trait_anxiety, treatment*trait_anxiety'");
  expect(effect.variables).toEqual(["intercept", "treatment", "trait_anxiety"]);
  // MADlib's manual: -0.876046514609573, …, 0.0177196513589633. For treatment it has -0.0649 and, in the next example,
  // -0.1105; R 4.2, mean(p * (1 - p) * (b[2] + b[4] * anxiety)) of glm(): -0.15602321490408
  expect(fewestDigits(effect.margins, [-0.876046514538541, -0.156023214904077, 0.0177196513588981])).toBeGreaterThan(9);
  expect(fewestDigits(effect.std_err, [0.551715257957499, 0.167300223522453, 0.00458001643179102])).toBeGreaterThan(6);
  // MADlib's manual
  expect(effect.z_stats[2]).toBeCloseTo(3.86890930646828, 4);
  expect(effect.p_values[0]).toBeCloseTo(0.112317391159946, 5);
});

test("one variable, under another name", async () => {
  expect(await margins(", 'i, tre, tra, tre*tra', null, 'tre'")).toMatchObject({ variables: ["tre"] });
  expect((await margins(", '1, tre, tra, tre*tra', null, 'tra, tre'")).variables).toEqual(["tre", "tra"]);
});

test("an indicator is the difference between 1 and 0", async () => {
  // R 4.2: mean(plogis(X1 %*% b) - plogis(X0 %*% b)), its standard error by the delta method
  const effect = await margins(", '1, i.treatment, anxiety, treatment*anxiety', null, 'treatment'");
  expect(effect.margins[0]).toBeCloseTo(-0.168034392169738, 10);
  expect(effect.std_err[0]).toBeCloseTo(0.193288135484029, 6);
});

test("indicators of one category exclude each other, and powers have their derivative", async () => {
  await database.query(`
    create table lab.colour as
    select (i * i * 7 + i / 5) % 3 = 0 as y, (i % 3 = 0)::int as red, (i % 3 = 1)::int as blue, (i % 3 = 2)::int as green,
      (i * 11 % 17) / 4.0::float8 as size
    from generate_series(1, 120) as i
  `);
  await database.query(
    "select ml.logregr_train('lab.colour', 'lab.colours', 'y', 'array[1, red, blue, size, size ^ 2, red * size]', null, 20, 'irls', 1e-9)",
  );
  const effect = await margins(", '1, i.red.colour, i.blue.colour, size, size^2, red*size'", "lab.colours");
  expect(effect.variables).toEqual(["red", "blue", "size"]);
  const rows = await database.rows<{ red: number; blue: number; size: number }>(
    "select red, blue, size from lab.colour",
  );
  const coef = await database.value<number[]>("select coef from lab.colours");
  const odds = (red: number, blue: number, size: number): number =>
    [1, red, blue, size, size * size, red * size].reduce((sum, x, i) => sum + x * (coef[i] ?? 0), 0);
  const p = (red: number, blue: number, size: number): number => 1 / (1 + Math.exp(-odds(red, blue, size)));
  const mean = (of: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((sum, row) => sum + of(row), 0) / rows.length;
  const step = 1e-5;
  expect(
    fewestDigits(effect.margins, [
      mean(({ size }) => p(1, 0, size) - p(0, 0, size)),
      mean(({ size }) => p(0, 1, size) - p(0, 0, size)),
      mean(({ red, blue, size }) => (p(red, blue, size + step) - p(red, blue, size - step)) / 2 / step),
    ]),
  ).toBeGreaterThan(7);

  // The reference of a category is 1 where the others are 0.
  await database.query("create view lab.shades as select *, 1 - red as other from lab.colour");
  await database.query("select ml.logregr_train('lab.shades', 'lab.shade', 'y', 'array[red, other, size]')");
  const referred = await margins(", 'i.red.shade, ir.other.shade, size'", "lab.shade");
  expect(referred.variables).toEqual(["red", "size"]);
  const shade = await database.value<number[]>("select coef from lab.shade");
  const probability = (red: number, size: number): number =>
    1 / (1 + Math.exp(-((red === 1 ? (shade[0] ?? 0) : (shade[1] ?? 0)) + size * (shade[2] ?? 0))));
  expect(referred.margins[0]).toBeCloseTo(
    mean(({ size }) => probability(1, size) - probability(0, size)),
    10,
  );
});

test("without a design, each term is a variable; other rows can be given", async () => {
  const effect = await margins("");
  expect(effect.variables).toEqual(["1", "2", "3", "4"]);
  await database.query("create view lab.anxious as select * from lab.visit where anxiety > 60");
  const other = await margins(", null, 'lab.anxious'");
  expect(other.margins[0]).not.toBeCloseTo(effect.margins[0] ?? 0, 3);
});

test("invalid arguments are refused, and leave no table", async () => {
  await database.query("create view lab.empty as select * from lab.visit where false");
  await database.query("select ml.linregr_train('lab.visit', 'lab.line', 'anxiety', 'array[1, treatment]')");
  await database.query(
    "select ml.logregr_train('lab.visit', 'lab.grouped', 'attack', 'array[1, anxiety]', 'treatment')",
  );
  for (const [call, code] of [
    ["'lab.visit', 'lab.none'", "CF002"],
    ["'lab.line', 'lab.none'", "CF001"],
    ["'lab.grouped', 'lab.none'", "CF001"],
    ["'lab.model', 'lab.visit'", "CF003"],
    ["'lab.model', 'lab.none', '1, a, b'", "CF001"],
    ["'lab.model', 'lab.none', '1, a, b, c*d'", "CF001"],
    ["'lab.model', 'lab.none', '1, a, b, a+b'", "CF001"],
    ["'lab.model', 'lab.none', '1, a, b, pg_sleep(9)'", "CF001"],
    ["'lab.model', 'lab.none', '1, a, a, a*a'", "CF001"],
    ["'lab.model', 'lab.none', '1, treat, b, treat*b', null, 'treet'", "CF002"],
    ["'lab.model', 'lab.none', '1, ir.a.x, b, a*b', null, 'a'", "CF001"],
    ["'lab.model', 'lab.none', null, 'lab.empty'", "CF004"],
    ["'lab.model', 'lab.none', null, 'lab.colour'", "CF002"],
  ] as const) {
    expect((await database.rejects(`select ml.margins(${call})`)).code, call).toBe(code);
  }
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
