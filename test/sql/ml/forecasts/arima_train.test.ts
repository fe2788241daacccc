import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { forecasting, normal, process, seasonal } from "./forecasts.ts";
import { arimaOfR, seriesOfR } from "./golden.ts";
import { ldeaths, Nile, USAccDeaths } from "./series.ts";

const database = await lab();
const { arima, forecast, load, refuse } = forecasting(database);

interface Summary {
  method: string;
  residual_variance: number;
  log_likelihood: number;
  converged: boolean;
  unit_root: string | null;
  num_rows_processed: string;
  num_missing_rows_skipped: string;
  failure: string | null;
}
const summary = async (): Promise<Summary> =>
  (await database.rows<Summary>("select * from lab.model_summary"))[0] as Summary;

describe("the estimates of R on public series", () => {
  test.each(arimaOfR)(
    "%s by %s, orders %s",
    async (series, method, orders, mean, parameters, errors, variance, logLikelihood) => {
      await load(seriesOfR[series]);
      const found = await arima(orders, mean, method);
      const about = await summary();
      const estimates = [...found.ar_params, ...found.ma_params, ...(mean ? [found.mean ?? Number.NaN] : [])];
      const deviations = [
        ...found.ar_std_errors,
        ...found.ma_std_errors,
        ...(mean ? [found.mean_std_error ?? Number.NaN] : []),
      ];
      expect(estimates).toHaveLength(parameters.length);
      for (const [i, value] of parameters.entries()) {
        // Within a hundredth of a standard error, which R's optimizer leaves open.
        expect(Math.abs((estimates[i] ?? Number.NaN) - value)).toBeLessThan(0.01 * (errors[i] ?? 0));
        expect(Math.abs((deviations[i] ?? Number.NaN) / (errors[i] ?? 0) - 1)).toBeLessThan(0.01);
      }
      expect(Math.abs(about.residual_variance / variance - 1)).toBeLessThan(1e-4);
      expect(Math.abs(about.log_likelihood - logLikelihood)).toBeLessThan(1e-3);
      expect(about).toMatchObject({ method, converged: true, unit_root: null, failure: null });
    },
    60_000,
  );

  test("where R stops at a lesser maximum, the greater one is found", async () => {
    await load(USAccDeaths);
    await arima("1, 1, 1", false, "ml");
    // R: -568.843 with ar 0.155, ma -0.130.
    expect((await summary()).log_likelihood).toBeGreaterThan(-567);
  });

  test("a root on the unit circle is named and has no standard errors", async () => {
    await load(ldeaths);
    const found = await arima("2, 0, 2", true, "ml");
    // R: -509.597; the season is a cycle that never ends.
    expect(await summary()).toMatchObject({ unit_root: "ar, ma" });
    expect((await summary()).log_likelihood).toBeGreaterThan(-509.598);
    expect(found.ar_std_errors).toEqual([null, null]);
    // Differenced once too often: the moving average has a root of 1.
    await load(Nile);
    const twice = await arima("0, 2, 2", false, "ml");
    expect(await summary()).toMatchObject({ unit_root: "ma" });
    expect((await summary()).log_likelihood).toBeCloseTo(-629.8728, 3);
    expect(1 + (twice.ma_params[0] ?? 0) + (twice.ma_params[1] ?? 0)).toBeCloseTo(0, 3);
  });
});

describe("estimates stay stationary and invertible", () => {
  test("whatever the start of the errors, no moving average grows", async () => {
    const noise = normal(77);
    for (let i = 0; i < 6; i++) {
      const shocks = Array.from({ length: 41 }, noise);
      // A moving average of coefficient 1.6 has the same covariances as one of 1 / 1.6, which is the one to be found.
      await load(shocks.slice(1).map((shock, at) => shock + 1.6 * (shocks[at] ?? 0)));
      for (const method of ["css", "ml"] as const) {
        const { ma_params } = await arima("0, 0, 1", false, method);
        expect(Math.abs(ma_params[0] ?? 2)).toBeLessThan(1);
        expect(ma_params[0]).toBeGreaterThan(0.2);
      }
    }
  });

  test("a random walk is at the edge of the autoregressions", async () => {
    const noise = normal(8);
    let level = 0;
    await load(Array.from({ length: 200 }, () => (level += noise())));
    const found = await arima("1, 0, 0", true, "ml");
    expect(found.ar_params[0]).toBeGreaterThan(0.9);
    expect(found.ar_params[0]).toBeLessThan(1);
    expect((await arima("1, 0, 0", false, "css")).ar_params[0]).toBeLessThan(1);
  });
});

describe("gaps, units and groups", () => {
  test("the unit changes nothing but the variance and the likelihood", async () => {
    await load(Nile);
    const plain = await arima("0, 1, 1", false, "ml");
    const likelihood = (await summary()).log_likelihood;
    for (const unit of [1e-60, 1e60]) {
      await load(Nile.map((value) => value * unit));
      expect((await arima("0, 1, 1", false, "ml")).ma_params[0]).toBeCloseTo(plain.ma_params[0] ?? 0, 5);
      expect((await summary()).log_likelihood).toBeCloseTo(likelihood - 99 * Math.log(unit), 3);
    }
    await load(Nile.map((value) => value + 1e9));
    expect((await arima("0, 1, 1", false, "css")).ma_params[0]).toBeCloseTo(-0.75343, 4);
  });

  test("a gap in the differences is as if the model had filled it: the likelihood of what is known", async () => {
    // An autoregression of which each second value is missing is one of the square.
    const values = process(400, [0.8], [], 0, 12);
    const halved = values.filter((_, i) => i % 2 === 0);
    await load(halved);
    const whole = await arima("1, 0, 0", false, "ml");
    const likelihood = (await summary()).log_likelihood;
    await load(values.map((value, i) => (i % 2 === 0 ? value : null)));
    const gaps = await arima("1, 0, 0", false, "ml");
    expect(Math.abs(gaps.ar_params[0] ?? 0) ** 2).toBeCloseTo(whole.ar_params[0] ?? 0, 4);
    expect((await summary()).log_likelihood).toBeCloseTo(likelihood, 5);
    expect(await summary()).toMatchObject({ num_rows_processed: "200", num_missing_rows_skipped: "200" });
  });

  test.each(["css", "ml"] as const)("each group has the model that it has alone, by %s", async (method) => {
    await database.query("drop table if exists lab.courses cascade");
    await database.query(
      `create table lab.courses as
       select course, day, (course * sin(day * day) + cos(course * day))::float8 as y
       from generate_series(1, 3) as course, generate_series(1, 60) as day`,
    );
    const tables = ["", "_summary", "_residual"];
    const dropAll = async (): Promise<void> => {
      for (const name of ["grouped", "alone"])
        await database.query(
          `drop table if exists ${[...tables, "_ahead"].map((suffix) => `lab.${name}${suffix}`).join(", ")}`,
        );
    };
    await dropAll();
    await database.query(
      `select ml.arima_train('lab.courses', 'lab.grouped', 'day', 'y', 'course', true, array[1, 0, 1], null, '${method}')`,
    );
    await database.query("select ml.arima_forecast('lab.grouped', 'lab.grouped_ahead', 5)");
    for (const course of [1, 2, 3]) {
      await database.query(
        `create or replace view lab.one_course as select day, y from lab.courses where course = ${course}`,
      );
      await database.query("drop table if exists lab.alone, lab.alone_summary, lab.alone_residual, lab.alone_ahead");
      await database.query(
        `select ml.arima_train('lab.one_course', 'lab.alone', 'day', 'y', null, true, array[1, 0, 1], null, '${method}')`,
      );
      await database.query("select ml.arima_forecast('lab.alone', 'lab.alone_ahead', 5)");
      for (const suffix of [...tables, "_ahead"]) {
        const rows = async (table: string, where: string): Promise<string[]> =>
          (
            await database.rows<{ row: string }>(
              `select (to_jsonb(one) - array['course', 'exec_time', 'input_table'])::text as row
               from lab.${table}${suffix} as one ${where}`,
            )
          )
            .map(({ row }) => row)
            .sort();
        const alone = await rows("alone", "");
        expect(alone.length).toBeGreaterThan(0);
        expect(await rows("grouped", `where course = ${course}`)).toEqual(alone);
      }
    }
    await dropAll();
  });

  test("a bad group has its reason, and the others their model", async () => {
    await database.query(
      "drop table if exists lab.many cascade; create table lab.many (course text, day int, y float8)",
    );
    await database.query(
      `insert into lab.many
       select 'good', day, sin(day * day) from generate_series(1, 40) as day
       union all select 'gap', day, case when day <> 9 then sin(day * day) end from generate_series(1, 40) as day
       union all select 'constant', day, 5 from generate_series(1, 40) as day
       union all select 'short', day, day from generate_series(1, 3) as day
       union all select 'again', 1, day from generate_series(1, 40) as day
       union all select 'nan', day, 'nan' from generate_series(1, 40) as day
       union all select 'unknown', day, null from generate_series(1, 40) as day
       union all select 'huge', day, 1e200 * sin(day * day) from generate_series(1, 40) as day
       union all select 'quiet', day, case when day < 3 then day else 0 end from generate_series(1, 4000) as day`,
    );
    await database.query("drop table if exists lab.model, lab.model_summary, lab.model_residual, lab.ahead");
    await database.query("select ml.arima_train('lab.many', 'lab.model', 'day', 'y', 'course', false, array[1, 0, 0])");
    const failures = Object.fromEntries(
      (
        await database.rows<{ course: string; failure: string | null }>("select course, failure from lab.model_summary")
      ).map(({ course, failure }) => [course, failure]),
    );
    expect(failures).toMatchObject({
      good: null,
      quiet: null,
      gap: expect.stringContaining("a gap"),
      constant: expect.stringContaining("constant"),
      short: expect.stringContaining("too few"),
      again: expect.stringContaining("several rows at 1"),
      nan: expect.stringContaining("NaN"),
      unknown: expect.stringContaining("too few"),
      huge: expect.stringContaining("1e100"),
    });
    await database.query("select ml.arima_forecast('lab.model', 'lab.ahead', 2)");
    expect(await database.rows("select course, count(*)::int from lab.ahead group by 1 order by 1")).toEqual([
      { course: "good", count: 2 },
      { course: "quiet", count: 2 },
    ]);
    expect(await database.rows("select course, count(*)::int from lab.model_residual group by 1 order by 1")).toEqual([
      { course: "good", count: 40 },
      { course: "quiet", count: 4000 },
    ]);
    // As the series alone.
    const grouped = await database.value<number[]>("select ar_params from lab.model where course = 'good'");
    await load(
      (await database.rows<{ y: number }>("select y from lab.many where course = 'good' order by day")).map(
        ({ y }) => y,
      ),
    );
    expect((await arima("1, 0, 0", false)).ar_params).toEqual(grouped);
  });
});

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
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', 'z')")).toBe("CF002");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', null, false, array[1, 0])")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', null, false, array[0, 1, 0])")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', method => 'exact')")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', method => null)")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', optimizer_params => 'tolerance=1')")).toBe(
      "CF001",
    );
    await database.query(
      "drop table if exists lab.named; create table lab.named as select day, y, 1 as mean from lab.series",
    );
    expect(await refuse("arima_train('lab.named', 'lab.bad', 'day', 'y', 'mean')")).toBe("CF001");
    await load([1, 2, null, 4, 5, 6, 7, 8, 9]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF007");
  });
});
