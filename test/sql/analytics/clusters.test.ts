import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { membersByCluster, populate } from "./behaviours.ts";

const database = await testDatabase();
await populate(database, 13);

const clusters = (role: string): Promise<{ cluster: string; count: number; share: number }[]> =>
  database.as(role, {}, (db) =>
    db.rows("select cluster, person_count::int as count, share from analytics.clusters() order by cluster"),
  );

test("without a fit there is no cluster", async () => {
  expect(await clusters("insights_admin")).toEqual([]);
  expect(await database.value("select count(*)::int from analytics.cluster_features()")).toBe(0);
});

test("sizes are exact for administrators and workers, and rounded for analysts", async () => {
  await database.query("select analytics.fit_clusters()");
  const members = await membersByCluster(database);
  const exact = await clusters("insights_admin");
  expect(exact.map(({ cluster, count }) => [cluster, count])).toEqual(
    Object.entries(members)
      .map(([cluster, people]) => [cluster, people.length])
      .sort(),
  );
  expect(await clusters("insights_worker")).toEqual(exact);
  expect(exact.some(({ count }) => count % 5 !== 0)).toBe(true);
  const rounded = await clusters("insights_analyst");
  expect(rounded.map(({ count }) => count)).toEqual(exact.map(({ count }) => shown(count, count, 5)));
  const sum = rounded.reduce((total, { count }) => total + count, 0);
  for (const { count, share } of rounded) expect(share).toBeCloseTo(count / sum, 12);
  // A group of too few people reads as an empty one.
  await database.as("postgres", {}, async (db) => {
    await db.query("update analytics.setting set smallest_group = 30");
    await db.query("set local role insights_analyst");
    expect(await db.value("select sum(person_count)::int from analytics.clusters()")).toBe(0);
  });
});

test("the clusters of people are for administrators only, one by one", async () => {
  expect(await rolesThatMay(database, "select analytics.clusters()")).toEqual(["analyst", "admin", "worker"]);
  expect(await rolesThatMay(database, "select from analytics.cluster_member")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select from analytics.cluster")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select from analytics.cluster_move")).toEqual(["admin"]);
  for (const table of ["cluster", "cluster_member", "cluster_move", "cluster_fit", "cluster_setting"])
    expect(await rolesThatMay(database, `delete from analytics.${table}`), table).toEqual([]);
});
