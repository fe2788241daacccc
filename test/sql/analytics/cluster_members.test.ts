import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { populate } from "./behaviours.ts";

const database = await testDatabase();
await populate(database, 12);
await database.query("select analytics.fit_clusters()");

test("those of the given people who are in the cluster, without those who have opted out or are restricted", async () => {
  await database.as("postgres", {}, async (db) => {
    const [{ name, people }] = (await db.rows(
      "select name, array_agg(identity_id order by identity_id) as people from analytics.cluster_member group by name order by name limit 1",
    )) as [{ name: string; people: string[] }];
    const members = (): Promise<string[]> =>
      db.value(
        "select array(select analytics.cluster_members($1, array(select person_id from track.person)) order by 1)",
        [name],
      );
    expect(await members()).toEqual(people);
    expect(
      await db.value("select array(select analytics.cluster_members($1, $2))", [name, [people[0], "0", "999999"]]),
    ).toEqual([people[0]]);
    expect(await db.value("select array(select analytics.cluster_members('cluster.none', $1))", [people])).toEqual([]);
    await db.query("select privacy.record_consent($1, 'analytics', false)", [people[1]]);
    expect(await members()).toEqual(people.filter((_, index) => index !== 1));
  });
  expect(await rolesThatMay(database, "select analytics.cluster_members('cluster.none', '{}')")).toEqual([]);
});
