import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { courses, makeHistory, owned, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);
const [first = ""] = courses.filter((item) => !owned("p0").has(item));

test("states to the signed-in person the result of why_not, without the names of rules", async () => {
  const ask = (item: string) =>
    database.as("insights_learner", { "insights.person": "p0" }, (db) =>
      db.value("select to_jsonb(recommend.why_not_me($1))", [item]),
    );
  const told = (item: string) => database.value("select to_jsonb(recommend.why_not('p0', $1))", [item]);
  for (const item of courses) expect(await ask(item)).toEqual(await told(item));

  await database.query("select recommend.set_rule('people_who_may_leave', 'exclude', items => array[$1])", [first]);
  expect(await told(first)).toMatchObject({ rule: "people_who_may_leave" });
  expect(await ask(first)).toMatchObject({ rule: "exclude", detail: "Not offered at present" });
  await database.query("select recommend.drop_rule('people_who_may_leave')");
});

test("without a signed-in person it is about the list of an unknown person", async () => {
  await database.as("insights_learner", {}, async (db) => {
    expect(await db.value("select to_jsonb(recommend.why_not_me($1, 1000))", [first])).toMatchObject({
      is_recommended: true,
    });
  });
});

test("refuses an unknown item and an invalid top", async () => {
  expect(await database.rejects("select recommend.why_not_me('nowhere')")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select recommend.why_not_me($1, 0)", [first])).toMatchObject({ code: "CF001" });
});

test("is for learners", async () => {
  expect(await rolesThatMay(database, `select recommend.why_not_me('${first}')`)).toEqual(["learner", "instructor"]);
});
