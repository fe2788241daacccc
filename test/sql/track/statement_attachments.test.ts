import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { agentOf, statementOf, storeStatements } from "../../support/statements.ts";

const database = await testDatabase();
const hash = (text: string) => createHash("sha256").update(text).digest("hex");
const attachments = (...texts: string[]) => texts.map((text) => ({ sha2: hash(text) }));
const read = (...texts: string[]) =>
  database
    .rows<{ sha2: string; contents: Buffer }>("select * from track.statement_attachments($1)", [texts.map(hash)])
    .then((rows) => rows.map(({ contents }) => contents.toString()).toSorted());

test("attachments are stored with the statement that names them, and deleted with the last one", async () => {
  const base64 = Object.fromEntries(["a", "b", "c"].map((text) => [hash(text), Buffer.from(text).toString("base64")]));
  await storeStatements(
    database,
    [
      statementOf(1, { attachments: attachments("a", "b") }),
      statementOf(2, { actor: agentOf("ben"), attachments: attachments("b") }),
    ],
    base64,
  );
  // No statement has c.
  expect(await read("a", "b", "c")).toEqual(["a", "b"]);
  await database.query("select privacy.erase_person('ada', 'request')");
  expect(await read("a", "b", "c")).toEqual(["b"]);
  await database.query("select privacy.erase_person('ben', 'request')");
  expect(await database.value("select count(*)::int from track.statement_attachment")).toBe(0);
});

test("only servers read them, and invalid hashes find nothing", async () => {
  expect(await database.rows("select * from track.statement_attachments('{zz,\\\\x00}')")).toEqual([]);
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.rejects("select track.statement_attachments('{}')")).toMatchObject({ code: "CF005" });
  });
});
