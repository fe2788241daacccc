import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { type Ahead, forecasting, normal, seasonal } from "./forecasts.ts";
import { criterionOfR, seriesOfR } from "./golden.ts";
import { ldeaths, lynx, USAccDeaths } from "./series.ts";

const database = await lab();
const { forecast, load, refuse, smooth } = forecasting(database);

const periods: Partial<Record<keyof typeof criterionOfR, number>> = {
  AirPassengers: 12,
  logAirPassengers: 12,
  USAccDeaths: 12,
  ldeaths: 12,
  UKgas: 4,
};

describe("beside ets() of R on public series", () => {
  test.each(Object.entries(criterionOfR))(
    "%s has a criterion that is not above R's",
    async (name, criterion) => {
      const series = name as keyof typeof criterionOfR;
      await load(seriesOfR[series]);
      await smooth(`, seasonal_period => ${periods[series] ?? 1}, holdout => 0`);
      const found = await database.value<number>("select aicc from lab.model");
      expect(found).toBeLessThan(criterion + 0.01);
      // The optimizer of R stops early where there are many initial seasons.
      expect(found).toBeGreaterThan(criterion - 12);
      if (["Nile", "lh", "LakeHuron"].includes(name)) expect(Math.abs(found - criterion)).toBeLessThan(0.01);
    },
    60_000,
  );

  test("parameters, variance and state of a series that R fits to the end", async () => {
    await load(seriesOfR.Nile);
    const [model] = await smooth(", holdout => 0");
    expect(model?.method).toBe("ETS(M,N,N)");
    expect(model?.alpha).toBeCloseTo(0.1514, 3);
    expect(model?.residual_variance).toBeCloseTo(0.02395706, 5);
    expect((await forecast(1))[0]?.forecast_value).toBeCloseTo(838.9, 0);
  });

  test.each([
    // The error of the seasonal-naive forecast is 259.5, 199.3 and .139.
    ["USAccDeaths", USAccDeaths, 205, 259.5],
    ["ldeaths", ldeaths, 140, 199.25],
    ["log AirPassengers", seriesOfR.logAirPassengers, 0.035, 0.1391372],
  ])(
    "the last rows of %s are forecast better than by the naive forecast",
    async (_, values, most, naive) => {
      await load(values);
      const [model] = await smooth(", seasonal_period => 12");
      expect(model?.method).toMatch(/^ETS/);
      expect(model?.holdout_mae).toBeLessThan(most);
      expect(model?.holdout_naive_mae).toBeCloseTo(naive, 4);
    },
    60_000,
  );

  test("the likelihood is at its optimum where R's ets() stops before: five years of USAccDeaths", async () => {
    await load(USAccDeaths.slice(0, 60));
    const [model] = await smooth(", seasonal_period => 12");
    // ets() gives ETS(A,N,A) an AICc of 961.2151; optim(method = "BFGS") on the same sum of squares reaches 954.0675.
    expect(model?.method).toBe("ETS(A,N,A)");
    expect(model?.aicc).toBeCloseTo(954.067, 2);
    expect(model?.alpha).toBeCloseTo(0.59856, 3);
    const ahead = await forecast(12);
    const errors = ahead.map(({ forecast_value }, i) => Math.abs(forecast_value - (USAccDeaths[60 + i] ?? 0)));
    expect(errors.reduce((sum, error) => sum + error) / 12).toBeCloseTo(200.92, 1);
  }, 60_000);

  test("where the naive forecast is better on the last rows, it is the model", async () => {
    await load(lynx);
    const [model] = await smooth();
    expect(model).toMatchObject({ method: "naive", mase: 1, alpha: null });
    expect(model?.holdout_naive_mae).toBeCloseTo(1095.364, 3);
    expect(model?.holdout_mae).toBeGreaterThan(1095.364);
    for (const one of await forecast(5)) {
      expect(one.forecast_value).toBe(lynx.at(-1));
      expect(one.naive_value).toBe(lynx.at(-1));
      expect(one.lower).toBeGreaterThanOrEqual(0);
    }
    // A requested trend is kept.
    expect((await smooth(", trend => 'additive'"))[0]?.method).toMatch(/^ETS\([AM],A,N\)$/);
  });
});

describe("ets_train and ets_forecast", () => {
  test("counts are not forecast below 0; other values are", async () => {
    const falling = Array.from({ length: 30 }, (_, i) => 60 - 2 * i + (i % 3));
    await load(falling);
    await smooth(", trend => 'additive', seasonal => 'none'");
    const counts = await forecast(10);
    expect(Math.min(...counts.flatMap(({ forecast_value, lower, upper }) => [forecast_value, lower, upper]))).toBe(0);
    await load(falling.map((value) => value - 0.5));
    await smooth(", trend => 'additive', seasonal => 'none'");
    const shifted = await forecast(10);
    expect(await database.value("select model ->> 'error' from lab.model")).toBe("additive");
    expect(shifted.at(-1)?.forecast_value).toBeLessThan(-10);
  });

  test("the naive value after a gap at the end is the last known one", async () => {
    const values = [...seasonal(63), null, null];
    await load(values);
    await smooth(", seasonal_period => 7");
    const ahead = await forecast(9);
    expect(ahead.map(({ naive_value }) => naive_value)).toEqual([
      ...values.slice(58, 63),
      ...values.slice(56, 58),
      ...values.slice(58, 60),
    ]);
  });

  test("a bad group has its reason, and the others their model", async () => {
    await database.query(
      "drop table if exists lab.many cascade; create table lab.many (course text, day int, y float8)",
    );
    await database.query(
      `insert into lab.many
       select 'good', day, 10 + day % 7 + day * 0.1 from generate_series(1, 60) as day
       union all select 'new', day, day from generate_series(1, 2) as day
       union all select 'unknown', day, null from generate_series(1, 20) as day
       union all select 'twice', 1, day from generate_series(1, 20) as day
       union all select 'infinite', day, 'infinity' from generate_series(1, 20) as day
       union all select 'huge', day, 1e150 * day from generate_series(1, 20) as day
       union all select 'tiny', day, 1e-200 * day from generate_series(1, 20) as day
       union all select 'quiet', day, case when day < 20 then day % 7 else 0 end from generate_series(1, 2000) as day`,
    );
    await smooth(", 'course', 7", "lab.many");
    const failures = Object.fromEntries(
      (await database.rows<{ course: string; failure: string | null }>("select course, failure from lab.model")).map(
        ({ course, failure }) => [course, failure],
      ),
    );
    expect(failures).toMatchObject({
      good: null,
      quiet: null,
      new: expect.stringContaining("too few"),
      unknown: expect.stringContaining("too few"),
      twice: expect.stringContaining("several rows at 1"),
      infinite: expect.stringContaining("infinity"),
      huge: expect.stringContaining("1e100"),
      tiny: expect.stringContaining("1e-100"),
    });
    await forecast(3);
    expect(await database.rows("select course, count(*)::int from lab.ahead group by 1 order by 1")).toEqual(
      ["good", "quiet"].map((course) => ({ course, count: 3 })),
    );
  }, 60_000);

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
