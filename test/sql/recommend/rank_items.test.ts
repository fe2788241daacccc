import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { forPerson, type Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, owned, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

interface Ranked extends Omit<Recommendation, "rank"> {
  rank: number | null;
  rule: string | null;
}

const rank = (db: Queries, items: readonly (string | null)[] | null, person = "p0"): Promise<Ranked[]> =>
  db
    .rows<Ranked>("select to_jsonb(r) as row from recommend.rank_items($1, $2) as r", [person, items])
    .then((rows) => (rows as unknown as { row: Ranked }[]).map(({ row }) => row));
const open = courses.filter((item) => !owned("p0").has(item));
const [taken = ""] = [...owned("p0")];

test("orders a part of the list as the list, with its scores and reasons; what is left out comes last, as given", async () => {
  const list = await forPerson(database, "p0", 100);
  const given = [...open.slice(0, 3), taken].reverse();
  const ranked = await rank(database, given);
  const expected = list.filter(({ item }) => given.includes(item));
  expect(ranked.map(({ item, score, reasons, rule }) => ({ item, score, reasons, rule }))).toEqual([
    ...expected.map(({ item, score, reasons }) => ({ item, score, reasons, rule: null })),
    { item: taken, score: null, reasons: null, rule: "taken" },
  ]);
  expect(ranked.map(({ rank: place }) => place)).toEqual([1, 2, 3, null]);
});

test("ranks an item once, whatever its names, and one of another kind not at all", async () => {
  await database.as("postgres", {}, async (db) => {
    const [first = "", second = ""] = open;
    await db.query("select track.merge_items($1, $2)", [first, second]);
    await db.query("insert into track.item (external_id, kind) values ('a page', 'page')");
    expect((await rank(db, [first, second, first, "a page"])).map(({ item, rule }) => `${item} ${rule}`)).toEqual([
      `${second} null`,
      "a page kind",
    ]);
  });
});

test("ranks nothing, and refuses what it cannot rank", async () => {
  expect(await rank(database, [])).toEqual([]);
  const refused = (
    items: readonly (string | null)[] | null,
    person: string | null = "p0",
    kind: string | null = "course",
  ) => database.rejects("select * from recommend.rank_items($1, $2, $3)", [person, items, kind]);
  expect(await refused(null)).toMatchObject({ code: "CF001", message: "items is null" });
  expect(await refused([null])).toMatchObject({ code: "CF002" });
  expect(await refused([`${taken}x`])).toMatchObject({ code: "CF002", hint: `Did you mean "${taken}"?` });
  expect(await refused(Array(1001).fill(taken))).toMatchObject({ code: "CF008" });
  expect(await refused([taken], "")).toMatchObject({ code: "CF001" });
  expect(await refused([taken], "p0", "corse")).toMatchObject({ code: "CF002" });
  expect(await refused([taken], "p0", null)).toMatchObject({ code: "CF002" });
});

test("is for administrators and workers", async () => {
  expect(await rolesThatMay(database, `select recommend.rank_items('p0', '{${taken}}')`)).toEqual(["admin", "worker"]);
});
