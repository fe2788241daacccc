import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
const state = (userId: string, timestamp: string, plan: unknown) =>
  message({ type: "identify", event: undefined, userId, traits: { plan }, timestamp });
await ingest(database, [
  state("ada", "2026-03-01T10:00:00Z", "free"),
  state("ada", "2026-03-03T10:00:00Z", "pro"),
  state("eve", "2026-03-02T10:00:00Z", "team"),
]);

const at = async (asked: [string, string][]): Promise<unknown[]> => {
  const rows = await database.rows<{ value: unknown }>(
    `select value
     from track.traits_at(
       array(select track.find_person(person) from unnest($1::text[]) with ordinality as asked (person, place) order by place),
       'plan', $2
     ) as read
     order by (select external_id from track.identity where identity.identity_id = read.person_id), at`,
    [asked.map(([person]) => person), asked.map(([, time]) => time)],
  );
  return rows.map(({ value }) => value);
};

test("is the value that the trait had at the time, null before the first known one", async () => {
  expect(
    await at([
      ["ada", "-infinity"],
      ["ada", "2026-03-01T09:59:59.999999Z"],
      ["ada", "2026-03-01T10:00:00Z"],
      ["ada", "2026-03-03T09:59:59.999999Z"],
      ["ada", "2026-03-03T10:00:00Z"],
      ["ada", "infinity"],
      ["eve", "2026-03-01T10:00:00Z"],
      ["eve", "2026-03-03T10:00:00Z"],
    ]),
  ).toEqual([null, null, "free", "free", "pro", "pro", null, "team"]);
});

test("one row for each element: also of unknown people, of a trait that nobody has, and of null", async () => {
  expect(
    await database.rows(
      "select * from track.traits_at(array[track.find_person('ada'), -1, null], 'none', array[null, '2026-03-04 00:00Z', null]::timestamptz[])",
    ),
  ).toHaveLength(3);
  expect(await at([])).toEqual([]);
  expect(await database.rows("select from track.traits_at(null, 'plan', null)")).toEqual([]);
});

test("may be read by learners and admins", async () => {
  expect(await rolesThatMay(database, "select * from track.traits_at('{1}', 'plan', '{now}')")).toEqual([
    "learner",
    "instructor",
    "admin",
  ]);
});
