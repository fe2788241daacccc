import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { deploy } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
const check = "select recommend.check_variation($1, $2)";

beforeAll(async () => {
  await makeHistory(database);
  await trainOnHistory(database);
});

test("takes a version, tiers, diversity and marked slots; null and {} change nothing", async () => {
  for (const value of [
    {},
    { model: 1 },
    { model: "deployed", tiers: ["model", "popularity"] },
    { tiers: ["popularity"], diversity: 0.3 },
    { explored_slots: [1, 5, 1000], explored_pool_size: 2 },
    { explored_slots: [] },
    { model: null, tiers: null, diversity: null, explored_slots: null, explored_pool_size: null },
  ]) {
    await database.query(check, ["recommend.course", JSON.stringify(value)]);
  }
});

test.each([
  ["course", {}, "CF001", 'the placement is "course"'],
  [null, {}, "CF001", "the placement is null"],
  ["recommend.curse", {}, "CF002", 'there is no item of kind "curse"'],
  ["recommend.course", null, "CF001", "the value is null"],
  ["recommend.course", [], "CF001", "the value is []"],
  ["recommend.course", 3, "CF001", "the value is 3"],
  ["recommend.course", { models: 1 }, "CF001", 'lists have no parameter "models"'],
  ["recommend.course", { model: 7 }, "CF002", "recommend.course has no version 7"],
  ["recommend.course", { model: "ease" }, "CF001", 'model is "ease"'],
  ["recommend.course", { model: 1.5 }, "CF001", "model is 1.5"],
  ["recommend.course", { model: -1 }, "CF001", "model is -1"],
  ["recommend.course", { model: 1e30 }, "CF001", "model is 1000000000000000000000000000000"],
  ["recommend.course", { model: 1, tiers: ["popularity"] }, "CF001", 'tiers ["popularity"] are without the model'],
  ["recommend.course", { tiers: [] }, "CF001", "tiers is []"],
  ["recommend.course", { tiers: "popularity" }, "CF001", 'tiers is "popularity"'],
  ["recommend.course", { tiers: ["popular"] }, "CF001", 'there is no tier "popular"'],
  ["recommend.course", { tiers: [null] }, "CF001", "there is no tier null"],
  ["recommend.course", { tiers: [["model"]] }, "CF001", 'there is no tier "["model"]"'],
  ["recommend.course", { tiers: ["model", "model"] }, "CF001", 'tiers has one twice: ["model", "model"]'],
  ["recommend.course", { diversity: 1.1 }, "CF001", "diversity is 1.1"],
  ["recommend.course", { diversity: "0.5" }, "CF001", 'diversity is "0.5"'],
  ["recommend.course", { explored_slots: [0] }, "CF001", "explored_slots is [0]"],
  ["recommend.course", { explored_slots: [1001] }, "CF001", "explored_slots is [1001]"],
  ["recommend.course", { explored_slots: ["1"] }, "CF001", 'explored_slots is ["1"]'],
  ["recommend.course", { explored_slots: 1 }, "CF001", "explored_slots is 1"],
  ["recommend.course", { explored_pool_size: 1 }, "CF001", "explored_pool_size is 1"],
  ["recommend.course", { explored_pool_size: 1e9 }, "CF001", "explored_pool_size is 1000000000"],
] as const)("%s, %j: %s", async (placement, value, code, message) => {
  const error = await database.rejects(check, [placement, value === null ? null : JSON.stringify(value)]);
  expect([error.code, error.message]).toEqual([code, message]);
  expect(error.hint).toBeTruthy();
});

test("a misspelt parameter has the nearest one in the hint, a hostile value at most 100 characters in the message", async () => {
  expect((await database.rejects(check, ["recommend.course", '{"tier": []}'])).hint).toContain('Did you mean "tiers"?');
  const long = "x".repeat(100_000);
  for (const value of [{ [long]: 1 }, { tiers: [long] }, { model: long }, { diversity: long }, [long]]) {
    const error = await database.rejects(check, ["recommend.course", JSON.stringify(value)]);
    expect(error.message.length).toBeLessThan(200);
  }
});

test("a version that is marked, or without weights, is refused", () =>
  database.as("postgres", {}, async (db) => {
    await db.query("savepoint before");
    await db.query("update ml.model set marked_at = now()");
    expect((await db.rejects(check, ["recommend.course", '{"model": 1}'])).code).toBe("CF006");
    await db.query("rollback to before");
    await db.query("delete from recommend.model_part");
    expect((await db.rejects(check, ["recommend.course", '{"model": 1}'])).message).toBe(
      "the weights of version 1 of recommend.course were deleted",
    );
  }));

test("a version of lists by popularity has no weights", () =>
  database.as("postgres", {}, async (db) => {
    const version = await deploy(db, "popularity");
    await db.query(check, ["recommend.course", JSON.stringify({ model: version })]);
  }));

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, `select recommend.check_variation('recommend.course', '{"model": 1}')`)).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
