import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** Three people with a submission each; the one of ada is restricted. */
const restricted = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben", "eve"].flatMap((userId) => [
        message({ userId, properties: { item: "course", itemKind: "course" } }),
        message({ userId, type: "identify", traits: { plan: "pro" } }),
      ]),
    );
    await db.query(
      "create temp table enrolments as select unnest('{ada,ben}'::text[]) as person, 'course' as item, now() - interval '9 days' as enrolled_at",
    );
    await db.query("select track.sync_enrolments('enrolments')");
    await db.query(`select analytics.define_cohort('pro', '{"trait": "plan", "is": "pro"}')`);
    await refresh(db);
    expect(await db.value("select privacy.restrict_person('ada', 'accuracy')")).toBe(true);
    await refresh(db);
    return work(db);
  });
const size = (db: Queries, name: string) => db.value<number>("select track.person_set_size($1)::int", [name]);

test("the data stays, and is in no figure, segment, prediction, training or list", async () => {
  await restricted(async (db) => {
    const hers = "track.find_person('ada')";
    expect(await db.value(`select count(*)::int from track.event where person_id = ${hers}`)).toBe(1);
    expect(await db.value(`select count(*)::int from recommend.interaction where person_id = ${hers}`)).toBe(1);
    expect([await size(db, "counted"), await size(db, "excluded"), await size(db, "cohort.pro")]).toEqual([2, 1, 2]);
    expect(
      await db.value(
        "select event_count::int from track.presence join track.event_type using (event_type_id) where name = 'Task Submitted'",
      ),
    ).toBe(2);
    expect(await db.rows("select person_id from analytics._learner_features(array[now()])")).toEqual(
      await db.rows("select track.find_person('ben') as person_id"),
    );
    expect(await db.value(`select bool_or(privacy.allowed(${hers}, purpose)) from privacy.purpose`)).toBe(false);
    expect(
      await db.value("select bool_or(basis in ('model', 'content', 'next')) from recommend.for_person('ada')"),
    ).not.toBe(true);
  });
});

test("messages are still stored, and what was stored before a restriction is as before when it is lifted", async () => {
  await restricted(async (db) => {
    expect(await ingest(db, [message({ properties: { item: "course" } })])).toMatchObject({ accepted: 1, rejected: 0 });
    await refresh(db);
    expect(
      await db.value("select event_count from recommend.interaction where person_id = track.find_person('ada')"),
    ).toBe(2);
    expect(await db.value("select privacy.lift_restriction('ada')")).toBe(true);
    await refresh(db);
    expect([await size(db, "counted"), await size(db, "excluded"), await size(db, "cohort.pro")]).toEqual([3, 0, 3]);
    expect(
      await db.value(
        "select event_count::int from track.presence join track.event_type using (event_type_id) where name = 'Task Submitted'",
      ),
    ).toBe(4);
  });
});

test("belongs to an identity: after a merge the whole person, after a split the one with the name", async () => {
  await restricted(async (db) => {
    await db.query("select track.merge_persons('ben', 'ada')");
    await refresh(db);
    expect(await size(db, "counted")).toBe(1);
    expect(await db.value("select privacy.restrict_person('ben', 'claims')")).toBe(false);
    await db.query("select track.split_person('ben', '{ada}')");
    await refresh(db);
    expect(await db.rows("select track.find_person('ada') as person_id")).toEqual(
      await db.rows("select privacy.restricted() as person_id"),
    );
    expect(await size(db, "counted")).toBe(2);
  });
});

test("she cannot be erased meanwhile; her open request is answered", async () => {
  await restricted(async (db) => {
    await db.query("savepoint before");
    const error = await db.rejects("select privacy.erase_person('ada')");
    expect(error).toMatchObject({ code: "CF005" });
    expect(error.hint).toContain("lift_restriction");
    await db.query("rollback to before");
    await db.query("select privacy.open_request('ben', 'restriction'), privacy.open_request('ben', 'access')");
    await db.query("select privacy.restrict_person('ben', 'claims')");
    expect(await db.rows("select kind, state from privacy.request order by kind")).toEqual([
      { kind: "access", state: "open" },
      { kind: "restriction", state: "completed" },
    ]);
  });
});

test.each([
  ["'ada', 'why not'", "CF001"],
  ["'ada', null", "CF001"],
  ["null, 'claims'", "CF001"],
  ["'who is this', 'claims'", "CF002"],
])("restrict_person(%s) is %s", async (values, code) => {
  expect(await database.rejects(`select privacy.restrict_person(${values})`)).toMatchObject({ code });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.restrict_person('ada', 'claims')")).toEqual(["admin"]);
});
