import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { deploy, forPerson } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, owned, people } from "./history.ts";

const database = await testDatabase();
beforeAll(() => makeHistory(database));

const unlearn = (db: Queries, person: string) =>
  db.rows("select table_name, row_count::int, method from recommend.unlearn(track.find_person($1))", [person]);

test("EASE becomes that of the textbook without the person", async () => {
  await database.as("postgres", {}, async (db) => {
    const version = await deploy(db, "ease(10)");
    expect(await unlearn(db, "p0")).toEqual([
      { table_name: "recommend.learned", row_count: 1, method: "deleted" },
      { table_name: "ml.model", row_count: 1, method: "unlearned" },
    ]);
    const x = [...Array(people).keys()]
      .filter((n) => n !== 0)
      .map((n) => courses.map((course) => Number(owned(`p${n}`).has(course))));
    const expected = algebra.ease(x, 10);
    const rows = await db.rows<{ source: string; target: string; weight: number }>(
      `select source.external_id as source, target.external_id as target, entry.weight
       from recommend.neighbours join ml.model using (model_id) join track.item as source using (item_id)
       cross join lateral unnest(neighbour_ids, weights) as entry (target_id, weight)
       join track.item as target on target.item_id = entry.target_id where version = $1`,
      [version],
    );
    expect(rows).toHaveLength(courses.length * (courses.length - 1));
    for (const { source, target, weight } of rows)
      expect(weight).toBeCloseTo(expected[courses.indexOf(source)]?.[courses.indexOf(target)] ?? Number.NaN, 5);
    // Again: there is nothing left of her.
    expect(await unlearn(db, "p0")).toEqual([]);
  });
});

test("all versions whose weights are kept unlearn, deployed or not", async () => {
  await database.as("postgres", {}, async (db) => {
    await deploy(db, "sequence(decay => 0.5)");
    await deploy(db, "item_knn(shrinkage => 2)");
    expect(await unlearn(db, "p3")).toEqual([
      { table_name: "recommend.learned", row_count: 2, method: "deleted" },
      { table_name: "ml.model", row_count: 2, method: "unlearned" },
    ]);
    expect(
      await db.value("select count(*)::int from recommend.learned where person_id = track.find_person('p3')"),
    ).toBe(0);
  });
});

test("a version without a record is marked, not served, and replaced by the next training", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("update recommend.setting set most_learned_items = 3");
    await deploy(db, "ease(10)");
    expect((await forPerson(db, "p1")).map(({ basis }) => basis)).toContain("model");
    expect(await unlearn(db, "p0")).toEqual([{ table_name: "ml.model", row_count: 1, method: "marked" }]);
    const list = await forPerson(db, "p1");
    expect(list.length).toBeGreaterThan(0);
    expect(list.map(({ basis }) => basis)).not.toContain("model");
    expect(await db.rows("select recommend.due_trainings() as kind")).toEqual([{ kind: "course" }]);
    expect(await unlearn(db, "p0")).toEqual([]);
    await deploy(db, "ease(10)");
    expect((await forPerson(db, "p1")).map(({ basis }) => basis)).toContain("model");
  });
});

test("a version that cannot be computed without her is marked, and she is erased", async () => {
  await database.as("postgres", {}, async (db) => {
    await deploy(db, "ease(10)");
    const newest = "(select max(model_id) from ml.model)";
    // The next update computes all weights from the record, with a ridge that does not help.
    await db.query(`update recommend.learning set update_count = 200 where model_id = ${newest}`);
    await db.query(
      `update ml.model set parameters = jsonb_set(parameters, '{parts,0,parameters,lambda}', '1e-12')
       where model_id = ${newest}`,
    );
    await db.query(
      `update recommend.learned
       set item_ids = (
             select array_agg(item_id) from (
               select item_id from recommend.learned_item where model_id = ${newest} order by 1 limit 2
             ) as two
           ),
           strengths = '{1,1}'
       where model_id = ${newest}`,
    );
    await db.query("savepoint computed");
    expect(await db.rejects(`select recommend._relearn(${newest})`)).toMatchObject({ code: "CF007" });
    await db.query("rollback to computed");
    await db.query("select privacy.erase_person('p0')");
    expect(await db.value("select count(*)::int from track.identity where external_id = 'p0'")).toBe(0);
    expect(await db.value(`select marked_at is not null from ml.model where model_id = ${newest}`)).toBe(true);
    expect(await db.value(`select count(*)::int from recommend.learned_item where model_id = ${newest}`)).toBe(0);
  });
});

test("a model that few people are left of is marked", async () => {
  await database.as("postgres", {}, async (db) => {
    await deploy(db, "ease(10)");
    const two = await db.value<number>("select count(*)::int from recommend.learned where cardinality(item_ids) > 1");
    await db.query("update recommend.setting set fewest_people = $1", [two]);
    await unlearn(db, "p0");
    expect(await db.value("select marked_reason from ml.model order by model_id desc limit 1")).toBe(
      "too few people are left",
    );
  });
});

test("null and an unknown person leave everything unchanged; only the room may call it", async () => {
  await database.as("postgres", {}, async (db) => {
    await deploy(db, "ease(10)");
    expect(await db.rows("select recommend.unlearn(1000000)")).toEqual([]);
    expect(await db.rows("select recommend.unlearn(null)")).toEqual([]);
  });
  expect(await rolesThatMay(database, "select recommend.unlearn(1)")).toEqual([]);
});
