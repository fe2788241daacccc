import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { forecasting, process, seasonal } from "./forecasts.ts";

const database = await lab();
const { arima, forecast, load, refuse } = forecasting(database);

describe("arima_train and arima_forecast", () => {
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
