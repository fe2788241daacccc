import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { deploy, forPerson } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { armOf, runningExperiment, variations } from "./experiments.ts";
import { makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();

beforeAll(async () => {
  await makeHistory(database);
  await trainOnHistory(database);
  await deploy(database, "item_knn");
  await database.query("select ml.deploy('recommend.course', 1)");
});

const ship = (db: Queries, value: Record<string, unknown>) =>
  db.query("select recommend.ship_variation('recommend.course', $1)", [JSON.stringify(value)]);
const deployed = (db: Queries) => db.value("select ml.deployed_version('recommend.course')");
const parameters = (db: Queries) => db.rows("select kind, parameters from recommend.list_parameters");

test("deploys the version, and stores what else the value names", () =>
  database.as("postgres", {}, async (db) => {
    await ship(db, { model: 2 });
    expect([await deployed(db), await parameters(db)]).toEqual([2, []]);
    expect((await forPerson(db, "p0", 1))[0]?.model_version).toBe(2);
    await ship(db, { model: "deployed", diversity: 0.5 });
    expect([await deployed(db), await parameters(db)]).toEqual([
      2,
      [{ kind: "course", parameters: { diversity: 0.5 } }],
    ]);
    await ship(db, { tiers: ["popularity"] });
    expect(await parameters(db)).toEqual([{ kind: "course", parameters: { diversity: 0.5, tiers: ["popularity"] } }]);
    const rows = await forPerson(db, "p0", 5);
    expect(rows.filter(({ basis }) => !["popularity", "newest"].includes(basis))).toEqual([]);
    expect(rows.map(({ serving_id }) => armOf(serving_id))).toEqual(rows.map(() => null));
    // Null takes a parameter back, and rollback the version.
    await ship(db, { tiers: null, diversity: null });
    expect(await parameters(db)).toEqual([]);
    await db.query("select ml.rollback('recommend.course')");
    expect((await forPerson(db, "p0", 1))[0]).toMatchObject({ basis: "model", model_version: 1 });
  }));

test("variations of a later experiment are differences to what was shipped", () =>
  database.as("postgres", {}, async (db) => {
    await ship(db, { tiers: ["newest"] });
    const before = await forPerson(db, "p0", 4);
    expect(before.map(({ basis }) => basis)).toEqual(["newest", "newest", "newest", "newest"]);
    await runningExperiment(db, [
      { key: "control", value: {} },
      { key: "model", value: { tiers: ["model", "popularity"] } },
    ]);
    const people = [...Array(20).keys()].map((n) => `p${n}`);
    for (const [name, variation] of await variations(db, people)) {
      const rows = await forPerson(db, name, 1);
      expect(rows[0]?.basis).toBe(variation === 0 ? "newest" : "model");
    }
  }));

test("a wrong value changes nothing", () =>
  database.as("postgres", {}, async (db) => {
    await db.query("savepoint before");
    const error = await db.rejects("select recommend.ship_variation('recommend.course', $1)", [
      '{"model": 2, "diversity": 2}',
    ]);
    expect(error.code).toBe("CF001");
    await db.query("rollback to before");
    expect([await deployed(db), await parameters(db)]).toEqual([1, []]);
  }));

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select recommend.ship_variation('recommend.course', '{}')")).toEqual([
    "admin",
    "worker",
  ]);
});
