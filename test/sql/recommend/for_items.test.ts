import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { deploy, ingest, type Recommendation, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
const weights = await trainOnHistory(database);

const forItems = async (items: string[], top = 100) =>
  (
    await database.rows<{ row: Recommendation }>("select to_jsonb(r) as row from recommend.for_items($1, $2) as r", [
      items,
      top,
    ])
  ).map(({ row }) => row);

const weight = (from: string, to: string): number => weights.rows[courses.indexOf(from)]?.[courses.indexOf(to)] ?? 0;

test("the score is the sum of the weights of the items, which are not returned", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.constantFrom(...courses), { minLength: 1, maxLength: 5 }), async (basket) => {
      const rows = await forItems(basket);
      expect(rows.map(({ item }) => item).sort()).toEqual(courses.filter((item) => !basket.includes(item)));
      for (const row of rows) {
        expect(row.basis).toBe("model");
        expect(row.score).toBeCloseTo(
          basket.reduce((total, item) => total + weight(item, row.item), 0),
          5,
        );
        expect(row.reasons.reduce((total, { contribution }) => total + contribution, 0)).toBe(row.score);
      }
      const scores = rows.map(({ score }) => score);
      expect(scores).toEqual([...scores].sort((a, b) => b - a));
      // The order and repetitions do not matter to this model.
      expect((await forItems([...basket, ...basket].reverse())).map(({ item, score }) => [item, score])).toEqual(
        rows.map(({ item, score }) => [item, score]),
      );
    }),
    { numRuns: 20 },
  );
});

test("a part of a course counts as the course; an empty basket gets what is popular", async () => {
  await ingest(database, [{ person: "p0", event: "Page Viewed", item: "page", kind: "page", parent: "art-1" }]);
  const ofPart = await forItems(["page"]);
  const ofCourse = await forItems(["art-1"]);
  expect(ofPart.filter(({ item }) => item !== "art-1").map(({ item, score }) => [item, score])).toEqual(
    ofCourse.map(({ item, score }) => [item, score]),
  );
  expect(new Set((await forItems([])).map(({ basis }) => basis))).toEqual(new Set(["popularity"]));
});

test("weights from and on items that few people took are not used", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      { person: "pair", event: "Course Enrolled", item: "secret-1", kind: "course" },
      { person: "pair", event: "Course Enrolled", item: "secret-2", kind: "course" },
      { person: "pair", event: "Course Enrolled", item: "law-1", kind: "course" },
    ]);
    await refresh(db);
    await deploy(db);
    const bases = async (item: string) =>
      new Map(
        (
          await db.rows<{ item: string; basis: string }>("select item, basis from recommend.for_items($1, 100)", [
            [item],
          ])
        ).map((row) => [row.item, row.basis]),
      );
    // Her own list does use them.
    expect(await db.rows("select item from recommend.for_person('pair', 100) where basis = 'model'")).not.toEqual([]);
    expect((await bases("secret-1")).get("secret-2")).not.toBe("model");
    expect((await bases("law-1")).get("secret-1")).not.toBe("model");
    expect((await bases("law-1")).get("law-2")).toBe("model");
    expect([...(await bases("secret-1")).values()]).not.toContain("model");
  });
});

test("a prerequisite that is among the items is fulfilled", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`insert into track.prerequisite (item_id, required_item_id)
      select item.item_id, required.item_id from track.item cross join track.item as required
      where item.external_id = 'art-2' and required.external_id = 'art-1'`);
    const list = async (items: string[]) =>
      (await db.rows<{ item: string }>("select item from recommend.for_items($1, 100)", [items])).map(
        ({ item }) => item,
      );
    expect(await list(["art-3"])).not.toContain("art-2");
    expect(await list(["art-3", "art-1"])).toContain("art-2");
  });
});

const refused = async (call: string): Promise<string> => {
  const error = await database.rejects(`select * from recommend.${call}`);
  expect(error.hint).toBeTruthy();
  return `${error.code} ${error.message}`;
};

test("bad input is refused with what, which value and what to do", async () => {
  expect(await refused("for_items(null)")).toBe("CF001 items is null");
  expect(await refused("for_items('{art-1,NULL}')")).toBe('CF002 there is no item "null"');
  expect(await refused("for_items('{art-1,ert-1}')")).toBe('CF002 there is no item "ert-1"');
  expect(await refused("for_items('{art-1}', 0)")).toBe("CF001 top is 0");
  expect(await refused("for_items('{art-1}', diversity => 2)")).toBe("CF001 diversity is 2");
  expect(await refused("for_items('{art-1}', diversity => 'NaN')")).toBe("CF001 diversity is NaN");
  expect(await refused("for_items(array_fill('art-1'::text, array[1001]))")).toBe("CF008 1001 items are given");
  expect(await refused("for_items('{art-1}', only_items => '{ert-1}')")).toBe('CF002 there is no item "ert-1"');
});

test("is for all roles", async () => {
  expect(await rolesThatMay(database, "select * from recommend.for_items('{art-1}')")).toEqual([
    "visitor",
    "learner",
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
