import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("the sets that rules of live cohorts name, at any depth, and those of their predictions", async () => {
  await database.as("postgres", {}, async (db) => {
    const reads = (set: string | null) => db.value("select analytics.reads_set($1)", [set]);
    await db.query("select track.set_person_set(name, '{}') from unnest(array['deep', 'fixed', 'other']) as name");
    await db.query("select analytics.define_cohort('a', $1)", [
      JSON.stringify({ all: [{ trait: "plan", is: "set" }, { not: { any: [{ set: "deep" }, { set: "counted" }] } }] }),
    ]);
    await db.query(`select analytics.define_cohort('b', '{"set": "fixed"}', is_live => false)`);
    await db.query(`select analytics.define_cohort('c', '{"set": "cohort.a"}')`);
    for (const set of ["deep", "counted", "cohort.a"]) expect(await reads(set)).toBe(true);
    for (const set of ["fixed", "other", "cohort.c", "plan", "set", "", null]) expect(await reads(set)).toBe(false);
    const rule = { prediction: "dropout", above: 0.5 };
    await db.query("update analytics.cohort set rule = $1 where name = 'cohort.c'", [JSON.stringify({ not: rule })]);
    expect(await reads("cohort.a")).toBe(false);
    const set = await db.value<string>("select analytics._prediction_set($1)", [JSON.stringify(rule)]);
    expect(await reads(set)).toBe(true);
    expect(await reads(`${set}x`)).toBe(false);
  });
});

test("other roles", async () => {
  for (const role of ["insights_learner", "insights_analyst", "insights_admin"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select analytics.reads_set('counted')")).toMatchObject({ code: "42501" });
    });
  }
});
