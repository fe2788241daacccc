import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
/** Each word is a session of a person of its own, a letter a page. */
const words = ["abcab", "abc", "abab", "aabbc", "ca", "b"];
await ingest(
  database,
  words.flatMap((word, person) =>
    [...word].map((item, index) => ({
      type: "page",
      messageId: `${word} ${index}`,
      userId: `p${person}`,
      timestamp: iso(start + index * 60_000),
      properties: { item, itemKind: item === "c" ? "task" : "page" },
    })),
  ),
);
await refresh(database);
const period = [iso(start), iso(start + DAY)];
const call = (rest = ""): string => `
  select array_to_string(nodes, '') as nodes, occurrence_count::int as times, person_count::int as people
  from analytics.sequences($1, $2${rest})`;

test("every position of a session counts, equal pages in succession are one", async () => {
  expect(await withFloor(database, 1, call(), period)).toEqual([
    { nodes: "abc", times: 3, people: 3 },
    { nodes: "aba", times: 1, people: 1 },
    { nodes: "bab", times: 1, people: 1 },
    { nodes: "bca", times: 1, people: 1 },
    { nodes: "cab", times: 1, people: 1 },
  ]);
  expect(await withFloor(database, 1, call(", length => 2, top => 2"), period)).toEqual([
    { nodes: "ab", times: 6, people: 4 },
    { nodes: "bc", times: 3, people: 3 },
  ]);
  expect(await withFloor(database, 1, call(", length => 4"), period)).toEqual([
    { nodes: "abab", times: 1, people: 1 },
    { nodes: "abca", times: 1, people: 1 },
    { nodes: "bcab", times: 1, people: 1 },
  ]);
});

test("kinds, wildcards and exclusions", async () => {
  expect(await withFloor(database, 1, call(", nodes => 'kind', length => 2"), period)).toEqual([
    { nodes: "pagetask", times: 3, people: 3 },
    { nodes: "taskpage", times: 2, people: 2 },
  ]);
  expect(await withFloor(database, 1, call(", exclusions => '{b}', length => 2"), period)).toEqual([
    { nodes: "ac", times: 3, people: 3 },
    { nodes: "ca", times: 2, people: 2 },
  ]);
});

test("analysts see sequences of enough people", async () => {
  expect(await withFloor(database, 4, call(", length => 2"), period)).toEqual([{ nodes: "ab", times: 8, people: 4 }]);
  expect(await withFloor(database, 3, call(), period)).toEqual([{ nodes: "abc", times: 3, people: 3 }]);
});

test("two sets of people side by side", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.set_person_set('one', array[track.find_person('p0')])");
    expect(
      await db.rows(
        `select array_to_string(nodes, '') as nodes, occurrence_count::int as times, compared_occurrence_count::int as compared,
           compared_person_count::int as people
         from analytics.sequences($1, $2, among => '~one', compared_with => 'one', top => 2)`,
        period,
      ),
    ).toEqual([
      { nodes: "abc", times: 2, compared: 1, people: 1 },
      { nodes: "aba", times: 1, compared: 0, people: 0 },
    ]);
  });
});

test("a length below 2 or above 10 is an error", async () => {
  for (const length of [1, 11, null])
    expect(await database.rejects(call(`, length => ${length}`), period)).toMatchObject({ code: "CF001" });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.sequences()")).toEqual(["analyst", "admin", "worker"]);
});
