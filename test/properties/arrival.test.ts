import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";
import { type Happened, recompute, type Session, type View } from "./recompute.ts";

const database = await testDatabase();

const start = Date.parse("2026-02-27T22:00:00Z");

/** The content of a message, except its id: people, browsers, kinds of event, times near the time-out and midnight. */
const step = fc.record({
  person: fc.constantFrom("ada", "ben", "browser-1", "browser-2", "browser-3"),
  minute: fc.oneof(fc.integer({ min: 0, max: 240 }), fc.constantFrom(0, 30, 60, 61, 91, 119, 120, 121, 3 * 1440)),
  second: fc.constantFrom(0, 0, 0, 5, 10, 15, 29.999),
  event: fc.constantFrom(
    "Page Viewed",
    "Page Viewed",
    "Heartbeat",
    "Heartbeat",
    "Task Submitted",
    "Video Content Playing",
  ),
  item: fc.constantFrom(null, "page-1", "page-2", "page-3"),
  viewId: fc.constantFrom(null, "v1", "v2"),
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const isBrowser = (name: string): boolean => name.startsWith("browser");

function toMessage({ person, minute, second, event, item, viewId }: Step, index: number): Message {
  return {
    type: "track",
    messageId: `m${index}`,
    ...(isBrowser(person) ? { anonymousId: person } : { userId: person }),
    event,
    timestamp: new Date(start + minute * 60_000 + second * 1000).toISOString(),
    properties: { ...(item === null ? {} : { item }), ...(viewId === null ? {} : { viewId }) },
  };
}

/** The owner of each browser: at most one user, so that no order of arrival makes it a shared one. */
const links = fc.record({ "browser-1": fc.boolean(), "browser-2": fc.boolean(), alias: fc.boolean() });

/** The same messages in some order, split into batches, with refreshes in between. */
const plan = (count: number) =>
  fc.record({
    order: fc.shuffledSubarray(
      Array.from({ length: count }, (_, index) => index),
      { minLength: count, maxLength: count },
    ),
    cuts: fc.array(fc.nat({ max: Math.max(count - 1, 0) }), { maxLength: 4 }),
    refreshes: fc.array(fc.nat({ max: 4 }), { maxLength: 3 }),
    repeat: fc.boolean(),
  });

const scenario = fc.tuple(fc.array(step, { minLength: 1, maxLength: 30 }), links).chain(([steps, linked]) => {
  const messages = steps.map(toMessage);
  const at = new Date(start).toISOString();
  for (const browser of ["browser-1", "browser-2"] as const) {
    if (linked[browser]) {
      const userId = browser === "browser-1" ? "ada" : "ben";
      messages.push({
        type: "identify",
        messageId: browser,
        anonymousId: browser,
        userId,
        timestamp: at,
        traits: { of: userId },
      });
    }
  }
  if (linked.alias)
    messages.push({ type: "alias", messageId: "alias", previousId: "ben", userId: "ada", timestamp: at });
  return fc.tuple(fc.constant(messages), plan(messages.length), plan(messages.length));
});

interface State {
  events: object[];
  people: string[][];
  traits: object[];
  sessions: (Session & { who: string })[];
  views: (View & { who: string })[];
  activity: object[];
}

const milliseconds = (expression: string): string => `(extract(epoch from ${expression}) * 1000)::float8`;

/**
 * All data by names, because keys depend on the order of arrival. A person is identified by the smallest of the names.
 */
async function read(db: Queries): Promise<State> {
  await db.query(
    "create temp view owner as select person_id, min(external_id) filter (where kind = 'user' and external_id in ('ada', 'ben')) as name from track.identity group by 1",
  );
  await db.query(
    "create or replace temp view called as select person_id, coalesce(name, (select min(external_id) from track.identity where identity.person_id = owner.person_id)) as name from owner",
  );
  const state = {
    events: await db.rows(
      `select event_id, identity.external_id, identity.kind, called.name as who, occurred_at, event_type.name as event,
         item.external_id as item, properties
       from track.event join track.identity using (identity_id) join called on called.person_id = event.person_id
       join track.event_type using (event_type_id) left join track.item using (item_id)
       order by event_id`,
    ),
    people: (
      await db.rows<{ names: string[] }>(
        "select array_agg(distinct external_id order by external_id) as names from track.identity where kind <> 'none' group by person_id order by 1",
      )
    ).map(({ names }) => names),
    traits: await db.rows(
      "select external_id, name, value, set_at from track.trait join track.identity using (identity_id) order by 1, 2",
    ),
    sessions: await db.rows<Session & { who: string }>(
      `select called.name as who, session_id, ${milliseconds("started_at")} as started, ${milliseconds("ended_at")} as ended, event_count,
         view_count, ${milliseconds("engaged")} as engaged, engaged_by, entry.external_id as entry_item, exit.external_id as exit_item
       from track.session join called using (person_id)
       left join track.item as entry on entry.item_id = entry_item_id left join track.item as exit on exit.item_id = exit_item_id
       order by session_id`,
    ),
    views: await db.rows<View & { who: string }>(
      `select called.name as who, event_id, session_id, view_number, item.external_id as item, ${milliseconds("started_at")} as started,
         ${milliseconds("ended_at")} as ended, ${milliseconds("engaged")} as engaged, engaged_by, heartbeat_count, is_continued
       from track.page_view join called using (person_id) left join track.item using (item_id)
       order by event_id`,
    ),
    activity: await db.rows(
      `select called.name as who, day::text, event_type.name as event, item.external_id as item, event_count, ${milliseconds("engaged")} as engaged
       from track.activity_of(null, '-infinity', 'infinity') as activity join called using (person_id) left join track.event_type using (event_type_id) left join track.item using (item_id)
       order by 1, 2, 3, 4`,
    ),
  };
  await db.query("drop view called, owner");
  return state;
}

async function play(
  messages: Message[],
  { order, cuts, refreshes, repeat }: { order: number[]; cuts: number[]; refreshes: number[]; repeat: boolean },
) {
  return await database.as("postgres", {}, async (db) => {
    const bounds = [0, ...new Set(cuts.toSorted((a, b) => a - b)), messages.length];
    for (let part = 0; part + 1 < bounds.length; part++) {
      const batch = order.slice(bounds[part], bounds[part + 1]).map((index) => messages[index]);
      await ingest(db, batch);
      if (repeat) expect(await ingest(db, batch)).toMatchObject({ accepted: 0, duplicates: batch.length });
      if (refreshes.includes(part)) {
        // Not always to the end.
        await db.query("select track.refresh_sessions(1)");
        await db.query("select track.refresh(1, 'track.person_set')");
      }
    }
    await refresh(db);
    const incremental = await read(db);
    await db.query("select track.rebuild()");
    await refresh(db);
    return { incremental, rebuilt: await read(db) };
  });
}

describe("whatever the order of arrival, the batches and the refreshes in between", () => {
  test("events, people, traits, sessions, page views and activity are the same, and equal a computation from scratch", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async ([messages, one, other]) => {
        const a = await play(messages, one);
        const b = await play(messages, other);
        expect(a.incremental).toEqual(a.rebuilt);
        expect(b.incremental).toEqual(a.incremental);

        // And the independent computation from the events.
        const byPerson = Map.groupBy(
          a.incremental.events as (Record<string, unknown> & { who: string })[],
          ({ who }) => who,
        );
        const sessions: object[] = [];
        const views: object[] = [];
        const activity = new Map<string, { event_count: number; engaged: number }>();
        for (const [who, events] of byPerson) {
          const happened = events.map(
            (event): Happened => ({
              eventId: event["event_id"] as string,
              at: (event["occurred_at"] as Date).getTime(),
              item: event["item"] as string | null,
              name: event["event"] as string,
              viewId: ((event["properties"] as Message | null)?.["viewId"] as string | undefined) ?? null,
              client: `${event["kind"]} ${event["external_id"]}`,
              interval: 10_000,
              isAutomatic: false,
            }),
          );
          const expected = recompute(happened);
          sessions.push(...expected.sessions.map((session) => ({ who, ...session })));
          views.push(...expected.views.map((view) => ({ who, ...view })));
          const add = (at: number, name: string | null, item: string | null, count: number, engaged: number): void => {
            const key = JSON.stringify([who, new Date(at).toISOString().slice(0, 10), name, item]);
            const sum = activity.get(key) ?? { event_count: 0, engaged: 0 };
            sum.event_count += count;
            sum.engaged += engaged;
            activity.set(key, sum);
          };
          for (const event of happened) {
            const view = expected.views.find(({ event_id }) => event_id === event.eventId);
            add(event.at, event.name, event.item, 1, 0);
            if (view !== undefined) add(view.started, null, view.item, 0, view.engaged);
          }
        }
        const byKey = <T extends object>(rows: T[], key: keyof T): T[] =>
          rows.toSorted((x, y) => (x[key] < y[key] ? -1 : 1));
        expect(byKey(a.incremental.sessions, "session_id")).toEqual(byKey(sessions as Session[], "session_id"));
        expect(byKey(a.incremental.views, "event_id")).toEqual(byKey(views as View[], "event_id"));
        expect(
          Object.fromEntries(
            (a.incremental.activity as Record<string, unknown>[]).map(
              ({ who, day, event, item, event_count, engaged }) => [
                JSON.stringify([who, day, event, item]),
                { event_count, engaged },
              ],
            ),
          ),
        ).toEqual(Object.fromEntries(activity));
      }),
      { numRuns: runs(15, 7, database.native) },
    );
  });

  test("undoing a link gives the state without it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), fc.nat({ max: 19 }), async (steps, place) => {
        const messages = steps.map(toMessage);
        const bare = await database.as("postgres", {}, async (db) => {
          await ingest(db, [
            { type: "identify", messageId: "a", userId: "ada" },
            { type: "identify", messageId: "b", anonymousId: "browser-1" },
            ...messages,
          ]);
          await refresh(db);
          return await read(db);
        });
        const undone = await database.as("postgres", {}, async (db) => {
          await ingest(db, [
            { type: "identify", messageId: "a", userId: "ada" },
            { type: "identify", messageId: "b", anonymousId: "browser-1" },
            ...messages.slice(0, place),
          ]);
          await refresh(db);
          await db.query("select track.link_identities('ada', 'browser-1')");
          await refresh(db);
          await ingest(db, messages);
          await refresh(db);
          await db.query("select track.unlink_identities('browser-1', 'ada')");
          await refresh(db);
          return await read(db);
        });
        expect(undone).toEqual(bare);
      }),
      { numRuns: runs(8, 3, database.native) },
    );
  });
});
