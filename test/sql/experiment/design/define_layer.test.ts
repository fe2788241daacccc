import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("creates a layer, or changes its description, and records each change once", async () => {
  await database.as("insights_admin", {}, async (db) => {
    expect(await db.value("select to_jsonb(experiment.define_layer('search', 'Search.'))")).toEqual({
      layer: "search",
      description: "Search.",
    });
    await db.query("select experiment.define_layer('search', 'Search.')");
    await db.query("select experiment.define_layer('search', 'Search and filters.')");
    expect(
      await db.rows(
        `select action, before ->> 'description' as before, after ->> 'description' as after
         from experiment.history('search', 'layer')`,
      ),
    ).toEqual([
      { action: "defined", before: null, after: "Search." },
      { action: "defined", before: "Search.", after: "Search and filters." },
    ]);
  });
});

test.each([
  ["null, 'x'", "CF001", '"null" cannot be the name of a layer'],
  ["'Page', 'x'", "CF001", '"Page" cannot be the name'],
  ["repeat('x', 64), 'x'", "CF001", "cannot be the name"],
  ["'page', ' '", "CF001", "the description is empty"],
  ["'page', null", "CF001", "the description is empty"],
  ["'page', repeat('x', 2001)", "CF008", "2001 characters"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.define_layer(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators define layers", async () => {
  expect(await rolesThatMay(database, "select experiment.define_layer('x', 'X.')")).toEqual(["admin"]);
});
