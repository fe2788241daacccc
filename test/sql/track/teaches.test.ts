import { expect, test } from "vitest";
import { makeCampus } from "../../support/campus.ts";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makeCampus(database);

/** The items of the campus that a person teaches, as insights_reader, the owner of the functions for instructors. */
const taught = (person: string): Promise<string[]> =>
  database.as("insights_reader", { "insights.person": person }, async (db) =>
    (
      await db.rows<{ external_id: string }>(
        "select external_id from track.item where track.teaches(item_id) order by item_id",
      )
    ).map(({ external_id }) => external_id),
  );
const lab = ["lab", "bench"];
const algebra = ["algebra", "groups", "task", "exam", "page", ...lab];

test.each([
  ["tess", algebra],
  ["prue", ["program", ...algebra]],
  ["lara", lab],
  ["otto", ["poetry", "sonnet"]],
  // Authors; before and after the period of the role; learners; unknown people.
  ...["axel", "past", "next", "ada", "a browser", "unknown", "", "%"].map((person): [string, string[]] => [person, []]),
])("%s teaches %j", async (person, items) => {
  expect((await taught(person)).sort()).toEqual([...items].sort());
});

test("a period has a first moment, and ends with the moment before its end", async () => {
  await database.as("postgres", { "insights.person": "past" }, async (db) => {
    const teaches = async (since: string, until: string): Promise<boolean> => {
      await db.query(
        `update track.item_role set started_at = ${since}, ended_at = ${until} where person_id = track.find_person('past')`,
      );
      return await db.value("select track.teaches(item_id) from track.item where external_id = 'page'");
    };
    expect(await teaches("now()", "'infinity'")).toBe(true);
    expect(await teaches("now() + interval '1 microsecond'", "'infinity'")).toBe(false);
    expect(await teaches("'-infinity'", "now() + interval '1 microsecond'")).toBe(true);
    expect(await teaches("'-infinity'", "now()")).toBe(false);
  });
});

test("an item that is moved out of the course is no longer taught, and one that is moved into it is", async () => {
  await database.as("postgres", { "insights.person": "tess" }, async (db) => {
    await db.query(
      "update track.item set parent_item_id = (select item_id from track.item where external_id = 'poetry') where external_id = 'groups'",
    );
    const ask = (item: string) =>
      db.value("select track.teaches(item_id) from track.item where external_id = $1", [item]);
    expect([await ask("page"), await ask("bench")]).toEqual([false, true]);
    await db.query(
      "update track.item set parent_item_id = (select item_id from track.item where external_id = 'lab') where external_id = 'poetry'",
    );
    expect([await ask("page"), await ask("sonnet")]).toEqual([true, true]);
  });
});

test("is for no role of the API", async () => {
  expect(await rolesThatMay(database, "select track.teaches(1)")).toEqual([]);
});
