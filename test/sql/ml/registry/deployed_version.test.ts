import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { constant } = registry(database);

const deployed = (project: string | null): Promise<number | null> =>
  database.value("select ml.deployed_version($1)", [project]);

test("is the version that answers, whichever way it came to that", async () => {
  for (const answer of [10, 20, 30]) await constant("house.price", answer);
  expect(await deployed("house.price")).toBeNull();
  for (const [call, version] of [
    ["ml.deploy('house.price', 2)", 2],
    ["ml.deploy('house.price', 3)", 3],
    ["ml.rollback('house.price')", 2],
  ] as const) {
    await database.query(`select ${call}`);
    expect(await deployed("house.price"), call).toBe(version);
    expect(await database.value("select ml.predict('house.price', '{}')")).toBe(10 * version);
  }
});

test("is null where there is no such project", async () => {
  expect(await deployed("house.prize")).toBeNull();
  expect(await deployed(null)).toBeNull();
});

test("may be asked by analysts, not by learners", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.value("select ml.deployed_version('house.price')")).toBe(2);
  });
  await database.as("insights_learner", {}, async (db) => {
    expect(await db.rejects("select ml.deployed_version('house.price')")).toMatchObject({ code: "42501" });
  });
});
