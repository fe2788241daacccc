import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { learners, makeWorld, refresh } from "../support/world.ts";

/*
 * A recommender learns from single people, and every reader may query similar items: where one person took an item, the
 * answer would be the other items of this person. So items of fewer people than the floor of analytics are not
 * answered.
 */

const database = await testDatabase();

async function enrol(people: readonly string[]): Promise<void> {
  await database.query("select track.ingest($1)", [
    JSON.stringify(
      people.map((person) => ({
        type: "track",
        messageId: `${person} in the group`,
        userId: person,
        event: "Course Enrolled",
        properties: { item: "course-group", itemKind: "course" },
      })),
    ),
  ]);
  await refresh(database);
  await database.query("select recommend.train('course')");
}

const similar = (role: string, item: string): Promise<string[]> =>
  database.as(role, {}, async (db) =>
    (await db.rows<{ item: string }>("select item from recommend.similar_items($1)", [item])).map(({ item }) => item),
  );

beforeAll(() => makeWorld(database));

test("without a floor each reader sees the other items of one person", async () => {
  await database.query("update analytics.setting set smallest_group = 1");
  await enrol(["ben"]);
  for (const role of ["insights_analyst", "insights_learner"]) {
    expect(await similar(role, "course-group")).toEqual(expect.arrayContaining(["course-poetry", "course-drama"]));
  }
});

test("with it, no reader can query the item, nor finds it among the others", async () => {
  await database.query("update analytics.setting set smallest_group = 5");
  await enrol([]);
  for (const role of ["insights_analyst", "insights_learner"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select * from recommend.similar_items('course-group')")).toMatchObject({
        code: "CF006",
        hint: expect.stringContaining("Fewer than 5 people"),
      });
    });
    expect(await similar(role, "course-poetry")).not.toContain("course-group");
  }
});

test("an item of a group is answered", async () => {
  await enrol(learners.slice(0, 6));
  expect(await similar("insights_analyst", "course-group")).not.toEqual([]);
});
