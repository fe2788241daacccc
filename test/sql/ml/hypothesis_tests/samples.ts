import { expect } from "vitest";
import type { TestDatabase } from "../../../support/database.ts";

/** Miles per gallon of cars from the USA and from Japan: MADlib's example, a part of AUTO83B.DAT of NIST/SEMATECH. */
export const cars = `(
  select true as in_first, unnest('{18,15,18,16,17,15,14,14,21,10,10,11,9,13,12,18,21,19,21,15,16,15,11,20,21,19,15}'
    ::float8[]) as value
  union all
  select false, unnest('{24,27,27,25,31,35,24,19,31,32,24,26,9,32,37,38,34,34,32,33,32,25,24,37}'::float8[])
) as car`;

/** Additional hours of sleep with two drugs, ten people: Student (1908), R's data set sleep. */
export const sleep = `(
  select *
  from unnest(
    '{0.7,-1.6,-0.2,-1.2,-0.1,3.4,3.7,0.8,0,2}'::float8[],
    '{1.9,0.8,1.1,0.1,-0.1,4.4,5.5,1.6,4.6,3.4}'::float8[]
  ) as sleep (one, other)
) as sleep`;

/** Numbers as rows of a column `value`; null, 'NaN' and 'infinity' are written as such. */
export const values = (...numbers: (number | string | null)[]): string =>
  `(select unnest('{${numbers.map(String).join(",")}}'::float8[]) as value) as list`;

export interface Testing {
  /** The result of a test as an analyst; null for null. */
  run(test: string, from: string): Promise<Record<string, number | null>>;
  /** Expects the numbers with a relative error below 1e-12. */
  expectResult(test: string, from: string, expected: Record<string, number | null>): Promise<void>;
  /** Code, message and hint of the error. */
  refuse(test: string, from: string): Promise<{ code: string | undefined; message: string; hint: string | undefined }>;
}

export const testing = (database: TestDatabase): Testing => {
  const run: Testing["run"] = (test, from) =>
    database.as("insights_analyst", {}, (db) => db.value(`select to_jsonb(${test}) from ${from}`));
  return {
    run,
    async expectResult(test, from, expected) {
      const result = await run(test, from);
      for (const [column, value] of Object.entries(expected)) {
        const found = result[column];
        if (value === null || found === null || found === undefined) {
          expect(found, column).toBe(value);
        } else {
          expect(Math.abs(found - value), `${column}: ${found}, not ${value}`).toBeLessThanOrEqual(
            1e-12 * Math.abs(value),
          );
        }
      }
    },
    async refuse(test, from) {
      const error = await database.as("insights_analyst", {}, (db) => db.rejects(`select ${test} from ${from}`));
      return { code: error.code, message: error.message, hint: error.hint };
    },
  };
};
