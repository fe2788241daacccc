import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";
import { DAY, iso, start } from "./doings.ts";

const database = await testDatabase();
const did = (userId: string, event: string, hours: number) =>
  message({ userId, event, timestamp: iso(start + hours * 3_600_000) });
await ingest(database, [
  did("ada", "Opened", 3),
  did("ada", "Paused", 4),
  did("ada", "Ended", 5),
  did("ben", "Opened", 1),
  did("ben", "Paused", 2),
  did("eve", "Opened", 2),
  message({ userId: undefined, anonymousId: "browser", event: "Opened", timestamp: iso(start) }),
]);
const ask = (step: number, rest = "") =>
  database.rows(
    `select person, reached, (extract(epoch from step_at - $1::timestamptz) / 3600)::int as hours, cardinality(times) as steps
     from analytics.funnel_people('["Opened", "Paused", "Ended"]', ${step}, since => $1, until => $2${rest})`,
    [iso(start), iso(start + DAY)],
  );

test("returns the people who dropped off after a step, the earliest first", async () => {
  expect(await ask(1)).toEqual([
    { person: "browser", reached: 1, hours: 0, steps: 3 },
    { person: "eve", reached: 1, hours: 2, steps: 3 },
  ]);
  expect(await ask(2)).toEqual([{ person: "ben", reached: 2, hours: 2, steps: 3 }]);
});

test("or all who did the step", async () => {
  expect((await ask(2, ", dropped => false")).map(({ person }) => person)).toEqual(["ben", "ada"]);
  expect((await ask(3, ", dropped => false")).map(({ person }) => person)).toEqual(["ada"]);
});

test("their numbers are those of the funnel, also as a set of people", async () => {
  await database.as("postgres", {}, async (db) => {
    const rows = await db.rows<{ step: number; dropped: number }>(
      `select step, dropped_count::int as dropped from analytics.funnel('["Opened", "Paused", "Ended"]', $1, $2)`,
      [iso(start), iso(start + DAY)],
    );
    expect(rows).toEqual([
      { step: 1, dropped: 2 },
      { step: 2, dropped: 1 },
      { step: 3, dropped: null },
    ]);
    await db.query(
      `select track.set_person_set('stuck', array(
         select person_id from analytics.funnel_people('["Opened", "Paused", "Ended"]', 1, since => $1, until => $2)
       ))`,
      [iso(start), iso(start + DAY)],
    );
    expect(
      await db.rows(
        `select step, person_count::int as people
         from analytics.funnel('["Opened", "Paused"]', $1, $2, among => 'stuck')`,
        [iso(start), iso(start + DAY)],
      ),
    ).toEqual([
      { step: 1, people: 2 },
      { step: 2, people: 0 },
    ]);
  });
});

test("reads are logged, and a step that does not exist is an error", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.rows(`select * from analytics.funnel_people('["Opened", "Paused"]', 1, since => $1, until => $2)`, [
      iso(start),
      iso(start + DAY),
    ]);
    await db.query("reset role");
    expect(
      await db.value("select count(*)::int from privacy.disclosure where function_name = 'analytics.funnel_people'"),
    ).toBeGreaterThan(0);
  });
  for (const step of ["0", "4", "null", "3"])
    expect(
      await database.rejects(`select * from analytics.funnel_people('["Opened", "Paused", "Ended"]', ${step})`),
    ).toMatchObject({ code: "CF001", message: `step is ${step}` });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, `select * from analytics.funnel_people('["Opened", "Ended"]', 1)`)).toEqual([
    "admin",
    "worker",
  ]);
});
