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
