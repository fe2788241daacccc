import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("removes a feature that is not in use, and keeps its history", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { parent_conditions: [{ id: "colour", condition: { value: "grey" } }] });
    await db.query(`select experiment.define_feature('size', 'Size.', 'number', '1',
      '[{"force": 2, "parentConditions": [{"id": "player", "condition": {"value": true}}]}]')`);
    const refused = async (key: string) => {
      await db.query("savepoint before");
      const error = await db.rejects("select experiment.drop_feature($1)", [key]);
      await db.query("rollback to before");
      return `${error.code} ${error.message}`;
    };
    expect(await refused("player")).toBe('CF003 the experiment "new-player" uses the feature "player"');
    expect(await refused("colour")).toBe('CF003 the experiment "new-player" uses the feature "colour"');
    await db.query("select experiment.drop_experiment('new-player')");
    expect(await refused("player")).toBe('CF003 the feature "size" needs "player"');
    await db.query("select experiment.drop_feature('size')");
    await db.query("select experiment.drop_feature('player')");
    expect(await db.value("select experiment.features() -> 'features' ? 'player'")).toBe(false);
    expect(
      await db.value("select max(action) filter (where after is null) from experiment.history('player', 'feature')"),
    ).toBe("dropped");
  });
});

test.each([
  ["'plaier'", "CF002", 'Did you mean "player"?'],
  ["null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.drop_feature(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators drop features", async () => {
  expect(await rolesThatMay(database, "select experiment.drop_feature('x')")).toEqual(["admin"]);
});
