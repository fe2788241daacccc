import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("removes a metric that no experiment measures", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      "select experiment.define_metric('rate', 'ratio', numerator => 'lessons', denominator => 'submitted')",
    );
    await define(db, { goals: ["rate"] });
    const refused = async (key: string) => {
      await db.query("savepoint before");
      const error = await db.rejects("select experiment.drop_metric($1)", [key]);
      await db.query("rollback to before");
      return `${error.code} ${error.message}`;
    };
    expect(await refused("rate")).toBe('CF003 the experiment "new-player" measures "rate"');
    expect(await refused("lessons")).toBe('CF003 the experiment "new-player" measures "lessons"');
    await db.query("select experiment.drop_experiment('new-player')");
    expect(await refused("lessons")).toBe('CF003 the metric "rate" is a ratio of "lessons"');
    await db.query("select experiment.drop_metric('rate')");
    await db.query("select experiment.drop_metric('lessons')");
    expect(await db.rows("select metric_key from experiment.metric")).toEqual([{ metric_key: "submitted" }]);
    expect(
      await db.value("select count(*)::int from experiment.history('rate', 'metric') where action = 'dropped'"),
    ).toBe(1);
  });
});

test.each([
  ["'lesson'", "CF002", 'Did you mean "lessons"?'],
  ["null", "CF002", '"null"'],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.drop_metric(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators drop metrics", async () => {
  expect(await rolesThatMay(database, "select experiment.drop_metric('x')")).toEqual(["admin"]);
});
