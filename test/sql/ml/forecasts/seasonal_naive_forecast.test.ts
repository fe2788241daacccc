import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { type Ahead, forecasting } from "./forecasts.ts";

const database = await lab();
const { load, refuse } = forecasting(database);

describe("seasonal_naive_forecast", () => {
  test("repeats the last cycle, wider with each cycle", async () => {
    await load([1, 10, 3, 12, 5, 14]);
    await database.query("select ml.seasonal_naive_forecast('lab.series', 'lab.naive', 'day', 'y', 4, 2)");
    const rows = await database.rows<Ahead>("select * from lab.naive");
    expect(rows.map((row) => row.forecast_value)).toEqual([5, 14, 5, 14]);
    expect((rows[0]?.upper ?? 0) - 5).toBeCloseTo(1.959963984540054 * 2, 9);
    expect((rows[2]?.upper ?? 0) - 5).toBeCloseTo(1.959963984540054 * 2 * Math.SQRT2, 9);
  });
});

describe("gaps and groups", () => {
  test("a gap at the end is bridged by the last known value, a cycle older", async () => {
    await load([1, 10, 3, 12, null, null]);
    await database.query("drop table if exists lab.naive");
    await database.query("select ml.seasonal_naive_forecast('lab.series', 'lab.naive', 'day', 'y', 3, 2)");
    const rows = await database.rows<Ahead>("select * from lab.naive");
    expect(rows.map((row) => row.forecast_value)).toEqual([3, 12, 3]);
    expect((rows[0]?.upper ?? 0) - 3).toBeCloseTo(1.959963984540054 * 2 * Math.SQRT2, 9);
    // A day of the week that was never known has the last known value.
    await load([null, 10, null, 12, null, null]);
    await database.query("drop table if exists lab.naive");
    await database.query("select ml.seasonal_naive_forecast('lab.series', 'lab.naive', 'day', 'y', 2, 2)");
    expect((await database.rows<Ahead>("select * from lab.naive")).map((row) => row.forecast_value)).toEqual([12, 12]);
  });

  test("a bad group has no rows, and the others have theirs", async () => {
    await database.query(
      "drop table if exists lab.many cascade; create table lab.many (course text, day int, y float8)",
    );
    await database.query(
      `insert into lab.many
       select 'good', day, day from generate_series(1, 9) as day
       union all select 'new', day, day from generate_series(1, 2) as day
       union all select 'unknown', day, null from generate_series(1, 9) as day
       union all select 'twice', 1, day from generate_series(1, 9) as day
       union all select 'huge', day, 1e200 * day from generate_series(1, 9) as day`,
    );
    await database.query("drop table if exists lab.naive");
    await database.query("select ml.seasonal_naive_forecast('lab.many', 'lab.naive', 'day', 'y', 2, 3, 'course')");
    expect(await database.rows("select course, forecast_value from lab.naive order by step_ahead")).toEqual([
      { course: "good", forecast_value: 7 },
      { course: "good", forecast_value: 8 },
    ]);
  });
});

describe("invalid input is refused by name", () => {
  test("arguments and data", async () => {
    await load([1, 2, 3]);
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'y', 2, 3)")).toBe("CF004");
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'y', 0, 1)")).toBe("CF001");
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'z', 2, 1)")).toBe("CF002");
  });
});
