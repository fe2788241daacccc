import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

describe("privacy.complete_erasures", () => {
  test("completes the receipts of erasures before the refresh", async () => {
    await inside(async (db) => {
      await ingest(
        db,
        ["ada", "ben"].map((userId) => message({ userId })),
      );
      await db.query("select privacy.erase_person('ada')");
      const between = await db.value<string>("select clock_timestamp()::text");
      await db.query("select privacy.erase_person('ben')");
      expect(await db.value("select privacy.complete_erasures($1)", [between])).toBe(1);
      expect(await db.value("select privacy.complete_erasures($1)", [between])).toBe(0);
      expect(
        await db.rows("select completed_at >= erased_at as is_later from privacy.erasure order by erased_at"),
      ).toEqual([{ is_later: true }, { is_later: null }]);
    });
  });

  test("refuses a time in the future, and null", async () => {
    for (const time of ["2999-01-01", null]) {
      await inside(async (db) => {
        expect(await db.rejects("select privacy.complete_erasures($1)", [time])).toMatchObject({ code: "CF001" });
      });
    }
  });
});
