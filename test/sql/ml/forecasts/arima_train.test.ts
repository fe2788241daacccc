import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { forecasting, process, seasonal } from "./forecasts.ts";

const database = await lab();
const { arima, forecast, load, refuse } = forecasting(database);

/** The sum of squares that Box and Jenkins condition on the first values. */
const squares = (values: readonly number[], ar: readonly number[], ma: readonly number[], mean: number): number => {
  const errors: number[] = values.map(() => 0);
  for (let i = ar.length; i < values.length; i++) {
    errors[i] =
      (values[i] ?? 0) -
      mean -
      ar.reduce((sum, phi, k) => sum + phi * ((values[i - k - 1] ?? 0) - mean), 0) -
      ma.reduce((sum, theta, k) => sum + theta * (errors[i - k - 1] ?? 0), 0);
  }
  return errors.reduce((sum, error) => sum + error ** 2, 0);
};

describe("arima_train and arima_forecast", () => {
  test("an autoregression is the regression on its own past", async () => {
    const values = process(400, [0.7], [], 20, 41);
    await load(values);
    const found = await arima("1, 0, 0", true);
    // Ordinary least squares of y on its last value, in closed form.
    const past = values.slice(0, -1);
    const now = values.slice(1);
    const average = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
    const slope =
      past.reduce((sum, x, i) => sum + (x - average(past)) * ((now[i] ?? 0) - average(now)), 0) /
      past.reduce((sum, x) => sum + (x - average(past)) ** 2, 0);
    expect(found.ar_params[0]).toBeCloseTo(slope, 6);
    expect(found.mean).toBeCloseTo((average(now) - slope * average(past)) / (1 - slope), 5);
    // The published large-sample error of an autoregression of order one.
    expect(Math.abs((found.ar_std_errors[0] ?? 0) / Math.sqrt((1 - slope ** 2) / 400) - 1)).toBeLessThan(0.1);
    const ahead = await forecast(4, "arima");
    let value = values.at(-1) ?? 0;
    const variance = await database.value<number>("select residual_variance from lab.model_summary");
    expect(variance).toBeCloseTo(squares(values, found.ar_params, [], found.mean ?? 0) / 399, 9);
    let spread = 0;
    for (const [i, one] of ahead.entries()) {
      value = (found.mean ?? 0) + (found.ar_params[0] ?? 0) * (value - (found.mean ?? 0));
      spread += (found.ar_params[0] ?? 0) ** (2 * i);
      expect(one.forecast_value).toBeCloseTo(value, 9);
      expect((one.upper - one.lower) / 2 / 1.959963984540054).toBeCloseTo(Math.sqrt(variance * spread), 9);
    }
  });

  test("a mixed model sits at the least sum of squares, near the truth", async () => {
    const values = process(1000, [0.5, 0.2], [0.4], 0, 97);
    await load(values);
    const found = await arima("2, 0, 1", false);
    expect(found.mean).toBeNull();
    const best = squares(values, found.ar_params, found.ma_params, 0);
    for (const place of [0, 1, 2]) {
      for (const step of [-0.005, 0.005]) {
        const moved = [...found.ar_params, ...found.ma_params].map((value, i) => (i === place ? value + step : value));
        expect(squares(values, moved.slice(0, 2), moved.slice(2), 0)).toBeGreaterThan(best);
      }
    }
    for (const [i, truth] of [0.5, 0.2].entries())
      expect(Math.abs((found.ar_params[i] ?? 0) - truth)).toBeLessThan(4 * (found.ar_std_errors[i] ?? 0));
    expect(Math.abs((found.ma_params[0] ?? 0) - 0.4)).toBeLessThan(4 * (found.ma_std_errors[0] ?? 0));
    expect(await database.value("select sum(residual ^ 2) from lab.model_residual")).toBeCloseTo(best, 6);
  });
});

describe("invalid input is refused by name", () => {
  test("arguments and data", async () => {
    await load([1, 2, 3]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF004");
    await load(seasonal(40));
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', 'y')")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', null, false, array[1, 0])")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', null, false, array[0, 1, 0])")).toBe("CF001");
    await load([1, 2, null, 4, 5, 6, 7, 8, 9]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF007");
  });
});
