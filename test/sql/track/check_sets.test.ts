import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makeEnded } from "../experiment/ended.ts";
import { at, start } from "../experiment/experiments.ts";
import { refresh } from "./messages.ts";

const database = await testDatabase();
beforeAll(() => makeEnded(database));

const deleted = { code: "CF010", message: expect.stringMatching(/deleted by a rule of retention$/) };
const check = "select track.check_sets($1)";

test("variations whose people were deleted are refused, and live cohorts that read them", async () => {
  await database.as("postgres", {}, async (db) => {
    const sets = ["arm.new_page.control", "cohort.live", "cohort.nested"];
    await db.query(check, [sets]);
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    for (const complete of [
      null,
      [],
      [null],
      [
        "counted",
        "cohort.fixed",
        "cohort.unrelated",
        "arm.other.treatment",
        "arm.none.at_all",
        `arm.${"x".repeat(1e5)}`,
      ],
    ]) {
      await db.query(check, [complete]);
    }
    await db.query("savepoint deleted");
    for (const set of sets) {
      expect(await db.rejects(check, [["counted", set]]), set).toMatchObject({
        ...deleted,
        message: `the set "${set}" reads people who were deleted by a rule of retention`,
      });
      await db.query("rollback to deleted");
    }
  });
});

test("results and health of some people of another experiment follow it", async () => {
  await database.as("postgres", {}, async (db) => {
    const readers = ["live", "nested"].flatMap((cohort) => [
      `select * from experiment.results('other', among => 'counted & ~cohort.${cohort}')`,
      `select * from experiment.health('other', among => 'cohort.${cohort}')`,
    ]);
    for (const sql of readers) await db.query(sql);
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    await db.query("savepoint deleted");
    for (const role of ["insights_admin", "insights_analyst"]) {
      await db.query(`set local role ${role}`);
      for (const sql of readers) {
        expect(await db.rejects(sql), `${role}: ${sql}`).toMatchObject(deleted);
        await db.query("rollback to deleted");
        await db.query(`set local role ${role}`);
      }
      await db.query("select * from experiment.results('other', among => 'cohort.fixed')");
      await db.query("reset role");
    }
  });
});

test("an experiment cannot begin with them as its people or strata, and warns when they are deleted", async () => {
  await database.as("postgres", {}, async (db) => {
    for (const [key, fields] of [
      ["population", { population: "cohort.nested" }],
      ["strata", { strata: "set.cohort.live" }],
      ["fixed", { population: "cohort.fixed" }],
    ] as const) {
      await start(db, { key, goals: ["views"], ...fields }, 5);
    }
    await refresh(db);
    const warnings = (key: string) => db.value<string[]>("select (experiment.health($1)).warnings", [key]);
    const before = await Promise.all(["population", "strata", "fixed"].map(warnings));
    expect(before.join()).not.toContain("retention");
    await db.query(
      `select experiment.define_experiment('{"key": "draft", "goals": ["views"], "population": "cohort.live",
         "variations": [{"key": "control"}, {"key": "treatment"}]}')`,
    );
    await db.query("update track.setting set oldest_event = $1", [at(7)]);
    expect(await warnings("population")).toContain(
      'The set "cohort.nested" reads people who were deleted by a rule of retention: results are those of the others.',
    );
    expect((await warnings("strata")).join()).toContain('The set "cohort.live" reads people who were deleted');
    expect((await warnings("fixed")).join()).not.toContain("reads people");
    expect(await db.value("select bool_and(note like '%cohort.nested%') from experiment.results('population')")).toBe(
      true,
    );
    await db.query("savepoint deleted");
    expect(await db.rejects("select experiment.start('draft')")).toMatchObject(deleted);
    await db.query("rollback to deleted");
    expect(
      await db.rejects(
        `select experiment.define_experiment('{"key": "more", "goals": ["views"], "strata": "set.arm.new_page.control",
           "variations": [{"key": "control"}, {"key": "treatment"}]}')`,
      ),
    ).toMatchObject(deleted);
  });
});

test("other roles may not call it", async () => {
  for (const role of ["insights_learner", "insights_visitor", "insights_analyst"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects(check, [["counted"]])).toMatchObject({ code: "42501" });
    });
  }
});
