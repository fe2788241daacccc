import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, trainOnHistory, type Weights } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);

let weights: Weights = { items: [], rows: [] };

test("similar items are refused with what to do", async () => {
  const error = await database.rejects("select * from recommend.similar_items('art-1')");
  expect(error.code).toBe("CF006");
  expect(error.hint).toContain("recommend.train('course')");
});

test("similar items are the strongest weights of an item, of its kind", async () => {
  weights = await trainOnHistory(database);
  const rows = await database.rows<{ item: string; score: number; rank: number }>(
    "select rank, item, score from recommend.similar_items('law-2', 100)",
  );
  const expected = courses
    .map((item, j) => ({ item, score: weights.rows[courses.indexOf("law-2")]?.[j] ?? 0 }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score);
  expect(rows).toEqual(expected.map(({ item, score }, i) => ({ rank: i + 1, item, score: expect.closeTo(score, 5) })));
  expect(rows.slice(0, 2).every(({ item }) => item.startsWith("law-"))).toBe(true);
});

test("as many as are asked for, of those that can be taken now and that enough people took", async () => {
  await database.as("postgres", {}, async (db) => {
    const similar = (top: number) =>
      db.rows<{ item: string }>("select item from recommend.similar_items('law-2', $1)", [top]);
    const all = (await similar(1000)).map(({ item }) => item);
    expect((await similar(2)).map(({ item }) => item)).toEqual(all.slice(0, 2));
    await db.query("update track.item set available_until = now() - interval '1 day' where external_id = $1", [all[0]]);
    await db.query("update track.item set available_from = now() + interval '1 day' where external_id = $1", [all[1]]);
    expect((await similar(1000)).map(({ item }) => item)).toEqual(all.slice(2));
    await db.query("update track.item set available_until = null, available_from = null");
    // Asked for the item that most people took, so that it is known itself.
    const takers = await db.rows<{ item: string; people: number }>(
      "select external_id as item, person_count as people from recommend.neighbours join track.item using (item_id) order by 2 desc, 1",
    );
    const [most] = takers;
    const similarTo = (item?: string) =>
      db.rows<{ item: string }>("select item from recommend.similar_items($1, 1000)", [item]);
    const open = await similarTo(most?.item);
    await db.query("update analytics.setting set smallest_group = $1", [most?.people]);
    const known = new Set(takers.filter(({ people }) => people === most?.people).map(({ item }) => item));
    expect(known.size).toBeLessThan(takers.length);
    expect(await similarTo(most?.item)).toEqual(open.filter(({ item }) => known.has(item)));
    await db.query("update analytics.setting set smallest_group = 1000");
    const error = await db.rejects("select * from recommend.similar_items('law-2')");
    expect(error).toMatchObject({ code: "CF006" });
    expect(error.hint).toContain("Fewer than 1000 people");
  });
});

test("a merged item is a further name of the other one, and is not returned itself", async () => {
  await database.as("postgres", {}, async (db) => {
    const similar = async (item: string) =>
      (await db.rows<{ item: string }>("select item from recommend.similar_items($1, 1000)", [item])).map(
        (row) => row.item,
      );
    const before = await similar("law-2");
    const [merged] = before;
    await db.query("select track.merge_items($1, 'law-2')", [merged]);
    expect(await similar("law-2")).toEqual(before.slice(1));
    expect(await similar(merged ?? "")).toEqual(before.slice(1));
  });
});

const refused = async (call: string): Promise<string> => {
  const error = await database.rejects(`select * from recommend.${call}`);
  expect(error.hint).toBeTruthy();
  return `${error.code} ${error.message}`;
};

test("bad input is refused with what, which value and what to do", async () => {
  expect(await refused("similar_items('law-1', -1)")).toBe("CF001 top is -1");
  expect(await refused("similar_items('lew-1')")).toBe('CF002 there is no item "lew-1"');
  expect((await database.rejects("select * from recommend.similar_items('lew-1')")).hint).toBe('Did you mean "law-1"?');
  expect((await database.rejects("select * from recommend.similar_items('#')")).hint).toBe(
    "Give an item by the name that was sent with events.",
  );
  expect(await refused("similar_items(null)")).toBe('CF002 there is no item "null"');
  await ingest(database, [{ person: "p0", event: "Course Enrolled", item: "brand new", day: 153, kind: "course" }]);
  expect(await refused("similar_items('brand new')")).toBe(
    'CF006 version 1 of the recommender does not contain "brand new"',
  );
  expect(await refused("similar_items(repeat('x', 513))")).toBe("CF008 item has 513 characters");
});

test("is for all who are signed in", async () => {
  expect(await rolesThatMay(database, "select * from recommend.similar_items('law-1')")).toEqual([
    "learner",
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});

test("an item that a rule leaves out for all people is not returned; its prerequisites do not matter", async () => {
  await database.as("postgres", {}, async (db) => {
    const similar = async (): Promise<string[]> =>
      (await db.rows<{ item: string }>("select item from recommend.similar_items('law-3', 1000)")).map(
        ({ item }) => item,
      );
    const all = await similar();
    const [first = "", second = ""] = all;
    await db.query("select recommend.set_rule('closed', 'exclude', items => array[$1])", [first]);
    await db.query("select recommend.set_rule('half', 'exclude', items => array[$1], person_set => 'counted')", [
      second,
    ]);
    await db.query(
      `insert into track.prerequisite (item_id, required_item_id)
       select item.item_id, required.item_id from track.item, track.item as required
       where (item.external_id, required.external_id) = ($1, 'art-1')`,
      [second],
    );
    expect(await similar()).toEqual(all.slice(1));
  });
});
