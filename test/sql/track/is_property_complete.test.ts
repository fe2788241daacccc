import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "./messages.ts";
import { submit, typeOf } from "./values.ts";

const database = await testDatabase();

test("is null without a declaration, false until all people are read, and then true", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [["ada", "01", "pro"]]);
    const isComplete = (property = "plan") => db.value(`select track.is_property_complete(${typeOf()}, '${property}')`);
    expect(await isComplete()).toBeNull();
    await db.query("select track.declare_property('Task Submitted', 'plan')");
    expect(await isComplete()).toBe(false);
    await refresh(db);
    expect(await isComplete()).toBe(true);
    expect(await isComplete("size")).toBeNull();
  });
  expect(await rolesThatMay(database, "select track.is_property_complete(1, 'plan')")).toEqual(["admin", "worker"]);
});
