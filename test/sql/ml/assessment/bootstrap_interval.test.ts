import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load } = assessing(database);

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

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([{ prediction: 0.5, observed: 1 }]);
    expect(await database.rejects("select ml.bootstrap_interval('lab.pairs', 'avg(prediction)')")).toMatchObject({
      code: "CF004",
    });
    await load([
      { prediction: 0.5, observed: 2 },
      { prediction: 0.5, observed: 1 },
    ]);
    expect(await database.rejects("select ml.bootstrap_interval('lab.pairs', 'prediction')")).toMatchObject({
      code: "CF001",
    });
    expect(await database.rejects("select ml.bootstrap_interval('lab.pairs', 'avg(predicted)')")).toMatchObject({
      code: "CF002",
    });
  });
});

test("a read-only transaction gets the same answer, and numbers that are too large are refused", async () => {
  await load(Array.from({ length: 50 }, (_, i) => ({ prediction: i * 1e160, observed: i % 2 })));
  const statement = "select * from ml.bootstrap_interval('lab.pairs', 'avg(observed)', 50, seed => 3)";
  const expected = await database.rows(statement);
  await database.as("postgres", {}, async (db) => {
    await db.query("set transaction read only");
    expect(await db.rows(statement)).toEqual(expected);
  });
  expect(await database.rejects("select ml.bootstrap_interval('lab.pairs', 'var_samp(prediction)', 50)")).toMatchObject(
    {
      code: "CF007",
    },
  );
});

test.each([
  ["avg(generate_series(1, 3))"],
  ["generate_series(1, 3)"],
  ["array[]"],
  ["avg(1 / 0)"],
  // Some resample has no more than five different rows.
  ["1 / (count(distinct id) - 5)"],
  ["1 / nullif(count(*), count(*)) from lab.few --"],
])("%s is refused by name", async (statistic) => {
  await database.query(
    "create table if not exists lab.few as select id, id::float8 as x from generate_series(1, 8) as id",
  );
  expect(await database.rejects("select ml.bootstrap_interval('lab.few', $1, 200)", [statistic])).toMatchObject({
    code: "CF001",
  });
});

test("a table that may not be read is refused", async () => {
  await database.query("create table if not exists lab.hidden as select 1 as x");
  await database.query("grant usage on schema lab to insights_analyst");
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select ml.bootstrap_interval('lab.hidden', 'avg(x)')")).toMatchObject({ code: "CF005" });
  });
});
