import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, refresh } from "../track/messages.ts";

const database = await testDatabase();

interface Minute {
  ago: number;
  events: number;
  people: number;
}

/** The minutes with events, as the number of minutes before the present one. */
const read = (db: Queries, minutes: number | null = 30): Promise<Minute[]> =>
  db.rows<Minute>(
    `select (extract(epoch from date_trunc('minute', now()) - minute) / 60)::int as ago, event_count::int as events,
       person_count::int as people
     from analytics.activity_by_minute($1) where event_count > 0`,
    [minutes],
  );

/** Events of people, each a number of minutes before the present minute. */
async function happened(db: Queries, ages: Record<string, number[]>, fields: object = {}): Promise<void> {
  const now = (await db.value<Date>("select date_trunc('minute', now()) as at")).getTime();
  const result = await ingest(
    db,
    Object.entries(ages).flatMap(([userId, list]) =>
      list.map((age, place) => ({
        type: "track",
        messageId: `${userId} ${age} ${place} ${JSON.stringify(fields)}`,
        userId,
        event: "Task Submitted",
        timestamp: new Date(now - age * 60_000).toISOString(),
        ...fields,
      })),
    ),
  );
  expect(result.rejected).toBe(0);
}

describe("events and people by minute", () => {
  test("each minute has a row, and an event counts before the refresh and after it", async () => {
    await database.as("postgres", {}, async (db) => {
      await happened(db, { ada: [0, 0, 3], ben: [3, 29, 30] });
      const expected = [
        { ago: 29, events: 1, people: 1 },
        { ago: 3, events: 2, people: 2 },
        { ago: 0, events: 2, people: 1 },
      ];
      expect(await read(db)).toEqual(expected);
      await refresh(db);
      expect(await read(db)).toEqual(expected);
      expect(await read(db, 1)).toEqual([{ ago: 0, events: 2, people: 1 }]);
      expect(await db.value("select count(*)::int from analytics.activity_by_minute(1440)")).toBe(1440);
      expect(
        await db.value(
          "select bool_and(next is null or next = minute + interval '1 minute') from (select minute, lead(minute) over (order by minute) as next from analytics.activity_by_minute()) as listed",
        ),
      ).toBe(true);
    });
  });

  test("automatic events do not count, nor those without a person", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(
        "insert into track.event_type (name, description, is_automatic) values ('Nightly', 'A job.', true)",
      );
      await happened(db, { ada: [1, 2] });
      await happened(db, { ada: [1] }, { event: "Nightly" });
      expect(await read(db)).toEqual([
        { ago: 2, events: 1, people: 1 },
        { ago: 1, events: 1, people: 1 },
      ]);
      await db.query("update track.event set person_id = 0, identity_id = 0");
      expect(await read(db)).toEqual([]);
    });
  });

  test("analysts see minutes of enough counted people, rounded", async () => {
    await database.as("postgres", {}, async (db) => {
      const names = (count: number) => Array.from({ length: count }, (_, place) => `person-${place}`);
      await happened(db, Object.fromEntries(names(8).map((name) => [name, [2, 2]])));
      await happened(db, Object.fromEntries(names(4).map((name) => [name, [5]])));
      await db.query("select track.exclude_person('person-7', 'staff')");
      await refresh(db);
      await db.query("update analytics.setting set smallest_group = 5");
      expect(await read(db)).toEqual([
        { ago: 5, events: 4, people: 4 },
        { ago: 2, events: 14, people: 7 },
      ]);
      await db.query("set local role insights_analyst");
      const [minute, ...others] = await read(db);
      expect(others).toEqual([]);
      expect(minute).toMatchObject({ ago: 2, people: 5 });
      expect(minute?.events).not.toBe(14);
    });
  });
});

test.each([0, -1, 1441, null])("%s minutes are refused", async (minutes) => {
  await database.as("postgres", {}, async (db) => {
    const error = await db.rejects(`select * from analytics.activity_by_minute(${minutes}::int)`);
    expect(error.code).toMatch(/^CF00[18]$/);
    expect(error.message).toContain(minutes === null ? "null" : String(minutes));
  });
});

test("learners and visitors may not call it", async () => {
  for (const role of ["insights_learner", "insights_visitor"]) {
    await database.as(role, {}, async (db) => {
      expect((await db.rejects("select * from analytics.activity_by_minute()")).code).toBe("42501");
    });
  }
});
