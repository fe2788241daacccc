import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("returns the result of each feature for a person", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(`select experiment.define_feature('colour', 'Colour.', 'string', '"grey"',
      '[{"id": "pros", "condition": {"plan": "pro"}, "force": "gold"}]')`);
    await define(db);
    await db.query("select experiment.start('new-player')");
    const assigned = await db.value<{ value: boolean }>("select experiment.assign('ada', 'new-player')");
    expect(await db.value("select experiment.evaluate_features('ada')")).toEqual({
      colour: { value: "gold", on: true, off: false, source: "force", ruleId: "pros" },
      player: {
        value: assigned.value,
        on: assigned.value,
        off: !assigned.value,
        source: "experiment",
        ruleId: "",
        experiment: expect.objectContaining({ key: "new-player" }),
        experimentResult: { ...assigned, featureId: "player" },
      },
    });
    expect(
      await db.value(`select experiment.evaluate_features('bob', '{"plan": "pro"}') -> 'colour' ->> 'value'`),
    ).toBe("grey");
    expect(
      await db.value(`select experiment.evaluate_features('new', '{"plan": "pro"}') -> 'colour' ->> 'value'`),
    ).toBe("gold");
  });
});

test("without features it is empty", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("select experiment.drop_feature('player'), experiment.drop_feature('colour')");
    expect(await db.value("select experiment.evaluate_features('ada')")).toEqual({});
  });
});

test.each([
  ["''", "CF001", "the person is"],
  ["null", "CF001", '"null"'],
  ["'ada', '[]'", "CF001", "the attributes are []"],
  ["'ada', jsonb_build_object('x', repeat('x', 20000))", "CF008", "20,000 bytes"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.evaluate_features(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators and workers evaluate the features of any person", async () => {
  expect(await rolesThatMay(database, "select experiment.evaluate_features('ada')")).toEqual(["admin", "worker"]);
});
