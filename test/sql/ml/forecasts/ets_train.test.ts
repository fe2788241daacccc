import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { type Ahead, forecasting, normal, seasonal } from "./forecasts.ts";

const database = await lab();
const { forecast, load, refuse, smooth } = forecasting(database);

describe("ets_train and ets_forecast", () => {
  test("fit alpha so that no other does better", async () => {
    const noise = normal(11);
    let level = 0;
    const values = Array.from({ length: 120 }, () => {
      const shock = noise();
      const value = level + shock;
      level += 0.4 * shock;
      return value;
    });
    await load(values);
    const [model] = await smooth(", trend => 'none', optimizer_params => 'level=-0.5'");
    const squares = (alpha: number): number => {
      let at = -0.5;
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

  test("learn a season that grows with the level", async () => {
    const noise = normal(3);
    const values = Array.from(
      { length: 112 },
      (_, i) => 20 * 1.02 ** i * (1 + 0.4 * Math.sin((2 * Math.PI * i) / 7)) * Math.exp(0.02 * noise()),
    );
    await load(values.slice(0, 105));
    const [model] = await smooth(", seasonal_period => 7, seasonal => 'multiplicative'");
    expect(model?.method).toBe("ETS(M,A,M)");
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

describe("invalid input is refused by name", () => {
  test("arguments and data", async () => {
    await load([1, 2, 3]);
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF004");
    await load(seasonal(40));
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'dai', 'y')")).toBe("CF002");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'day')")).toBe("CF001");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y', trend => 'cubic')")).toBe("CF001");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y', seasonal => 'additive')")).toBe("CF001");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y', optimizer_params => 'alpha=2')")).toBe("CF001");
    await database.query("insert into lab.series select * from lab.series limit 1");
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([1, 2, Number.NaN, 4, 5, 6]);
    expect(await refuse("ets_train('lab.series', 'lab.bad', 'day', 'y')")).toBe("CF001");
    await load([5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    await smooth(", trend => 'none'");
    expect((await forecast(2))[1]).toMatchObject({ forecast_value: 5, lower: 5, upper: 5 });
  });
});
