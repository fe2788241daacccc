import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { agentOf, statementOf, storeStatements } from "../../support/statements.ts";

const database = await testDatabase();
const named = (name: string) => ({ ...agentOf("ada"), name });

test("the names of an agent, wherever it is in a statement", async () => {
  await storeStatements(database, [
    statementOf(1, { actor: named("Ada") }),
    statementOf(2, { actor: { ...agentOf("ben"), name: "Ben" }, context: { instructor: named("Ada L.") } }),
    statementOf(3, { actor: named("Ada") }),
  ]);
  const names = (agent: object) => database.value("select track.statement_agent($1)", [JSON.stringify(agent)]);
  expect(await names(agentOf("ada"))).toEqual(["Ada", "Ada L."]);
  expect(await names({ account: { homePage: "https://other.example", name: "ada" } })).toEqual([]);
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.rejects("select track.statement_agent('{}')")).toMatchObject({ code: "CF005" });
  });
});
