import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/* A declared property makes trends faster, and changes no figure of them. */
const database = await testDatabase();

const people = Array.from({ length: 14 }, (_, index) => (index < 11 ? `user-${index}` : `b-${index}`));
const event = fc.record({
  who: fc.constantFrom(...people),
  hour: fc.integer({ min: 0, max: 24 * 20 }),
  plan: fc.constantFrom(undefined, "pro", "free", "edu", 1, "1", "other", ""),
  refused: fc.boolean(),
});
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

const send = async (db: Queries, events: readonly Event[]): Promise<void> => {
  await ingest(
    db,
    events.map(({ who, hour, plan, refused }, index) =>
      message({
        userId: who.startsWith("b") ? undefined : who,
        anonymousId: who.startsWith("b") ? who : undefined,
        timestamp: new Date(Date.UTC(2026, 1, 20, hour)).toISOString(),
        properties: plan === undefined ? {} : { plan },
        ...(refused && index % 5 === 0 ? { context: { consent: { categoryPreferences: { analytics: false } } } } : {}),
      }),
    ),
  );
};

const questions = ["admin", "analyst"].flatMap((role) =>
  [
    "'day', '2026-02-20Z', '2026-03-12Z'",
    "'week', '2026-02-16Z', '2026-03-16Z', top_values => 2",
    "'month', '2026-02-01Z', '2026-04-01Z', top_values => 60",
    ...(role === "admin" ? ["'day', '2026-02-20Z', '2026-03-12Z', zone => 'Asia/Kolkata'"] : []),
    "'week', '2026-02-16Z', '2026-03-16Z', among => 'signed_in'",
  ].map((period) => ({
    role,
    sql: `select to_jsonb(point) as point
      from analytics.trend('Task Submitted', ${period}, breakdown => 'property.plan') as point`,
  })),
);
const answers = async (db: Queries): Promise<unknown[]> => {
  const all: unknown[] = [];
  for (const { role, sql } of questions) {
    await db.query(`set local role insights_${role}`);
    all.push([role, sql, await db.rows(sql)]);
    await db.query("reset role");
  }
  return all;
};

test("trends by a declared property are those by the same property without a declaration", async () => {
  let points = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { minLength: 1, maxLength: 150 }),
      fc.array(event, { maxLength: 30 }),
      fc.constantFrom(1, 3, 50),
      async (stored, queued, most) => {
        await database.as("postgres", {}, async (db) => {
          await db.query("insert into track.event_type (name) values ('Task Submitted')");
          await db.query("select track.declare_property('Task Submitted', 'plan', $1)", [most]);
          await send(db, stored);
          await refresh(db);
          await send(db, queued);
          await db.query(
            "select track.exclude_person(external_id, 'test') from track.identity where external_id = 'user-1'",
          );
          const declared = await answers(db);
          points += JSON.stringify(declared).length;
          await refresh(db);
          expect(await answers(db)).toEqual(declared);
          await db.query("select track.undeclare_property('Task Submitted', 'plan')");
          expect(await answers(db)).toEqual(declared);
        });
      },
    ),
    { numRuns: runs(8, 2, database.native) },
  );
  expect(points).toBeGreaterThan(1000);
});
