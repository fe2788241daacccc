import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("returns the changes of an experiment in their order, with their actors", async () => {
  await database.as("insights_admin", { "insights.person": "root" }, async (db) => {
    await define(db);
    await define(db, { alpha: 0.01 });
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.change_weights('new-player', '{0.9,0.1}')");
    await db.query("select experiment.stop('new-player', 'Enough.')");
    await db.query("select experiment.ship('new-player', 'control')");
    const changes = await db.rows(
      "select action, actor, (before ->> 'alpha')::float8 as before, (after ->> 'alpha')::float8 as after from experiment.history('new-player')",
    );
    expect(changes.map(({ action }) => action)).toEqual([
      "defined",
      "defined",
      "started",
      "weights changed",
      "stopped",
      "shipped",
    ]);
    expect(changes[1]).toMatchObject({ before: 0.05, after: 0.01 });
    expect(new Set(changes.map(({ actor }) => actor)).size).toBe(1);
  });
});

test("cannot be changed or deleted, also by the owner and the superuser; only a name can be erased", async () => {
  await database.as("insights_owner", {}, async (db) => {
    for (const statement of [
      "update experiment.change set action = 'nothing'",
      "update experiment.change set actor = 'another'",
      "update experiment.change set actor = 'erased', key = 'x'",
      "delete from experiment.change",
      "truncate experiment.change",
    ]) {
      await db.query("savepoint before");
      const error = await db.rejects(statement);
      expect([error.code, error.message], statement).toEqual(["CF003", "the history of experiments cannot be changed"]);
      await db.query("rollback to before");
    }
    await db.query("update experiment.change set actor = 'erased'");
    expect(await db.value("select count(distinct actor)::int from experiment.change")).toBe(1);
  });
  expect((await database.rejects("delete from experiment.change")).code).toBe("CF003");
});

test.each([
  ["'x', 'experiments'", "experiments"],
  ["'x', null", "null"],
])("refuses %s", async (call, value) => {
  const error = await database.rejects(`select experiment.history(${call})`);
  expect([error.code, error.message]).toEqual(["CF001", `subject is "${value}"`]);
});

test("an unknown key has no history", async () => {
  expect(await database.rows("select experiment.history('x')")).toEqual([]);
  expect(await database.rows("select experiment.history(null)")).toEqual([]);
});

test("only administrators read the history", async () => {
  expect(await rolesThatMay(database, "select experiment.history('x')")).toEqual(["admin"]);
});
