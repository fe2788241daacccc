import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { behave, membersByCluster, populate } from "./behaviours.ts";
import { happen } from "./people.ts";

const database = await testDatabase();
await populate(database, 12);
const sizes: [string, number][][] = [];
const record = async (): Promise<void> => {
  await database.query("select analytics.fit_clusters()");
  sizes.push(
    Object.entries(await membersByCluster(database))
      .map(([name, people]): [string, number] => [name, people.length])
      .sort(),
  );
};
await record();
await happen(database, ...Array.from({ length: 8 }, (_, index) => behave(`new-${index}`, "daily", 500 + index)).flat());
await record();

const history = (role: string): Promise<{ at: Date; cluster: string; count: number }[]> =>
  database.as(role, {}, (db) =>
    db.rows(
      "select fitted_at as at, cluster, person_count::int as count from analytics.cluster_history() order by 1, 2",
    ),
  );

test("the sizes of the clusters in each fit, as they were then", async () => {
  const rows = await history("insights_admin");
  const fits = [...new Set(rows.map(({ at }) => at.getTime()))];
  expect(fits).toHaveLength(2);
  expect(
    fits.map((fit) => rows.filter(({ at }) => at.getTime() === fit).map(({ cluster, count }) => [cluster, count])),
  ).toEqual(sizes);
  expect(sizes[0]).not.toEqual(sizes[1]);
});

test("rounded for analysts; of a period", async () => {
  const exact = await history("insights_worker");
  expect((await history("insights_analyst")).map(({ count }) => count)).toEqual(
    exact.map(({ count }) => shown(count, count, 5)),
  );
  expect(
    await database.value(
      "select count(*)::int from analytics.cluster_history(now() - interval '9 days', now() - interval '8 days')",
    ),
  ).toBe(0);
  expect(await database.rejects("select analytics.cluster_history(now(), now())")).toMatchObject({ code: "CF001" });
  expect(await rolesThatMay(database, "select analytics.cluster_history()")).toEqual(["analyst", "admin", "worker"]);
});
