import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { imported } = registry(database);

interface Bin {
  part: string;
  class: string | null;
  bin: number;
  row_count: string;
  mean_predicted: number;
  fraction_positive: number;
  fraction_lower: number;
  fraction_upper: number;
}

const calibration = (project: string, version = 1) =>
  database.rows<Bin>(
    `select calibration.*
     from ml.calibration
     join ml.model using (model_id)
     join ml.project using (project_id)
     where project.name = $1 and model.version = $2
     order by part, class_number, bin`,
    [project, version],
  );

/** An answer of log odds `x`, so that the calibration is known from the rows. */
const identity = { intercept: 0, coefficients: { x: 1 } };

beforeAll(() =>
  // 400 rows: the observed share is 0.1 below, and 0.9 above 0.
  database.query(`
    create table lab.answer as
    select id, (id - 200.5) / 50 as x, case when id % 10 = 0 then id <= 200 else id > 200 end as came
    from generate_series(1, 400) as id;
    create table lab.season as
    select id, (id - 200.5) / 50 as x, (array['spring', 'summer', 'winter'])[1 + id % 3] as season
    from generate_series(1, 400) as id;
  `),
);

const challenge = (project: string, source: string, label = "came") =>
  database.rows("select * from ml.challenge($1, 1, $2, $3)", [project, source, label]);

test("predicted and observed shares are those of the rows, in ten bins of equal numbers", async () => {
  await imported("lab.came", "logistic", identity, "classification");
  await challenge("lab.came", "lab.answer");
  const found = await calibration("lab.came");
  const expected = await database.rows(
    `select avg(1 / (1 + exp(-x)))::float8 as mean_predicted, avg(came::int)::float8 as fraction_positive
     from lab.answer group by (id - 1) / 40 order by (id - 1) / 40`,
  );
  expect(found.map(({ bin, part, class: name, row_count }) => [bin, part, name, Number(row_count)])).toEqual(
    Array.from({ length: 10 }, (_, index) => [index + 1, "held out", null, 40]),
  );
  for (const [index, { mean_predicted, fraction_positive, fraction_lower, fraction_upper }] of found.entries()) {
    expect(mean_predicted).toBeCloseTo(expected[index]?.["mean_predicted"] as number, 10);
    expect(fraction_positive).toBeCloseTo(expected[index]?.["fraction_positive"] as number, 10);
    expect(fraction_lower).toBeLessThanOrEqual(fraction_positive);
    expect(fraction_upper).toBeGreaterThanOrEqual(fraction_positive);
  }
});

test("the distance of its bins is the metric calibration_error", async () => {
  const found = await calibration("lab.came");
  const rows = found.reduce((sum, { row_count }) => sum + Number(row_count), 0);
  const distance = found.reduce(
    (sum, bin) => sum + (Number(bin.row_count) / rows) * Math.abs(bin.mean_predicted - bin.fraction_positive),
    0,
  );
  const error = await database.value<number>(
    `select (metrics ->> 'calibration_error')::float8 from ml.model join ml.project using (project_id)
     where project.name = 'lab.came'`,
  );
  expect(distance).toBeCloseTo(error, 10);
});

test("the drift measures it again on the latest rows, and once more in their place", async () => {
  await database.query("create view lab.later as select id, x, not came as came from lab.answer");
  for (let time = 0; time < 2; time += 1) {
    await database.query("select * from ml.measure_drift('lab.came', 'lab.later', 'came')");
    const latest = (await calibration("lab.came")).filter(({ part }) => part === "latest");
    expect(latest).toHaveLength(10);
    expect(latest[0]?.fraction_positive).toBeCloseTo(0.9, 10);
  }
  expect((await calibration("lab.came")).filter(({ part }) => part === "held out")).toHaveLength(10);
});

test.each([
  [100, [20, 20, 20, 20, 20]],
  [59, [29, 30]],
  [39, []],
])("%i rows are in bins of 20 rows or more: %j", async (rows, sizes) => {
  await database.query(
    `create or replace view lab.some as
     select * from lab.answer where id > 200 - ${rows} / 2 and id <= 200 - ${rows} / 2 + ${rows}`,
  );
  await imported(`lab.some${rows}`, "logistic", identity, "classification");
  await challenge(`lab.some${rows}`, "lab.some");
  const found = await calibration(`lab.some${rows}`);
  expect(found.map(({ row_count }) => Number(row_count))).toEqual(sizes);
});

test("equal predictions are in one bin, and no bin beside them has fewer rows", async () => {
  await database.query(
    "create view lab.tied as select id, case when id > 15 then 0 else x end as x, came from lab.answer",
  );
  await imported("lab.tied", "logistic", identity, "classification");
  await challenge("lab.tied", "lab.tied");
  const found = await calibration("lab.tied");
  expect(found.every(({ row_count }) => Number(row_count) >= 20)).toBe(true);
});

test("a model of several classes has the curve of each", async () => {
  await database.rows(
    "select * from ml.train('lab.season', 'classification', 'lab.season', 'id', 'season', algorithm => 'mlogregr')",
  );
  const found = await calibration("lab.season");
  expect([...new Set(found.map((bin) => bin.class))]).toEqual(["spring", "summer", "winter"]);
  expect(found.every(({ row_count }) => Number(row_count) >= 20)).toBe(true);
});

test("of more than ten classes, the ten most frequent have one", async () => {
  await database.query(`
    create table lab.kind as
    select id, id % 100 as x, case when id % 30 = 0 then 'rare' else 'kind ' || chr(97 + id % 11) end as kind
    from generate_series(1, 3000) as id`);
  await database.rows(
    "select * from ml.train('lab.kind', 'classification', 'lab.kind', 'id', 'kind', algorithm => 'mlogregr')",
  );
  const classes = new Set((await calibration("lab.kind")).map((bin) => bin.class));
  expect(classes.size).toBe(10);
  expect(classes.has("rare")).toBe(false);
});

test("a regression has none", async () => {
  await database.rows("select * from ml.train('lab.x', 'regression', 'lab.answer', 'id', 'x', algorithm => 'gbm')");
  expect(await calibration("lab.x")).toEqual([]);
});

test("analysts read it, learners do not, and only functions write it", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect((await db.rows("select from ml.calibration")).length).toBeGreaterThan(0);
    await expect(db.query("delete from ml.calibration")).rejects.toMatchObject({ code: "42501" });
  });
  await database.as("insights_analyst", {}, async (db) => {
    await expect(db.query("select ml._record_calibration(1, 'latest', '[]')")).rejects.toMatchObject({ code: "42501" });
  });
  await database.as("insights_learner", {}, async (db) => {
    await expect(db.query("select from ml.calibration")).rejects.toMatchObject({ code: "42501" });
  });
});
