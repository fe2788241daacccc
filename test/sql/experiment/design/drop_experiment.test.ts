import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("removes a draft with all that belongs to it, and keeps its history", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("select experiment.drop_experiment('new-player')");
    for (const table of ["experiment", "variation", "weighting", "measured"]) {
      expect(await db.value(`select count(*)::int from experiment.${table}`), table).toBe(0);
    }
    expect(await db.rows("select action, after is null as is_gone from experiment.history('new-player')")).toEqual([
      { action: "defined", is_gone: false },
      { action: "dropped", is_gone: true },
    ]);
    await define(db);
    await db.query("select experiment.start('new-player')");
    const error = await db.rejects("select experiment.drop_experiment('new-player')");
    expect([error.code, error.message]).toEqual(["CF003", 'the experiment "new-player" is running']);
  });
});

test.each([
  ["'new-player'", "CF002", "experiment"],
  ["null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.drop_experiment(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators drop experiments", async () => {
  expect(await rolesThatMay(database, "select experiment.drop_experiment('x')")).toEqual(["admin"]);
});
