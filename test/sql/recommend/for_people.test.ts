import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { forPerson, type Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { comparable, makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

const forPeople = async (people: string[], top = 10) =>
  (
    await database.rows<{ row: Recommendation & { person: string } }>(
      "select to_jsonb(r) as row from recommend.for_people($1, $2) as r",
      [people, top],
    )
  ).map(({ row }) => row);

test("each person gets the rows of for_person, once, in the order of the names", async () => {
  const people = ["p7", "p0", "ghost"];
  const rows = await forPeople(["p7", "p0", "p7", "ghost", "p0"], 4);
  expect(rows.map(({ person }) => person)).toEqual(people.flatMap((person) => Array(4).fill(person)));
  for (const [n, person] of people.entries()) {
    const own = rows.slice(4 * n, 4 * n + 4).map(({ person: _, ...row }) => row);
    expect(comparable(own)).toEqual(comparable(await forPerson(database, person, 4)));
  }
  expect(await forPeople([])).toEqual([]);
});

test("bad input is refused with what, which value and what to do", async () => {
  const refused = async (call: string): Promise<string> => {
    const error = await database.rejects(`select * from recommend.${call}`);
    expect(error.hint).toBeTruthy();
    return `${error.code} ${error.message}`;
  };
  expect(await refused("for_people(null)")).toBe("CF008 null people are given");
  expect(await refused("for_people(array_fill('p0'::text, array[1001]))")).toBe("CF008 1001 people are given");
  expect(await refused("for_people('{p0,NULL}')")).toBe("CF001 the person is null");
  expect(await refused("for_people('{p0}', 0)")).toBe("CF001 top is 0");
  expect(await refused("for_people('{p0}', kind => 'curse')")).toBe('CF002 there is no item of kind "curse"');
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from recommend.for_people('{p0}')")).toEqual(["admin", "worker"]);
});
