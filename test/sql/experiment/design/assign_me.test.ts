import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

type Result = { inExperiment: boolean; hashValue: string };

test("assigns the signed-in person by her name and traits, as experiment.assign does", async () => {
  await define(database, { condition: { plan: "pro" } });
  await database.query("select experiment.start('new-player')");
  const expected = await database.value("select experiment.assign('ada', 'new-player')");
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    await db.query("select track.sign_in()");
    expect(await db.value("select experiment.assign_me('new-player')")).toEqual(expected);
    // Another name or trait changes nothing.
    expect(await db.value(`select experiment.assign_me('new-player', '{"id": "bob", "plan": "free"}')`)).toEqual(
      expected,
    );
  });
  await database.as("insights_learner", { "insights.person": "bob" }, async (db) => {
    expect(await db.value(`select experiment.assign_me('new-player', '{"plan": "pro"}')`)).toMatchObject({
      inExperiment: false,
    });
  });
  // A new user, who has sent nothing yet.
  await database.as("insights_learner", { "insights.person": "zoe" }, async (db) => {
    expect(await db.value(`select experiment.assign_me('new-player', '{"plan": "pro"}')`)).toMatchObject({
      inExperiment: true,
      hashValue: "zoe",
    });
  });
});

test("a visitor is assigned by what she states, but not as a user", async () => {
  await define(database, { key: "landing", feature: undefined, hash_attribute: "anonymousId" });
  await database.query("select experiment.start('landing')");
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.value(`select experiment.assign_me('landing', '{"anonymousId": "browser-9"}')`)).toMatchObject({
      inExperiment: true,
      hashValue: "browser-9",
    });
    expect(await db.value("select experiment.assign_me('landing')")).toMatchObject({ inExperiment: false });
    const result = await db.value<Result>(`select experiment.assign_me('new-player', '{"id": "ada", "plan": "pro"}')`);
    expect(result.inExperiment).toBe(false);
    expect(JSON.stringify(result)).not.toContain("ada");
  });
});

test("drafts are not visible, nor are names of experiments suggested", async () => {
  await define(database, { key: "secret", feature: undefined });
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    for (const key of ["secret", "secre", "new-plaier", null]) {
      await db.query("savepoint before");
      const error = await db.rejects("select experiment.assign_me($1)", [key]);
      expect([error.code, error.hint]).toEqual(["CF002", "Give the key of an experiment that has started."]);
      await db.query("rollback to before");
    }
    for (const [attributes, code] of [
      ["[]", "CF001"],
      [JSON.stringify({ x: "x".repeat(20_000) }), "CF008"],
    ]) {
      await db.query("savepoint before");
      expect((await db.rejects("select experiment.assign_me('new-player', $1)", [attributes])).code).toBe(code);
      await db.query("rollback to before");
    }
  });
});

test("visitors, learners and instructors may call it", async () => {
  expect(await rolesThatMay(database, "select experiment.assign_me('new-player')")).toEqual([
    "visitor",
    "learner",
    "instructor",
  ]);
});
