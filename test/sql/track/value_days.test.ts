import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "./messages.ts";
import { submit, typeOf } from "./values.ts";

const database = await testDatabase();

const week = "'{2026-02-23,2026-03-02,2026-03-09}'";
const month = "'{2026-03-01}'";
const read = (db: Queries, bounds = "null") =>
  db.rows(
    `select value, is_other, day::text, sum(bit_count(people))::int as people, sum(event_count)::int as events,
       sum(counted_count)::int as counted
     from track.value_days(${typeOf()}, 'plan', '2026-03-01', '2026-04-01', ${bounds})
     group by 1, 2, 3 order by day, is_other, value collate "C"`,
  );

test("the most frequent values of the period, whatever arrived first; the rest is one group", async () => {
  const entries: [string, string, unknown][] = [
    ["ada", "01", "rare"],
    ["ada", "01", "often"],
    ["ben", "01", "often"],
    ["ben", "02", "some"],
    ["cleo", "02", "some"],
    ["cleo", "02", "unique"],
    ["cleo", "02", "rare"],
    ["cleo", "09", "often"],
    ["dan", "09", undefined],
  ];
  const answers: unknown[] = [];
  for (const order of [entries, entries.toReversed()])
    await database.as("postgres", {}, async (db) => {
      await db.query("insert into track.event_type (name) values ('Task Submitted')");
      await db.query("select track.declare_property('Task Submitted', 'plan', 2)");
      await refresh(db);
      for (const entry of order) await submit(db, [entry]);
      const queued = [await read(db), await read(db, week), await read(db, month)];
      await refresh(db);
      expect([await read(db), await read(db, week), await read(db, month)]).toEqual(queued);
      answers.push(queued);
    });
  expect(answers[0]).toEqual(answers[1]);
  // Of "some" and "rare", with two events each, the first in the order of bytes.
  expect((answers[0] as unknown[])[2]).toEqual([
    { value: "often", is_other: false, day: "2026-03-01", people: 3, events: 3, counted: 3 },
    { value: "rare", is_other: false, day: "2026-03-01", people: 2, events: 2, counted: 2 },
    { value: null, is_other: false, day: "2026-03-01", people: 1, events: 1, counted: 1 },
    { value: null, is_other: true, day: "2026-03-01", people: 2, events: 3, counted: 3 },
  ]);
});

test("values that invented people send do not push out those of counted people", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [
      ["ada", "01", "pro"],
      ["bot", "01", "a"],
      ["bot", "01", "a"],
      ["bot", "02", "b"],
      ["bot", "03", "b"],
    ]);
    await db.query("select track.exclude_person('bot', 'bot')");
    await db.query("select track.declare_property('Task Submitted', 'plan', 1)");
    await refresh(db);
    expect(await read(db, month)).toEqual([
      { value: "pro", is_other: false, day: "2026-03-01", people: 1, events: 1, counted: 1 },
      { value: null, is_other: true, day: "2026-03-01", people: 1, events: 0, counted: 0 },
    ]);
  });
});

test("people of several parts and blocks, each in the row of her block", async () => {
  await database.as("postgres", {}, async (db) => {
    const people = [1, 4095, 4096, 16383, 16384, 20480, 70000];
    await submit(db, [["ada", "01", "pro"]]);
    await db.query("insert into track.person (person_id) select unnest($1::bigint[]) on conflict do nothing", [people]);
    await db.query(
      `insert into track.event (person_id, occurred_at, event_id, identity_id, event_type_id, received_at, source_id, properties)
       select listed, occurred_at, gen_random_uuid(), identity_id, event_type_id, received_at, source_id, properties
       from track.event cross join unnest($1::bigint[]) as listed where event.person_id <> listed`,
      [people],
    );
    await db.query("delete from track.event where person_id <> all ($1::bigint[])", [people]);
    await db.query(
      "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
    );
    await db.query("select track.declare_property('Task Submitted', 'plan')");
    await refresh(db);
    const found = () =>
      db.rows(
        `select block, array(select block::bigint * 4096 + number from generate_series(0, 4095) as number
           where get_bit(people, number) <> 0)::text[] as people
         from track.value_days(${typeOf()}, 'plan', '2026-03-01', '2026-04-01') where bit_count(people) > 0 order by block`,
      );
    const expected = [
      { block: 0, people: ["1", "4095"] },
      { block: 1, people: ["4096"] },
      { block: 3, people: ["16383"] },
      { block: 4, people: ["16384"] },
      { block: 5, people: ["20480"] },
      { block: 17, people: ["70000"] },
    ];
    expect(await found()).toEqual(expected);
    // Rows have the same counts as the events, in any blocks.
    expect(
      await db.value(
        `select sum(event_count)::int from track.value_days(${typeOf()}, 'plan', '2026-03-01', '2026-04-01')`,
      ),
    ).toBe(7);
    await db.query(
      "insert into track.stale (person_id, since, until) select person_id, '-infinity', 'infinity' from track.person",
    );
    expect(await found()).toEqual(expected);
  });
});

test("has no rows without a declaration, and none for an event without events", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [["ada", "01", "pro"]]);
    await refresh(db);
    expect(await read(db)).toEqual([]);
    await db.query("select track.declare_property('Page Viewed', 'plan')");
    await refresh(db);
    expect(
      await db.rows(`select from track.value_days(${typeOf("Page Viewed")}, 'plan', '2026-03-01', '2026-04-01')`),
    ).toEqual([]);
  });
});

test("is for functions of analysts, and for administrators", async () => {
  const read = "select * from track.value_days(1, 'plan', '2026-03-01', '2026-04-01')";
  expect(await rolesThatMay(database, read)).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select from track.value_presence")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "select from track.property_value")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "select from track.declared_property")).toEqual(["analyst", "admin", "worker"]);
  // Learners read their own rows alone.
  await database.as("postgres", {}, async (db) => {
    await submit(db, [
      ["ada", "01", "pro"],
      ["ben", "01", "pro"],
    ]);
    await db.query("select track.declare_property('Task Submitted', 'plan')");
    await refresh(db);
    for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_instructor"]) {
      await db.query(`set local role ${role}`);
      for (const table of ["step_value", "value_presence", "property_value", "stale_property"])
        expect(await db.rejects(`select from track.${table}`)).toMatchObject({ code: "42501" });
      await db.query("reset role");
    }
  });
});
