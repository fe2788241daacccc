import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("creates a holdout, and changes its share while no experiment with it has started", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("select experiment.define_holdout('spring', 0.1, 'Spring.')");
    await db.query("select experiment.define_holdout('spring', 0.05, 'Spring.')");
    await db.query("select experiment.define_holdout('spring', 0.05, 'Spring.')");
    expect(await db.value("select share from experiment.holdout where holdout = 'spring'")).toBe(0.05);
    expect(
      await db.rows("select (after ->> 'share')::float8 as share from experiment.history('spring', 'holdout')"),
    ).toEqual([{ share: 0.1 }, { share: 0.05 }]);

    await define(db, { holdout: "spring" });
    await db.query("select experiment.define_holdout('spring', 0.06, 'Spring.')");
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.define_holdout('spring', 0.06, 'Held out in spring.')");
    const error = await db.rejects("select experiment.define_holdout('spring', 0.07, 'Spring.')");
    expect([error.code, error.message]).toEqual(["CF003", expect.stringContaining("has a share of 0.06")]);
  });
});

test.each([
  ["'No', 0.1, 'x'", "CF001", '"No" cannot be the name of a holdout'],
  ["'x', 0, 'x'", "CF001", "share is 0"],
  ["'x', 1, 'x'", "CF001", "share is 1"],
  ["'x', 'NaN', 'x'", "CF001", "share is NaN"],
  ["'x', null, 'x'", "CF001", "share is null"],
  ["'x', 0.1, ''", "CF001", "the description is empty"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.define_holdout(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators define holdouts", async () => {
  expect(await rolesThatMay(database, "select experiment.define_holdout('x', 0.1, 'X.')")).toEqual(["admin"]);
});
