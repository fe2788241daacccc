import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { dataset, hasDataset } from "../../support/datasets.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

beforeAll(async () => {
  const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, "0")}:00Z`;
  await ingest(
    database,
    ["ada", "ben"].flatMap((userId) => [
      message({
        userId,
        type: "identify",
        anonymousId: `${userId}-browser`,
        traits: { plan: "pro" },
        timestamp: at(0),
      }),
      message({ userId, type: "page", properties: { item: "page-1", title: "One" }, timestamp: at(1) }),
      message({ userId, type: "page", properties: { item: "page-2" }, timestamp: at(3) }),
      message({ userId, properties: { item: "task-1", score: 1 }, timestamp: at(59) }),
      message({
        userId,
        event: "Segment Consent Preference Updated",
        properties: { categoryPreferences: { advertising: true } },
        timestamp: at(59),
      }),
    ]),
  );
  await database.query(
    "create table public.enrolment_source as select 'ada' as person, 'course-1' as item, timestamptz '2026-01-01' as enrolled_at union all select 'ben', 'course-1', '2026-01-01'",
  );
  await database.query("select track.sync_enrolments('public.enrolment_source')");
  await refresh(database);
  // Something in the queues as well.
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
  await database.query("select track.refresh_sessions()");
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
});

const personal = [
  "track.person",
  "track.identity",
  "track.identity_link",
  "track.trait",
  "track.enrolment",
  "track.event",
  "track.session",
  "track.page_view",
  "track.stale",
  "track.changed",
  "privacy.consent",
  "privacy.current_consent",
];

describe("row security", () => {
  test.each(personal)(
    "of %s: learners see themselves, admins everybody, visitors and analysts nothing",
    async (relation) => {
      const key =
        relation === "track.identity_link"
          ? "(select person_id from track.identity where identity.identity_id = identity_link.identity_id)"
          : "person_id";
      const sql = `select distinct ${key} as person_id from ${relation} order by 1`;
      const ada = await database.value("select track.find_person('ada')");
      for (const [role, settings, expected] of [
        ["insights_learner", { "insights.person": "ada" }, [ada]],
        ["insights_learner", { "insights.person": "ada-browser" }, []],
        ["insights_learner", { "insights.person": "ghost" }, []],
        ["insights_learner", { "insights.person": "' or true --" }, []],
        ["insights_learner", {}, []],
      ] as const) {
        await database.as(role, settings, async (db) =>
          expect((await db.rows<{ person_id: string }>(sql)).map(({ person_id }) => person_id)).toEqual(expected),
        );
      }
      await database.as("insights_admin", {}, async (db) =>
        expect((await db.rows(sql)).length).toBeGreaterThanOrEqual(2),
      );
      for (const role of ["insights_visitor", "insights_analyst"]) {
        await database.as(role, { "insights.person": "ada" }, async (db) =>
          expect(await db.rejects(`select * from ${relation}`)).toMatchObject({ code: "42501" }),
        );
      }
    },
  );

  test("nobody writes but through the functions, and nobody reads around the partitions", async () => {
    const month = await database.value<string>("select min(tableoid::regclass::text) from track.event");
    for (const role of [
      "insights_visitor",
      "insights_learner",
      "insights_analyst",
      "insights_admin",
      "insights_worker",
    ]) {
      await database.as(role, { "insights.person": "ada" }, async (db) => {
        expect(await db.rejects(`select * from ${month}`)).toMatchObject({ code: "42501" });
        for (const relation of [
          ...personal.filter((relation) => relation !== "privacy.current_consent"),
          "track.item",
          "track.item_ancestor",
          "track.message",
          "analytics.activity",
          "privacy.data_map",
        ]) {
          expect(await db.rejects(`delete from ${relation}`)).toMatchObject({ code: "42501" });
        }
        for (const call of [
          "track._link_people('{1}', '{2}', '{alias}', '{2026-03-01}')",
          "track._move_identities('{1}', '{1}', '{2}')",
          "track._resolve_people('{1}')",
          "track._lock_people('{1}')",
          "track._enter_people('{user}', '{mallory}')",
          "track._enter_items('{}')",
          "track._store_events('{}', 1::smallint)",
          "track._describe_items('{}')",
        ]) {
          expect(await db.rejects(`select ${call}`)).toMatchObject({ code: "42501" });
        }
      });
    }
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
      for (const call of [
        "track.journey('ben')",
        "track.link_identities('ada', 'ben')",
        "track.unlink_identities('ada', 'ben')",
        "track.rebuild()",
        "track.refresh_sessions()",
        "track.make_partitions()",
      ]) {
        expect(await db.rejects(`select ${call}`)).toMatchObject({ code: "42501" });
      }
      expect(await db.value("select track.find_person('ben')")).toBeNull();
      expect(
        await db.rows(
          "select * from track._journey((select person_id + 0 from track.person where false), '-infinity', 'infinity')",
        ),
      ).toEqual([]);
    });
  });
});

describe("journey", () => {
  test("is the sequence of actions, session by session", async () => {
    const rows = await database.rows<Record<string, unknown>>(
      "select action_number, event, item, item_title, extract(epoch from since_previous)::int as seconds from track.journey('ada', '2026-03-01', '2026-03-02')",
    );
    expect(rows).toEqual([
      { action_number: 1, event: "Page Viewed", item: "page-1", item_title: "One", seconds: null },
      { action_number: 2, event: "Page Viewed", item: "page-2", item_title: null, seconds: 120 },
      expect.objectContaining({ action_number: 1, seconds: null }),
      expect.objectContaining({ action_number: 2, seconds: 0 }),
    ]);
    // `until` is excluded.
    expect(
      await database.rows("select from track.journey('ada', '2026-03-01 10:01Z', '2026-03-01 10:03Z')"),
    ).toHaveLength(1);
    expect(await database.rows("select from track.journey('ghost', '-infinity')")).toEqual([]);
  });

  test("my_journey is my own", async () => {
    const sql = "select event, item, session_id from track.my_journey('2026-03-01', '2026-03-02')";
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
      const mine = await db.rows(sql);
      expect(mine).toHaveLength(4);
    });
    await database.as("insights_learner", { "insights.person": "ghost" }, async (db) =>
      expect(await db.rows(sql)).toEqual([]),
    );
  });
});

describe("sync_items and sync_enrolments", () => {
  test("bring in quoted tables and views, write changes only, and keep what is null", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(`create schema "my app"`);
      await db.query(
        `create table "my app"."Cours""es" ("external_id" text, kind text, title text, parent text, attributes jsonb, due_at timestamptz, "Extra" int)`,
      );
      const sync = () => db.rows(`select * from track.sync_items('"my app"."Cours""es"')`);
      expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 0 }]);
      await db.query(
        `insert into "my app"."Cours""es" values ('p', 'page', 'P', 'm', '{"a": null, "b": [1]}', 'infinity', 1), ('m', 'module', null, 'c', null, null, 2), ('page-1', 'page', 'New', null, null, null, 3)`,
      );
      expect(await sync()).toEqual([{ inserted: 2, updated: 1, unchanged: 0 }]);
      expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 3 }]);
      await db.query(`update "my app"."Cours""es" set title = case when external_id = 'm' then 'M' end`);
      expect(await sync()).toEqual([{ inserted: 0, updated: 1, unchanged: 2 }]);
      expect(
        await db.rows(
          "select item.external_id, item.title, item.attributes, parent.external_id as parent, item.due_at::text from track.item left join track.item as parent on parent.item_id = item.parent_item_id where item.external_id in ('p', 'm', 'c', 'page-1') order by 1",
        ),
      ).toEqual([
        { external_id: "c", title: null, attributes: {}, parent: null, due_at: null },
        { external_id: "m", title: "M", attributes: {}, parent: "c", due_at: null },
        { external_id: "p", title: "P", attributes: { a: null, b: [1] }, parent: "m", due_at: "infinity" },
        { external_id: "page-1", title: "New", attributes: {}, parent: null, due_at: null },
      ]);
      // Every ancestor is known, at its distance.
      expect(
        await db.value(
          "select string_agg(external_id, ' < ' order by depth) from track.item_ancestor join track.item on item.item_id = ancestor_item_id where item_ancestor.item_id = (select item_id from track.item where external_id = 'p')",
        ),
      ).toBe("p < m < c");
    });
  });

  test.each([
    ["select 'a' as external_id", "CF002", 'no column "kind"'],
    ["select 'a' as external_id, 'Course' as kind", "CF001", 'of kind "Course"'],
    ["select '' as external_id, 'course' as kind", "CF001", 'item ""'],
    ["select null::text as external_id, 'course' as kind", "CF001", "can't be stored"],
    ["select 'a' as external_id, 'course' as kind, 'a' as parent", "CF001", 'with parent "a"'],
    ["select 'a' as external_id, 'course' as kind, '[1]'::jsonb as attributes", "CF001", "can't be stored"],
    ["select 'a' as external_id, 'course' as kind, 'soon' as due_at", "CF001", '"soon"'],
    ["select 'a' as external_id, 'course' as kind from generate_series(1, 2)", "CF001", "more than once"],
    [
      "select i::text as external_id, 'module' as kind, (i % 3 + 1)::text as parent from generate_series(1, 3) as i",
      "CF010",
      "parts of each other",
    ],
  ])("sync_items of (%s) is %s and changes nothing", async (query, code, text) => {
    await database.as("postgres", {}, async (db) => {
      await db.query(`create view public.source as ${query}`);
      const before = await db.value("select count(*) from track.item");
      const error = await db.rejects("select track.sync_items('public.source')");
      expect(error).toMatchObject({ code });
      expect(error.message).toContain(text);
      expect(await db.value("select count(*) from track.item")).toBe(before);
    });
  });

  test.each([
    ["select 'a' as person, 'c' as item", "CF002"],
    ["select 'a' as person, 'c' as item, null::timestamptz as enrolled_at", "CF001"],
    ["select 'a' as person, 'c' as item, now() as enrolled_at, 'asleep' as status", "CF001"],
    ["select '' as person, 'c' as item, now() as enrolled_at", "CF001"],
    ["select 'a' as person, 'c' as item, 'yesterday-ish' as enrolled_at", "CF001"],
  ])("sync_enrolments of (%s) is %s", async (query, code) => {
    await database.as("postgres", {}, async (db) => {
      await db.query(`create view public.source as ${query}`);
      expect(await db.rejects("select track.sync_enrolments('public.source')")).toMatchObject({ code });
    });
  });

  test("of several enrolments of one person the last one holds, and a second run changes nothing", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(
        "create table public.source (person int, item text, enrolled_at timestamptz, status text, ended_at timestamptz)",
      );
      await db.query(
        "insert into public.source values (7, 'c', '2026-01-01', 'dropped', '2026-02-01'), (7, 'c', '2026-03-01', null, null), (8, 'c', '2026-03-01', 'active', null)",
      );
      const sync = () => db.rows("select * from track.sync_enrolments('public.source')");
      expect(await sync()).toEqual([{ inserted: 2, updated: 0, unchanged: 0 }]);
      expect(await sync()).toEqual([{ inserted: 0, updated: 0, unchanged: 2 }]);
      expect(
        await db.rows(
          "select status, enrolled_at, ended_at from track.enrolment where person_id = track.find_person('7')",
        ),
      ).toEqual([{ status: "active", enrolled_at: new Date("2026-03-01"), ended_at: null }]);
      await db.query("update public.source set status = 'completed', ended_at = '2026-04-01' where person = 8");
      expect(await sync()).toEqual([{ inserted: 0, updated: 1, unchanged: 1 }]);
    });
  });

  test("read with the caller's rights, and take no relation that is none", async () => {
    await database.as("insights_admin", {}, async (db) => {
      expect(await db.rejects("select track.sync_enrolments('public.enrolment_source')")).toMatchObject({
        code: "42501",
      });
      expect(await db.rejects("select track.sync_items('pg_catalog.pg_authid')")).toMatchObject({ code: "CF002" });
      expect(await db.rejects("select track.sync_items('nowhere')")).toMatchObject({ code: "42P01" });
      expect(await db.rejects("select track.sync_items('track.item; drop table track.item')")).toMatchObject({
        code: expect.stringMatching(/^42/),
      });
    });
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) =>
      expect(await db.rejects("select track.sync_items('track.item')")).toMatchObject({ code: "42501" }),
    );
  });
});

describe("make_partitions", () => {
  test("makes each month once, also before 1970", async () => {
    await database.as("postgres", {}, async (db) => {
      expect(await db.value("select track.make_partitions('2001-11-15', '2002-02-01')")).toBe(4);
      expect(await db.value("select track.make_partitions('2001-11-15', '2002-02-01')")).toBe(0);
      expect(await db.value("select track.make_partitions('1969-12-31 23:59:59Z', '1970-01-01 00:00:00Z')")).toBe(2);
      await db.query("update track.setting set oldest_event = '1960-01-01'");
      expect(
        await ingest(db, [
          message({ timestamp: "1969-12-31T23:59:59.999Z" }),
          message({ timestamp: "1970-01-01T00:00:00Z" }),
        ]),
      ).toMatchObject({ accepted: 2 });
      expect(await db.value("select count(distinct tableoid) from track.event where occurred_at < '1980-01-01'")).toBe(
        "2",
      );
    });
  });

  test.each([
    ["null", "CF001"],
    ["now(), null", "CF001"],
    ["now(), now() - interval '1 day'", "CF001"],
    ["now(), 'infinity'", "CF001"],
    ["'-infinity', now()", "CF001"],
    ["now(), '9999-12-31'", "CF008"],
  ])("make_partitions(%s) is %s", async (values, code) => {
    expect(await database.rejects(`select track.make_partitions(${values})`)).toMatchObject({ code });
  });
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
