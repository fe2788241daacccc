import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { constant } = registry(database);
const deployed = (project: string) => database.value<number | null>("select ml.deployed_version($1)", [project]);

test("is the version that answers, through deployments and rollbacks", async () => {
  await constant("house.price", 10);
  await constant("house.price", 20);
  expect(await deployed("house.price")).toBeNull();
  await database.query("select ml.deploy('house.price', 2)");
  expect(await deployed("house.price")).toBe(2);
  await database.query("select ml.deploy('house.price', 1)");
  expect(await deployed("house.price")).toBe(1);
  await database.query("select ml.rollback('house.price')");
  expect(await deployed("house.price")).toBe(2);
});

test("is null for a project that does not exist, and for null", async () => {
  expect(await deployed("house.prize")).toBeNull();
  expect(await database.value("select ml.deployed_version(null)")).toBeNull();
});

test("is known to all who may read models", async () => {
  for (const role of ["insights_reader", "insights_analyst", "insights_admin", "insights_worker"])
    await database.as(role, {}, async (db) =>
      expect(await db.value("select ml.deployed_version('house.price')"), role).toBe(2),
    );
  await database.as("insights_visitor", {}, async (db) =>
    expect(await db.rejects("select ml.deployed_version('house.price')")).toMatchObject({ code: "42501" }),
  );
});
