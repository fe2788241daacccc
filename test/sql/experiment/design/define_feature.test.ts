import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("creates a feature, changes it, and records each change once", async () => {
  await database.as("insights_admin", { "insights.person": "root" }, async (db) => {
    const call = `select to_jsonb(experiment.define_feature('limit', 'Lessons on a page.', 'number', '10',
      '[{"condition": {"plan": "pro"}, "force": 20}, {"coverage": 0.1, "hashAttribute": "id", "force": 15}]'))`;
    const stored = await db.value(call);
    expect(stored).toMatchObject({ feature_key: "limit", value_type: "number", default_value: 10 });
    expect(await db.value(call)).toEqual(stored);
    await db.query("select experiment.define_feature('limit', 'Lessons on a page.', 'number', '12')");
    expect(
      await db.rows(
        `select action, before -> 'default_value' as before, after -> 'default_value' as after, after -> 'rules' as rules
         from experiment.history('limit', 'feature')`,
      ),
    ).toEqual([
      { action: "defined", before: null, after: 10, rules: expect.arrayContaining([]) },
      { action: "defined", before: 10, after: 12, rules: [] },
    ]);
  });
});

test("the type of its values is fixed while an experiment uses it, and rules cannot need their own feature", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("savepoint before");
    const error = await db.rejects("select experiment.define_feature('player', 'X.', 'string', '\"a\"')");
    expect([error.code, error.hint]).toEqual(["CF003", expect.stringContaining("new-player")]);
    await db.query("rollback to before");
    await db.query(`select experiment.define_feature('colour', 'Colour.', 'string', '"grey"',
      '[{"force": "red", "parentConditions": [{"id": "player", "condition": {"value": true}}]}]')`);
    const cycle = await db.rejects(`select experiment.define_feature('player', 'X.', rules =>
      '[{"force": true, "parentConditions": [{"id": "colour", "condition": {"value": "red"}}]}]')`);
    expect([cycle.code, cycle.message]).toEqual(["CF001", 'the feature "player" would need itself']);
  });
});

test.each([
  ["'a b', 'X.'", "CF001", '"a b" cannot be the key'],
  ["null, 'X.'", "CF001", '"null" cannot be the key'],
  ["'x', ''", "CF001", "the description is empty"],
  ["'x', 'X.', 'text', '1'", "CF001", 'value_type is "text"'],
  ["'x', 'X.', 'number', '\"1\"'", "CF001", 'the default value is "1"'],
  ["'x', 'X.', 'boolean', null", "CF001", "the default value is null"],
  ["'x', 'X.', rules => '{}'", "CF001", "the rules are {}"],
  ["'x', 'X.', rules => '[1]'", "CF001", "a rule is 1"],
  ["'x', 'X.', rules => '[{}]'", "CF001", "the value that a rule forces is null"],
  ["'x', 'X.', rules => '[{\"force\": 1}]'", "CF001", "the value that a rule forces is 1"],
  ["'x', 'X.', rules => '[{\"force\": true, \"conditions\": {}}]'", "CF001", 'Did you mean "condition"?'],
  ["'x', 'X.', rules => '[{\"variations\": [true, false]}]'", "CF001", "define_experiment"],
  ["'x', 'X.', rules => '[{\"force\": true, \"coverage\": 2}]'", "CF001", "coverage of a rule is 2"],
  ["'x', 'X.', rules => '[{\"force\": true, \"coverage\": \"1\"}]'", "CF001", "coverage of a rule is"],
  ["'x', 'X.', rules => '[{\"force\": true, \"hashVersion\": 3}]'", "CF001", "hashVersion is 3"],
  ["'x', 'X.', rules => '[{\"force\": true, \"hashAttribute\": \"userid\"}]'", "CF002", "userid"],
  ['\'x\', \'X.\', rules => \'[{"force": true, "condition": {"plann": "pro"}}]\'', "CF002", 'Did you mean "plan"?'],
  [
    '\'x\', \'X.\', rules => \'[{"force": true, "condition": {"plan": {"$equals": "pro"}}}]\'',
    "CF001",
    'unknown operator "$equals"',
  ],
  ['\'x\', \'X.\', rules => \'[{"force": true, "condition": {"id": "ada"}}]\'', "CF001", "identifies people"],
  [
    '\'x\', \'X.\', rules => \'[{"force": true, "parentConditions": [{"id": "plaier", "condition": {"value": true}}]}]\'',
    "CF002",
    'Did you mean "player"?',
  ],
  [
    '\'x\', \'X.\', rules => \'[{"force": true, "parentConditions": [{"id": "player", "condition": {"plan": true}}]}]\'',
    "CF001",
    "condition of a prerequisite",
  ],
  ["'x', 'X.', rules => '[{\"force\": true, \"parentConditions\": {}}]'", "CF001", "the prerequisites are {}"],
  ["'x', 'X.', 'string', to_jsonb(repeat('x', 100001))", "CF008", "100,000 bytes"],
  [
    "'x', 'X.', rules => (select jsonb_agg('{\"force\": true}'::jsonb) from generate_series(1, 101))",
    "CF008",
    "101 rules",
  ],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.define_feature(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators define features", async () => {
  expect(await rolesThatMay(database, "select experiment.define_feature('x', 'X.')")).toEqual(["admin"]);
});
