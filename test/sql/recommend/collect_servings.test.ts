import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory } from "./history.ts";
import { impressions } from "./servings.ts";

const database = await testDatabase();
beforeAll(() => makeHistory(database));

const add = (hours: number, calls: number, db: Queries = database) =>
  db.query(
    `insert into recommend.serving_call (hour_at, function_name, kind, item_count, seconds)
     select date_trunc('hour', now(), 'UTC') - $1 * interval '1 hour', 'serve_me', 'course', 10, 0.0045
     from generate_series(1, $2)`,
    [hours, calls],
  );
const counted = (db: Queries = database) =>
  db.rows("select counts[8]::int as calls, items::int from recommend.serving_time order by hour_at");
const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const serve = (db: Queries, person: string, top = 3) =>
  db.rows<{ item: string; serving_id: string }>("select item, serving_id from recommend.serve_person($1, $2)", [
    person,
    top,
  ]);
const send = (db: Queries, message: object) =>
  db.query("select track.ingest($1)", [JSON.stringify([{ messageId: JSON.stringify(message), ...message }])]);
const refresh = (db: Queries) => db.query("select track.refresh(100000)");
const collect = (db: Queries, most = 2000) => db.value<number>("select recommend.collect_servings($1)", [most]);
const people = async (db: Queries) => (await impressions(db)).map(({ person }) => person);

describe("durations", () => {
  test("are counted once, in steps, and deleted when they are older than they are kept for", () =>
    world(async (db) => {
      await add(0, 7, db);
      expect([await collect(db, 3), await collect(db, 3), await collect(db, 3), await collect(db, 3)]).toEqual([
        3, 3, 1, 0,
      ]);
      expect(await counted(db)).toEqual([{ calls: 7, items: 70 }]);

      await add(24 * 399, 2, db);
      await add(24 * 401, 2, db);
      await refresh(db);
      expect(await counted(db)).toEqual([
        { calls: 2, items: 20 },
        { calls: 7, items: 70 },
      ]);
      await db.query("select privacy.set_retention('serving_times', '30 days')");
      await add(0, 1, db);
      await refresh(db);
      expect(await counted(db)).toEqual([{ calls: 8, items: 80 }]);
    }));

  test("a refresh stores at most as many lists as it may refresh people, and names their number", () =>
    world(async (db) => {
      await add(0, 7, db);
      const steps = () => db.rows("select people, failed from track.refresh(4) where step = 'recommend.impression'");
      expect([await steps(), await steps(), await steps()]).toEqual([
        [{ people: 4, failed: 0 }],
        [{ people: 3, failed: 0 }],
        [],
      ]);
    }));
});

describe("lists", () => {
  test("a list and its record are the same, however late the list is collected: answers before and after", () =>
    world(async (db) => {
      const answer = async (order: "first" | "last" | "between"): Promise<unknown> => {
        await db.query("savepoint start");
        const rows = await serve(db, "p0");
        if (order === "first") await refresh(db);
        await send(db, {
          type: "track",
          userId: "p0",
          event: "Recommendation Clicked",
          timestamp: new Date().toISOString(),
          properties: { item: rows[1]?.item, servingId: rows[1]?.serving_id },
        });
        await send(db, {
          type: "track",
          userId: "p0",
          event: "Course Completed",
          timestamp: new Date(Date.now() + 1_000).toISOString(),
          properties: { item: rows[2]?.item },
        });
        if (order === "between") {
          // The events are refreshed, and the list is committed after that.
          await db.query(
            "create temp table held on commit drop as with held as (delete from recommend.serving_call returning *) select * from held",
          );
          await refresh(db);
          expect(await db.rows("select is_served from recommend.impression")).toEqual([{ is_served: false }]);
          await db.query("insert into recommend.serving_call select * from held");
        }
        await refresh(db);
        const found = await db.rows(
          `select rank, is_served, score is not null as scored, function_name, clicked_at is not null as clicked,
             completed_at is not null as completed
           from recommend.impression order by rank`,
        );
        await db.query("rollback to savepoint start");
        return found;
      };
      const first = await answer("first");
      expect(first).toEqual(
        [1, 2, 3].map((rank) => ({
          rank,
          is_served: true,
          scored: true,
          function_name: "serve_person",
          clicked: rank === 2,
          completed: rank === 3,
        })),
      );
      expect(await answer("last")).toEqual(first);
      expect(await answer("between")).toEqual(first);
    }));

  test("belong to the person of the identity when they are stored, and only with her consent", () =>
    world(async (db) => {
      await send(db, { type: "track", anonymousId: "a browser", event: "Seen" });
      await serve(db, "a browser", 1);
      await serve(db, "p1", 1);
      await serve(db, "p2", 1);
      await send(db, { type: "identify", anonymousId: "a browser", userId: "p3" });
      await db.query("select privacy.record_consent(track.find_person('p2'), 'personalization', false)");
      await db.query("set local role insights_worker");
      await refresh(db);
      await db.query("reset role");
      expect(
        await db.rows(
          "select person_id = track.find_person('p3') as is_of_p3, person_id = track.find_person('p1') as is_of_p1 from recommend.impression order by 1",
        ),
      ).toEqual([
        { is_of_p3: false, is_of_p1: true },
        { is_of_p3: true, is_of_p1: false },
      ]);
    }));

  test("those of an erased person are gone, those of others stay, before a refresh as after it", () =>
    world(async (db) => {
      for (const person of ["p4", "p5"]) await serve(db, person, 2);
      // Merged after the list: the row has the key of another person.
      await db.query("select track.merge_persons('p4', 'p6')");
      await db.query("select privacy.erase_person('p6')");
      expect(await db.value("select count(*)::int from recommend.serving_call where person_id is not null")).toBe(0);
      expect(await people(db)).toEqual(["p5", "p5"]);
      await refresh(db);
      expect(await people(db)).toEqual(["p5", "p5"]);
    }));

  test("one of an identity that is gone is dropped, and one whose ids cannot be read stays queued", () =>
    world(async (db) => {
      await serve(db, "p7", 2);
      await db.query("update recommend.serving_call set identity_id = -1, serving_ids[2] = 'nothing'");
      await db.query(
        "update recommend.serving_call set serving_ids = array[regexp_replace(serving_ids[1], '^(\\d+[.]\\d+[.]\\d+[.]\\d+[.]\\d+)[.]\\d+', '\\1.999999')]",
      );
      await refresh(db);
      expect(await people(db)).toEqual([]);
      expect(await db.value("select count(*)::int from recommend.serving_call")).toBe(0);

      await serve(db, "p7", 2);
      await db.query("update recommend.serving_call set serving_ids[2] = '1.2.3.4.5.x.model.' || repeat('0', 32)");
      await send(db, { type: "track", userId: "p8", event: "Course Viewed", properties: { item: "art-1" } });
      expect(await db.rows("select people, failed, error from track.refresh(100000) where failed > 0")).toEqual([
        { people: expect.any(Number), failed: 1, error: expect.stringContaining("invalid input syntax") },
      ]);
      expect(await db.value("select count(*)::int from recommend.serving_call")).toBe(1);
      expect(await db.value("select count(*)::int from track.changed")).toBe(0);
    }));

  test("a list of 1,000 rows is stored whole", () =>
    world(async (db) => {
      await db.query(
        "insert into track.item (external_id, kind, title) select 'many ' || n, 'course', 'M' from generate_series(1, 1200) as n",
      );
      const rows = await serve(db, "p9", 1000);
      expect(rows).toHaveLength(1000);
      await refresh(db);
      expect(await db.value("select count(distinct serving_key)::int from recommend.impression")).toBe(1000);
    }));
});

test("a learner sees her own lists that wait, and no other one's", () =>
  world(async (db) => {
    await serve(db, "p0", 2);
    await serve(db, "p1", 2);
    await db.query("select set_config('role', 'insights_learner', true), set_config('insights.person', 'p0', true)");
    await db.query("select track.sign_in()");
    expect(
      await db.rows("select person_id = track.current_person_id() as is_hers from recommend.serving_call"),
    ).toEqual([{ is_hers: true }]);
  }));

test("is for the refresh alone", async () => {
  expect(await rolesThatMay(database, "select recommend.collect_servings(1)")).toEqual([]);
});

test.runIf(database.native)("a call is not waited for, and two refreshes count each call once", async () => {
  await add(0, 50);
  const [open, one, other] = await Promise.all([1, 2, 3].map(() => database.pool.connect()));
  if (open === undefined || one === undefined || other === undefined) throw new Error("no connection");
  try {
    await open.query("begin");
    await open.query(
      `insert into recommend.serving_call (hour_at, function_name, kind, item_count, seconds)
       values (date_trunc('hour', now(), 'UTC'), 'serve_me', 'course', 10, 0.0045)`,
    );
    for (const client of [one, other]) await client.query("set lock_timeout = '5s'");
    await one.query("begin");
    const first = await one.query("select recommend.collect_servings(20) as calls");
    const second = other.query("select recommend.collect_servings(100) as calls");
    await one.query("commit");
    expect([first.rows[0].calls, (await second).rows[0].calls]).toEqual([20, 30]);
    await open.query("commit");
    expect(await collect(database)).toBe(1);
    expect(await counted()).toEqual([{ calls: 51, items: 510 }]);
  } finally {
    for (const client of [open, one, other]) {
      await client.query("rollback");
      await client.query("reset lock_timeout");
      client.release();
    }
  }
});
