import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { populate, today } from "./behaviours.ts";
import { DAY } from "./people.ts";

const database = await testDatabase();
await populate(database, 30);
await database.query("select analytics.fit_clusters()");

interface Feature {
  cluster: string;
  feature: string;
  mean: number | null;
  deviation: number | null;
}
const features = (role: string): Promise<Feature[]> =>
  database.as(role, {}, (db) =>
    db.rows("select cluster, feature, mean, deviation from analytics.cluster_features() order by cluster, feature"),
  );

test("means are those of the people of the cluster; deviations average to nothing over all people", async () => {
  const exact = await features("insights_admin");
  const people = await database.rows<{ cluster: string; features: number[] }>(
    `select split_part(name, '.', 2) as cluster, features from analytics._behaviour($1, $2) as behaviour
     join analytics.cluster_member on identity_id = behaviour.person_id`,
    [new Date(today - 28 * DAY), new Date(today)],
  );
  const names = await database.rows<{ feature: string }>("select feature from analytics._behaviour_features()");
  expect(exact).toHaveLength(names.length * new Set(exact.map(({ cluster }) => cluster)).size);
  for (const { cluster, feature, mean } of exact) {
    const position = names.findIndex((entry) => entry.feature === feature);
    const values = people.filter((one) => one.cluster === cluster).map((one) => one.features[position] as number);
    expect(mean, `${cluster}, ${feature}`).toBeCloseTo(
      values.reduce((sum, value) => sum + value, 0) / values.length,
      9,
    );
  }
  for (const { feature } of names) {
    const weighted = exact
      .filter((entry) => entry.feature === feature)
      .map(({ cluster, deviation }) => (deviation as number) * people.filter((one) => one.cluster === cluster).length);
    // To the four digits of the points.
    expect(Math.abs(weighted.reduce((sum, value) => sum + value, 0)), feature).toBeLessThan(1e-4 * people.length);
  }
});

test("analysts see rounded figures, and none of clusters of too few people", async () => {
  const exact = await features("insights_admin");
  const rounded = await features("insights_analyst");
  expect(rounded.map(({ cluster, feature }) => [cluster, feature])).toEqual(
    exact.map(({ cluster, feature }) => [cluster, feature]),
  );
  const sizes = await database.rows<{ cluster: string; count: number }>(
    "select cluster, person_count::int as count from analytics.clusters()",
  );
  let differ = 0;
  rounded.forEach(({ cluster, mean, deviation }, index) => {
    const [known, far] = [exact[index]?.mean as number, exact[index]?.deviation as number];
    const size = sizes.find((entry) => entry.cluster === cluster)?.count as number;
    // To five of the people of the cluster, rounded up to a power of two.
    const unit = 2 ** Math.ceil(Math.log2(5 / size));
    if (size < 7.5) expect(mean).toBeNull();
    else expect(Math.abs((mean as number) - known)).toBeLessThanOrEqual(Math.abs(known) * unit + 1e-9);
    if (size < 22.5) expect(deviation).toBeNull();
    else {
      expect((deviation as number) / unit).toBe(Math.round((deviation as number) / unit));
      expect(Math.abs((deviation as number) - far)).toBeLessThanOrEqual(unit / 2 + 1e-9);
      differ += Number(deviation !== far);
    }
  });
  expect(differ).toBeGreaterThan(rounded.length / 2);
  await database.as("postgres", {}, async (db) => {
    await db.query("update analytics.setting set smallest_group = 25");
    await db.query("set local role insights_analyst");
    expect(
      await db.value(
        "select count(*)::int from analytics.cluster_features() where mean is not null or deviation is not null",
      ),
    ).toBe(0);
  });
  expect(await rolesThatMay(database, "select analytics.cluster_features()")).toEqual(["analyst", "admin", "worker"]);
});
