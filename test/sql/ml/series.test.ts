import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();
await database.query("create schema lab");

/** A repeatable standard normal draw. */
function normal(seed: number): () => number {
  let state = seed;
  const uniform = (): number => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

async function load(values: readonly (number | null)[], table = "lab.series"): Promise<void> {
  await database.query(`drop table if exists ${table} cascade`);
  await database.query(`create table ${table} (day date, y float8)`);
  await database.query(
    `insert into ${table} select date '2026-01-01' + position::int, y from unnest($1::float8[]) with ordinality as row (y, position)`,
    [values],
  );
}

interface Smoothing {
  method: string;
  alpha: number;
  beta: number | null;
  gamma: number | null;
  residual_variance: number;
  mase: number;
  holdout_rows: number;
  holdout_mae: number;
  holdout_naive_mae: number;
  num_missing_rows_skipped: string;
}

async function smooth(more = "", table = "lab.series"): Promise<Smoothing[]> {
  await database.query("drop table if exists lab.model");
  await database.query(`select ml.ets_train('${table}', 'lab.model', 'day', 'y' ${more})`);
  return database.rows<Smoothing>("select * from lab.model");
}

interface Ahead {
  step_ahead: number;
  forecast_value: number;
  lower: number;
  upper: number;
  naive_value: number;
}

async function forecast(steps: number, kind: "ets" | "arima" = "ets"): Promise<Ahead[]> {
  await database.query("drop table if exists lab.ahead");
  await database.query(`select ml.${kind}_forecast('lab.model', 'lab.ahead', ${steps})`);
  return database.rows<Ahead>("select * from lab.ahead");
}

const seasonal = (size: number, seed = 5): number[] => {
  const noise = normal(seed);
  return Array.from({ length: size }, (_, i) => 100 + 0.5 * i + 12 * Math.sin((2 * Math.PI * i) / 7) + noise());
};

describe("ets_train and ets_forecast", () => {
  test("give the published answers of single exponential smoothing", async () => {
    // Time series forecasting exercise, wongsteve.com: alpha 0.3, mean squared error 365.80, next forecast 65.42.
    await load([99, 88, 50, 58, 62, 60, 55, 62, 71, 65]);
    const [model] = await smooth(", trend => 'none', optimizer_params => 'alpha=0.3'");
    const squares = await database.value<number>("select (model ->> 'squares')::float8 from lab.model");
    expect(Math.abs(squares / 9 - 365.8)).toBeLessThan(0.01);
    expect(model?.method).toBe("ETS(A,N,N)");
    expect((await forecast(1))[0]?.forecast_value).toBeCloseTo(65.42, 1);
    // NIST/SEMATECH e-Handbook, section 6.4.3.2: at the last point, 70, the smoothed value is 71.7.
    await load([71, 70, 69, 68, 64, 65, 72, 78, 75, 75, 75]);
    await smooth(", trend => 'none', optimizer_params => 'alpha=0.1'");
    expect((await forecast(1))[0]?.forecast_value).toBeCloseTo(71.7, 1);
  });

  test("fit alpha so that no other does better", async () => {
    const noise = normal(11);
    let level = 50;
    const values = Array.from({ length: 120 }, () => {
      const shock = noise();
      const value = level + shock;
      level += 0.4 * shock;
      return value;
    });
    await load(values);
    const [model] = await smooth(", trend => 'none'");
    const squares = (alpha: number): number => {
      let at = values[0] ?? 0;
      return values.reduce((sum, value) => {
        const error = value - at;
        at += alpha * error;
        return sum + error ** 2;
      }, 0);
    };
    const found = model?.alpha ?? 0;
    expect(await database.value("select (model ->> 'squares')::float8 from lab.model")).toBeCloseTo(squares(found), 8);
    for (const other of [found - 0.01, found + 0.01, 0.05, 0.2, 0.6, 0.9])
      expect(squares(other)).toBeGreaterThan(squares(found));
    // The published variance of this model: sigma squared times 1 + alpha squared for each step more.
    const ahead = await forecast(5);
    for (const one of ahead) {
      expect((one.upper - one.forecast_value) / 1.959963984540054).toBeCloseTo(
        Math.sqrt((model?.residual_variance ?? 0) * (1 + (one.step_ahead - 1) * found ** 2)),
        8,
      );
      expect(one.forecast_value).toBe(ahead[0]?.forecast_value);
    }
  });

  test("find trend and season, beat the naive forecast, and know what comes", async () => {
    const values = seasonal(154);
    await load(values.slice(0, 140));
    const [model] = await smooth(", seasonal_period => 7");
    expect(model?.method).toMatch(/^ETS\(A,A,A\)$/);
    expect(model?.mase).toBeLessThan(0.35);
    expect(model?.holdout_rows).toBe(14);
    expect(model?.holdout_mae).toBeLessThan(model?.holdout_naive_mae ?? 0);
    const ahead = await forecast(14);
    expect(ahead.map((one) => one.naive_value)).toEqual([...values.slice(133, 140), ...values.slice(133, 140)]);
    expect(
      ahead.filter((one, i) => one.lower <= (values[140 + i] ?? 0) && (values[140 + i] ?? 0) <= one.upper).length,
    ).toBeGreaterThanOrEqual(12);
    for (const [i, one] of ahead.entries())
      if (i > 0)
        expect(one.upper - one.lower).toBeGreaterThanOrEqual((ahead[i - 1]?.upper ?? 0) - (ahead[i - 1]?.lower ?? 0));
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

  test("learn a season that grows with the level on the logarithm", async () => {
    const noise = normal(3);
    const values = Array.from(
      { length: 112 },
      (_, i) => 20 * 1.02 ** i * (1 + 0.4 * Math.sin((2 * Math.PI * i) / 7)) * Math.exp(0.02 * noise()),
    );
    await load(values.slice(0, 105));
    const [model] = await smooth(", seasonal_period => 7, seasonal => 'multiplicative'");
    expect(model?.method).toContain("of the logarithm");
    for (const [i, one] of (await forecast(7)).entries()) {
      expect(Math.abs(one.forecast_value / (values[105 + i] ?? 1) - 1)).toBeLessThan(0.1);
      expect(one.lower).toBeGreaterThan(0);
    }
    await load([1, 2, 0, 3, 1, 2, 0, 3, 1, 2, 0, 3]);
    expect(
      await database.rejects(
        "select ml.ets_train('lab.series', 'lab.bad', 'day', 'y', null, 4, 'none', 'multiplicative')",
      ),
    ).toMatchObject({ code: "CF001" });
  });

  test("one model a group, gaps moved over, intervals that hold what they promise", async () => {
    const noise = normal(23);
    await database.query("drop table if exists lab.many cascade");
    await database.query("create table lab.many (course text, day int, y float8)");
    const rows: [string, number, number | null][] = [];
    const truth = new Map<string, number[]>();
    for (let course = 0; course < 60; course++) {
      let level = 30;
      for (let day = 1; day <= 83; day++) {
        const shock = noise();
        const value = level + shock;
        level += 0.3 * shock;
        if (day <= 80) rows.push([`c${course}`, day, day === 40 ? null : value]);
        else truth.set(`c${course}`, [...(truth.get(`c${course}`) ?? []), value]);
      }
    }
    await database.query("insert into lab.many select * from unnest($1::text[], $2::int[], $3::float8[])", [
      rows.map((row) => row[0]),
      rows.map((row) => row[1]),
      rows.map((row) => row[2]),
    ]);
    const models = await smooth(", 'course', trend => 'none', holdout => 0", "lab.many");
    expect(models.length).toBe(60);
    expect(new Set(models.map((model) => model.num_missing_rows_skipped))).toEqual(new Set(["1"]));
    const ahead = (await forecast(3)) as (Ahead & { course: string })[];
    expect(ahead.length).toBe(180);
    const held = ahead.filter((one) => {
      const value = truth.get(one.course)?.[one.step_ahead - 1] ?? Number.NaN;
      return one.lower <= value && value <= one.upper;
    });
    expect(held.length / 180).toBeGreaterThan(0.9);
    expect(held.length / 180).toBeLessThan(0.995);
    await database.query("create view lab.single as select day, y from lab.many where course = 'c7'");
    const [alone] = await smooth(", trend => 'none', holdout => 0", "lab.single");
    await smooth(", 'course', trend => 'none', holdout => 0", "lab.many");
    expect(await database.value("select alpha from lab.model where course = 'c7'")).toBeCloseTo(
      alone?.alpha ?? Number.NaN,
      12,
    );
  });
});

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

describe("arima_train and arima_forecast", () => {
  interface Arima {
    mean: number | null;
    mean_std_error: number | null;
    ar_params: number[];
    ar_std_errors: number[];
    ma_params: number[];
    ma_std_errors: number[];
  }
  async function train(orders: string, mean: boolean): Promise<Arima> {
    await database.query("drop table if exists lab.model, lab.model_summary, lab.model_residual");
    await database.query(
      `select ml.arima_train('lab.series', 'lab.model', 'day', 'y', null, ${mean}, array[${orders}])`,
    );
    return (await database.rows<Arima>("select * from lab.model"))[0] as Arima;
  }
  const process = (
    size: number,
    ar: readonly number[],
    ma: readonly number[],
    mean: number,
    seed: number,
  ): number[] => {
    const noise = normal(seed);
    const values: number[] = [];
    const shocks: number[] = [];
    for (let i = 0; i < size + 100; i++) {
      const shock = noise();
      values.push(
        ar.reduce(
          (sum, phi, k) => sum + phi * (values[i - k - 1] ?? 0),
          shock + ma.reduce((sum, theta, k) => sum + theta * (shocks[i - k - 1] ?? 0), 0),
        ),
      );
      shocks.push(shock);
    }
    return values.slice(100).map((value) => value + mean);
  };
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

  test("an autoregression is the regression on its own past", async () => {
    const values = process(400, [0.7], [], 20, 41);
    await load(values);
    const found = await train("1, 0, 0", true);
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
    const found = await train("2, 0, 1", false);
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

  test("differences are summed up again", async () => {
    const steps = process(300, [], [0.5], 0.3, 7);
    let level = 10;
    const values = [level, ...steps.map((step) => (level += step))];
    await load(values);
    const found = await train("0, 1, 1", true);
    const ahead = await forecast(6, "arima");
    for (const [i, one] of ahead.entries())
      if (i > 0) expect(one.forecast_value - (ahead[i - 1]?.forecast_value ?? 0)).toBeCloseTo(found.mean ?? 0, 9);
    // Psi weights of a summed moving average: 1, then 1 + theta for ever.
    const variance = await database.value<number>("select residual_variance from lab.model_summary");
    const theta = found.ma_params[0] ?? 0;
    for (const [i, one] of ahead.entries())
      expect((one.upper - one.forecast_value) / 1.959963984540054).toBeCloseTo(
        Math.sqrt(variance * (1 + i * (1 + theta) ** 2)),
        8,
      );
    await train("0, 2, 1", false);
    expect((await forecast(2, "arima")).length).toBe(2);
  });
});

describe("what can not be forecast is refused by name", () => {
  const refuse = async (call: string): Promise<string | undefined> => {
    const { code } = await database.rejects(`select ml.${call}`);
    expect(await database.value("select to_regclass('lab.bad')")).toBeNull();
    return code;
  };

  test("arguments and data", async () => {
    await load([1, 2, 3]);
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF004");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF004");
    expect(await refuse("seasonal_naive_forecast('lab.series', 'lab.bad', 'day', 'y', 2, 3)")).toBe("CF004");
    await load(seasonal(40));
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'dai', 'y')")).toBe("CF002");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'day')")).toBe("CF001");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y', trend => 'cubic')")).toBe("CF001");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y', seasonal => 'additive')")).toBe("CF001");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y', optimizer_params => 'alpha=2')")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', 'y')")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', null, false, array[1, 0])")).toBe("CF001");
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y', null, false, array[0, 1, 0])")).toBe("CF001");
    expect(await refuse("arima_forecast('lab.series', 'lab.bad', 3)")).toBe("CF002");
    expect(await refuse("ets_forecast('lab.series', 'lab.bad', 3)")).toBe("CF002");
    await database.query("insert into lab.series select * from lab.series limit 1");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([1, 2, null, 4, 5, 6, 7, 8, 9]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([1, 2, Number.NaN, 4, 5, 6]);
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    expect(await refuse("arima_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF007");
    await smooth(", trend => 'none'");
    expect((await forecast(2))[1]).toMatchObject({ forecast_value: 5, lower: 5, upper: 5 });
  });
});
