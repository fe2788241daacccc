import fc from "fast-check";
import type { TestDatabase } from "../../../support/database.ts";
import { dataset, hasDataset } from "../../../support/datasets.ts";

/** One row of predictions and what was observed. */
export interface Pair {
  prediction: number;
  observed: number;
  course?: string;
}

export interface Assessing {
  /** Fills lab.pairs with rows, in the given order. */
  load(pairs: readonly Pair[]): Promise<void>;
  /** Runs a measure over lab.pairs and gives its output table. */
  measure(name: string, more?: string): Promise<Record<string, unknown>[]>;
  /** The first value of that table. */
  single(name: string, more?: string): Promise<number>;
  /** Checks a measure of random pairs and of the same pairs times a factor. */
  scaled(name: string, check: (plain: number, scaled: number, factor: number) => void): Promise<void>;
  /** The code of the error of a measure over lab.pairs. */
  refused(name: string, more?: string): Promise<string | undefined>;
}

export function assessing(database: TestDatabase): Assessing {
  const measure: Assessing["measure"] = async (name, more = "") => {
    await database.query("drop table if exists lab.measured");
    await database.query(`select ml.${name}('lab.pairs', 'lab.measured', 'prediction', 'observed'${more})`);
    return database.rows("select * from lab.measured");
  };
  const load: Assessing["load"] = async (pairs) => {
    await database.query("drop table if exists lab.pairs");
    await database.query("create table lab.pairs (prediction float8, observed float8, course text)");
    await database.query("insert into lab.pairs select * from unnest($1::float8[], $2::float8[], $3::text[])", [
      pairs.map((pair) => pair.prediction),
      pairs.map((pair) => pair.observed),
      pairs.map((pair) => pair.course ?? null),
    ]);
  };
  const single: Assessing["single"] = async (name, more) => {
    const [row] = await measure(name, more);
    return Object.values(row ?? {})[0] as number;
  };
  return {
    load,
    measure,
    single,
    async scaled(name, check) {
      const whole = fc.integer({ min: -99, max: 99 });
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ prediction: whole, observed: whole }), { minLength: 2 }),
          fc.constantFrom(0.5, 3, 1000),
          async (pairs, factor) => {
            await load(pairs);
            const plain = await single(name);
            await load(
              pairs.map(({ prediction, observed }) => ({
                prediction: prediction * factor,
                observed: observed * factor,
              })),
            );
            check(plain, await single(name), factor);
          },
        ),
        { numRuns: 15 },
      );
    },
    async refused(name, more = "") {
      const call = `select ml.${name}('lab.pairs', 'lab.refused', 'prediction', 'observed'${more})`;
      return (await database.rejects(call)).code;
    },
  };
}

/** Scores with ties, of both classes. */
export const scored = fc
  .array(
    fc.record({ prediction: fc.integer({ min: 0, max: 20 }).map((n) => n / 20), observed: fc.constantFrom(0, 1) }),
    {
      minLength: 4,
      maxLength: 40,
    },
  )
  .filter((pairs) => new Set(pairs.map((pair) => pair.observed)).size === 2);

/** MADlib's table of predictions, or null where the data set is not on this machine. */
export const madlib: readonly Pair[] | null = hasDataset("stat_oracles/pred_metrics")
  ? dataset("stat_oracles/pred_metrics")
      .filter((row) => row["gr1"] === "1")
      .map((row) => ({ prediction: Number(row["pred"]), observed: Number(row["obs"]) }))
  : null;
