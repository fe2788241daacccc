import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { dataset, hasDataset } from "../../support/datasets.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, message, refresh } from "./messages.ts";

const database = await testDatabase();

const at = (minute: number, second = 0): string => new Date(Date.UTC(2026, 2, 1, 10, minute, second)).toISOString();
const view = (minute: number, item: string, fields: Message = {}): Message =>
  message({ type: "page", timestamp: at(minute), properties: { item }, ...fields });

const sessions = `
  select started_at, ended_at, event_count, view_count, extract(epoch from engaged)::int as engaged, engaged_by,
    entry.external_id as entry, exit.external_id as exit
  from track.session
  left join track.item as entry on entry.item_id = entry_item_id
  left join track.item as exit on exit.item_id = exit_item_id
  where person_id = track.find_person('ada')
  order by started_at`;

test("a pause of more than the time-out ends a session; idle time beyond the cap is not engaged", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [view(0, "a"), view(2, "b"), view(20, "c"), message({ timestamp: at(50) }), view(81, "d")]);
    expect(await db.rows("select * from track.refresh_sessions()")).toEqual([
      { people: 1, sessions: 2, page_views: 4 },
    ]);
    // The time-out is 30 minutes, the cap 10: 2 + 10 + 10 minutes.
    expect(await db.rows(sessions)).toEqual([
      {
        started_at: new Date(at(0)),
        ended_at: new Date(at(50)),
        event_count: 4,
        view_count: 3,
        engaged: 22 * 60,
        engaged_by: "gaps",
        entry: "a",
        exit: "c",
      },
      {
        started_at: new Date(at(81)),
        ended_at: new Date(at(81)),
        event_count: 1,
        view_count: 1,
        engaged: 0,
        engaged_by: "nothing",
        entry: "d",
        exit: "d",
      },
    ]);
  });
});

test("an event that arrives late joins two sessions, and both consumers are notified", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [view(0, "a"), view(40, "b")]);
    await refresh(db);
    await db.query("delete from track.changed");
    expect(await db.rows(sessions)).toHaveLength(2);
    await ingest(db, [view(20, "c")]);
    expect(await db.rows("select * from track.refresh_sessions()")).toEqual([
      { people: 1, sessions: 1, page_views: 3 },
    ]);
    expect(await db.rows(sessions)).toMatchObject([
      { started_at: new Date(at(0)), ended_at: new Date(at(40)), event_count: 3 },
    ]);
    expect(
      await db.value(
        "select array_agg(consumer order by consumer) = array(select consumer from track.consumer order by 1) from track.changed where person_id = track.find_person('ada')",
      ),
    ).toBe(true);
  });
});

test("each call processes at most the given number of people, until none remain; then it writes nothing", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(
      db,
      [1, 2, 3, 4, 5].map((number) => message({ userId: `p${number}` })),
    );
    const people: number[] = [];
    do people.push(await db.value<number>("select people from track.refresh_sessions(2)"));
    while (people.at(-1) !== 0);
    expect(people).toEqual([2, 2, 1, 0]);
    expect(await db.value("select count(*) from track.session")).toBe("5");
  });
});

/** A page in use: its heartbeats, of which the first is sent 5 s after the given time. */
const beats = (
  minute: number,
  count: number,
  viewId: string | undefined,
  fields: Message = {},
  every = 10,
): Message[] =>
  Array.from({ length: count }, (_, index) =>
    message({
      event: "Heartbeat",
      timestamp: at(minute, 5 + index * every),
      properties: { viewId },
      ...fields,
    }),
  );
const opened = (minute: number, item: string, viewId: string | undefined, fields: Message = {}): Message =>
  view(minute, item, { properties: { item, viewId }, ...fields });

const engaged = `
  select extract(epoch from started_at - '2026-03-01T10:00:00Z')::float8 / 60 as minute, extract(epoch from engaged)::float8 as engaged,
    engaged_by, view_count as views
  from track.session
  where person_id = track.find_person('ada')
  order by started_at`;
const views = `
  select item.external_id as item, sum(extract(epoch from engaged))::float8 as engaged, string_agg(distinct engaged_by, ', ') as by,
    count(*) filter (where not is_continued)::int as opened, count(*) filter (where is_continued)::int as continued
  from track.page_view left join track.item using (item_id)
  where person_id = track.find_person('ada')
  group by 1
  order by 1`;
const night = 12 * 60;

async function from(db: Queries, source: string, messages: Message[]): Promise<void> {
  await db.query("select set_config('insights.source', $1, true)", [source]);
  expect(await ingest(db, messages)).toMatchObject({ accepted: messages.length });
}

describe("a page that stays open", () => {
  test("over night is continued in the session of the morning, and the night does not count", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [opened(0, "lesson", "v1"), ...beats(0, 6, "v1"), ...beats(night, 180, "v1")]);
      await refresh(db);
      expect(await db.rows(engaged)).toEqual([
        { minute: 0, engaged: 55, engaged_by: "heartbeats", views: 1 },
        { minute: night, engaged: 1795, engaged_by: "heartbeats", views: 0 },
      ]);
      expect(await db.rows(views)).toEqual([
        { item: "lesson", engaged: 1850, by: "heartbeats", opened: 1, continued: 1 },
      ]);
      // The rollup and the list credit the lesson too, with one visit.
      expect(
        await db.rows(
          `select day::text, sum(event_count)::int as events, extract(epoch from sum(engaged))::float8 as engaged
           from track.activity_of(null, '-infinity', 'infinity') as activity join track.item using (item_id)
           where external_id = 'lesson' group by day order by 1`,
        ),
      ).toEqual([{ day: "2026-03-01", events: 1, engaged: 1850 }]);
    });
  });

  test("over lunch beside other pages has its own time", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [
        opened(0, "lesson", "v1"),
        ...beats(0, 6, "v1"),
        opened(60, "quiz", "v2"),
        ...beats(60, 3, "v2"),
        ...beats(62, 3, "v1"),
      ]);
      await refresh(db);
      expect(await db.rows(engaged)).toMatchObject([
        { minute: 0, engaged: 55 },
        { minute: 60, engaged: 50, views: 1 },
      ]);
      expect(await db.rows(views)).toMatchObject([
        { item: "lesson", engaged: 80, opened: 1, continued: 1 },
        { item: "quiz", engaged: 25, opened: 1, continued: 0 },
      ]);
    });
  });

  test("whose opening arrives late, or is removed, is credited to its item, or to none", async () => {
    await database.as("postgres", {}, async (db) => {
      const unknown = [{ item: null, engaged: 15, by: "heartbeats", opened: 0, continued: 1 }];
      await ingest(db, beats(night, 2, "v1"));
      await refresh(db);
      expect(await db.rows(engaged)).toEqual([{ minute: night, engaged: 15, engaged_by: "heartbeats", views: 0 }]);
      expect(await db.rows(views)).toEqual(unknown);

      await ingest(db, [opened(0, "lesson", "v1", { userId: undefined, anonymousId: "browser" })]);
      await refresh(db);
      expect(await db.rows(views)).toEqual(unknown);
      await ingest(db, [{ type: "identify", messageId: "link", anonymousId: "browser", userId: "ada" }]);
      await refresh(db);
      expect(await db.rows(views)).toEqual([
        { item: "lesson", engaged: 15, by: "heartbeats, nothing", opened: 1, continued: 1 },
      ]);
      // A later opening of the same name, still before the morning.
      await ingest(db, [opened(100, "other", "v1")]);
      await refresh(db);
      expect(await db.rows(views)).toMatchObject([
        { item: "lesson", continued: 0 },
        { item: "other", continued: 1 },
      ]);
      await db.query("select track.unlink_identities('browser', 'ada')");
      await refresh(db);
      expect(await db.rows(views)).toMatchObject([{ item: "other", opened: 1, continued: 1 }]);
      expect(
        await db.value(
          "select count(*) from track.activity_of(null, '-infinity', 'infinity') as activity join track.item using (item_id) where external_id = 'other' and engaged > '0'",
        ),
      ).toBe("1");
    });
  });

  test("for longer than track.setting.longest_view is unknown; then the item of its heartbeat counts", async () => {
    await database.as("postgres", {}, async (db) => {
      const named = { properties: { viewId: "v1", item: "video" } };
      await ingest(db, [opened(0, "lesson", "v1"), ...beats(night, 2, "v1"), ...beats(3 * night, 2, "v1", named)]);
      await refresh(db);
      expect(await db.rows(views)).toMatchObject([{ item: "lesson", continued: 2 }]);
      await db.query("update track.setting set longest_view = '1 day'");
      await db.query("select track.rebuild()");
      await refresh(db);
      expect(await db.rows(views)).toMatchObject([
        { item: "lesson", engaged: 15, continued: 1 },
        { item: "video", engaged: 15, continued: 1 },
      ]);
    });
  });

  test("without a name is that of the item of its heartbeats", async () => {
    await database.as("postgres", {}, async (db) => {
      const playing = (item: string) => ({ event: "Video Content Playing", properties: { item } });
      await ingest(db, [
        ...beats(0, 3, undefined, playing("video-1")),
        ...beats(1, 2, undefined, playing("video-2")),
        ...beats(2, 1, undefined),
      ]);
      await refresh(db);
      expect(await db.rows(engaged)).toEqual([{ minute: 0, engaged: 45, engaged_by: "heartbeats", views: 0 }]);
      expect(await db.rows(views)).toEqual([
        { item: "video-1", engaged: 25, by: "heartbeats", opened: 0, continued: 1 },
        { item: "video-2", engaged: 15, by: "heartbeats", opened: 0, continued: 1 },
        { item: null, engaged: 5, by: "heartbeats", opened: 0, continued: 1 },
      ]);
    });
  });
});

test("a viewId may be any text, of any length; one that every view shares means the last view of that name", async () => {
  await database.as("postgres", {}, async (db) => {
    const names: unknown[] = [
      "x".repeat(30_000),
      "",
      "\u{1F4DA}",
      7,
      true,
      { a: [1] },
      "'; drop table track.event; --",
    ];
    for (const [index, viewId] of names.entries()) {
      const named = { properties: { viewId } };
      const item = `lesson-${index}`;
      expect(
        await ingest(db, [
          view(index * 60, item, { properties: { item, viewId } }),
          ...beats(index * 60, 2, undefined, named),
          ...beats(night + index * 60, 2, undefined, named),
        ]),
      ).toMatchObject({ accepted: 5 });
    }
    await refresh(db);
    expect(await db.rows(views)).toEqual(
      names.map((_, index) => ({ item: `lesson-${index}`, engaged: 30, by: "heartbeats", opened: 1, continued: 1 })),
    );
  });
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      ...[0, 60, 2 * night].map((minute) => opened(minute, `lesson-${minute}`, "1")),
      ...[0, night].flatMap((minute) => beats(minute, 2, "1")),
    ]);
    await refresh(db);
    expect(await db.rows(views)).toMatchObject([
      { item: "lesson-0", engaged: 15, continued: 0 },
      { item: `lesson-${2 * night}`, engaged: 0, continued: 0 },
      { item: "lesson-60", engaged: 15, continued: 1 },
    ]);
  });
});

describe("intervals of heartbeats", () => {
  test("may be those of the source or of the message; each counts for its own", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("insert into track.source (name, heartbeat) values ('slow', '30 s')");
      await from(db, "slow", [opened(0, "lesson", "v1"), ...beats(0, 10, "v1", {}, 30)]);
      await from(db, "web", [opened(10, "quiz", "v2"), ...beats(10, 10, "v2")]);
      const own = { properties: { viewId: "v3", interval: 60 } };
      await from(db, "app", [opened(20, "video", "v3"), ...beats(20, 10, "v3", own, 60)]);
      await refresh(db);
      expect(await db.rows(engaged)).toEqual([
        { minute: 0, engaged: 275 + 95 + 545, engaged_by: "heartbeats", views: 3 },
      ]);
      expect(await db.rows(views)).toMatchObject([
        { item: "lesson", engaged: 275 },
        { item: "quiz", engaged: 95 },
        { item: "video", engaged: 545 },
      ]);
    });
  });

  test("of a source are those of a level of it that is new, too", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("insert into track.source (name, heartbeat, is_automatic) values ('slow', '30 s', true)");
      await db.query("select track._source_id('slow', 'anonymous'), track._source_id('fast', 'anonymous')");
      expect(
        await db.rows(
          "select name, level, heartbeat::text, is_automatic from track.source where name <> 'default' order by source_id",
        ),
      ).toEqual([
        { name: "slow", level: "server", heartbeat: "00:00:30", is_automatic: true },
        { name: "slow", level: "anonymous", heartbeat: "00:00:30", is_automatic: false },
        { name: "fast", level: "anonymous", heartbeat: null, is_automatic: false },
      ]);
    });
  });

  test("other than positive numbers are ignored, and a long one adds no time that has not passed", async () => {
    await database.as("postgres", {}, async (db) => {
      for (const [index, interval] of [0, -5, "60", null, [60], 1e300, 1e-300].entries()) {
        const minute = index * 60;
        await ingest(db, [
          opened(minute, "lesson", `v${index}`),
          ...beats(minute, 3, `v${index}`, { properties: { viewId: `v${index}`, interval } }, 20),
        ]);
      }
      await refresh(db);
      expect((await db.rows<{ engaged: number }>(engaged)).map((row) => row.engaged)).toEqual([
        25, 25, 25, 25, 25, 45, 5,
      ]);
    });
  });
});

describe("several clients in one session", () => {
  test("are measured each by its own means: heartbeats, or gaps for a client without", async () => {
    await database.as("postgres", {}, async (db) => {
      await from(db, "phone", [view(0, "a"), view(4, "b")]);
      await from(db, "web", [opened(6, "c", "v1"), ...beats(6, 6, "v1"), opened(7, "d", "v2")]);
      await refresh(db);
      expect(await db.rows(views)).toMatchObject([
        { item: "a", engaged: 240, by: "gaps" },
        { item: "b", engaged: 120, by: "gaps" },
        { item: "c", engaged: 55, by: "heartbeats" },
        // Left before its first heartbeat.
        { item: "d", engaged: 0, by: "heartbeats" },
      ]);
      expect(await db.rows(engaged)).toMatchObject([{ engaged: 415, engaged_by: "heartbeats" }]);
    });
  });

  test("of one source differ by the name of their views", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [view(0, "a"), opened(4, "b", "v1"), ...beats(4, 6, "v1"), view(8, "c"), view(10, "d")]);
      await refresh(db);
      expect(await db.rows(views)).toMatchObject([
        { item: "a", engaged: 240 },
        { item: "b", engaged: 55 },
        { item: "c", engaged: 120 },
        { item: "d", engaged: 0 },
      ]);
    });
  });

  test("at once share the time: no moment counts twice", async () => {
    await database.as("postgres", {}, async (db) => {
      // Two tabs, both visible, and a device without heartbeats.
      await from(db, "web", [
        opened(0, "a", "v1"),
        opened(0, "b", "v2"),
        ...beats(0, 60, "v1"),
        ...beats(0, 60, "v2").map((beat, index) => ({ ...beat, timestamp: at(0, 9 + index * 10) })),
      ]);
      await from(db, "phone", [view(1, "c"), view(2, "d"), view(12, "e")]);
      await refresh(db);
      const found = await db.rows<{ item: string; engaged: number }>(views);
      // Heartbeats at 5, 9, 15, 19, …: each confirms the time since the one before it.
      expect(found.slice(0, 2)).toMatchObject([
        { item: "a", engaged: 5 + 59 * 6 },
        { item: "b", engaged: 60 * 4 },
      ]);
      // The phone has what is left: from the last heartbeat at 9:59 to its next event, up to 10 minutes after the last.
      expect(found.slice(2)).toMatchObject([
        { item: "c", engaged: 0 },
        { item: "d", engaged: 121 },
        { item: "e", engaged: 0 },
      ]);
      expect(await db.rows(engaged)).toMatchObject([{ engaged: 599 + 121 }]);
    });
  });

  test("a session of one event has no engaged time, or that which its heartbeat confirms", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [opened(0, "a", "v1"), ...beats(60, 1, "v1"), message({ timestamp: at(120) })]);
      await refresh(db);
      expect(
        await db.rows(
          `select extract(epoch from ended_at - started_at)::int as length, extract(epoch from engaged)::int as engaged
           from track.session order by started_at`,
        ),
      ).toEqual([
        { length: 0, engaged: 0 },
        { length: 5, engaged: 5 },
        { length: 0, engaged: 0 },
      ]);
    });
  });
});

describe("automatic events", () => {
  const graded = (minute: number, fields: Message = {}): Message =>
    message({ event: "Task Graded", timestamp: at(minute), properties: { item: "task" }, ...fields });

  test("neither open nor prolong a session, nor add to its time; they stay in the journey and in counts", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [graded(-60), view(0, "a"), graded(1), view(5, "b"), graded(30), graded(200)]);
      await refresh(db);
      expect(await db.rows(sessions)).toMatchObject([
        { started_at: new Date(at(0)), ended_at: new Date(at(5)), event_count: 2, engaged: 300, exit: "b" },
      ]);
      expect(
        await db.rows(
          `select event, session_id is null as outside, action_number, since_previous::text from track.journey('ada', '2026-03-01', '2026-03-02')`,
        ),
      ).toEqual([
        { event: "Task Graded", outside: true, action_number: null, since_previous: null },
        { event: "Page Viewed", outside: false, action_number: 1, since_previous: null },
        { event: "Task Graded", outside: true, action_number: null, since_previous: null },
        { event: "Page Viewed", outside: false, action_number: 2, since_previous: "00:05:00" },
        { event: "Task Graded", outside: true, action_number: null, since_previous: null },
        { event: "Task Graded", outside: true, action_number: null, since_previous: null },
      ]);
      expect(
        await db.rows(
          `select event_count, automatic_count from track.activity_of(null, '-infinity', 'infinity') as activity join track.event_type using (event_type_id)
           where name = 'Task Graded'`,
        ),
      ).toEqual([{ event_count: 4, automatic_count: 4 }]);
    });
  });

  test("are those of a type or a source, which administrators choose", async () => {
    await database.as("postgres", {}, async (db) => {
      await from(db, "lms", [view(0, "a"), message({ event: "Nightly Report", timestamp: at(2) })]);
      await from(db, "job", [view(4, "b"), ...beats(5, 2, "v1")]);
      await refresh(db);
      expect(await db.rows(sessions)).toMatchObject([{ event_count: 5, view_count: 2 }]);
      await db.query("set local role insights_admin");
      await db.query("update track.event_type set is_automatic = true where name = 'Nightly Report'");
      await db.query("update track.source set is_automatic = true where name = 'job'");
      await db.query("select track.rebuild()");
      await db.query("set local role postgres");
      await refresh(db);
      expect(await db.rows(sessions)).toMatchObject([{ event_count: 1, view_count: 1 }]);
      expect(await db.rows("select since, until from track.automatic_period")).toEqual([
        { since: new Date(at(2)), until: new Date(at(5, 15)) },
      ]);
      await db.query("update track.event_type set is_automatic = false");
      await db.query("update track.source set is_automatic = false");
      await db.query("select track.rebuild()");
      await refresh(db);
      expect(await db.rows(sessions)).toMatchObject([{ event_count: 5, view_count: 2 }]);
      expect(await db.rows("select from track.automatic_period")).toEqual([]);
    });
  });

  test("move with their identity, also those of months without a session", async () => {
    await database.as("postgres", {}, async (db) => {
      const old = "2025-04-01T00:00:00Z";
      const browser = { userId: undefined, anonymousId: "browser" };
      await ingest(db, [graded(0, { ...browser, timestamp: old }), graded(5, browser), view(0, "a")]);
      await refresh(db);
      await db.query("select track.link_identities('ada', 'browser')");
      const mine = "select count(*)::int from track.event where person_id = track.find_person('ada')";
      expect(await db.value(mine)).toBe(3);
      await refresh(db);
      await db.query("select track.unlink_identities('ada', 'browser')");
      expect(await db.value(mine)).toBe(1);
      await refresh(db);
      expect(await db.value("select count(*)::int from track.session")).toBe(1);
    });
  });
});

test.each(["0", "-1", "null"])("refresh_sessions(%s) is CF001, with a hint", async (people) => {
  expect(await database.rejects(`select track.refresh_sessions(${people})`)).toMatchObject({
    code: "CF001",
    message: `most_people is ${people}`,
    hint: expect.stringContaining("from 1 to"),
  });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select track.refresh_sessions()")).toEqual(["worker"]);
});

describe.skipIf(!hasDataset("stat_oracles/sessionize"))(
  "MADlib's sessionize (needs ../shared/data/stat_oracles)",
  () => {
    test("42 events fall into the sessions that it gives, with its time-out of three minutes", async () => {
      await database.as("postgres", {}, async (db) => {
        const rows = dataset("stat_oracles/sessionize").filter((row) => row["event_time"] !== null);
        await db.query("update track.setting set session_timeout = '180 seconds'");
        await ingest(
          db,
          rows.map((row) =>
            message({
              messageId: `row-${row["row_no"]}`,
              userId: row["user_id"],
              event: String(row["page"]),
              timestamp: `${row["event_time"]?.replace(" ", "T")}Z`,
              properties: { row: Number(row["row_no"]) },
            }),
          ),
        );
        await refresh(db);
        const found = await db.rows<{ row: number; session: string }>(
          `select (event.properties ->> 'row')::int as row, dense_rank() over (partition by event.person_id order by session.started_at) as session
         from track.event join track.session on session.person_id = event.person_id and event.occurred_at between started_at and ended_at
         where event.properties ? 'row' order by 1`,
        );
        expect(found).toEqual(rows.map((row) => ({ row: Number(row["row_no"]), session: row["expected_session_id"] })));
      });
    });
  },
);
