import { expect, test } from "vitest";
import { tellError } from "../../src/api/errors.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();

test("a write on a server that only reads is reported as that", async () => {
  const error = await database.as("postgres", {}, async (db) => {
    await db.query("set transaction read only");
    return db.rejects(`select track.ingest('{"type": "page", "messageId": "ro", "anonymousId": "b"}')`);
  });
  expect(error.code).toBe("25006");
  expect(tellError(error)).toEqual({
    message: "this server only reads",
    code: "25006",
    hint: "Send what writes to the API of the primary server.",
  });
});
