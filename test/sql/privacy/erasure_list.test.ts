import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const list = (db: Queries, since = "-infinity") =>
  db.value<{ names: unknown[] }>("select privacy.erasure_list($1)", [since]);

test("contains the erasures since a time", async () => {
  await inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben"].map((userId) => message({ userId })),
    );
    await db.query("select privacy.erase_person('ada')");
    const between = await db.value<string>("select clock_timestamp()::text");
    await db.query("select privacy.erase_person('ben')");
    expect((await list(db)).names).toHaveLength(2);
    expect((await list(db, between)).names).toHaveLength(1);
    expect(await db.rejects("select privacy.erasure_list(null)")).toMatchObject({ code: "CF001" });
  });
});
