import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import type { Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";
import { at, impressions } from "./servings.ts";

const database = await testDatabase();

beforeAll(async () => {
  await makeHistory(database);
  await trainOnHistory(database);
});

const list = (db: Queries, call: string): Promise<Recommendation[]> =>
  db
    .rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`)
    .then((rows) => rows.map(({ row }) => row));
const become = async (db: Queries, role: string, person = ""): Promise<void> => {
  await db.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [role, person]);
  await db.query("select track.sign_in()");
};
/** The stored rows of all people. */
const stored = async (db: Queries) => {
  await become(db, "postgres");
  await db.query("select track.refresh(100000)");
  return (await impressions(db)).map(({ person, item, rank, is_served, seen_at }) => ({
    person,
    item,
    rank,
    is_served,
    seen: seen_at !== null,
  }));
};
const recorded = (person: string, rows: Recommendation[]) =>
  rows.map(({ item, rank }) => ({ person, item, rank, is_served: true, seen: false }));
const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
/** The parts of a row that do not depend on the call. */
const comparable = (rows: Recommendation[]) => rows.map(({ serving_id: _, ...row }) => ({ ...row, next_page: null }));

describe("recommend.serve_me", () => {
  test("returns what for_me returns, and records each row once as served and not as seen", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      const read = await list(db, "recommend.for_me(5)");
      expect(await stored(db)).toEqual([]);
      await become(db, "insights_learner", "p0");
      const served = await list(db, "recommend.serve_me(5)");
      expect(served).toHaveLength(5);
      expect(comparable(served)).toEqual(comparable(read));
      // Another call in the transaction is the same list.
      await list(db, "recommend.serve_me(5)");
      expect(await stored(db)).toEqual(recorded("p0", served));

      // Seen apart from served: the row of the browser is the same one.
      await become(db, "insights_learner", "p0");
      await db.query("select recommend.feedback('show', serving_id => $1)", [served[1]?.serving_id]);
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      expect(await stored(db)).toEqual(recorded("p0", served).map((row) => ({ ...row, seen: row.rank === 2 })));
      // The row has what the id contains.
      expect(
        await db.rows(
          `select distinct basis, model_id = (select max(model_id) from ml.model) as is_deployed, propensity,
             identity_id = track.find_identity('p0') as is_hers, listed_at <= now() and listed_at > now() - interval '1 second' as is_now
           from recommend.impression`,
        ),
      ).toEqual([{ basis: "model", is_deployed: true, propensity: null, is_hers: true, is_now: true }]);
    }));

  test("passes all arguments on, and the next page has its own rows", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      const read = await list(db, "recommend.for_me(100)");
      const [first, , , , , second] = read;
      const rest = await list(
        db,
        `recommend.serve_me(3, 'course', exclude_items => '{${first?.item}}', diversity => 0)`,
      );
      expect(rest.map(({ item }) => item)).toEqual(read.slice(1, 4).map(({ item }) => item));
      const only = await list(db, `recommend.serve_me(only_items => '{${second?.item}}')`);
      expect(only.map(({ item }) => item)).toEqual([second?.item]);
      const page = (rest.at(-1) as unknown as { next_page: string }).next_page;
      const next = await list(db, `recommend.serve_me(2, exclude_items => '{${first?.item}}', page => '${page}')`);
      expect(next.map(({ rank }) => rank)).toEqual([4, 5]);
      expect((await stored(db)).map(({ item, rank }) => `${rank} ${item}`).sort()).toEqual(
        [...rest, ...only, ...next].map(({ item, rank }) => `${rank} ${item}`).sort(),
      );
    }));

  test("records nothing for a person without consent, nor for one whom nothing names yet", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      await db.query("select track.record_my_consent('personalization', false)");
      expect(await list(db, "recommend.serve_me(3)")).toHaveLength(3);
      await become(db, "insights_learner", "a newcomer");
      const rows = await list(db, "recommend.serve_me(3)");
      expect(rows).toHaveLength(3);
      expect(await stored(db)).toEqual([]);
      // An answer brings the row, and the person.
      await become(db, "insights_learner", "a newcomer");
      await db.query("select recommend.feedback('click', serving_id => $1)", [rows[0]?.serving_id]);
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      expect(await stored(db)).toEqual([
        { person: "a newcomer", item: rows[0]?.item, rank: 1, is_served: false, seen: true },
      ]);
    }));

  test("an empty list records nothing", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      expect(await list(db, "recommend.serve_me(only_items => '{}')")).toEqual([]);
      expect(await stored(db)).toEqual([]);
    }));

  test("what was served or seen is not in the next list, where a rule leaves it out, before the refresh as well", () =>
    world(async (db) => {
      await db.query("select recommend.set_rule('again', 'not_again', period => '7 days')");
      await become(db, "insights_learner", "p0");
      const all = (await list(db, "recommend.for_me(100)")).map(({ item }) => item);
      const served = (await list(db, "recommend.serve_me(2)")).map(({ item }) => item);
      expect(served).toEqual(all.slice(0, 2));
      const rest = await list(db, "recommend.for_me(100)");
      expect(rest.map(({ item }) => item)).toEqual(all.slice(2));
      // Seen in a browser, and the event waits for the refresh.
      await db.query("select recommend.feedback('show', serving_id => $1)", [rest[0]?.serving_id]);
      expect((await list(db, "recommend.for_me(100)")).map(({ item }) => item)).toEqual(all.slice(3));
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      await become(db, "insights_learner", "p0");
      expect((await list(db, "recommend.for_me(100)")).map(({ item }) => item)).toEqual(all.slice(3));
      // Other people are not concerned, and after the period it may come again.
      await become(db, "postgres");
      await db.query("update recommend.impression set listed_at = listed_at - interval '8 days', seen_at = null");
      await db.query(
        "delete from track.event using track.event_type where event_type.event_type_id = event.event_type_id and name = 'Recommendation Shown'",
      );
      await become(db, "insights_learner", "p0");
      expect((await list(db, "recommend.for_me(100)")).map(({ item }) => item)).toEqual(all);
    }));

  test("bad input is that of for_me", async () => {
    const error = await database.rejects("select recommend.serve_me(1001)");
    expect(`${error.code} ${error.message}`).toBe("CF001 top is 1001");
    expect((await database.rejects("select recommend.serve_me(10, 'curse')")).code).toBe("CF002");
  });

  test("is for learners", async () => {
    expect(await rolesThatMay(database, "select recommend.serve_me()", { "insights.person": "p0" })).toEqual([
      "learner",
      "instructor",
    ]);
  });
});

describe("what a learner cannot record", () => {
  test("a list of her own making, an altered one, or one of another person: only the functions that make lists record them", () =>
    world(async (db) => {
      await become(db, "insights_worker");
      const [ofAnother] = await list(db, "recommend.for_person('p1', 1)");
      await become(db, "insights_learner", "p0");
      const [mine] = await list(db, "recommend.for_me(1)");
      const record = (row: { serving_id: string } | undefined) =>
        db.rejects("select recommend._record_list(array[$1], array[0.5], 'serve_me', 'course', now())", [
          row?.serving_id,
        ]);
      for (const role of ["insights_visitor", "insights_learner", "insights_admin", "insights_worker"])
        for (const row of [mine, ofAnother, { serving_id: "0.1.1.0.0.0.model" }]) {
          await become(db, role, "p0");
          await db.query("savepoint attack");
          const error = await record(row);
          expect(`${role} ${error.code} ${error.message}`).toBe(
            `${role} 42501 permission denied for function _record_list`,
          );
          await db.query("rollback to savepoint attack");
          const asked = await db.rejects("select recommend._may_record(1)");
          expect(`${asked.code} ${asked.message}`).toBe("42501 permission denied for function _may_record");
          await db.query("rollback to savepoint attack");
        }
      expect(await stored(db)).toEqual([]);
    }));

  test("a list that she makes herself, for another person or with an invented context", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      const invented =
        "row(1, 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{segment.power}', '{}', '{}')::recommend.person_context";
      for (const call of [
        `recommend._rank(${invented}, row('course', 1, '{}', null, null, false, null)::recommend.request)`,
        `recommend._rank_given(${invented}, 'course', '{art-1}')`,
        `recommend._why_not(${invented}, 1, 10)`,
      ]) {
        const error = await db.rejects(`select * from ${call}`);
        expect(`${error.code} ${error.message}`).toMatch(/^42501 permission denied for function _(rank|why)/);
      }
    }));

  test("the period of a rule for a set of people that she is not in", () =>
    world(async (db) => {
      await db.query("select track.set_person_set('chosen', array[track.find_person('p1')])");
      await db.query(
        "select recommend.set_rule('secret', 'not_again', person_set => 'chosen', period => interval '9 days')",
      );
      const period = `recommend._shown_period(
        row(1, 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{chosen}', '{}', '{}')::recommend.person_context, 'course'
      )::text`;
      expect(await db.value(`select ${period}`)).toBe("9 days");
      await become(db, "insights_learner", "p0");
      expect(await db.value(`select ${period}`)).toBe(null);
      await become(db, "insights_learner", "p1");
      expect(await db.value(`select ${period}`)).toBe("9 days");
    }));

  test("rows of the table, keys, and the functions of the owner", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      for (const sql of [
        "insert into recommend.impression (person_id, serving_key, item_id, rank, basis, listed_at, is_served) values (1, gen_random_uuid(), 1, 1, 'model', now(), true)",
        "update recommend.impression set clicked_at = now()",
        "delete from recommend.impression",
        "insert into recommend.serving_call (hour_at, function_name, kind, item_count, seconds) values (now(), 'x', 'course', 0, 0)",
        "update recommend.serving_call set person_id = 1",
        "delete from recommend.serving_call",
        "select recommend.collect_servings(1)",
        "select * from recommend.secret",
        "select recommend.refresh_impressions('{1}', '{-infinity}', '{infinity}')",
        "select recommend._move_impressions('{1}')",
        "select recommend._send_feedback('p1', 'userId', 'like', 'art-1', null, null, null)",
        "select recommend._own_serving('x', 1)",
        "select * from recommend._answers('{}')",
        "select * from recommend._named_servings('{1}', '{-infinity}', '{infinity}')",
        "select track.people_of_identities('{1}', '{2026-01-01}')",
      ]) {
        await db.query("savepoint attack");
        const error = await db.query(sql).then(
          () => undefined,
          (failed: { code: string }) => failed.code,
        );
        await db.query("rollback to savepoint attack");
        expect(`${error} ${sql}`).toBe(`42501 ${sql}`);
      }
    }));

  test("a signature with keys of her own", () =>
    world(async (db) => {
      const forged = await db.value<string>(
        `select recommend._serving_id(
           row(true, '\\x00', '\\x00')::recommend.secret, null, 1, 1, null, now(), track.find_identity('p0'), 'model'
         )`,
      );
      await become(db, "insights_learner", "p0");
      expect(await db.rejects("select recommend.feedback('show', serving_id => $1)", [forged])).toMatchObject({
        code: "CF009",
        message: expect.stringContaining("has an invalid signature"),
      });
    }));

  test("a text that is not an id", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      expect((await db.rows("select * from recommend._read_serving_id($1)", [at(0)]))[0]).toMatchObject({
        problem: "is not the serving_id of a list",
      });
    }));
});

describe("the record of a list", () => {
  test("has the score of each row, the function, the pool and the model, as the list and its ids have them", () =>
    world(async (db) => {
      await db.query("update recommend.setting set explored_slots = '{2}', explored_pool_size = 4");
      await become(db, "insights_learner", "p0");
      const served = await list(db, "recommend.serve_me(6)");
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      expect(
        await db.rows(
          `select
             row_to_json(impression)::jsonb - '{person_id,serving_key,model_id,item_id,identity_id,pool,listed_at}'::text[]
             || jsonb_build_object(
               'same', (
                 select (read.serving_key, read.identity_id, read.model_id, read.item_id, read.rank, read.basis, read.pool,
                   read.listed_at, read.experiment_id, read.variation)
                   is not distinct from (impression.serving_key, impression.identity_id, impression.model_id,
                     impression.item_id, impression.rank, impression.basis, impression.pool, impression.listed_at,
                     impression.experiment_id, impression.variation)
                   and abs(coalesce(read.propensity, 0) - coalesce(impression.propensity, 0)) < 1e-9
                 from recommend._read_serving_id(($1::text[])[impression.rank]) as read
               )
             ) as row
           from recommend.impression
           order by rank`,
          [served.map(({ serving_id }) => serving_id)],
        ),
      ).toEqual(
        served.map((row) => ({
          row: expect.objectContaining({
            rank: row.rank,
            score: row.score,
            function_name: "serve_me",
            same: true,
            is_served: true,
          }),
        })),
      );
    }));

  test("takes no other rows of the person than those of the list, and a row that an event brought becomes served", () =>
    world(async (db) => {
      await become(db, "insights_learner", "p0");
      const [first] = await list(db, "recommend.for_me(2)");
      await db.query("select recommend.feedback('click', serving_id => $1)", [first?.serving_id]);
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      const figures = () =>
        db.rows(
          "select rank, is_served, score, function_name, clicked_at is not null as clicked from recommend.impression order by rank",
        );
      expect(await figures()).toEqual([{ rank: 1, is_served: false, score: null, function_name: null, clicked: true }]);
      await become(db, "insights_learner", "p0");
      const served = await list(db, "recommend.serve_me(2)");
      expect(served[0]?.serving_id).toBe(first?.serving_id);
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      const recordedRows = served.map(({ rank, score }) => ({
        rank,
        is_served: true,
        score,
        function_name: "serve_me",
        clicked: rank === 1,
      }));
      expect(await figures()).toEqual(recordedRows);
      // The answers are computed again without a change of the record.
      await db.query("select track.rebuild('recommend.impression')");
      await db.query("select track.refresh(100000)");
      expect(await figures()).toEqual(recordedRows);
    }));

  test("is empty for a person whose data is restricted", () =>
    world(async (db) => {
      await db.query("select privacy.restrict_person('p0', 'accuracy')");
      await become(db, "insights_worker");
      expect(await list(db, "recommend.serve_person('p0', 2)")).toHaveLength(2);
      expect(await stored(db)).toEqual([]);
    }));

  test.runIf(database.native)("waits for a merge, and fails in a snapshot from before it", async () => {
    await database.query("select track.ingest($1)", [
      JSON.stringify([
        { type: "track", messageId: "a phone of s", anonymousId: "phone of s", event: "Seen" },
        { type: "track", messageId: "s", userId: "s", event: "Seen" },
      ]),
    ]);
    const serving = await database.pool.connect();
    try {
      await serving.query("begin isolation level repeatable read");
      await serving.query("select 1 from track.person limit 1");
      await database.query("select track.ingest($1)", [
        JSON.stringify([{ type: "identify", messageId: "link of s", userId: "s", anonymousId: "phone of s" }]),
      ]);
      await serving.query("set local role insights_worker");
      const error = await serving.query("select recommend.serve_person('phone of s', 1)").then(
        () => undefined,
        (failed: { code: string }) => failed,
      );
      expect(error?.code).toBe("40001");
    } finally {
      await serving.query("rollback");
      serving.release();
    }
    expect(await impressions(database)).toEqual([]);
  });
});
