import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";
import { defaults, type Happened, recompute, type Session, type Settings, type View } from "./recompute.ts";

const database = await testDatabase();

const start = Date.parse("2026-02-26T23:50:00Z");
const second = 1_000;
const minute = 60 * second;
const day = 1_440 * minute;

/** Sources, and the milliseconds between their heartbeats. */
const intervals: Record<string, number> = {
  web: 10 * second,
  slow: 30 * second,
  phone: 10 * second,
  nightly: 10 * second,
};

const automaticTypes = ["Task Graded", "Badge Awarded"];

interface Sent {
  source: string;
  message: Message;
}

const time = fc
  .record({
    day: fc.constantFrom(0, 0, 0, 0, 1, 3),
    hour: fc.constantFrom(0, 0, 0, 1, 8),
    minute: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constantFrom(0, 1, 9, 10, 11, 30)),
    second: fc.constantFrom(0, 0, 1, 4.5, 5, 9.999, 10, 15, 29.999),
  })
  .map((at) => start + at.day * day + at.hour * 60 * minute + at.minute * minute + at.second * second);

const source = fc.constantFrom("web", "web", "web", "slow", "phone", "nightly");
const name = fc.constantFrom("user", "user", "user", "browser");
const item = fc.constantFrom(null, "lesson-1", "lesson-2", "video-1");
const viewId = fc.constantFrom(null, "v1", "v2", "v3");
const interval = fc.constantFrom(undefined, undefined, undefined, 5, 7.5, 30, 1e7, 0, -3, "10");

const base = fc.record({ source, name, at: time, item, viewId, interval });

/** One event. */
const single = fc
  .tuple(
    base,
    fc.constantFrom(
      "Page Viewed",
      "Page Viewed",
      "Screen Viewed",
      "Heartbeat",
      "Video Content Playing",
      "Task Submitted",
      ...automaticTypes,
    ),
  )
  .map(([fields, event]) => [{ ...fields, event }]);

/** A page in use, with regular heartbeats, with or without its opening. */
const reading = fc
  .record({
    fields: base,
    isOpened: fc.boolean(),
    beats: fc.integer({ min: 1, max: 12 }),
    every: fc.constantFrom(5, 10, 10, 30),
  })
  .map(({ fields, isOpened, beats, every }) => [
    ...(isOpened ? [{ ...fields, event: "Page Viewed" }] : []),
    ...Array.from({ length: beats }, (_, index) => ({
      ...fields,
      item: null,
      event: "Heartbeat",
      at: fields.at + (5 + index * every) * second,
    })),
  ]);

const events = fc.array(fc.oneof({ weight: 3, arbitrary: single }, { weight: 2, arbitrary: reading }), {
  minLength: 1,
  maxLength: 12,
});

const settings: fc.Arbitrary<Settings> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(defaults) },
  {
    weight: 2,
    arbitrary: fc.record({
      timeout: fc.constantFrom(2 * second, 5 * minute, 30 * minute),
      minimumVisit: fc.constantFrom(0, 5 * second, 60 * second),
      longestGap: fc.constantFrom(1 * second, 10 * minute),
      longestView: fc.constantFrom(0, 10 * minute, 2 * day),
    }),
  },
);

const scenario = events.chain((groups) => {
  const sent = groups.flat().map(
    (event, index): Sent => ({
      source: event.source,
      message: {
        type: "track",
        messageId: `m${index}`,
        ...(event.name === "user" ? { userId: "ada" } : { anonymousId: "browser" }),
        event: event.event,
        timestamp: new Date(event.at).toISOString(),
        properties: {
          ...(event.item === null ? {} : { item: event.item }),
          ...(event.viewId === null ? {} : { viewId: event.viewId }),
          ...(event.interval === undefined ? {} : { interval: event.interval }),
        },
      },
    }),
  );
  const count = sent.length;
  const order = fc.shuffledSubarray([...sent.keys()], { minLength: count, maxLength: count });
  return fc.record({
    sent: fc.constant(sent),
    order: fc.oneof(
      fc.constant([...sent.keys()]),
      order.map((places) => [...places]),
    ),
    chunk: fc.integer({ min: 1, max: count }),
    link: fc.nat({ max: count }),
    settings,
  });
});

type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

const milliseconds = (expression: string): string => `round(extract(epoch from ${expression}) * 1000, 3)::float8`;

const read = async (db: Queries): Promise<{ sessions: Session[]; views: View[] }> => ({
  sessions: await db.rows(
    `select session_id, ${milliseconds("started_at")} as started, ${milliseconds("ended_at")} as ended, event_count, view_count,
       ${milliseconds("engaged")} as engaged, engaged_by, entry.external_id as entry_item, exit.external_id as exit_item
     from track.session
     left join track.item as entry on entry.item_id = entry_item_id left join track.item as exit on exit.item_id = exit_item_id
     order by session_id`,
  ),
  views: await db.rows(
    `select event_id, session_id, view_number, item.external_id as item, ${milliseconds("started_at")} as started,
       ${milliseconds("ended_at")} as ended, ${milliseconds("engaged")} as engaged, engaged_by, heartbeat_count, is_continued
     from track.page_view left join track.item using (item_id)
     order by session_id, view_number`,
  ),
});

async function happened(db: Queries): Promise<Happened[]> {
  const rows = await db.rows<{
    id: string;
    at: Date;
    item: string;
    name: string;
    properties: Message | null;
    client: string;
    source: string;
  }>(
    `select event_id as id, occurred_at as at, item.external_id as item, event_type.name, properties, source.name as source,
       concat_ws(' ', source.name, identity.kind, identity.external_id) as client
     from track.event join track.event_type using (event_type_id) join track.source using (source_id)
     join track.identity using (identity_id) left join track.item using (item_id)`,
  );
  return rows.map((row): Happened => {
    const own = row.properties?.["interval"];
    return {
      eventId: row.id,
      at: row.at.getTime(),
      item: row.item,
      name: row.name,
      viewId: (row.properties?.["viewId"] as string | undefined) ?? null,
      client: row.client,
      interval: typeof own === "number" && own > 0 ? Math.min(own, 86_400) * second : (intervals[row.source] ?? 0),
      isAutomatic: row.source === "nightly" || automaticTypes.includes(row.name),
    };
  });
}

async function prepare(db: Queries, { timeout, minimumVisit, longestGap, longestView }: Settings): Promise<void> {
  await db.query(
    `update track.setting set session_timeout = $1 * interval '1 ms', minimum_visit = $2 * interval '1 ms',
       longest_gap = $3 * interval '1 ms', longest_view = $4 * interval '1 ms'`,
    [timeout, minimumVisit, longestGap, longestView],
  );
  await db.query(
    `insert into track.source (name, heartbeat, is_automatic)
     values ('web', null, false), ('slow', '30 s', false), ('phone', null, false), ('nightly', null, true)`,
  );
}

/** Sends the messages in chunks with a refresh after each; the browser is linked to the user after some of them. */
async function play(db: Queries, { sent, order, chunk, link }: Scenario): Promise<void> {
  const messages: Sent[] = order.flatMap((index) => sent[index] ?? []);
  for (let place = 0; place <= messages.length; place++) {
    if (place === link)
      await ingest(db, { type: "identify", messageId: "link", anonymousId: "browser", userId: "ada" });
    const next = messages[place];
    if (next === undefined) continue;
    await db.query("select set_config('insights.source', $1, true)", [next.source]);
    expect(await ingest(db, [next.message])).toMatchObject({ accepted: 1 });
    if (place % chunk === chunk - 1) {
      await db.query("select track.refresh_sessions()");
      if (place % 2 === 1) await db.query("select track.refresh()");
    }
  }
  await refresh(db);
}

const activity = `
  select day::text, event_type.name, item.external_id as item, event_count, automatic_count, ${milliseconds("engaged")} as engaged
  from track.activity_of(null, '-infinity', 'infinity') as activity left join track.event_type using (event_type_id) left join track.item using (item_id)
  order by 1, 2, 3`;

describe("sessions of several sources, tabs and days, in any order of arrival", () => {
  test("are those of a computation from scratch, and no engaged time is longer than its session or page view", async () => {
    let continued = 0;
    await fc.assert(
      fc.asyncProperty(scenario, async (one) => {
        await database.as("postgres", {}, async (db) => {
          await prepare(db, one.settings);
          await play(db, one);

          const stored = await read(db);
          const expected = recompute(await happened(db), one.settings);
          expect(stored.sessions).toEqual(expected.sessions.toSorted((a, b) => (a.session_id < b.session_id ? -1 : 1)));
          const byNumber = (a: View, b: View) =>
            a.session_id === b.session_id ? a.view_number - b.view_number : a.session_id < b.session_id ? -1 : 1;
          expect(stored.views).toEqual(expected.views.toSorted(byNumber));
          continued += stored.views.filter((view) => view.is_continued && view.item !== null).length;

          for (const session of stored.sessions) {
            expect(session.engaged).toBeLessThanOrEqual(session.ended - session.started);
            const mine = stored.views.filter(({ session_id }) => session_id === session.session_id);
            expect(mine.reduce((sum, { engaged }) => sum + engaged, 0)).toBeCloseTo(session.engaged, 3);
            for (const view of mine) {
              expect(view.engaged).toBeGreaterThanOrEqual(0);
              expect(view.engaged).toBeLessThanOrEqual(view.ended - view.started);
              expect(view.started).toBeGreaterThanOrEqual(session.started);
              expect(view.ended).toBeLessThanOrEqual(session.ended);
            }
          }
          // Sessions do not overlap, although one that begins with a heartbeat starts before it.
          stored.sessions
            .toSorted((a, b) => a.started - b.started)
            .forEach((session, index, all) => {
              expect(session.started).toBeGreaterThan(all[index - 1]?.ended ?? Number.NEGATIVE_INFINITY);
            });

          const counted = await db.rows(activity);
          await db.query("select track.rebuild()");
          await refresh(db);
          expect(await read(db)).toEqual(stored);
          expect(await db.rows(activity)).toEqual(counted);
          expect(
            await db.rows(
              `select sum(event_count)::int as events, coalesce(sum(automatic_count), 0)::int as automatic,
                 (select coalesce(${milliseconds("sum(engaged)")}, 0) from track.session) - ${milliseconds("sum(engaged)")} as lost
               from track.activity_of(null, '-infinity', 'infinity') as activity`,
            ),
          ).toEqual([
            {
              events: one.sent.length,
              automatic: (await happened(db)).filter(({ isAutomatic }) => isAutomatic).length,
              lost: 0,
            },
          ]);
        });
      }),
      {
        numRuns: runs(30, 10, database.native),
        // A heartbeat of a page whose opening is not known: few random histories may have none.
        examples: [
          [
            {
              sent: [
                {
                  source: "web",
                  message: {
                    type: "track",
                    messageId: "m0",
                    userId: "ada",
                    event: "Heartbeat",
                    timestamp: new Date(start).toISOString(),
                    properties: { item: "lesson-1" },
                  },
                },
              ],
              order: [0],
              chunk: 1,
              link: 0,
              settings: defaults,
            },
          ],
        ],
      },
    );
    // Continued views are among them.
    expect(continued).toBeGreaterThan(0);
  });
});
