import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { deploy, ingest, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory } from "./history.ts";

const database = await testDatabase();
beforeAll(async () => {
  await makeHistory(database);
  await database.query("create schema if not exists lab");
});

const learned = (model = "(select max(model_id) from recommend.learning)") =>
  database.rows<{ person: string; items: string[]; strengths: number[] }>(
    `select identity.external_id as person, strengths,
       array(select item.external_id from unnest(item_ids) with ordinality as own (item_id, n) join track.item using (item_id) order by n) as items
     from recommend.learned join track.identity on identity.identity_id = learned.person_id
     where model_id = ${model} order by 1`,
  );

test("the order of the record is that of the last uses, and the lists follow events without a training", async () => {
  await deploy(database, "sequence(decay => 0.5, in_exponent => 0)");
  await ingest(database, [
    { person: "new", event: "Course Enrolled", item: "art-1", day: 200, kind: "course" },
    { person: "new", event: "Course Enrolled", item: "brand-new", day: 201, kind: "course" },
    { person: "new", event: "Page Viewed", item: "art-1", day: 202 },
  ]);
  await refresh(database);
  expect((await learned()).find(({ person }) => person === "new")).toEqual({
    person: "new",
    items: ["brand-new", "art-1"],
    strengths: [1, 1],
  });
  const list = await database.value<string[]>(
    `select array(select target.external_id from unnest(neighbour_ids) as own (item_id) join track.item as target using (item_id))
     from recommend.neighbours join track.item using (item_id) where item.external_id = 'brand-new'`,
  );
  expect(list).toEqual(["art-1"]);
});

test("a withdrawal leaves the model, and a grant brings the person back", async () => {
  const before = await learned();
  const lists = () =>
    database.rows(
      "select item_id, person_count, neighbour_ids, weights from recommend.neighbours order by model_id, 1",
    );
  const first = await lists();
  await database.query("select privacy.record_consent(track.find_person('p2'), 'personalization', false)");
  await refresh(database);
  expect(await learned()).toEqual(before.filter(({ person }) => person !== "p2"));
  expect(await lists()).not.toEqual(first);
  await database.query("select privacy.record_consent(track.find_person('p2'), 'personalization', true)");
  await refresh(database);
  expect(await learned()).toEqual(before);
  expect(await lists()).toEqual(first);
});

test("a person whose row is the same changes nothing, nor does one who is unknown", async () => {
  const state = () => database.rows("select * from recommend.learning order by 1");
  const before = await state();
  await database.query("select recommend.learn(array[track.find_person('p1'), 1000000], null, null)");
  await database.query("select recommend.learn('{}', null, null)");
  expect(await state()).toEqual(before);
});

test("without a deployed model nothing is learned, and too large models keep no record", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("update recommend.setting set most_learned_items = 3");
    await deploy(db, "ease(10)");
    expect(
      await db.value(
        "select count(*)::int from recommend.learning where model_id = (select max(model_id) from ml.model)",
      ),
    ).toBe(0);
    expect(
      await db.value(
        "select count(*)::int from recommend.neighbours where model_id = (select max(model_id) from ml.model)",
      ),
    ).toBeGreaterThan(10);
    await ingest(db, [{ person: "p1", event: "Course Enrolled", item: "law-6", day: 300, kind: "course" }]);
    await refresh(db);
  });
});

test("a model that people make too large loses its record, and keeps its lists", async () => {
  await database.as("postgres", {}, async (db) => {
    await deploy(db, "ease(10)");
    const newest = "(select max(model_id) from ml.model)";
    const lists = () => db.rows(`select * from recommend.neighbours where model_id = ${newest} order by part, item_id`);
    const records = () =>
      db.value(
        `select (select count(*) from recommend.learning where model_id = ${newest})
           + (select count(*) from recommend.learned where model_id = ${newest})
           + (select count(*) from recommend.learned_item where model_id = ${newest})`,
      );
    await db.query(
      `update recommend.setting
       set most_learned_items = (select count(distinct item_id) + 2 from recommend.learned_item where model_id = ${newest})`,
    );
    const take = (item: number): Promise<unknown> =>
      ingest(db, [{ person: "p1", event: "Course Enrolled", item: `new-${item}`, day: 300, kind: "course" }]);
    await take(1);
    await take(2);
    await refresh(db);
    expect(Number(await records())).toBeGreaterThan(0);
    const before = await lists();
    await take(3);
    await refresh(db);
    expect(Number(await records())).toBe(0);
    expect(await lists()).toEqual(before);
    // An erasure marks it, as it does other versions without a record.
    await db.query("select recommend.unlearn(track.find_person('p2'))");
    expect(await db.value(`select marked_at is not null from ml.model where model_id = ${newest}`)).toBe(true);
  });
});

test("it is called by track.refresh only", async () => {
  expect(await rolesThatMay(database, "select recommend.learn('{}', null, null)")).toEqual([]);
});
