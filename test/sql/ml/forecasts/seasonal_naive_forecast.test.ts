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

describe("invalid input is refused by name", () => {
  test("arguments and data", async () => {
    await load([1, 2, 3]);
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'y', 2, 3)")).toBe("CF004");
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'y', 0, 1)")).toBe("CF001");
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'z', 2, 1)")).toBe("CF002");
  });
});
