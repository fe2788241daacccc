import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeInterventions, note } from "./interventions.ts";

const database = await testDatabase();
await makeInterventions(database);

test("an instructor removes her own notes only, an administrator all", async () => {
  await database.as("postgres", {}, async (db) => {
    const own = await note(db, "n1", "tutoring", 1);
    const other = await note(db, "n1", "tutoring", 1);
    await db.query("update analytics.intervention set created_by = 'otto' where intervention_id = $1", [other]);
    await db.query("set local role insights_instructor");
    expect(await db.value("select analytics.remove_intervention($1)", [other])).toBe(false);
    expect(await db.value("select analytics.remove_intervention($1)", [own])).toBe(true);
    expect(await db.value("select analytics.remove_intervention($1)", [own])).toBe(false);
    await db.query("set local role insights_admin");
    expect(await db.value("select analytics.remove_intervention($1)", [other])).toBe(true);
    expect(await db.value("select analytics.remove_intervention(null)")).toBe(false);
  });
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.remove_intervention(-1)")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
});
