import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
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

test.each(["0", "-1", "null"])("refresh_sessions(%s) is CF001, with a hint", async (people) => {
  expect(await database.rejects(`select track.refresh_sessions(${people})`)).toMatchObject({
    code: "CF001",
    message: `most_people is ${people}`,
    hint: expect.stringContaining("1 or more"),
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
