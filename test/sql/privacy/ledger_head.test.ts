import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { seal } from "./ledger.ts";

const database = await testDatabase();

test("is the last entry, and nothing of an empty ledger", async () => {
  await database.as("postgres", {}, async (db) => {
    expect(await db.rows("select * from privacy.ledger_head()")).toEqual([
      { position: null, hash: null, sealed_at: null },
    ]);
    await seal(db);
    expect(await db.rows("select * from privacy.ledger_head()")).toEqual(
      await db.rows("select position, encode(hash, 'hex') as hash, sealed_at from privacy.ledger where position = 5"),
    );
  });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select privacy.ledger_head()")).toEqual(["admin", "worker"]);
});
