import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("returns the features of the signed-in person, as experiment.evaluate_features does", async () => {
  await database.query(`select experiment.define_feature('colour', 'Colour.', 'string', '"grey"',
    '[{"condition": {"plan": "pro"}, "force": "gold"}]')`);
  await define(database);
  await database.query("select experiment.start('new-player')");
  const expected = await database.value("select experiment.evaluate_features('ada')");
  expect(expected).toMatchObject({ colour: { value: "gold" }, player: { source: "experiment" } });
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    expect(await db.value("select experiment.my_features()")).toEqual(expected);
    expect(await db.value(`select experiment.my_features('{"id": "bob", "plan": "free"}')`)).toEqual(expected);
  });
  await database.as("insights_visitor", {}, async (db) => {
    expect(await db.value(`select experiment.my_features('{"id": "ada"}')`)).toMatchObject({
      colour: { value: "grey" },
      player: { source: "defaultValue" },
    });
    expect(await db.value(`select experiment.my_features('{"plan": "pro"}')`)).toMatchObject({
      colour: { value: "gold" },
    });
  });
});

test.each([
  ["'[]'", "CF001", "the attributes are []"],
  ["'1'", "CF001", "the attributes are 1"],
  ["jsonb_build_object('x', repeat('x', 20000))", "CF008", "20,000 bytes"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.my_features(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("visitors, learners and instructors may call it", async () => {
  expect(await rolesThatMay(database, "select experiment.my_features()")).toEqual(["visitor", "learner", "instructor"]);
});
