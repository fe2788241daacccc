import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("ends a running experiment once, with its reason", async () => {
  await database.as("insights_admin", { "insights.person": "root" }, async (db) => {
    await define(db);
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.stop('new-player', 'The budget ended.')");
    expect(await db.rows("select state, stopped_at > started_at as is_later from experiment.experiment")).toEqual([
      { state: "stopped", is_later: true },
    ]);
    expect(await db.value("select after from experiment.history('new-player') where action = 'stopped'")).toEqual({
      state: "stopped",
      reason: "The budget ended.",
    });
    expect(await db.value("select experiment.features() -> 'features' -> 'player' -> 'rules'")).toEqual([]);
    const error = await db.rejects("select experiment.stop('new-player', 'Again.')");
    expect([error.code, error.message]).toEqual(["CF003", 'the experiment "new-player" is stopped']);
  });
});

test("takes a shipped variation of a feature back; the end stays the same", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.ship('new-player', 'new')");
    const ended = await db.value("select stopped_at::text from experiment.experiment");
    await db.query("select experiment.stop('new-player', 'It was not as good as it seemed.')");
    expect(
      await db.rows("select state, shipped_variation, shipped_at, stopped_at::text from experiment.experiment"),
    ).toEqual([{ state: "stopped", shipped_variation: null, shipped_at: null, stopped_at: ended }]);
    expect(await db.value("select experiment.features() -> 'features' -> 'player' -> 'rules'")).toEqual([]);
  });
});

test("refuses a draft", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    expect((await db.rejects("select experiment.stop('new-player', 'No.')")).message).toBe(
      'the experiment "new-player" is draft',
    );
  });
});

test.each([
  ["'new-plaier', 'x'", "CF002", "experiment"],
  ["null, 'x'", "CF002", '"null"'],
  ["'x', null", "CF001", "the reason is empty"],
  ["'x', ' '", "CF001", "the reason is empty"],
  ["'x', repeat('x', 2001)", "CF008", "2001 characters"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.stop(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators stop experiments", async () => {
  expect(await rolesThatMay(database, "select experiment.stop('x', 'x')")).toEqual(["admin"]);
});
