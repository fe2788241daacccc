import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { ask, constant } = registry(database);

beforeAll(async () => {
  for (const answer of [10, 20, 30, 40]) await constant("house.price", answer);
});

test("the version that is deployed answers, whatever its metrics", async () => {
  expect(await database.value("select ml.deploy('house.price', 3)")).toBe(3);
  expect(await ask("house.price", {})).toBe(30);
  expect(await database.value("select ml.deploy('house.price', 1)")).toBe(1);
  expect(await ask("house.price", {})).toBe(10);
  // Once more changes nothing: there is nothing that a rollback could undo.
  expect(await database.value("select ml.deploy('house.price', 1)")).toBe(1);
  expect(
    await database.rows(
      "select strategy, version from ml.deployment join ml.model using (model_id) order by deployment_id",
    ),
  ).toEqual([
    { strategy: "manual", version: 3 },
    { strategy: "manual", version: 1 },
  ]);
});

test("those who train may deploy, others not", async () => {
  await database.as("insights_worker", {}, async (db) => {
    expect(await db.value("select ml.deploy('house.price', 2)")).toBe(2);
  });
  for (const role of ["insights_analyst", "insights_learner", "insights_visitor"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select ml.deploy('house.price', 2)")).toMatchObject({ code: "42501" });
    });
  }
});

describe("errors", () => {
  test.each([
    ["an unknown version", "select ml.deploy('house.price', 99)", "CF002", /1 to 4/],
    ["a null version", "select ml.deploy('house.price', null)", "CF001", /number/],
    ["an unknown project", "select ml.deploy('house.prize', 1)", "CF002", /house\.price/],
  ])("%s", async (_, sql, code, hint) => {
    const error = await database.rejects(sql);
    expect(error).toMatchObject({ code });
    expect(error.hint ?? "").toMatch(hint);
  });
});
