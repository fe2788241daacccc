import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

const database = await testDatabase();

const names = ["ada", "ben", "cleo"] as const;
const name = fc.constantFrom(...names);

/** Everything that changes what is known of a person, by every door, with refreshes that are not always to the end. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant("event"), who: name, day: fc.integer({ min: 1, max: 28 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constantFrom("record", "record mine", "send"),
      who: name,
      day: fc.integer({ min: 1, max: 28 }),
      granted: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constantFrom("link", "unlink"), who: name, other: name }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("enrol"), who: name }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant("basis"), basis: fc.constantFrom("consent", "legitimate_interests") }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("refresh"), people: fc.integer({ min: 1, max: 2 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const at = (day: number): string => `2026-01-${String(day).padStart(2, "0")}T12:00:00Z`;

async function take(db: Queries, done: Step): Promise<void> {
  if ("basis" in done) {
    await db.query("update privacy.purpose set basis = $1 where purpose = 'personalization'", [done.basis]);
  } else if ("people" in done) {
    await db.query("select track.refresh($1)", [done.people]);
  } else if ("other" in done) {
    const links = await db.value<string>(
      `select count(*) from track.identity_link
       join track.identity as one using (identity_id)
       join track.identity as other on other.identity_id = linked_identity_id
       where unlinked_at is null and array[one.external_id, other.external_id] <@ array[$1, $2]`,
      [done.who, done.other],
    );
    if (done.who === done.other || (done.does === "unlink" && links === "0")) return;
    await db.query(`select track.${done.does}_identities($1, $2)`, [done.who, done.other]);
  } else if (!("day" in done)) {
    await db.query(
      "create or replace temporary view enrolled as select $$" +
        done.who +
        "$$ as person, 'c' as item, now() as enrolled_at",
    );
    await db.query("select track.sync_enrolments('pg_temp.enrolled')");
  } else if (!("granted" in done)) {
    await ingest(db, [
      message({
        userId: done.who,
        event: "Course Started",
        timestamp: at(done.day),
        properties: { item: `c${done.day % 3}` },
      }),
    ]);
  } else if (done.does === "record") {
    await db.query("select privacy.record_consent(track.find_person($1), 'personalization', $2, $3)", [
      done.who,
      done.granted,
      at(done.day),
    ]);
  } else if (done.does === "record mine") {
    await db.query("select set_config('insights.person', $1, true)", [done.who]);
    await db.query("set local role insights_learner");
    await db.query("select track.sign_in()");
    await db.query("select track.record_my_consent('personalization', $1)", [done.granted]);
    await db.query("reset role");
  } else {
    await ingest(db, [
      message({
        userId: done.who,
        event: "Segment Consent Preference Updated",
        timestamp: at(done.day),
        context: { consent: { categoryPreferences: { personalization: done.granted } } },
      }),
    ]);
  }
}

const derived = async (db: Queries) => ({
  interactions: await db.rows("select * from recommend.interaction order by person_id, item_id"),
  activity: await db.rows(
    "select * from track.activity_of(null, '-infinity', 'infinity') as activity order by person_id, day, event_type_id, item_id",
  ),
  sessions: await db.rows("select * from track.session order by person_id, session_id"),
});

/** People whose events count, from the stored decisions: the latest one, or else the lawful basis. */
async function allowed(db: Queries): Promise<string[]> {
  const byDefault =
    (await db.value("select basis from privacy.purpose where purpose = 'personalization'")) !== "consent";
  const decisions = await db.rows<{ person_id: string; granted: boolean }>(
    "select person_id, granted from privacy.consent where purpose = 'personalization' order by decided_at, recorded_at",
  );
  const latest = new Map(decisions.map(({ person_id, granted }) => [person_id, granted]));
  const active = await db.rows<{ person_id: string }>(
    "select distinct person_id from track.event where item_id is not null and person_id <> 0",
  );
  return active.map(({ person_id }) => person_id).filter((person) => latest.get(person) ?? byDefault);
}

test("whatever is decided, by whichever door, between merges and refreshes: what is derived is what a computation from scratch gives", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      await database.as("postgres", {}, async (db) => {
        await ingest(
          db,
          names.map((userId) =>
            message({ userId, event: "Course Started", timestamp: at(1), properties: { item: "c" } }),
          ),
        );
        await refresh(db);
        for (const done of steps) await take(db, done);
        await refresh(db);
        const incremental = await derived(db);
        const people = new Set((incremental.interactions as { person_id: string }[]).map(({ person_id }) => person_id));
        expect([...people].sort()).toEqual((await allowed(db)).sort());

        await db.query("select track.rebuild()");
        await refresh(db);
        expect(await derived(db)).toEqual(incremental);
        expect(await db.value("select count(*)::int from track.changed")).toBe(0);
      });
    }),
    { numRuns: runs(15, 7, database.native) },
  );
});
