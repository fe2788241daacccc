import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { bootstrap, migrate } from "../../src/database/migrate.ts";
import { hasStoredPageViews } from "../../src/database/page-views.ts";
import { ensureHistory, inTurn, readReleases, runRelease } from "../../src/database/release.ts";
import { Random } from "../../src/simulator/random.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

/*
 * Until the third release, page views were the rows of a table. A filled database of that release is migrated to one in
 * which they are part of the sessions; each row is the same at any moment, and the result equals a new installation.
 */

const template = await testDatabase();
const people = 12;

/** A filled database of the third release. */
async function oldDatabase(): Promise<TestDatabase> {
  const database = await testDatabase({ empty: true });
  await withClient(database.url(), async (client) => {
    await bootstrap(client);
    await inTurn(client, 0, () => ensureHistory(client));
    for (const release of (await readReleases()).slice(0, 3)) {
      await inTurn(client, 0, () => runRelease(client, release));
    }
  });
  await fill(database, history);
  return database;
}

/** Pages with and without heartbeats and names, continued ones, tasks and grades, in several sessions. */
const history: object[][] = [];
const random = new Random("page views");
const among = <T>(values: readonly T[]): T => values[Math.floor(random.uniform() * values.length)] as T;
for (let person = 0; person < people; person++) {
  const batch: object[] = [];
  let at = Date.parse("2026-02-10T22:00:00Z") + person * 3_600_000;
  for (let number = 0; number < 150; number++) {
    at += among([0, 1, 4000, 10_000, 10_000, 10_000, 95_000, 1_000_000, 40_000_000]);
    const event = among([
      "Page Viewed",
      "Page Viewed",
      "Heartbeat",
      "Heartbeat",
      "Heartbeat",
      "Task Submitted",
      "Task Graded",
    ]);
    const viewId = among([undefined, "a", "b", "c"]);
    const item = event === "Heartbeat" && random.uniform() < 0.7 ? undefined : among(["one", "two", undefined]);
    batch.push({
      type: "track",
      messageId: `${person}-${number}`,
      ...(person % 5 === 0 ? { anonymousId: `browser-${person}` } : { userId: `person-${person}` }),
      event,
      timestamp: new Date(at).toISOString().replace("Z", `${String(number % 7)}25Z`),
      properties: { item, viewId, ...(person % 3 === 0 ? { interval: 86_400 } : {}) },
    });
  }
  history.push(batch);
}

/** Events that arrive late: they open the views that others continue, and divide sessions. */
const late: object[] = history.slice(0, 6).flatMap((batch, person) =>
  batch.slice(0, 60).flatMap((event, number) =>
    number % 20 === 0
      ? [
          {
            ...event,
            messageId: `late-${person}-${number}`,
            event: "Page Viewed",
            properties: { item: "late", viewId: "b" },
          },
        ]
      : [],
  ),
);

async function fill(database: TestDatabase, batches: object[][]): Promise<void> {
  for (const batch of batches) {
    const { rejected } = await database.value<{ rejected: number }>("select to_jsonb(track.ingest($1))", [
      JSON.stringify(batch),
    ]);
    expect(rejected).toBe(0);
  }
  await refresh(database);
}

async function refresh(database: TestDatabase): Promise<void> {
  while (await database.value("select people > 0 from track.refresh_sessions(5)"));
}

const viewsOf = (database: TestDatabase): Promise<unknown[]> =>
  database.rows(
    `select person_id, event_id, session_id, view_number, item_id, started_at::text, ended_at::text,
       extract(epoch from engaged)::text as engaged, engaged_by, heartbeat_count, is_continued, view_key
     from track.page_view order by person_id, event_id`,
  );

const sessionsOf = (database: TestDatabase): Promise<unknown[]> =>
  database.rows("select to_jsonb(session) as row from track.session order by person_id, session_id");

/** A new installation with the same events. */
async function freshDatabase(batches: object[][]): Promise<TestDatabase> {
  const database = await testDatabase({ empty: true });
  await migrate(database.url());
  await fill(database, batches);
  return database;
}

const columns = (database: TestDatabase): Promise<unknown[]> =>
  database.rows(
    `select attname, atttypid::regtype::text as type from pg_attribute
     where attrelid = 'track.page_view'::regclass and attnum > 0 order by attnum`,
  );

test("a filled database has the same page views after the migration, and the sessions of a new one", {
  timeout: 300_000,
}, async () => {
  const database = await oldDatabase();
  const before = await viewsOf(database);
  expect(before.length).toBeGreaterThan(500);
  for (const kind of [
    "is_continued",
    "not is_continued",
    "engaged_by = 'gaps'",
    "engaged_by = 'nothing'",
    "heartbeat_count > 5",
  ]) {
    expect([kind, await database.value(`select count(*) > 0 from track.page_view where ${kind}`)]).toEqual([
      kind,
      true,
    ]);
  }
  const columnsBefore = await columns(database);
  expect(await migrate(database.url())).toMatchObject({ pageViews: before.length });
  expect(await viewsOf(database)).toEqual(before);
  expect((await columns(database)).slice(0, columnsBefore.length)).toEqual(columnsBefore);
  const fresh = await freshDatabase(history);
  expect(await columns(database)).toEqual(await columns(fresh));
  expect(await viewsOf(database)).toEqual(await viewsOf(fresh));
  expect(await sessionsOf(database)).toEqual(await sessionsOf(fresh));
  expect(await migrate(database.url())).toMatchObject({ applied: [], pageViews: 0 });
});

describe.skipIf(!template.native)("while the page views are moved (needs a real server)", () => {
  test("a migration that is killed continues; readers and the refresh see every page view once", {
    timeout: 300_000,
  }, async () => {
    const database = await oldDatabase();
    const before = await viewsOf(database);

    // The release is applied, and the first step waits for the refresh that this lock stands for.
    const refresher = await database.pool.connect();
    const lock = "pg_catalog.hashtext('track.refresh')";
    await refresher.query(`select pg_advisory_lock(${lock})`);
    const killed = migrate(database.url()).catch((error: Error) => error);
    const waiting = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
    let found: { pid: number }[] = [];
    while (found.length === 0) {
      await wait(20);
      found = await database.rows<{ pid: number }>(waiting);
    }
    expect(await withClient(database.url(), hasStoredPageViews)).toBe(true);
    expect(await viewsOf(database)).toEqual(before);
    await database.query("select pg_terminate_backend($1, 60000)", [found[0]?.pid]);
    expect(await killed).toBeInstanceOf(Error);
    await refresher.query(`select pg_advisory_unlock(${lock})`);
    refresher.release();

    // Some people are moved; the others are not.
    const some = await database.value<string[]>(
      "select array_agg(distinct person_id) from track.stored_page_view where person_id % 2 = 0",
    );
    expect(await database.value("select track._convert_page_views($1) > 0", [some])).toBe(true);
    expect(await database.value("select count(*) > 0 from track.stored_page_view")).toBe(true);
    expect(await viewsOf(database)).toEqual(before);
    for (const person of ["person-1", "person-2"]) {
      const key = await database.value("select track.find_person($1)", [person]);
      await database.as("insights_learner", { "insights.person": person }, async (db) => {
        expect(await db.rows("select distinct person_id from track.page_view")).toEqual([{ person_id: key }]);
      });
    }
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rejects("select from track.page_view")).toMatchObject({ code: "42501" });
    });

    // A refresh in between moves the page views of its people: here not of all, whom the release queues.
    await database.query("delete from track.stale");
    await fill(database, [late]);
    const fresh = await freshDatabase([...history, late]);
    expect(await viewsOf(database)).toEqual(await viewsOf(fresh));
    expect(await database.value("select count(*) > 0 from track.stored_page_view")).toBe(true);

    // Two migrations at the same time have the effect of one.
    const results = await Promise.all([migrate(database.url()), migrate(database.url())]);
    expect(Math.max(...results.map(({ pageViews }) => pageViews))).toBeGreaterThan(0);
    expect(await database.value("select to_regclass('track.stored_page_view')")).toBeNull();
    expect(await database.value("select to_regclass('track.page_view_of_sessions')")).toBeNull();
    expect(await viewsOf(database)).toEqual(await viewsOf(fresh));
    expect(await sessionsOf(database)).toEqual(await sessionsOf(fresh));
  });
});
