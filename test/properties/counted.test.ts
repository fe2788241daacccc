import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/* Whatever people do who are not counted, the figures are those of the counted people alone. */
const database = await testDatabase();

const users = ["ada", "ben", "cleo", "dan", "eve"];
const courses = ["course-a", "course-b"];
const parents: Record<string, string> = { "page-a": "course-a", "page-b": "course-b", "task-b": "course-b" };
const start = Date.UTC(2026, 1, 2);

const action = fc.record({
  who: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...users) },
    { weight: 2, arbitrary: fc.constantFrom("browser-1", "browser-2", "browser-3", "ada-browser", "eve-browser") },
  ),
  item: fc.constantFrom(...courses, ...Object.keys(parents)),
  event: fc.constantFrom("Page Viewed", "Course Enrolled", "Task Submitted"),
  hour: fc.integer({ min: 0, max: 24 * 40 }),
});
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const world = fc.record({
  actions: fc.array(action, { minLength: 5, maxLength: 40 }),
  excluded: fc.subarray(users),
  included: fc.subarray(users),
  enrolled: fc.subarray(users),
  refreshed: fc.boolean(),
  late: fc.boolean(),
});

const owner = (who: string): string => who.replace(/^(ada|eve)-browser$/, "$1");

const toMessage = ({ who, item, event, hour }: Action, index: number): Message => ({
  type: "track",
  messageId: `m${index}`,
  ...(users.includes(who) ? { userId: who } : { anonymousId: who }),
  event,
  timestamp: new Date(start + hour * 3_600_000).toISOString(),
  properties: { item },
});

async function makeWorld(db: Queries): Promise<void> {
  await ingest(
    db,
    [...courses, ...Object.keys(parents)].map((item) => ({
      type: "track",
      messageId: item,
      userId: "catalogue",
      event: "Published",
      timestamp: "2026-01-01T00:00:00Z",
      properties: { item, itemKind: item.split("-")[0], parent: parents[item] },
    })),
  );
  await db.query(
    "update analytics.setting set smallest_group = 2; create table public.enrolled (person text, item text, enrolled_at timestamptz)",
  );
}

/** Sends the actions of the given people, with their links and enrolments. */
async function act(db: Queries, actions: Action[], enrolled: string[], linked: string[]): Promise<void> {
  await ingest(db, actions.map(toMessage));
  await ingest(
    db,
    linked.map((person) => ({
      type: "identify",
      messageId: `i ${person}`,
      userId: person,
      anonymousId: `${person}-browser`,
    })),
  );
  await db.query(
    "insert into public.enrolled select person, 'course-a', '2026-02-03Z' from unnest($1::text[]) as person",
    [enrolled],
  );
  await db.query("select track.sync_enrolments('public.enrolled')");
}

async function figures(db: Queries): Promise<unknown> {
  await refresh(db);
  const read = async (sql: string) => [sql, await db.rows(sql)];
  const popular = [];
  for (const kind of ["null", "'course'"])
    for (const measure of ["people", "events", "engaged"])
      for (const since of ["2026-02-02", "2026-02-05 13:00"])
        popular.push(
          await read(
            `select * from analytics.popular_items(${kind}, '${since}Z', '2026-03-20 07:00Z', '7 days', 10, '${measure}')`,
          ),
        );
  // Before and after the first refresh of the view.
  const popularity =
    "select external_id, round(popularity::numeric, 9) as popularity from recommend._popularity('course') join track.item using (item_id) order by 1";
  const unpopulated = await read(popularity);
  await db.query("refresh materialized view analytics.item_popularity");
  return [
    ...popular,
    unpopulated,
    await read(popularity),
    await read(
      `select external_id, event_count, person_count, engaged, last_day, round(decayed_event_count::numeric, 6) as decayed
       from analytics.item_popularity join track.item using (item_id) order by 1`,
    ),
    await read(
      `select person.external_id as person, item.external_id as item, strength, first_at, last_at
       from recommend._training_rows('course') as training
       join track.identity as person on person.identity_id = training.person_id
       join track.item on item.item_id = training.item_id
       order by 1, 2`,
    ),
    await read("select first_day, last_day from analytics._active_days()"),
    await read("update recommend.setting set fewest_people = 2 returning only_row"),
    await read("select * from recommend.due_trainings()"),
    await read("update analytics.prediction_target set fewest_rows = 100 returning target"),
    await read("select * from analytics.due_predictions()"),
  ];
}

test("of all, and of the counted people alone", { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(world, async ({ actions, excluded, included, enrolled, refreshed, late }) => {
      const counted = users.filter((person) => !excluded.includes(person) || included.includes(person));
      const all = await database.as("postgres", {}, async (db) => {
        await makeWorld(db);
        await ingest(
          db,
          users.map((userId) => ({ type: "identify", messageId: `u ${userId}`, userId })),
        );
        // An exclusion applies to the past as well.
        if (late) await act(db, actions, enrolled, ["ada", "eve"]);
        if (refreshed) await refresh(db);
        for (const person of excluded) await db.query("select track.exclude_person($1, 'test')", [person]);
        if (refreshed) await refresh(db);
        if (!late) await act(db, actions, enrolled, ["ada", "eve"]);
        if (refreshed) await refresh(db);
        for (const person of included.filter((one) => excluded.includes(one)))
          await db.query("select track.include_person($1)", [person]);
        return await figures(db);
      });
      const alone = await database.as("postgres", {}, async (db) => {
        await makeWorld(db);
        await act(
          db,
          actions.filter(({ who }) => counted.includes(owner(who))),
          enrolled.filter((person) => counted.includes(person)),
          ["ada", "eve"].filter((person) => counted.includes(person)),
        );
        return await figures(db);
      });
      expect(all).toEqual(alone);
    }),
    { numRuns: runs(10, 4, database.native) },
  );
});
