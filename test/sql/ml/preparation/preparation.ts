import fc from "fast-check";
import { expect } from "vitest";
import type { TestDatabase } from "../../../support/database.ts";

export type Row = Record<string, unknown>;

export interface Making {
  /** Calls a function that makes lab.made, and gives the rows of that table. */
  make(call: string): Promise<Row[]>;
  /** The error of a call, which leaves nothing behind. */
  refuse(call: string): Promise<{ code: string | undefined; hint: string | undefined }>;
}

const forget = "drop table if exists lab.made, lab.made_summary, lab.made_dictionary, lab.made_train, lab.made_test";

export const making = (database: TestDatabase): Making => ({
  async make(call) {
    await database.query(forget);
    await database.query(`select ml.${call}`);
    return (await database.value("select to_regclass('lab.made') is not null"))
      ? database.rows("select * from lab.made")
      : [];
  },
  async refuse(call) {
    await database.query(forget);
    const { code, hint } = await database.rejects(`select ml.${call}`);
    expect(
      await database.value(
        "select count(*)::int from pg_class where relnamespace = 'lab'::regnamespace and relname like 'made%'",
      ),
    ).toBe(0);
    return { code, hint };
  },
});

type Three = [number, number, number];
type Column = 0 | 1 | 2;

const whole = fc.integer({ min: -50, max: 50 });

/** Checks random rows of three columns of which none is constant, with the sums of products of their centred columns. */
export async function threeColumns(
  check: (rows: readonly Three[], product: (i: Column, j: Column) => number) => Promise<void>,
  numRuns: number,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(whole, whole, whole), { minLength: 3, maxLength: 30 }), async (rows) => {
      const center = (k: Column): number[] =>
        rows.map((row) => row[k] - rows.reduce((sum, other) => sum + other[k], 0) / rows.length);
      const product = (i: Column, j: Column): number =>
        center(i).reduce((sum, x, n) => sum + x * (center(j)[n] ?? 0), 0);
      fc.pre(product(0, 0) > 0 && product(1, 1) > 0 && product(2, 2) > 0);
      await check(rows, product);
    }),
    { numRuns },
  );
}
