import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { behave, membersByCluster, populate } from "./behaviours.ts";
import { happen } from "./people.ts";

const database = await testDatabase();
await populate(database);
await database.query("select analytics.fit_clusters()");
const before = await membersByCluster(database);
await happen(
  database,
  ...Array.from({ length: 7 }, (_, index) => behave(`rare-${index}`, "daily", 950 + index)).flat(),
  ...Array.from({ length: 3 }, (_, index) => behave(`new-${index}`, "daily", 980 + index)).flat(),
);
await database.query("select track.exclude_person('night-4', 'test')");
await happen(database);
await database.query("select analytics.fit_clusters()");
const after = await membersByCluster(database);

interface Move {
  from_cluster: string | null;
  to_cluster: string | null;
  count: number;
  share: number | null;
}
const moves = (role: string): Promise<Move[]> =>
  database.as(role, {}, (db) =>
    db.rows(
      `select from_cluster, to_cluster, person_count::int as count, share from analytics.cluster_moves()
       where fitted_at = (select max(fitted_at) from analytics.cluster_fit) order by 1 nulls last, 2 nulls last`,
    ),
  );

test("people are counted by the cluster that they left and the one that they joined", async () => {
  const of = (clusters: Record<string, string[]>, person: string): string | null =>
    Object.entries(clusters).find(([, people]) => people.includes(person))?.[0] ?? null;
  const counts = new Map<string, number>();
  const everyone = new Set([...Object.values(before).flat(), ...Object.values(after).flat(), "night-4"]);
  for (const person of everyone) {
    const key = JSON.stringify([of(before, person), of(after, person)]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const exact = await moves("insights_admin");
  expect(
    new Map(exact.map(({ from_cluster, to_cluster, count }) => [JSON.stringify([from_cluster, to_cluster]), count])),
  ).toEqual(counts);
  const moved = exact.filter(({ from_cluster, to_cluster }) => from_cluster !== to_cluster);
  expect(moved.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(10);
  for (const { from_cluster, count, share } of exact) {
    const whole = exact.filter((move) => move.from_cluster === from_cluster).reduce((sum, move) => sum + move.count, 0);
    if (from_cluster === null) expect(share).toBeNull();
    else expect(share).toBeCloseTo(count / whole, 12);
  }
});

test("analysts see numbers of people that are rounded, without those of too few", async () => {
  const exact = await moves("insights_admin");
  const rounded = await moves("insights_analyst");
  expect(rounded.map(({ from_cluster, to_cluster, count }) => [from_cluster, to_cluster, count])).toEqual(
    exact
      .map(({ from_cluster, to_cluster, count }) => [from_cluster, to_cluster, shown(count, count, 5)])
      .filter(([, , count]) => (count as number) > 0),
  );
  // One person left and three came, which is not seen.
  expect(exact.filter(({ count }) => count < 5).length).toBeGreaterThanOrEqual(2);
  expect(rounded).toHaveLength(exact.filter(({ count }) => count >= 5).length);
});

test("of the fits of a period", async () => {
  expect(await database.value("select count(distinct fitted_at)::int from analytics.cluster_moves()")).toBe(2);
  expect(
    await database.value(
      "select count(*)::int from analytics.cluster_moves(now() - interval '9 days', now() - interval '8 days')",
    ),
  ).toBe(0);
  expect(await database.rejects("select analytics.cluster_moves(now(), now())")).toMatchObject({ code: "CF001" });
  expect(await database.rejects("select analytics.cluster_moves(null)")).toMatchObject({ code: "CF001" });
  expect(await rolesThatMay(database, "select analytics.cluster_moves()")).toEqual(["analyst", "admin", "worker"]);
});
