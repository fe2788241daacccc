import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { keys } from "../track/sets.ts";
import { define, did, happen } from "./people.ts";

const database = await testDatabase();
await happen(database, did("ada", 1), did("ben", 1), did("eve", 40));
await define(database, "mine", { event: "Task Submitted", within: "7 days" });

const members = async (set: string, people: string[]) =>
  (await database.rows("select analytics.cohort_members($1, $2) as person order by 1", [set, people])).map(
    ({ person }) => person,
  );

test("returns those of the given people who belong", async () => {
  const [ada, ben, eve] = await keys(database, "ada", "ben", "eve");
  expect(await members("cohort.mine", [`${ada}`, `${eve}`, `${ada}`])).toEqual([ada]);
  expect(await members("cohort.mine", [`${eve}`, `${ben}`, "0", "99999999"])).toEqual([ben]);
  expect(await members("cohort.mine", [])).toEqual([]);
  expect(await members("cohort.other", [`${ada}`])).toEqual([]);
});
