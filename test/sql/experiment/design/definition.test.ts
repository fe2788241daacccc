import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("returns what defines the same experiment again, complete", async () => {
  const fields = {
    name: "The new player",
    hypothesis: "It is faster.",
    weights: [0.1, 0.9],
    coverage: 0.3,
    secondary: ["lessons"],
    layer: "page",
    layer_from: 0.5,
    layer_until: 1,
    holdout: "none-2026",
    condition: { plan: null, age: { $gt: 17 } },
    parent_conditions: [{ id: "colour", condition: { value: "grey" } }],
    is_sticky: true,
    strata: "trait.plan",
    test: "bayesian",
    planned_people: 1000,
    maximum_duration: "30 days",
    minimum_duration: "10 days",
    bandit: "top_two",
    variations: [
      { key: "control", name: "As before", value: false },
      { key: "new", name: "New", value: true },
    ],
  };
  await database.as("insights_admin", {}, async (db) => {
    await define(db, fields);
    const stored = await db.value<Record<string, unknown>>("select experiment.definition('new-player')");
    expect(stored).toMatchObject({ key: "new-player", feature: "player", goals: ["submitted"], ...fields });
    expect(stored).not.toHaveProperty("state");
    await db.query("select experiment.drop_experiment('new-player')");
    await db.query("select experiment.define_experiment($1)", [JSON.stringify(stored)]);
    expect(await db.value("select experiment.definition('new-player')")).toEqual(stored);
  });
});

test("has the present weights", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.change_weights('new-player', '{0.2,0.8}', 0.5)");
    expect(await db.value("select experiment.definition('new-player')")).toMatchObject({
      weights: [0.2, 0.8],
      coverage: 0.5,
    });
  });
});

test.each([
  ["'new-plaier'", "CF002", "experiment"],
  ["null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.definition(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("analysts, administrators and workers read definitions", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("select weights, coverage from experiment.weighting");
    // The exact sums from which a bandit computed its weights.
    expect(await db.rejects("select details from experiment.weighting")).toMatchObject({ code: "42501" });
  });
  expect(await rolesThatMay(database, "select experiment.definition('x')")).toEqual(["analyst", "admin", "worker"]);
});
