import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

const database = await testDatabase();

const start = Date.parse("2026-01-25T00:00:00Z");
const HOUR = 3_600_000;

const name = fc.constantFrom("ada", "ben", "cleo");
const browser = fc.constantFrom("b1", "b2");
const hour = fc.integer({ min: 0, max: 24 * 16 });

const event = fc.record({
  what: fc.constant("event" as const),
  who: fc.oneof(name, browser),
  hour,
  event: fc.constantFrom("Page Viewed", "Page Viewed", "Heartbeat", "Task Submitted"),
  item: fc.constantFrom(null, "page-1", "page-2", "course-1"),
  optedOut: fc.boolean(),
});
const action = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ what: fc.constant("events" as const), events: fc.array(event, { maxLength: 8 }) }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("identify" as const), user: name, browser }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("alias" as const), user: name, previous: name }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("unlink" as const), user: name, browser }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("rebuild" as const), all: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("refresh sessions" as const), people: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("refresh rollup" as const), people: fc.integer({ min: 1, max: 3 }) }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const isBrowser = (who: string): boolean => who.startsWith("b") && who.length === 2;

async function perform(db: Queries, step: Action, key: string): Promise<void> {
  switch (step.what) {
    case "events":
      await ingest(
        db,
        step.events.map(
          ({ who, hour: at, event: type, item, optedOut }, index): Message => ({
            type: "track",
            messageId: `${key}-${index}`,
            ...(isBrowser(who) ? { anonymousId: who } : { userId: who }),
            event: type,
            timestamp: new Date(start + at * HOUR).toISOString(),
            properties: {
              viewId: "v",
              ...(item === null
                ? {}
                : item === "course-1"
                  ? { item, itemKind: "course" }
                  : { item, itemKind: "page", parent: "course-1" }),
            },
            ...(optedOut ? { context: { consent: { categoryPreferences: { analytics: false } } } } : {}),
          }),
        ),
      );
      return;
    case "identify":
      await ingest(db, [{ type: "identify", messageId: key, userId: step.user, anonymousId: step.browser }]);
      return;
    case "alias":
      await ingest(db, [{ type: "alias", messageId: key, userId: step.user, previousId: step.previous }]);
      return;
    case "unlink":
      if (
        (await db.value(
          `select exists (
             select from track.identity_link as link
             join track.identity as one using (identity_id)
             join track.identity as other on other.identity_id = linked_identity_id
             where link.unlinked_at is null and one.external_id = $1 and other.external_id = $2)`,
          [step.browser, step.user],
        )) === true
      ) {
        await db.query("select track.unlink_identities($1, $2)", [step.browser, step.user]);
      }
      return;
    case "rebuild":
      await db.query("select track.rebuild($1)", [step.all ? null : "recommend.interaction"]);
      return;
    case "refresh sessions":
      await db.query("select track.refresh_sessions($1)", [step.people]);
      return;
    case "refresh rollup":
      await db.query("select track.refresh($1, 'track.person_set')", [step.people]);
  }
}

/** People who are counted: with a user identity, whose key is then that of the person. */
const isCounted =
  "exists (select from track.identity as key where key.identity_id = event.person_id and key.kind = 'user')";

/** The whole buckets from $2 until $3. */
const within = (bucket: string): string => `
  occurred_at >= date_trunc(${bucket}, $2::timestamptz, 'UTC')
  and date_trunc(${bucket}, occurred_at, 'UTC') < $3::timestamptz`;

/** Results of the functions, and those of plain queries over the events. */
async function figures(db: Queries, since: string, until: string): Promise<[object, object]> {
  const trends: Record<string, object> = {};
  const counts: Record<string, object> = {};
  for (const [bucket, name] of ["hour", "day", "week", "month"].flatMap((one) => [
    [one, "Page Viewed"],
    [one, "Heartbeat"],
  ])) {
    const label = `${name} by ${bucket}`;
    trends[label] = await db.rows(
      `select bucket_start, event_count::int as events, person_count::int as people
       from analytics.trend($4, $1, $2, $3) where event_count > 0 order by 1`,
      [bucket, since, until, name],
    );
    counts[label] = await db.rows(
      `select date_trunc($1, occurred_at at time zone 'UTC') at time zone 'UTC' as bucket_start,
         count(*)::int as events, count(distinct nullif(person_id, 0))::int as people
       from track.event join track.event_type using (event_type_id)
       where name = $4 and ${within("$1")}
       group by 1 order by 1`,
      [bucket, since, until, name],
    );
  }
  // The person of a continued page view, which has no event, is known after the refresh of the sessions.
  if ((await db.value("select exists (select from track.page_view where is_continued)")) === true) {
    return [trends, counts];
  }
  for (const kind of [null, "course", "page"]) {
    const known = await db.value("select exists (select from track.item where kind = $1)", [kind]);
    if (kind !== null && known !== true) continue;
    trends[`items of kind ${kind}`] = await db.rows(
      `select item, event_count::int as events, person_count::int as people
       from analytics.popular_items($1, $2, $3, measure => 'events') order by item`,
      [kind, since, until],
    );
    counts[`items of kind ${kind}`] = await db.rows(
      `select item.external_id as item, count(*)::int as events, count(distinct person_id)::int as people
       from track.event
       join track.item_ancestor as ancestor on ancestor.item_id = event.item_id and ($1::text is not null or depth = 0)
       join track.item on item.item_id = ancestor.ancestor_item_id
       where ($1 is null or item.kind = $1) and ${within("'day'")} and ${isCounted}
       group by 1 order by 1`,
      [kind, since, until],
    );
  }
  return [trends, counts];
}

test("trends and popular items agree with the events at any moment before, between and after refreshes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { minLength: 1, maxLength: 8 }),
      fc.tuple(hour, hour),
      async (steps, [one, other]) => {
        const day = (at: number): number => start + Math.floor(at / 24) * 24 * HOUR;
        const since = new Date(day(Math.min(one, other))).toISOString();
        const until = new Date(day(Math.max(one, other) + 24)).toISOString();
        await database.as("postgres", {}, async (db) => {
          await db.query("update analytics.setting set smallest_group = 1");
          for (const [index, step] of steps.entries()) {
            await perform(db, step, `${index}`);
            const [answered, counted] = await figures(db, since, until);
            expect(answered).toEqual(counted);
          }
          await refresh(db);
          const [refreshed, counted] = await figures(db, since, until);
          expect(refreshed).toEqual(counted);
        });
      },
    ),
    { numRuns: runs(7, 3, database.native) },
  );
});
