import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { forPerson, ingest } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, owned, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

interface Verdict {
  item: string;
  is_recommended: boolean;
  rule: string | null;
  detail: string;
  rank: number | null;
  score: number | null;
}

const whyNot = async (db: Queries, item: string, top = 10, person = "p0"): Promise<Verdict> => {
  const [verdict] = await db.rows<Verdict>("select * from recommend.why_not($1, $2, $3)", [person, item, top]);
  if (verdict === undefined) throw new Error("there is no verdict");
  return verdict;
};
const inside = (work: (db: Queries) => Promise<void>): Promise<void> => database.as("postgres", {}, work);
const open = courses.filter((item) => !owned("p0").has(item));
const [first = "", second = ""] = open;

test("states the rank of an item that is recommended, and that of one after the first N", async () => {
  const list = await forPerson(database, "p0", 100);
  const [best, next] = list;
  expect(await whyNot(database, best?.item ?? "")).toMatchObject({
    item: best?.item,
    is_recommended: true,
    rule: null,
    detail: "Recommended, at rank 1",
    rank: 1,
    score: best?.score,
  });
  expect(await whyNot(database, next?.item ?? "", 1)).toMatchObject({
    is_recommended: false,
    rule: "rank",
    detail: "At rank 2, after the first 1 items",
    rank: 2,
    score: next?.score,
  });
});

test("states what the person did", async () => {
  await inside(async (db) => {
    const [taken = ""] = [...owned("p0")];
    expect(await whyNot(db, taken)).toMatchObject({
      is_recommended: false,
      rule: "taken",
      detail: "Taken already",
      rank: null,
    });
    for (const [event, rule] of [
      ["Course Completed", "completed"],
      ["Item Known", "known"],
      ["Item Disliked", "disliked"],
      ["Item Dismissed", "dismissed"],
    ] as const) {
      await db.query("savepoint before");
      await ingest(db, [{ person: "p0", event, item: first, day: 200 }]);
      expect(await whyNot(db, first), event).toMatchObject({ is_recommended: false, rule });
      await db.query("rollback to savepoint before");
    }
  });
});

test("states the rule, in words", async () => {
  await inside(async (db) => {
    const set = (change: string): Promise<unknown> =>
      db.query(`update track.item set ${change} where external_id = $1`, [first]);
    await set("available_from = '2100-01-01 08:30Z'");
    expect(await whyNot(db, first)).toMatchObject({
      rule: "availability",
      detail: "Available from 2100-01-01 08:30 UTC",
    });
    await db.query("set local timezone to 'Asia/Tokyo'");
    await set("available_from = null, available_until = '2020-01-01Z'");
    expect(await whyNot(db, first)).toMatchObject({
      rule: "availability",
      detail: "Not available since 2020-01-01 00:00 UTC",
    });
    await set("available_until = '-infinity'");
    expect(await whyNot(db, first)).toMatchObject({ rule: "availability", detail: "Not available" });

    await set(`available_until = null, attributes = '{"capacity": 0}'`);
    expect(await whyNot(db, first)).toMatchObject({ rule: "capacity", detail: "Full: all 0 places are taken" });
    await set(`attributes = '{"subject": "law"}'`);

    await db.query(
      "insert into track.prerequisite select a.item_id, b.item_id from track.item a, track.item b where (a.external_id, b.external_id) = ($1, $2)",
      [first, second],
    );
    expect(await whyNot(db, first)).toMatchObject({
      rule: "prerequisites",
      detail: `Requires ${second.toUpperCase()}, which is not finished`,
    });
    await ingest(db, [{ person: "p0", event: "Course Completed", item: second, day: 200 }]);
    expect(await whyNot(db, first)).toMatchObject({ rule: null, is_recommended: true });

    await db.query("select recommend.set_rule('winter', 'exclude', items => array[$1])", [first]);
    expect(await whyNot(db, first)).toMatchObject({ rule: "winter", detail: "Not offered at present" });
    await db.query("select recommend.set_rule('winter', 'include', items => array[$1])", [first]);
    expect(await whyNot(db, first)).toMatchObject({ rule: null, is_recommended: true, rank: 1 });
    for (const other of open.filter((item) => item !== first && item !== second)) {
      expect(await whyNot(db, other)).toMatchObject({ is_recommended: false, rule: "winter" });
    }
  });
});

test("names at most three of the items that are required", async () => {
  await inside(async (db) => {
    await db.query(
      `insert into track.prerequisite select a.item_id, b.item_id from track.item a, track.item b
       where a.external_id = $1 and b.external_id = any ($2)`,
      [first, open.slice(1, 6)],
    );
    expect((await whyNot(db, first)).detail).toMatch(
      /^Requires [^,]+, [^,]+, [^,]+ and 2 more, which are not finished$/,
    );
  });
});

test("a rule that excludes everything leaves an empty list, and is named for each item", async () => {
  await inside(async (db) => {
    await db.query("select recommend.set_rule('nothing', 'exclude', kind => 'course')");
    expect(await forPerson(db, "p0")).toEqual([]);
    for (const item of open) expect(await whyNot(db, item)).toMatchObject({ rule: "nothing" });
  });
});

test("a merged name means its target; an unknown person gets what one without a history gets", async () => {
  await inside(async (db) => {
    await db.query("select track.merge_items($1, $2)", [first, second]);
    expect(await whyNot(db, first)).toMatchObject({ item: second });
    expect(await whyNot(db, second, 100, "an unknown name")).toMatchObject({ is_recommended: true });
  });
});

test("refuses invalid arguments with their value", async () => {
  const refused = (person: string | null, item: string | null, top: number | null) =>
    database.rejects("select recommend.why_not($1, $2, $3)", [person, item, top]);
  expect(await refused(" ", first, 10)).toMatchObject({ code: "CF001" });
  expect(await refused(null, first, 10)).toMatchObject({ code: "CF001" });
  expect(await refused("p0", `${first}x`, 10)).toMatchObject({ code: "CF002", hint: `Did you mean "${first}"?` });
  expect(await refused("p0", null, 10)).toMatchObject({ code: "CF002" });
  expect(await refused("p0", "x".repeat(600), 10)).toMatchObject({ code: "CF008" });
  for (const top of [0, -1, 1001, null]) expect(await refused("p0", first, top)).toMatchObject({ code: "CF001" });
});

test("is for administrators and workers", async () => {
  expect(await rolesThatMay(database, `select recommend.why_not('p0', '${first}')`)).toEqual(["admin", "worker"]);
});
