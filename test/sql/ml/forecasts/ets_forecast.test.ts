import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { forecasting, seasonal } from "./forecasts.ts";
import { etsOfR } from "./golden.ts";

const database = await lab();
const { forecast, load, refuse, smooth } = forecasting(database);

test.each(etsOfR)("%s has the means and deviations of R", async (_, model, ahead, deviations) => {
  const rows = await database.rows<{ forecast: number; deviation: number }>(
    "select forecast, deviation from ml._ets_ahead($1, $2) order by step",
    [JSON.stringify(model), ahead.length],
  );
  for (const [i, row] of rows.entries()) {
    expect(Math.abs(row.forecast / (ahead[i] ?? 0) - 1)).toBeLessThan(1e-4);
    expect(Math.abs(row.deviation / (deviations[i] ?? 0) - 1)).toBeLessThan(2e-3);
  }
});

describe("ets_train and ets_forecast", () => {
  test("ten thousand steps ahead of a damped trend", async () => {
    await load(seasonal(40));
    await smooth(", trend => 'damped', seasonal => 'none'");
    const ahead = await forecast(10_000);
    expect(ahead).toHaveLength(10_000);
    expect(Number.isFinite(ahead.at(-1)?.upper)).toBe(true);
  }, 120_000);

  test("give the published answers of single exponential smoothing", async () => {
    // Time series forecasting exercise, wongsteve.com: alpha 0.3, mean squared error 365.80, next forecast 65.42.
    // All values are moved below 0, where errors are additive.
    await load([99, 88, 50, 58, 62, 60, 55, 62, 71, 65].map((value) => value - 100));
    const [model] = await smooth(", trend => 'none', seasonal => 'none', optimizer_params => 'alpha=0.3, level=-1'");
    const squares = await database.value<number>("select (model ->> 'squares')::float8 from lab.model");
    expect(Math.abs(squares / 9 - 365.8)).toBeLessThan(0.01);
    expect(model?.method).toBe("ETS(A,N,N)");
    expect((await forecast(1))[0]?.forecast_value).toBeCloseTo(65.42 - 100, 1);
    // NIST/SEMATECH e-Handbook, section 6.4.3.2: at the last point, 70, the smoothed value is 71.7.
    await load([71, 70, 69, 68, 64, 65, 72, 78, 75, 75, 75]);
    await smooth(", trend => 'none', seasonal => 'none', optimizer_params => 'alpha=0.1, level=71'");
    expect((await forecast(1))[0]?.forecast_value).toBeCloseTo(71.7, 1);
  });

  test("do not mind unit and origin of the series", async () => {
    const values = seasonal(70);
    await load(values);
    await smooth(", seasonal_period => 7, trend => 'additive', seasonal => 'additive'");
    const plain = await forecast(10);
    await load(values.map((value) => 1000 * value - 5));
    await smooth(", seasonal_period => 7, trend => 'additive', seasonal => 'additive'");
    for (const [i, one] of (await forecast(10)).entries()) {
      expect((one.forecast_value + 5) / 1000).toBeCloseTo(plain[i]?.forecast_value ?? Number.NaN, 2);
      expect((one.upper + 5) / 1000).toBeCloseTo(plain[i]?.upper ?? Number.NaN, 2);
    }
  });
});

describe("invalid input is refused by name", () => {
  test("arguments and data", async () => {
    await load(seasonal(40));
    expect(await refuse("ets_forecast('lab.series', 'lab.bad', 3)")).toBe("CF002");
    await smooth(", seasonal_period => 7");
    expect(await refuse("ets_forecast('lab.model', 'lab.bad', 0)")).toBe("CF001");
    expect(await refuse("ets_forecast('lab.modell', 'lab.bad', 3)")).toBe("CF002");
    expect(await refuse("ets_forecast('lab.model', 'lab.series', 3)")).toBe("CF003");
  });
});
