import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";
import { alias, browse, identify } from "./names.ts";

const database = await testDatabase();
await ingest(database, [
  message({ userId: "ada" }),
  identify("browser", "ada"),
  message({ userId: "ben" }),
  browse("ben"),
  browse("alone"),
  message({ userId: "new name" }),
  alias("old name", "new name"),
]);

const person = (kind: string, name: string): Promise<string> =>
  database.value("select person_id from track.identity where kind = $1 and external_id = $2", [kind, name]);
const found = (name: string | null): Promise<string | null> => database.value("select track.find_person($1)", [name]);

test("finds a person by every name, and a user before a browser of the same name", async () => {
  expect(await found("ada")).toBe(await person("user", "ada"));
  expect(await found("browser")).toBe(await found("ada"));
  expect(await found("old name")).toBe(await found("new name"));
  expect(await found("alone")).toBe(await person("anonymous", "alone"));
  expect(await person("anonymous", "ben")).not.toBe(await person("user", "ben"));
  expect(await found("ben")).toBe(await person("user", "ben"));
});

test("an unknown name gives null, and so does the name of person 0", async () => {
  for (const name of ["ghost", "ADA", "", null, "' or true --"]) expect(await found(name)).toBeNull();
  const names = await database.rows<{ name: string }>(
    "select external_id as name from track.identity where kind = 'none'",
  );
  expect(names).not.toEqual([]);
  for (const { name } of names) expect(await found(name)).toBeNull();
});

test("learners find themselves only", async () => {
  const [ada, ben] = [await found("ada"), await found("ben")];
  expect(ben).not.toBeNull();
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    expect(await db.value("select track.find_person('browser')")).toBe(ada);
    expect(await db.value("select track.find_person('ben')")).toBeNull();
  });
  expect(await rolesThatMay(database, "select track.find_person('ada')")).toEqual(["learner", "instructor", "admin"]);
});
