import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("ends a holdout once, and gives its people to the experiments", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db, { holdout: "none-2026" });
    await db.query("select experiment.start('new-player')");
    const part = () =>
      db.value<number>(`
        select count(*)::int
        from generate_series(1, 500) as number
        where (experiment.assign('person-' || number, 'new-player') ->> 'inExperiment')::boolean`);
    const heldOut = 500 - (await part());
    // 500 people with a probability of 0.2: six standard deviations are 54.
    expect(heldOut).toBeGreaterThan(46);
    expect(heldOut).toBeLessThan(154);
    const ended = await db.value("select (experiment.end_holdout('none-2026')).ended_at::text");
    expect(ended).not.toBeNull();
    expect(await part()).toBe(500);
    expect(await db.value("select (experiment.end_holdout('none-2026')).ended_at::text")).toBe(ended);
    expect(
      await db.value("select count(*)::int from experiment.history('none-2026', 'holdout') where action = 'ended'"),
    ).toBe(1);
    for (const call of [
      "define_holdout('none-2026', 0.2, 'X.')",
      `define_experiment('{"key": "x", "holdout": "none-2026", "variations": [{"key": "a"}, {"key": "b"}]}')`,
    ]) {
      await db.query("savepoint before");
      const error = await db.rejects(`select experiment.${call}`);
      expect([error.code, error.message]).toEqual(["CF003", 'the holdout "none-2026" has ended']);
      await db.query("rollback to before");
    }
  });
});

test.each([
  ["'none-2025'", "CF002", "none-2026"],
  ["null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.end_holdout(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators end holdouts", async () => {
  expect(await rolesThatMay(database, "select experiment.end_holdout('x')")).toEqual(["admin"]);
});
