import { expect } from "vitest";
import type { TestDatabase } from "../../../support/database.ts";

/** A repeatable standard normal draw. */
export function normal(seed: number): () => number {
  let state = seed;
  const uniform = (): number => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

export interface Smoothing {
  aicc: number;
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

export interface Ahead {
  step_ahead: number;
  forecast_value: number;
  lower: number;
  upper: number;
  naive_value: number;
}

export interface Forecasting {
  /** Makes a table of values, a day apart. */
  load(values: readonly (number | null)[], table?: string): Promise<void>;
  /** Trains lab.model with ml.ets_train; `more` are its arguments after the value column. */
  smooth(more?: string, table?: string): Promise<Smoothing[]>;
  forecast(steps: number, kind?: "ets" | "arima"): Promise<Ahead[]>;
  /** Trains lab.model with ml.arima_train on lab.series. */
  arima(orders: string, mean: boolean, method?: "css" | "ml"): Promise<Arima>;
  /** The code of the error of a call, which leaves no lab.bad behind. */
  refuse(call: string): Promise<string | undefined>;
}

export interface Arima {
  mean: number | null;
  mean_std_error: number | null;
  ar_params: number[];
  ar_std_errors: number[];
  ma_params: number[];
  ma_std_errors: number[];
}

export const forecasting = (database: TestDatabase): Forecasting => ({
  async load(values, table = "lab.series") {
    await database.query(`drop table if exists ${table} cascade`);
    await database.query(`create table ${table} (day date, y float8)`);
    await database.query(
      `insert into ${table} select date '2026-01-01' + position::int, y from unnest($1::float8[]) with ordinality as row (y, position)`,
      [values],
    );
  },
  async smooth(more = "", table = "lab.series") {
    await database.query("drop table if exists lab.model");
    await database.query(`select ml.ets_train('${table}', 'lab.model', 'day', 'y' ${more})`);
    return database.rows<Smoothing>("select * from lab.model");
  },
  async forecast(steps, kind = "ets") {
    await database.query("drop table if exists lab.ahead");
    await database.query(`select ml.${kind}_forecast('lab.model', 'lab.ahead', ${steps})`);
    return database.rows<Ahead>("select * from lab.ahead");
  },
  async arima(orders, mean, method = "css") {
    await database.query("drop table if exists lab.model, lab.model_summary, lab.model_residual");
    await database.query(
      `select ml.arima_train('lab.series', 'lab.model', 'day', 'y', null, ${mean}, array[${orders}], null, '${method}')`,
    );
    return (await database.rows<Arima>("select * from lab.model"))[0] as Arima;
  },
  async refuse(call) {
    const { code } = await database.rejects(`select ml.${call}`);
    expect(await database.value("select to_regclass('lab.bad')")).toBeNull();
    return code;
  },
});

export const seasonal = (size: number, seed = 5): number[] => {
  const noise = normal(seed);
  return Array.from({ length: size }, (_, i) => 100 + 0.5 * i + 12 * Math.sin((2 * Math.PI * i) / 7) + noise());
};

/** An autoregressive moving average of given parameters. */
export const process = (
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
