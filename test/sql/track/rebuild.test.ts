import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLearners } from "./learners.ts";
import { refresh } from "./messages.ts";

const database = await testDatabase();
await makeLearners(database);

test("marks all people except person 0, and the recomputed data are the same", async () => {
  await refresh(database);
  const derived = async () => [
    await database.rows("select * from track.session order by person_id, session_id"),
    await database.rows("select * from track.page_view order by person_id, event_id"),
    await database.rows(
      "select * from track.activity_of(null, '-infinity', 'infinity') as activity order by person_id, day, event_type_id, item_id",
    ),
  ];
  const before = await derived();
  const people = await database.value("select count(*) from track.person where person_id <> 0");
  expect(await database.value("select track.rebuild()")).toBe(people);
  expect(
    await database.value(
      "select array_agg(distinct person_id order by person_id) = array(select person_id from track.person where person_id <> 0 order by 1) from track.stale",
    ),
  ).toBe(true);
  await refresh(database);
  expect(await derived()).toEqual(before);
});

test("follows a change of the settings", async () => {
  const longest = () =>
    database.value<number>("select max(event_count) from track.session where started_at < '2026-03-02'");
  expect(await longest()).toBe(2);
  await database.query("update track.setting set session_timeout = '2 hours'");
  await database.query("select track.rebuild()");
  await refresh(database);
  expect(await longest()).toBe(4);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select track.rebuild()")).toEqual(["admin", "worker"]);
});
