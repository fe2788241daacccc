import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { membersByCluster, populate } from "./behaviours.ts";

const database = await testDatabase();
await populate(database, 12);
await database.query("select analytics.fit_clusters()");
const names = Object.keys(await membersByCluster(database)).sort();
const [one, two] = names as [string, string];
const admin = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_admin", {}, work);
const refused = (...given: (string | null)[]): Promise<object> =>
  database.rejects(`select analytics.rename_cluster(${given.map((_, index) => `$${index + 1}`)})`, given);

test("a cluster has its new name in its set, its history and after the next fit", async () => {
  const before = await membersByCluster(database);
  await admin(async (db) => {
    expect(
      await db.value("select analytics.rename_cluster($1, 'evening_school', 'People of the evening.')", [one]),
    ).toBe("cluster.evening_school");
    const after = await membersByCluster(db);
    expect(after["evening_school"]).toEqual(before[one]);
    expect(after[one]).toBeUndefined();
    expect(
      await db.rows("select description, is_named_by_hand from analytics.clusters() where cluster = 'evening_school'"),
    ).toEqual([{ description: "People of the evening.", is_named_by_hand: true }]);
    expect(await db.value("select array_agg(cluster) && array[$1] from analytics.cluster_history()", [one])).toBe(
      false,
    );
    await db.query("select analytics.fit_clusters(7)");
    expect((await membersByCluster(db))["evening_school"]).toEqual(before[one]);
    expect(await db.value("select description from analytics.clusters() where cluster = 'evening_school'")).toBe(
      "People of the evening.",
    );
    // The full name of the set is a name, too.
    expect(await db.value("select analytics.rename_cluster('cluster.evening_school', 'cluster.late')")).toBe(
      "cluster.late",
    );
    expect(await db.value("select description from analytics.clusters() where cluster = 'late'")).toBe(
      "People of the evening.",
    );
  });
});

test("the same name keeps it, with its description", async () => {
  await admin(async (db) => {
    await db.query("select analytics.rename_cluster($1, $1, 'As it is.')", [one]);
    await db.query("select analytics.fit_clusters(7)");
    expect(
      await db.rows("select description, is_named_by_hand from analytics.clusters() where cluster = $1", [one]),
    ).toEqual([{ description: "As it is.", is_named_by_hand: true }]);
  });
});

test("a retired cluster leaves its name to another", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select analytics.rename_cluster($1, 'former')", [one]);
    await db.query("update analytics.cluster set centroid = null, retired_at = now() where name = 'cluster.former'");
    expect(await db.value("select analytics.rename_cluster($1, 'former')", [two])).toBe("cluster.former");
    expect(await db.value("select count(*)::int from analytics.cluster where name = 'cluster.former'")).toBe(1);
  });
});

test("names that are invalid, taken or used by a cohort are refused", async () => {
  for (const name of ["", "Evening", "a.b", "cluster.", "x".repeat(61), "nacht🌙", null])
    expect(await refused(one, name), String(name)).toMatchObject({ code: "CF001" });
  expect(await refused(one, two)).toMatchObject({
    code: "CF003",
    message: `there is a set of people "cluster.${two}" already`,
  });
  expect(await refused(`${one}x`, "new")).toMatchObject({ code: "CF002", hint: `Did you mean "cluster.${one}"?` });
  expect(await refused(null, "new")).toMatchObject({ code: "CF002" });
  expect(await refused("x".repeat(100_000), "new")).toMatchObject({
    code: "CF002",
    message: `there is no cluster "${"x".repeat(100)}"`,
  });
  expect(await refused(one, "new", "x".repeat(501))).toMatchObject({ code: "CF008" });
  await admin(async (db) => {
    await db.query("select analytics.define_cohort('late', $1)", [JSON.stringify({ set: `cluster.${one}` })]);
    await expect(db.query("select analytics.rename_cluster($1, 'new')", [one])).rejects.toMatchObject({
      code: "CF001",
      message: `"cluster.${one}" is named by the rule of "cohort.late"`,
    });
  });
  expect(await rolesThatMay(database, `select analytics.rename_cluster('${one}', 'new')`)).toEqual(["admin"]);
});

test("a cohort of a cluster follows the next fit", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select analytics.define_cohort('late', $1)", [JSON.stringify({ set: `cluster.${one}` })]);
    const members = (await membersByCluster(db))[one];
    expect(await db.rows("select person from analytics.cohort_people('late') order by 1")).toEqual(
      members?.map((person) => ({ person })),
    );
    await db.query("select track.exclude_person($1, 'test')", [members?.[0]]);
    await db.query("select track.refresh()");
    await db.query("select analytics.fit_clusters()");
    expect(await db.rows("select person from analytics.cohort_people('late') order by 1")).toEqual(
      members?.slice(1).map((person) => ({ person })),
    );
  });
});
