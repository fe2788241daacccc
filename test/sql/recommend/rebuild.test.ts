import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await ingest(database, [
  { person: "ada", event: "Course Enrolled", item: "algebra", day: 1, kind: "course" },
  { person: "ben", event: "Page Viewed", item: "page", day: 2, kind: "page" },
]);
await refresh(database);

const weights = () =>
  database.rows(
    `select identity.external_id as person, round(weight::numeric, 4)::float8 as weight
     from recommend.interaction join track.identity on identity.identity_id = interaction.person_id order by 1`,
  );

test("marks all people except person 0 for the recommender alone, and the recomputed interactions are the same", async () => {
  const before = await database.rows("select * from recommend.interaction order by person_id, item_id");
  const people = await database.value("select count(*) from track.person where person_id <> 0");
  expect(await database.value("select recommend.rebuild()")).toBe(people);
  expect(
    await database.value(
      "select array_agg(person_id order by person_id) = array(select person_id from track.person where person_id <> 0 order by 1) from track.changed where consumer = 'recommend.interaction'",
    ),
  ).toBe(true);
  await refresh(database);
  expect(await database.rows("select * from recommend.interaction order by person_id, item_id")).toEqual(before);
});

test("brings a change of the weights to what is stored, which a refresh alone does not", async () => {
  await database.query("update recommend.event_weight set weight = 0.5 where event = 'Course Enrolled'");
  await refresh(database);
  expect(await weights()).toEqual([
    { person: "ada", weight: 1 },
    { person: "ben", weight: 0.05 },
  ]);
  await database.query("select recommend.rebuild()");
  await refresh(database);
  expect(await weights()).toEqual([
    { person: "ada", weight: 0.5 },
    { person: "ben", weight: 0.05 },
  ]);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select recommend.rebuild()")).toEqual(["admin", "worker"]);
});
