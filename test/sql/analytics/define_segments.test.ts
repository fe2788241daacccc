import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { did, happen, peopleOf } from "./people.ts";

const database = await testDatabase();
const names = ["new", "returning", "casual", "regular", "power", "dormant"];
const days = (person: string, ...list: number[]) => list.map((day) => did(person, day));
await happen(
  database,
  ...days("a", 0),
  ...days("b", 1, 2, 3, 10),
  ...days("c", 2, 3, 9),
  ...days("d", 1, 8),
  ...days("e", 30),
  ...days("f", 1, 30),
);

test("thresholds can be changed", async () => {
  await database.as("insights_admin", {}, async (db) => {
    const all = async () => Promise.all(names.map((name) => peopleOf(db, `segment.${name}`)));
    expect(await all()).toEqual([["a", "b", "c", "d"], [], ["f"], [], [], ["e"]]);
    expect(
      await db.rows("select window_days, regular_days, power_days from analytics.define_segments(7, 2, 3)"),
    ).toEqual([{ window_days: 7, regular_days: 2, power_days: 3 }]);
    expect(await all()).toEqual([["a"], ["f"], ["d"], ["c"], ["b"], ["e"]]);
    expect(await db.value("select description from track.person_set where name = 'segment.power'")).toBe(
      "Active on at least 3 of the last 7 days, and active in those before them.",
    );
  });
});

test("thresholds that leave a segment without people are refused", async () => {
  for (const [call, code] of [
    ["2", "CF001"],
    ["28, 1", "CF001"],
    ["28, 4, 4", "CF001"],
    ["28, 4, 29", "CF001"],
    ["null", "CF001"],
    ["28, null", "CF001"],
  ])
    expect(await database.rejects(`select analytics.define_segments(${call})`), call).toMatchObject({ code });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select * from analytics.define_segments()")).toEqual(["admin"]);
});
