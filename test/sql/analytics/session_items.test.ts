import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
/** A session each: the pages, a minute apart. */
const sessions = ["ab", "ab", "ac", "ac", "ac", "b", "ba"];
await ingest(
  database,
  sessions.flatMap((pages, person) =>
    [...pages].map((item, index) => ({
      type: "page",
      messageId: `${person} ${index}`,
      userId: `p${person}`,
      timestamp: iso(start + person * 60_000 + index * 60_000),
      properties: { item, itemKind: "page", itemTitle: item.toUpperCase() },
    })),
  ),
);
await refresh(database);
const period = [iso(start), iso(start + DAY)];
const call = (place: string): string => `
  select rank, item, title, session_count::int as sessions, person_count::int as people, bounce_count::int as bounces, bounce_rate
  from analytics.session_items('${place}', $1, $2)`;

test("first and last items of sessions, with their bounces", async () => {
  expect(await withFloor(database, 1, call("entry"), period)).toEqual([
    { rank: 1, item: "a", title: "A", sessions: 5, people: 5, bounces: 0, bounce_rate: 0 },
    { rank: 2, item: "b", title: "B", sessions: 2, people: 2, bounces: 1, bounce_rate: 0.5 },
  ]);
  expect(await withFloor(database, 1, call("exit"), period)).toEqual([
    { rank: 1, item: "b", title: "B", sessions: 3, people: 3, bounces: 1, bounce_rate: expect.closeTo(1 / 3, 9) },
    { rank: 2, item: "c", title: "C", sessions: 3, people: 3, bounces: 0, bounce_rate: 0 },
    { rank: 3, item: "a", title: "A", sessions: 1, people: 1, bounces: 0, bounce_rate: 0 },
  ]);
});

test("analysts see items of enough people", async () => {
  expect(await withFloor(database, 3, call("exit"), period)).toEqual([
    { rank: 1, item: "b", title: "B", sessions: 3, people: 3, bounces: 0, bounce_rate: 0 },
    { rank: 2, item: "c", title: "C", sessions: 3, people: 3, bounces: 0, bounce_rate: 0 },
  ]);
});

test("another place is an error", async () => {
  for (const place of ["'start'", "null"])
    expect(await database.rejects(`select * from analytics.session_items(${place})`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("place is"),
    });
});

test("another number of values is an error, also without a breakdown", async () => {
  for (const count of ["0", "101", "null"])
    expect(await database.rejects(`select * from analytics.session_items(top_values => ${count})`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("top_values is"),
    });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.session_items()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
