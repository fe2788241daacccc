import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { forecasting, process, seasonal } from "./forecasts.ts";
import { arimaOfR, seriesOfR } from "./golden.ts";

const database = await lab();
const { arima, forecast, load, refuse } = forecasting(database);

describe("the forecasts of R on public series", () => {
  test.each(arimaOfR)(
    "%s by %s, orders %s",
    async (series, method, orders, mean, ...rest) => {
      const [, , , , values, deviations] = rest;
      await load(seriesOfR[series]);
      await arima(orders, mean, method);
      const ahead = await forecast(3, "arima");
      for (const [i, one] of ahead.entries()) {
        const deviation = deviations[i] ?? Number.NaN;
        expect(Math.abs(one.forecast_value - (values[i] ?? Number.NaN))).toBeLessThan(0.01 * deviation);
        expect(Math.abs((one.upper - one.lower) / 2 / 1.959963984540054 / deviation - 1)).toBeLessThan(0.002);
      }
    },
    60_000,
  );
});

describe("arima_train and arima_forecast", () => {
  test("ten thousand steps ahead are the mean of the process, or the last level", async () => {
    await load(process(60, [0.5], [], 0, 5));
    await arima("1, 0, 0", false);
    expect((await forecast(10_000, "arima")).at(-1)?.forecast_value).toBe(0);
    await arima("0, 1, 1", false);
    const ahead = await forecast(10_000, "arima");
    expect(ahead.at(-1)?.forecast_value).toBe(ahead[0]?.forecast_value);
  }, 60_000);

  test("a gap at the end widens the interval of the next value", async () => {
    const values = process(80, [0.9], [], 0, 15);
    await load([...values, null, null]);
    const found = await arima("1, 0, 0", false, "ml");
    const [ahead] = await forecast(1, "arima");
    const phi = found.ar_params[0] ?? 0;
    expect(ahead?.forecast_value).toBeCloseTo(phi ** 3 * (values.at(-1) ?? 0), 6);
    const variance = await database.value<number>("select residual_variance from lab.model_summary");
    expect(((ahead?.upper ?? 0) - (ahead?.lower ?? 0)) / 2 / 1.959963984540054).toBeCloseTo(
      Math.sqrt(variance * (1 + phi ** 2 + phi ** 4)),
      6,
    );
  });

  test("with a gap the differences are summed up as without one", async () => {
    const steps = process(120, [], [0.4], 0.3, 9);
    let level = 10;
    const values = [level, ...steps.map((step) => (level += step))];
    await load(values);
    await arima("0, 1, 1", true, "ml");
    const whole = await forecast(4, "arima");
    // A gap before the first value adds no information.
    await load([null, ...values]);
    await arima("0, 1, 1", true, "ml");
    for (const [i, one] of (await forecast(4, "arima")).entries()) {
      expect(one.forecast_value).toBeCloseTo(whole[i]?.forecast_value ?? 0, 2);
      expect(one.upper).toBeCloseTo(whole[i]?.upper ?? 0, 2);
    }
  });

  test("differences are summed up again", async () => {
    const steps = process(300, [], [0.5], 0.3, 7);
    let level = 10;
    const values = [level, ...steps.map((step) => (level += step))];
    await load(values);
    const found = await arima("0, 1, 1", true);
    const ahead = await forecast(6, "arima");
    for (const [i, one] of ahead.entries())
      if (i > 0) expect(one.forecast_value - (ahead[i - 1]?.forecast_value ?? 0)).toBeCloseTo(found.mean ?? 0, 9);
    // Psi weights of a summed moving average: 1, then 1 + theta for all further steps.
    const variance = await database.value<number>("select residual_variance from lab.model_summary");
    const theta = found.ma_params[0] ?? 0;
    for (const [i, one] of ahead.entries())
      expect((one.upper - one.forecast_value) / 1.959963984540054).toBeCloseTo(
        Math.sqrt(variance * (1 + i * (1 + theta) ** 2)),
        8,
      );
    await arima("0, 2, 1", false);
    expect((await forecast(2, "arima")).length).toBe(2);
  });
});

describe("invalid input is refused by name", () => {
  test("arguments and data", async () => {
    await load(seasonal(40));
    expect(await refuse("arima_forecast('lab.series', 'lab.bad', 3)")).toBe("CF002");
    await arima("1, 0, 0", true);
    expect(await refuse("arima_forecast('lab.model', 'lab.bad', 0)")).toBe("CF001");
    expect(await refuse("arima_forecast('lab.model', 'lab.series', 3)")).toBe("CF003");
  });
});
