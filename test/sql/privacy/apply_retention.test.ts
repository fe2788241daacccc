import pg from "pg";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { applyAll, applyOnce, happened, plan, stored } from "./retention.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const months = (db: Queries): Promise<number> =>
  db.value("select count(*)::int from pg_inherits where inhparent = 'track.event'::regclass");

test("without a rule nothing is deleted", async () => {
  await inside(async (db) => {
    await happened(db, { ada: [1, 390, 4000] });
    expect(await applyAll(db)).toEqual([]);
    expect(await stored(db)).toEqual({ ada: [1, 390, 4000] });
  });
});

test("whole months go as partitions, the rest in batches, and what is derived follows", async () => {
  await inside(async (db) => {
    const before = await months(db);
    await happened(
      db,
      { ada: [0, 5, 200], ben: [5, 200, 230] },
      { properties: { item: "course", itemKind: "course" } },
    );
    await happened(db, { ada: [61, 62], ben: [63] }, { event: "Course Completed", properties: { item: "course" } });
    await refresh(db);
    await db.query("select privacy.set_retention('events', '60 days')");
    const [planned] = await plan(db);
    const steps = await applyAll(db, 2);
    expect(steps.every(({ rule, method }) => rule === "events" && method === "delete")).toBe(true);
    expect(steps.reduce((sum, step) => sum + step.row_count, 0)).toBe(6);
    expect(planned?.row_count).toBe(6);
    expect(steps.flatMap(({ partitions }) => partitions)).toEqual(planned?.partitions);
    expect(steps.filter(({ partitions }) => partitions.length === 0).every((step) => step.row_count <= 2)).toBe(true);
    expect(await stored(db)).toEqual({ ada: [0, 5], ben: [5] });
    expect(await months(db)).toBeLessThanOrEqual(before + 2);

    await refresh(db);
    expect(await db.value("select sum(event_count)::int from track.session")).toBe(3);
    expect(await db.value("select sum(cardinality(occurred_at))::int from track.step")).toBe(3);
    expect(await db.rows("select event_count from recommend.interaction order by 1")).toEqual([
      { event_count: 1 },
      { event_count: 2 },
    ]);
    // The reason to leave the course out of lists stays, by the rule of another class.
    expect(await db.value("select count(*)::int from recommend.taken where completed_at is not null")).toBe(2);
    await db.query("select privacy.set_retention('taken', '1 day')");
    expect(await applyAll(db)).toMatchObject([{ rule: "taken", table_name: "recommend.taken", row_count: 1 }]);
    expect(await db.value("select sum(differing)::int from track.check_rollups(30)")).toBe(0);
    expect(await db.rows("select rule, table_name, row_count::int from privacy.retention_total order by rule")).toEqual(
      [
        { rule: "events", table_name: "track.event", row_count: 6 },
        { rule: "taken", table_name: "recommend.taken", row_count: 1 },
      ],
    );
  });
});

test("later messages of the deleted time are rejected", async () => {
  await inside(async (db) => {
    await db.query("select privacy.set_retention('events', '60 days')");
    await applyAll(db);
    const at = (age: number) => new Date(Date.now() - age * 86_400_000).toISOString();
    const result = await ingest(db, [message({ timestamp: at(62) }), message({ timestamp: at(58) })]);
    expect(result).toMatchObject({ accepted: 1, errors: [{ index: 0, code: "CF001" }] });
    expect(result.errors[0]?.hint).toMatch(/^The earliest accepted is \d{4}-\d\d-\d\dT00:00:00/);
    // A shorter rule moves it on, a longer one does not bring it back.
    await db.query("select privacy.set_retention('events', '90 days')");
    await applyAll(db);
    expect(await ingest(db, [message({ timestamp: at(62) })])).toMatchObject({ accepted: 0 });
    expect((await db.rejects("update track.setting set sums_kept_before = '2100-01-01'")).constraint).toBe(
      "setting_deleted_months",
    );
  });
});

test("each rule applies on its own: by purpose, by arrival", async () => {
  await inside(async (db) => {
    await db.query("insert into track.event_type (name, purpose) values ('Ad Seen', 'service')");
    await happened(db, { ada: [10, 40, 100] });
    await happened(db, { ada: [11, 41, 101] }, { event: "Ad Seen", receivedAt: new Date().toISOString() });
    await db.query("select privacy.set_retention('events', '30 days', 'service')");
    await db.query("select privacy.set_retention('events', '90 days', counted_from => 'arrival')");
    await applyAll(db);
    // Events without a time of arrival arrived now.
    expect(await stored(db)).toEqual({ ada: [10, 11, 40, 100] });
    await db.query("update track.event set received_at = occurred_at");
    await applyAll(db);
    expect(await stored(db)).toEqual({ ada: [10, 11, 40] });
    expect(await db.value("select oldest_event < '2000-01-01' from track.setting")).toBe(true);
  });
});

test("anonymized events stay without person, identity, properties and names of one person", async () => {
  await inside(async (db) => {
    await db.query("create table pg_temp.items (external_id text, kind text)");
    await db.query("insert into pg_temp.items values ('course', 'course')");
    await db.query("select track.sync_items('pg_temp.items')");
    await happened(db, { ada: [10, 50], ben: [50] }, { properties: { item: "course", secret: "x" } });
    await happened(db, { ada: [51] }, { properties: { item: "page/of/ada" } });
    await happened(db, { ada: [52], ben: [53] }, { properties: { item: "page/of/both" } });
    await happened(db, { ada: [54] }, { event: "Clicked By Ada" });
    await refresh(db);
    const counted = "select sum(event_count)::int from track.presence where event_type_id <> 0";
    expect(await db.value(counted)).toBe(7);
    await db.query("select privacy.set_retention('events', '30 days', method => 'anonymize')");
    expect(await plan(db)).toMatchObject([{ method: "anonymize", row_count: 6, partitions: [] }]);
    // In steps, so that the second person of a page is anonymized after the first one.
    for (const step of await applyAll(db, 1)) {
      expect(step).toMatchObject({ method: "anonymize", row_count: 1 });
      await refresh(db);
    }
    await refresh(db);
    expect(
      await db.rows(
        `select extract(day from now() - occurred_at)::int as age, event_type.name as event, item.external_id as item
         from track.event join track.event_type using (event_type_id) left join track.item using (item_id)
         where person_id = 0 and identity_id = 0 and properties is null order by 1, 3`,
      ),
    ).toEqual([
      { age: 50, event: "Task Submitted", item: "course" },
      { age: 50, event: "Task Submitted", item: "course" },
      { age: 51, event: "Task Submitted", item: null },
      { age: 52, event: "Task Submitted", item: "page/of/both" },
      { age: 53, event: "Task Submitted", item: "page/of/both" },
      { age: 54, event: "Other Event", item: null },
    ]);
    expect(await stored(db)).toMatchObject({ ada: [10] });
    expect(await db.value(counted)).toBe(7);
    expect(await applyAll(db)).toEqual([]);
  });
});

test("anonymized events of merged names have those of one person no longer, those of the application still", async () => {
  await inside(async (db) => {
    await db.query("create table pg_temp.items (external_id text, kind text)");
    await db.query("insert into pg_temp.items values ('course', 'course'), ('course-1', 'course')");
    await db.query("select track.sync_items('pg_temp.items')");
    await happened(db, { ada: [50], ben: [51] }, { properties: { item: "course" } });
    await happened(db, { ada: [52] }, { properties: { item: "page/of/ada" } });
    await happened(db, { ada: [53] }, { properties: { item: "course-1" } });
    await happened(db, { ada: [54] }, { event: "Clicked By Ada", properties: { item: "course" } });
    await db.query("select track.merge_items('page/of/ada', 'course'), track.merge_items('course-1', 'course')");
    await db.query("select track.merge_events('Clicked By Ada', 'Task Submitted')");
    await refresh(db);
    await db.query("select privacy.set_retention('events', '30 days', method => 'anonymize')");
    await applyAll(db);
    await refresh(db);
    expect(
      await db.rows(
        `select extract(day from now() - occurred_at)::int as age, event_type.name as event, item.external_id as item,
           named.external_id as named, named_event_type_id as type
         from track.event join track.event_type using (event_type_id) left join track.item using (item_id)
         left join track.item as named on named.item_id = named_item_id
         where person_id = 0 order by 1`,
      ),
    ).toEqual([
      { age: 50, event: "Task Submitted", item: "course", named: null, type: null },
      { age: 51, event: "Task Submitted", item: "course", named: null, type: null },
      { age: 52, event: "Task Submitted", item: "course", named: null, type: null },
      { age: 53, event: "Task Submitted", item: "course", named: "course-1", type: null },
      { age: 54, event: "Task Submitted", item: "course", named: null, type: null },
    ]);
  });
});

test("data that is restricted stays: its month is not removed, and the others are deleted around it", async () => {
  await inside(async (db) => {
    await happened(db, { ada: [100, 101], ben: [100, 101] });
    await db.query("select privacy.restrict_person('ada', 'claims')");
    await db.query("select privacy.set_retention('events', '30 days')");
    expect(await plan(db)).toMatchObject([{ row_count: 2, held_count: 2 }]);
    await applyAll(db);
    expect(await stored(db)).toEqual({ ada: [100, 101] });
    await db.query("select privacy.lift_restriction('ada')");
    await applyAll(db);
    expect(await stored(db)).toEqual({});
  });
});

test("logs, runs, refusals and requests go by their own time, and the ledger accounts for what was sealed", async () => {
  await inside(async (db) => {
    await happened(db, { ada: [1] });
    await db.query("select monitor.start_run('refresh'), monitor.start_run('train')");
    await db.query("insert into monitor.run (task, started_at) values ('refresh', now() - interval '5 days')");
    await db.query("update monitor.run set started_at = now() - interval '9 days' where task = 'train'");
    await db.query(`select privacy.complete_request(request_id, 'Sent.')
      from privacy.open_request('ada', 'access', 'gdpr', now() - interval '4 days')`);
    await db.query("select privacy.open_request('ada', 'portability', 'gdpr', now() - interval '9 days')");
    await db.query("select privacy.seal()");
    await db.query(
      "update privacy.request set completed_at = received_at + interval '1 hour' where state = 'completed'",
    );
    for (const name of ["runs", "requests", "refusals", "refusal_samples", "write_key_log", "receipts", "exports"])
      await db.query("select privacy.set_retention($1, '2 days')", [name]);
    expect(await applyAll(db)).toMatchObject([
      // The latest run of each task stays.
      { rule: "runs", table_name: "monitor.run", row_count: 1 },
      { rule: "requests", table_name: "privacy.request", row_count: 1 },
    ]);
    expect(await db.rows("select kind, state from privacy.request")).toEqual([{ kind: "portability", state: "open" }]);
    expect(await db.value("select is_intact from privacy.verify_ledger()")).toBe(true);
    expect(await db.value("select reason from privacy.removal")).toBe("retention");
  });
});

test("the first rule may come any time after the installation", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("delete from privacy.retention");
    await db.query("update privacy.retention_clock set applied_at = now() - interval '100 days'");
    await db.query("select privacy.set_retention('refusals', '10 days')");
    expect(await db.rows("select rule from privacy.apply_retention()")).toEqual([]);
    // A later rule does not confirm a clock.
    await db.query("update privacy.retention_clock set applied_at = now() - interval '100 days'");
    await db.query("select privacy.set_retention('runs', '10 days')");
    expect(await db.rejects("select privacy.apply_retention()")).toMatchObject({ code: "CF005" });
  });
});

test("a clock that went back or far ahead deletes nothing until an administrator confirms it", async () => {
  await inside(async (db) => {
    await happened(db, { ada: [100] });
    await db.query("select privacy.set_retention('events', '30 days')");
    for (const off of ["2 hours", "-46 days"]) {
      await db.query("update privacy.retention_clock set applied_at = now() + $1::interval", [off]);
      const error = await db.rejects("select privacy.apply_retention()");
      expect(error).toMatchObject({ code: "CF005", message: expect.stringContaining("the clock of the server is") });
      expect(error.hint).toContain("confirm_clock");
      expect(await stored(db)).toEqual({ ada: [100] });
    }
    for (const off of ["30 minutes", "-44 days"]) {
      await db.query("savepoint plausible");
      await db.query("update privacy.retention_clock set applied_at = now() + $1::interval", [off]);
      expect(await applyOnce(db)).toMatchObject({ row_count: 1 });
      await db.query("rollback to savepoint plausible");
    }
    await db.query("update privacy.retention_clock set applied_at = now() - interval '1 year'");
    await db.query("set local role insights_worker");
    expect(await db.rejects("select privacy.apply_retention(confirm_clock => true)")).toMatchObject({ code: "42501" });
    await db.query("set local role insights_admin");
    await db.query("select privacy.apply_retention(confirm_clock => true)");
    await db.query("reset role");
    expect(await stored(db)).toEqual({});
    expect(await db.value("select applied_at = now() from privacy.retention_clock")).toBe(true);
    expect(await db.rows("select rule, actor from privacy.retention_log where action = 'clock confirmed'")).toEqual([
      { rule: "all", actor: "postgres" },
    ]);
  });
});

test("refuses wrong arguments and levels of isolation", async () => {
  for (const rows of ["0", "-1", "1000001", "null"])
    expect(await database.rejects(`select privacy.apply_retention(${rows})`)).toMatchObject({ code: "CF001" });
  expect(await database.rejects("select privacy.apply_retention(1, null)")).toMatchObject({ code: "CF001" });
  await inside(async (db) => {
    await db.query("rollback");
    await db.query("begin isolation level repeatable read");
    await db.query("savepoint attempt");
    expect(await db.rejects("select privacy.apply_retention()")).toMatchObject({ code: "25001" });
  });
});

test("only administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select privacy.apply_retention()")).toEqual(["admin", "worker"]);
});

describe.skipIf(!database.native)("beside other sessions (needs parallel sessions)", () => {
  const session = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: database.url() });
    client.on("error", () => {});
    await client.connect();
    return client;
  };
  const count = (): Promise<number> => database.value("select count(*)::int from track.event");

  test("a reader of the months is not waited for, and messages are stored meanwhile", async () => {
    await happened(database, { ada: [100, 101, 102], ben: [100] });
    await database.query("select privacy.set_retention('events', '30 days')");
    const reader = await session();
    await reader.query("begin");
    await reader.query("select count(*) from track.event");
    const steps = await applyAll(database, 3);
    expect(steps.map(({ partitions }) => partitions.length)).toEqual(steps.map(() => 0));
    expect(await ingest(database, [message()])).toMatchObject({ accepted: 1 });
    expect(await count()).toBe(1);
    await reader.query("commit");
    await reader.end();
    // The months are empty, and go when they are free.
    expect((await applyAll(database)).flatMap(({ partitions }) => partitions).length).toBeGreaterThan(0);
  });

  test("a run that is ended in the middle leaves nothing half done, and the next one continues", async () => {
    await database.query("update track.setting set oldest_event = '1990-01-01Z'");
    await happened(database, { cleo: [100, 101, 200] });
    const before = await count();
    const one = await session();
    await one.query("begin");
    await one.query("select privacy.apply_retention()");
    const { rows } = await one.query<{ pid: number }>("select pg_backend_pid() as pid");
    await database.query("select pg_terminate_backend($1, 5000)", [rows[0]?.pid]);
    expect(await count()).toBe(before);
    await applyAll(database);
    expect(await count()).toBe(before - 3);
    await refresh(database);
    expect(await database.value("select sum(differing)::int from track.check_rollups(30)")).toBe(0);
  });

  test("two at once share the steps", async () => {
    await database.query("update track.setting set oldest_event = '1990-01-01Z'");
    await happened(database, Object.fromEntries(["d", "e", "f"].map((name) => [name, [40, 41, 42, 100, 200, 300]])));
    const before = await count();
    const clients = await Promise.all([session(), session(), session()]);
    const done = await Promise.all(
      clients.map(async (client) => {
        let rows = 0;
        for (;;) {
          const result = await client.query("select row_count::int, method from privacy.apply_retention(2)");
          if (result.rows.length === 0) return rows;
          expect(result.rows[0].method).toBe("delete");
          rows += result.rows[0].row_count;
        }
      }),
    );
    for (const client of clients) await client.end();
    expect(done.reduce((sum, rows) => sum + rows, 0)).toBe(18);
    expect(await count()).toBe(before - 18);
  });

  test("while a person is being restricted it waits a moment, and reports it", async () => {
    const one = await session();
    await one.query("begin");
    await one.query("select privacy.restrict_person('cleo', 'claims')");
    expect(await applyOnce(database)).toMatchObject({ method: "wait", row_count: 0 });
    await one.query("rollback");
    await one.end();
    expect(await applyOnce(database)).toBeUndefined();
  });
});
