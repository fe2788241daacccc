import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, message } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const state = (userId: string, time: string, traits: object, fields: Message = {}): Message =>
  message({ type: "identify", event: undefined, userId, traits, timestamp: `2026-${time}Z`, ...fields });

/** The changes of a trait of a person, as "month-day hour:minute value". */
const changes = (db: Queries, person: string, name: string): Promise<string[]> =>
  db.value(
    `select array(
       select to_char(entry.set_at at time zone 'UTC', 'MM-DD HH24:MI ') || entry.value
       from track.trait_changes(array[track.find_person($1)], $2) as history
       cross join lateral unnest(history.set_at, history.value) with ordinality as entry (set_at, value, place)
       order by entry.place
     )`,
    [person, name],
  );

describe("the changes of a trait", () => {
  test("are the times at which a message gave another value, also where it arrives late", async () => {
    await inside(async (db) => {
      await ingest(db, [
        state("ada", "03-01T10:00", { plan: "free" }),
        state("ada", "03-02T10:00", { plan: "free" }),
        state("ada", "03-03T10:00", { plan: "pro" }),
      ]);
      expect(await changes(db, "ada", "plan")).toEqual(['03-01 10:00 "free"', '03-03 10:00 "pro"']);
      await ingest(db, [state("ada", "03-01T15:00", { plan: "trial" })]);
      // The repetition of the second day counts now.
      expect(await changes(db, "ada", "plan")).toEqual([
        '03-01 10:00 "free"',
        '03-01 15:00 "trial"',
        '03-02 10:00 "free"',
        '03-03 10:00 "pro"',
      ]);
      expect(await changes(db, "ada", "role")).toEqual([]);
      expect(await db.rows("select from track.trait_changes('{}', 'plan')")).toEqual([]);
    });
  });

  test("over several years, and of values of any type; 1 is not 1.0", async () => {
    await inside(async (db) => {
      await db.query(
        `select track.ingest('[
          {"type": "identify", "messageId": "a", "userId": "ada", "timestamp": "2024-05-01T00:00:00Z", "traits": {"level": 1}},
          {"type": "identify", "messageId": "b", "userId": "ada", "timestamp": "2025-05-01T00:00:00Z", "traits": {"level": 1.0}},
          {"type": "identify", "messageId": "c", "userId": "ada", "timestamp": "2026-05-01T00:00:00Z", "traits": {"level": {"of": [1]}}},
          {"type": "identify", "messageId": "d", "userId": "ada", "timestamp": "2026-05-02T00:00:00Z", "traits": {"level": null}}]')`,
      );
      expect(await changes(db, "ada", "level")).toEqual([
        "05-01 00:00 1",
        "05-01 00:00 1.0",
        '05-01 00:00 {"of": [1]}',
        "05-02 00:00 null",
      ]);
    });
  });

  test("of two messages of one time, the greater value applies, in any order", async () => {
    for (const plans of [
      ["a", "b"],
      ["b", "a"],
    ]) {
      await inside(async (db) => {
        for (const plan of plans) await ingest(db, [state("ada", "03-01T10:00", { plan })]);
        expect(await changes(db, "ada", "plan")).toEqual(['03-01 10:00 "b"']);
      });
    }
  });

  test("of a person with several identities: the identity that sent the trait last applies; a removed link undoes it", async () => {
    await inside(async (db) => {
      await ingest(db, [
        state("ada", "03-01T10:00", { plan: "free" }),
        state("ada", "03-03T10:00", { plan: "free" }),
        state("eve", "03-02T10:00", { plan: "pro" }),
      ]);
      const before = await db.rows("select * from track.trait_history order by identity_id");
      await db.query("select track.link_identities('ada', 'eve')");
      expect(await changes(db, "ada", "plan")).toEqual([
        '03-01 10:00 "free"',
        '03-02 10:00 "pro"',
        '03-03 10:00 "free"',
      ]);
      await db.query("select track.unlink_identities('ada', 'eve')");
      expect(await changes(db, "ada", "plan")).toEqual(['03-01 10:00 "free"']);
      expect(await db.rows("select * from track.trait_history order by identity_id")).toEqual(before);
    });
  });

  test("of a browser belong to its user of that time; of a client without proof, to none of them", async () => {
    await inside(async (db) => {
      const browse = (time: string, traits: object) =>
        state("", time, traits, { userId: undefined, anonymousId: "kiosk" });
      await ingest(db, [
        browse("03-01T10:00", { theme: "dark" }),
        browse("03-01T12:30", { theme: "light" }),
        state("ada", "03-01T11:00", {}, { anonymousId: "kiosk" }),
        state("eve", "03-01T12:00", {}, { anonymousId: "kiosk" }),
      ]);
      expect(await changes(db, "ada", "theme")).toEqual(['03-01 10:00 "dark"']);
      expect(await changes(db, "eve", "theme")).toEqual(['03-01 12:30 "light"']);
    });
    await inside(async (db) => {
      await ingest(db, [state("ada", "03-01T10:00", { theme: "dark" }, { anonymousId: "own" })]);
      await db.query("set local role insights_visitor");
      const { theme } = { theme: "evil" };
      await ingest(db, [
        message({ type: "identify", event: undefined, userId: undefined, anonymousId: "own", traits: { theme } }),
      ]);
      await db.query("reset role");
      expect(await changes(db, "ada", "theme")).toEqual(['03-01 10:00 "dark"']);
      expect(await db.value("select count(*) from track.trait_history where value @> array['\"evil\"'::jsonb]")).toBe(
        "1",
      );
    });
  });

  test("of the time zone of events: one time per hour, and nothing more is written in this hour", async () => {
    await inside(async (db) => {
      const event = (time: string, timezone: string) => message({ timestamp: `2026-${time}Z`, context: { timezone } });
      await ingest(db, [event("03-01T10:10", "Europe/Rome"), event("03-01T10:20", "Europe/Rome")]);
      const row = "select ctid::text, cardinality(set_at) + cardinality(repeated_at) as times from track.trait_history";
      const [first] = await db.rows(row);
      await ingest(db, [event("03-01T10:50", "Europe/Rome")]);
      expect(await db.rows(row)).toEqual([{ ...first, times: 1 }]);
      await ingest(db, [event("03-01T11:50", "Europe/Rome"), event("03-01T14:50", "Asia/Tokyo")]);
      expect(await changes(db, "ada", "timezone")).toEqual(['03-01 10:00 "Europe/Rome"', '03-01 14:00 "Asia/Tokyo"']);
      expect(await db.value("select cardinality(set_at) + cardinality(repeated_at) from track.trait_history")).toBe(3);
    });
  });

  test("of a message without consent: none", async () => {
    await inside(async (db) => {
      await ingest(db, [state("ada", "03-01T10:00", { plan: "free" })]);
      await db.query("select privacy.record_consent(track.find_person('ada'), 'analytics', false)");
      await ingest(db, [state("ada", "03-02T10:00", { plan: "secret" })]);
      expect(await changes(db, "ada", "plan")).toEqual(['03-01 10:00 "free"']);
    });
  });
});

describe("a client that sends a counter", () => {
  test("has the latest times of the year, also within one batch, and values of at most 1,000 bytes", async () => {
    await inside(async (db) => {
      await db.query("update track.setting set most_trait_times = 3");
      const count = (minute: number) => state("ada", `03-01T10:${10 + minute}`, { count: minute });
      await ingest(db, [0, 1, 2, 3, 4].map(count));
      expect(await changes(db, "ada", "count")).toEqual(["03-01 10:12 2", "03-01 10:13 3", "03-01 10:14 4"]);
      await ingest(db, [count(9)]);
      await ingest(db, [count(5), count(6)]);
      expect(await changes(db, "ada", "count")).toEqual(["03-01 10:15 5", "03-01 10:16 6", "03-01 10:19 9"]);
      await ingest(db, [state("ada", "03-01T10:30", { count: "é".repeat(500) })]);
      expect(await changes(db, "ada", "count")).toEqual(["03-01 10:16 6", "03-01 10:19 9", "03-01 10:30 null"]);
    });
  });
});

test("null: all people; learners see themselves", async () => {
  await inside(async (db) => {
    await ingest(db, [state("ada", "03-01T10:00", { plan: "a" }), state("eve", "03-01T10:00", { plan: "b" })]);
    const all = "select value from track.trait_changes(null, 'plan') order by 1";
    expect(await db.rows(all)).toEqual([{ value: ["a"] }, { value: ["b"] }]);
    await db.query("select set_config('insights.person_id', track.find_person('eve')::text, true)");
    await db.query("set local role insights_learner");
    expect(await db.rows(all)).toEqual([{ value: ["b"] }]);
  });
});

test("may be read by learners and admins", async () => {
  expect(await rolesThatMay(database, "select * from track.trait_changes(null, 'plan')")).toEqual([
    "learner",
    "instructor",
    "admin",
  ]);
});
