import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { move, send, start } from "../experiments.ts";

const database = await testDatabase();

test("the sets that experiments count and are stratified by, from their start on", async () => {
  await database.as("postgres", {}, async (db) => {
    const reads = (set: string | null) => db.value("select experiment.reads_set($1)", [set]);
    await send(db, [{ person: "ada", event: "Task Submitted", day: 1 }]);
    await db.query("select experiment.define_metric('submits', 'count', '{Task Submitted}')");
    await db.query("select track.set_person_set('listed_people', '{}'), track.set_person_set('others', '{}')");
    const definition = { key: "page", goals: ["submits"], population: "others", strata: "set.listed_people" };
    await db.query("select experiment.define_experiment($1)", [
      JSON.stringify({ variations: [{ key: "control" }, { key: "treatment" }], ...definition }),
    ]);
    for (const set of ["others", "listed_people"]) expect(await reads(set)).toBe(false);
    await start(db, definition, 5);
    for (const set of ["others", "listed_people"]) expect(await reads(set)).toBe(true);
    // Exposures follow their sets after the end too.
    await move(db, "page", 5, 9);
    for (const set of ["others", "listed_people"]) expect(await reads(set)).toBe(true);
    for (const set of ["counted", "arm.page.control", "set.listed_people", "", null])
      expect(await reads(set)).toBe(false);
  });
});

test("other roles", async () => {
  for (const role of ["insights_learner", "insights_analyst", "insights_admin"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select experiment.reads_set('counted')")).toMatchObject({ code: "42501" });
    });
  }
});
