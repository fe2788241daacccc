import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { generator } from "../../../support/matrix.ts";
import { forecasting } from "./forecasts.ts";

const database = await lab();
const { load } = forecasting(database);

test.each([
  ["auto", 7, 60],
  ["additive", 4, 40],
  ["multiplicative", 4, 40],
  ["none", 1, 12],
])(
  "with season %s it gives what ets_train, ets_forecast and seasonal_naive_forecast write",
  async (seasonal, period, size) => {
    const random = generator(size);
    const series = Array.from({ length: size }, (_, at) =>
      at === 5 && seasonal !== "multiplicative"
        ? null
        : 50 + at + 10 * Math.sin((2 * Math.PI * at) / period) + 5 * random(),
    );
    await load(series);
    await database.query("drop table if exists lab.model, lab.ahead, lab.naive");
    await database.query("select ml.ets_train('lab.series', 'lab.model', 'day', 'y', null, $1, 'auto', $2)", [
      period,
      seasonal,
    ]);
    await database.query("select ml.ets_forecast('lab.model', 'lab.ahead', 9, 0.8)");
    await database.query("select ml.seasonal_naive_forecast('lab.series', 'lab.naive', 'day', 'y', 9, $1, null, 0.8)", [
      period,
    ]);
    const written = await database.rows(
      `select ahead.*, naive.lower as naive_lower, naive.upper as naive_upper, model.method, model.mase,
       model.holdout_mae, model.holdout_naive_mae
     from lab.ahead join lab.naive using (step_ahead) cross join lab.model order by step_ahead`,
    );
    const rows = await database.rows(
      `select step_ahead, forecast_value, lower, upper, naive_value, naive_lower, naive_upper, method, mase, holdout_mae,
       holdout_naive_mae
     from ml.forecast_series($1, 9, $2, 'auto', $3, 0.8)`,
      [series, period, seasonal],
    );
    expect(rows).toHaveLength(9);
    expect(rows).toEqual(
      written.map((row) =>
        Object.fromEntries(
          Object.entries(row).map(([name, value]) => [
            name,
            typeof value === "number" ? expect.closeTo(value, 9) : value,
          ]),
        ),
      ),
    );
  },
);

test.each([
  ["array[1, 2, 3]::float8[], 1", "CF004"],
  ["array[1, null, 3, null, 5]::float8[], 1", "CF004"],
  ["array[1, 2, 3, 4, 5]::float8[], 1, 5", "CF004"],
  ["array[1, 2, 3, 4, 5]::float8[], 1, 3, 'auto', 'additive'", "CF004"],
  ["null, 1", "CF004"],
  ["array[1, 2, 3, 4, 'nan']::float8[], 1", "CF001"],
  ["array[1, 2, 3, 4, '-infinity']::float8[], 1", "CF001"],
  ["array[1, 2, 3, 4, 1e200]::float8[], 1", "CF001"],
  ["array[[1, 2, 3], [4, 5, 6]]::float8[], 1", "CF001"],
  ["array[1, 2, 3, 4, 0]::float8[], 1, 2, 'auto', 'multiplicative'", "CF001"],
  ["array[1, 2, 3, 4]::float8[], 0", "CF001"],
  ["array[1, 2, 3, 4]::float8[], 1, 0", "CF001"],
  ["array[1, 2, 3, 4]::float8[], 1, 1, 'steep'", "CF001"],
  ["array[1, 2, 3, 4]::float8[], 1, 1, 'auto', 'weekly'", "CF001"],
  ["array[1, 2, 3, 4]::float8[], 1, confidence => 1", "CF001"],
  ["array_fill(1::float8, array[10001]), 1", "CF008"],
])("forecast_series(%s) is %s", async (argument, code) => {
  expect(await database.rejects(`select * from ml.forecast_series(${argument})`)).toMatchObject({ code });
});

test("values that are all equal, or as large as may be, have a forecast", async () => {
  const rows = await database.rows<{ forecast_value: number; mase: number | null }>(
    `select forecast_value, mase from ml.forecast_series(array[3, 3, 3, 3, 3, 3], 1)
     union all
     select forecast_value, mase from ml.forecast_series(array[1e100, -1e100, 1e100, -1e100, 1e100], 1)`,
  );
  expect(rows[0]).toEqual({ forecast_value: 3, mase: null });
  expect(Number.isFinite(rows[1]?.forecast_value)).toBe(true);
});
