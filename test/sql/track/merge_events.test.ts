import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const counts = (db: Queries) =>
  db.rows<{ name: string; count: number }>(
    "select name, count(*)::int from track.event join track.event_type using (event_type_id) group by 1 order by 1",
  );

const send = (db: Queries, ...events: string[]) =>
  ingest(
    db,
    events.map((event) => message({ event })),
  );

test("stored events and later messages with the name belong to the target", async () => {
  await owner(async (db) => {
    await send(db, "Task Submited", "Task Submited", "Task Submitted");
    await refresh(db);
    expect(await db.value("select track.merge_events('Task Submited', 'Task Submitted')")).toBe("2");
    await send(db, "Task Submited", "Task Submitted");
    expect(await counts(db)).toEqual([{ name: "Task Submitted", count: 5 }]);
    expect(
      await db.rows(
        "select named.name, count(*)::int from track.event left join track.event_type as named on named.event_type_id = named_event_type_id group by 1 order by 1",
      ),
    ).toEqual([
      { name: "Task Submited", count: 3 },
      { name: null, count: 2 },
    ]);
    await refresh(db);
    expect(
      await db.rows(
        "select name, sum(event_count)::int from track.activity_of(null, '-infinity', 'infinity') as activity join track.event_type using (event_type_id) group by 1",
      ),
    ).toEqual([{ name: "Task Submitted", sum: 5 }]);
    // Analyses find the target by both names.
    const trend = (name: string) =>
      db.rows("select * from analytics.trend($1, 'day', now() - interval '3 days', now() + interval '1 day')", [name]);
    expect(await trend("Task Submited")).toEqual(await trend("Task Submitted"));
    // Repeated, it changes nothing.
    expect(await db.value("select track.merge_events('Task Submited', 'Task Submitted')")).toBe("0");
    expect(await db.rows("select action, name, target, actor from track.name_log")).toEqual([
      { action: "event merged", name: "Task Submited", target: "Task Submitted", actor: "postgres" },
    ]);
  });
});

test("the properties of the target apply: views that it opens, and automatic events", async () => {
  await owner(async (db) => {
    const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, "0")}:00Z`;
    await ingest(db, [
      message({ event: "page_view", timestamp: at(0), properties: { item: "a" } }),
      message({ event: "page_view", timestamp: at(2), properties: { item: "b" } }),
      message({ event: "task_graded", timestamp: at(50), properties: { item: "a" } }),
    ]);
    await refresh(db);
    const sessions = () =>
      db.rows(
        "select view_count, event_count, extract(epoch from engaged)::int as engaged from track.session order by started_at",
      );
    const before = await sessions();
    await db.query(
      "select track.merge_events('page_view', 'Page Viewed'), track.merge_events('task_graded', 'Task Graded')",
    );
    await refresh(db);
    expect(await sessions()).toEqual([{ view_count: 2, event_count: 2, engaged: 120 }]);
    expect(await db.value("select count(*)::int from track.automatic_period")).toBe(1);
    await db.query("select track.unmerge_events('task_graded'), track.unmerge_events('page_view')");
    await refresh(db);
    expect(await sessions()).toEqual(before);
  });
});

test("the weight of the target applies, or else that of the merged name, in any order of refreshes", async () => {
  await owner(async (db) => {
    await db.query("insert into recommend.event_weight (event, weight) values ('Liked', 0.5)");
    await ingest(
      db,
      ["Task Completd", "Liked", "Thumb Up", "Thumb Up"].map((event, n) =>
        message({ event, userId: n === 3 ? "bob" : "ada", properties: { item: "a" } }),
      ),
    );
    await refresh(db);
    const weights = () =>
      db.rows("select person_id, weight, completed_at is null as open from recommend.interaction order by 1");
    const before = await weights();
    expect(before).toMatchObject([{ weight: 0.5, open: true }]);
    await db.query(
      "select track.rename_event('Task Completd', 'Task Completed'), track.merge_events('Liked', 'Thumb Up')",
    );
    await refresh(db);
    const merged = await weights();
    expect(merged).toMatchObject([{ weight: 0.7, open: false }]);
    await db.query("select recommend.rebuild()");
    await refresh(db);
    expect(await weights()).toEqual(merged);
    await db.query("select track.unmerge_events('Liked'), track.unmerge_events('Task Completd')");
    await refresh(db);
    expect(await weights()).toEqual(before);
  });
});

test("changes at most `most_events` in a call; each counts under one of the names until the refresh is done", async () => {
  await owner(async (db) => {
    await ingest(
      db,
      Array.from({ length: 25 }, (_, n) =>
        message({ event: n < 20 ? "old" : "new", timestamp: `2026-0${1 + (n % 4)}-10T00:00:00Z`, userId: `u${n}` }),
      ),
    );
    expect(await db.value("select track.merge_events('old', 'new', most_events => 0)")).toBe("0");
    expect(await counts(db)).toEqual([
      { name: "new", count: 5 },
      { name: "old", count: 20 },
    ]);
    // Later messages have the new type at once.
    await send(db, "old");
    expect(await db.value("select track.merge_events('old', 'new', most_events => 7)")).toBe("7");
    expect(await counts(db)).toEqual([
      { name: "new", count: 13 },
      { name: "old", count: 13 },
    ]);
    // Undone before it was applied.
    expect(await db.value("select track.unmerge_events('old', most_events => 3)")).toBe("3");
    expect(await db.value("select count(*) > 0 from track.renamed_month")).toBe(true);
    const steps = await db.rows<{ step: string; people: number }>("select step, people from track.refresh()");
    expect(steps).toEqual([{ step: "track.name", people: 5 }]);
    expect(await db.value("select count(*)::int from track.renamed_month")).toBe(0);
    expect(await counts(db)).toEqual([
      { name: "new", count: 5 },
      { name: "old", count: 21 },
    ]);
    expect(await db.value("select count(*)::int from track.event where named_event_type_id is not null")).toBe(0);
    // The next call continues with the sessions.
    expect(await db.rows("select step from track.refresh()")).toContainEqual({ step: "track.session" });
  });
});

test("a merge of people takes events along that a change of names has not reached", async () => {
  await owner(async (db) => {
    await ingest(db, [
      message({ event: "old", anonymousId: "browser", userId: undefined, properties: { item: "x" } }),
      message({ event: "new", properties: { item: "y" } }),
    ]);
    await refresh(db);
    await db.query("select track.merge_events('old', 'new', 0), track.merge_items('x', 'y', 0)");
    await ingest(db, [{ type: "identify", messageId: "identify", userId: "bob", anonymousId: "browser" }]);
    expect(await counts(db)).toEqual([{ name: "new", count: 2 }]);
    expect(await db.rows("select distinct external_id from track.event join track.item using (item_id)")).toEqual([
      { external_id: "y" },
    ]);
    await db.query("select track.unmerge_events('old'), track.unmerge_item('x')");
    expect(await counts(db)).toEqual([
      { name: "new", count: 1 },
      { name: "old", count: 1 },
    ]);
  });
});

test("the consent to the purpose of the target is asked, whatever the purpose of the merged name becomes", async () => {
  await owner(async (db) => {
    await send(db, "old", "new", "other");
    await db.query("update track.event_type set purpose = 'service' where name = 'other'");
    expect(await db.rejects("select track.merge_events('old', 'other')")).toMatchObject({
      code: "CF001",
      message: 'event "old" has the purpose "analytics", and "other" the purpose "service"',
    });
    await db.query("select track.merge_events('old', 'new')");
    await db.query("update track.event_type set purpose = 'service' where name = 'old'");
    const said = message({ event: "old", context: { consent: { categoryPreferences: { analytics: false } } } });
    await ingest(db, [said]);
    expect(await db.value("select count(*)::int from track.event where person_id = 0")).toBe(1);
    await db.query("update track.event_type set purpose = 'service' where name = 'new'");
    await ingest(db, [{ ...said, messageId: "again" }]);
    expect(await db.value("select count(*)::int from track.event where person_id = 0")).toBe(1);
  });
});

test("a merged event as a target means what that one means", async () => {
  await owner(async (db) => {
    await send(db, "a", "b", "c");
    await db.query("select track.merge_events('b', 'c'), track.merge_events('a', 'b')");
    expect(await counts(db)).toEqual([{ name: "c", count: 3 }]);
    await db.query("select track.unmerge_events('b')");
    expect(await counts(db)).toEqual([
      { name: "b", count: 2 },
      { name: "c", count: 1 },
    ]);
  });
});

test("errors name the events", async () => {
  await owner(async (db) => {
    await send(db, "a", "b", "c", "Task Submitted", "x".repeat(200));
    await db.query("select track.merge_events('a', 'b')");
    const cases: [string, string, string, string?][] = [
      [
        "'Task Submited', 'b'",
        "CF002",
        'there is no event "Task Submited"',
        'Did you mean "Task Submitted"? Give the name of an event, as in track.event_type.',
      ],
      ["'b', 'Task Submited'", "CF002", 'there is no event "Task Submited"'],
      ["null, 'b'", "CF002", 'there is no event "null"'],
      ["'b', null", "CF002", 'there is no event "null"'],
      [`'${"y".repeat(5000)}', 'b'`, "CF002", `there is no event "${"y".repeat(100)}"`],
      ["'b', 'b'", "CF001", '"b" and "b" are the same event'],
      ["'b', 'a'", "CF001", '"b" and "a" are the same event'],
      ["'a', 'c'", "CF001", 'event "a" was merged into another one'],
      ["'Page Viewed', 'c'", "CF001", 'the event "Page Viewed" cannot get another name'],
      ["'Heartbeat', 'Video Content Playing'", "CF001", 'the event "Heartbeat" cannot get another name'],
      [
        "'Segment Consent Preference Updated', 'c'",
        "CF001",
        'the event "Segment Consent Preference Updated" cannot get another name',
      ],
      [
        "'c', 'Segment Consent Preference Updated'",
        "CF001",
        'no event can be merged into "Segment Consent Preference Updated"',
      ],
      ["'c', 'Other Event'", "CF001", 'no event can be merged into "Other Event"'],
      ["'c', 'b', -1", "CF001", "most_events is -1"],
      ["'c', 'b', null", "CF001", "most_events is null"],
    ];
    for (const [names, code, text, hint] of cases) {
      const error = await db.rejects(`select track.merge_events(${names})`);
      expect(error, names).toMatchObject({ code, message: text });
      expect(error.hint, names).toBeTruthy();
      if (hint !== undefined) expect(error.hint).toBe(hint);
    }
    expect(await db.value("select track.merge_events(repeat('x', 200), 'c')")).toBe("1");
  });
});

test("is for admins", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify(["one", "two"].map((event) => message({ event, messageId: `role ${event}` }))),
  ]);
  expect(await rolesThatMay(database, "select track.merge_events('one', 'two')")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select * from track.name_log")).toEqual(["admin"]);
});

test("no names change in a transaction with a snapshot", async () => {
  const client = await database.pool.connect();
  try {
    await client.query("begin isolation level repeatable read");
    await expect(client.query("select track.merge_events('one', 'two')")).rejects.toMatchObject({ code: "25001" });
  } finally {
    await client.query("rollback");
    client.release();
  }
});

test.skipIf(!database.native)("sessions that send the name at the same time (needs parallel sessions)", async () => {
  const send = (name: string, n: number) =>
    JSON.stringify([
      message({
        event: name,
        messageId: `race-${name}-${n}`,
        userId: `racer-${n % 7}`,
        properties: { item: `${name} item` },
      }),
    ]);
  await database.query("select track.ingest($1::jsonb)", [send("race-old", 0)]);
  await database.query("select track.ingest($1::jsonb)", [send("race-new", 0)]);
  const names = ["race-old", "race-new"];
  const writers = names.map(async (name) => {
    for (let n = 1; n <= 60; n++) await database.query("select track.ingest($1::jsonb)", [send(name, n)]);
  });
  const refresher = (async () => {
    for (let n = 0; n < 20; n++) await database.query("select from track.refresh(3)");
  })();
  for (let n = 0; n < 6; n++) {
    await database.query("select track.merge_events('race-old', 'race-new', 5)");
    await database.query("select track.merge_items('race-old item', 'race-new item', 5)");
    await database.query("select track.unmerge_item('race-old item', 3)");
    await database.query("select track.unmerge_events('race-old', 3)");
  }
  await database.query("select track.merge_events('race-old', 'race-new', 5)");
  await Promise.all([...writers, refresher]);
  await refresh(database);
  const found = () =>
    database.rows(
      "select event_type.name, external_id as item, count(*)::int from track.event join track.event_type using (event_type_id) join track.item using (item_id) where event_type.name ~ '^race' group by 1, 2 order by 1, 2",
    );
  expect(await found()).toEqual([
    { name: "race-new", item: "race-new item", count: 61 },
    { name: "race-new", item: "race-old item", count: 61 },
  ]);
  await database.query("select track.unmerge_events('race-old')");
  await refresh(database);
  expect(await found()).toEqual([
    { name: "race-new", item: "race-new item", count: 61 },
    { name: "race-old", item: "race-old item", count: 61 },
  ]);
});

test.skipIf(!database.native)("a call that is killed changes nothing, and can be repeated", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify(
      Array.from({ length: 2000 }, (_, n) =>
        message({ event: n % 2 === 0 ? "kill-old" : "kill-new", messageId: `kill ${n}`, userId: `k${n % 50}` }),
      ),
    ),
  ]);
  const killed = await database.pool.connect();
  const pid = (await killed.query("select pg_backend_pid() as pid")).rows[0].pid;
  await killed.query("begin");
  await killed.query("select track.merge_events('kill-old', 'kill-new', 100)");
  killed.on("error", () => {});
  await database.query("select pg_terminate_backend($1, 5000)", [pid]);
  killed.release(true);
  expect(await database.value("select count(*)::int from track.event where named_event_type_id is not null")).toBe(0);
  expect(await database.value("select merged_event_type_id from track.event_type where name = 'kill-old'")).toBe(null);
  expect(await database.value("select track.merge_events('kill-old', 'kill-new')")).toBe("1000");
});
