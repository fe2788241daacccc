import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

const names = ["ada", "bob", ...Array.from({ length: 150 }, (_, i) => `person-${(i * 7) % 101}`), "ädä 💡", "ADA"];

/** Both ways, in the same transaction. */
const bothWays = async (db: Queries, attributes: object | null = null) => {
  const values = [names, attributes === null ? null : JSON.stringify(attributes)];
  const all = await db.rows("select person, result from experiment.assign_all('new-player', $1, $2)", values);
  const single = await db.rows(
    `select person, experiment.assign(person, 'new-player', $2) as result
     from unnest($1::text[]) with ordinality as entry (person, place) order by place`,
    values,
  );
  return { all: all as { person: string; result: { key: string; inExperiment: boolean } }[], single };
};

const definitions: [string, Record<string, unknown>][] = [
  ["weights and coverage", { weights: [0.25, 0.75], coverage: 0.8 }],
  ["a condition on traits and attributes of the request", { condition: { plan: "pro", deviceType: "phone" } }],
  ["sticky assignments", { is_sticky: true, coverage: 0.5 }],
  ["another hash", { hash_version: 1, seed: "ü" }],
  ["an attribute that few people have", { hash_attribute: "plan" }],
  ["a prerequisite", { parent_conditions: [{ id: "other", condition: { value: true } }] }],
];

test.each(definitions)("each result is that of assign: %s", async (_, fields) => {
  await database.as("insights_admin", {}, async (db) => {
    if ("parent_conditions" in fields) {
      await db.query("select experiment.define_feature('other', 'Another one.', 'boolean', 'true')");
    }
    await define(db, fields);
    const draft = await bothWays(db);
    expect(draft.all).toEqual(draft.single);
    await db.query("select experiment.start('new-player')");
    for (const attributes of [null, { deviceType: "phone", plan: "free" }]) {
      const { all, single } = await bothWays(db, attributes);
      expect(all).toHaveLength(names.length);
      expect(all).toEqual(single);
    }
    await db.query("select experiment.ship('new-player', 'new')");
    const shipped = await bothWays(db);
    expect(shipped.all).toEqual(shipped.single);
    expect(new Set(shipped.all.map(({ result }) => result.key))).toEqual(new Set(["new"]));
  });
});

test("no people, bad names, too many people, and an unknown experiment", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    expect(await db.rows("select * from experiment.assign_all('new-player', '{}')")).toEqual([]);
    const refused = (people: string, experiment = "new-player") =>
      db.rejects(`select * from experiment.assign_all($1, ${people})`, [experiment]);
    expect(await refused("null")).toMatchObject({ code: "CF001", message: "people is null" });
    expect(await refused("'{{a},{b}}'")).toMatchObject({ code: "CF001", message: "people is an array of arrays" });
    expect(await refused("'{ada,\"\"}'")).toMatchObject({ code: "CF001", message: 'the person is ""' });
    expect(await refused("'{ada,null}'")).toMatchObject({ code: "CF001", message: 'the person is "null"' });
    expect(await refused("array_fill('a'::text, array[10001])")).toMatchObject({
      code: "CF008",
      message: "there are 10001 people",
    });
    expect(await refused("'{ada}'", "new-players")).toMatchObject({ code: "CF002" });
    expect(await refused(`'{ada}', '[]'`)).toMatchObject({ code: "CF001" });
  });
});

test("the reads of an administrator are logged; other roles may not read", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await define(db);
    await db.query("select experiment.assign_all('new-player', '{ada,bob,unknown}')");
    await db.query("reset role");
    expect(
      await db.value(
        "select array_agg(subject_name order by subject_name) from privacy.disclosure where function_name = 'experiment.assign_all'",
      ),
    ).toEqual(["ada", "bob"]);
  });
  expect(await rolesThatMay(database, "select experiment.assign_all('x', '{ada}')")).toEqual(["admin", "worker"]);
});
