import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { statementOf, storeStatements } from "../../support/statements.ts";

const database = await testDatabase();
const activity = (definition?: object) => ({ id: "urn:a", ...(definition === undefined ? {} : { definition }) });

test("the definition of an activity, with its names in all languages", async () => {
  const read = (id: string) => database.value("select track.statement_activity($1)", [id]);
  await storeStatements(database, [
    statementOf(1, { object: activity({ name: { en: "Meeting" }, type: "urn:meeting", moreInfo: "urn:old" }) }),
    statementOf(2, {
      context: { contextActivities: { parent: [activity({ name: { fr: "Réunion" }, moreInfo: "urn:new" })] } },
    }),
    statementOf(3, { object: activity() }),
  ]);
  expect(await read("urn:a")).toEqual({
    name: { en: "Meeting", fr: "Réunion" },
    type: "urn:meeting",
    moreInfo: "urn:new",
  });
  expect(await read("urn:b")).toBeNull();
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.rejects("select track.statement_activity('urn:a')")).toMatchObject({ code: "CF005" });
  });
});
