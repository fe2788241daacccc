import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, owned, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);
const [first = ""] = courses.filter((item) => !owned("p1").has(item));

test("ranks for the signed-in person as rank_items does, without the names of rules", async () => {
  const mine = () =>
    database.as("insights_learner", { "insights.person": "p1" }, (db) =>
      db.rows<{ item: string; rule: string | null }>("select * from recommend.rank_my_items($1)", [courses]),
    );
  const hers = () =>
    database.rows<{ item: string; rule: string | null }>("select * from recommend.rank_items('p1', $1)", [courses]);
  expect(await mine()).toEqual(await hers());
  await database.query("select recommend.set_rule('people_who_may_leave', 'exclude', items => array[$1])", [first]);
  const named = await hers();
  expect(named.find(({ item }) => item === first)).toMatchObject({ rule: "people_who_may_leave" });
  expect(await mine()).toEqual(named.map((row) => (row.item === first ? { ...row, rule: "exclude" } : row)));
  await database.query("select recommend.drop_rule('people_who_may_leave')");
});

test("refuses no list and an unknown item", async () => {
  expect(await database.rejects("select recommend.rank_my_items(null)")).toMatchObject({ code: "CF001" });
  expect(await database.rejects("select recommend.rank_my_items('{nowhere}')")).toMatchObject({ code: "CF002" });
});

test("is for learners", async () => {
  expect(await rolesThatMay(database, `select recommend.rank_my_items('{${first}}')`)).toEqual([
    "learner",
    "instructor",
  ]);
});
