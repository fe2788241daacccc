import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const known = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  inside(async (db) => {
    const say = (traits: object, timestamp: string) => message({ type: "identify", traits, timestamp });
    await ingest(db, [
      say({ plan: "pro", city: "Oslo" }, "2025-06-01T00:00:00Z"),
      say({ plan: "free", city: "Rome" }, "2026-01-01T00:00:00Z"),
      say({ plan: "pro" }, "2026-02-01T00:00:00Z"),
      message({ userId: "ben", type: "identify", traits: { plan: "pro" }, timestamp: "2026-01-01T00:00:00Z" }),
    ]);
    await db.query(
      "create temp table enrolments as select unnest('{ada,ben}'::text[]) as person, 'course' as item, timestamptz '2026-01-01Z' as enrolled_at",
    );
    await db.query("select track.sync_enrolments('enrolments')");
    await db.query(`select analytics.define_cohort('team', '{"trait": "plan", "is": "team"}')`);
    await refresh(db);
    return work(db);
  });
const traits = (db: Queries) =>
  db.rows("select name, value, set_at from track.trait where person_id = track.find_person('ada') order by 1");

test("a trait is corrected also in the past, and the former values are gone; those of others stay", async () => {
  await known(async (db) => {
    expect(await db.rows(`select * from privacy.rectify('ada', '{"traits": {"plan": "team", "city": null}}')`)).toEqual(
      [
        { table_name: "track.trait_history", row_count: "4", method: "cleared" },
        { table_name: "track.trait", row_count: "1", method: "deleted" },
        { table_name: "track.trait", row_count: "1", method: "cleared" },
      ],
    );
    expect(await traits(db)).toEqual([{ name: "plan", value: "team", set_at: new Date("2026-02-01T00:00:00Z") }]);
    expect(
      await db.rows(
        "select name, since::text, set_at, value from track.trait_history where person_id = track.find_person('ada')",
      ),
    ).toEqual([{ name: "plan", since: "2025-01-01", set_at: [new Date("2025-06-01T00:00:00Z")], value: ["team"] }]);
    expect(
      await db.rows(
        "select at, value from track.traits_at(array_fill(track.find_person('ada'), '{2}'), 'plan', '{2025-05-01Z, 2026-01-15Z}') order by 1",
      ),
    ).toEqual([
      { at: new Date("2025-05-01T00:00:00Z"), value: null },
      { at: new Date("2026-01-15T00:00:00Z"), value: "team" },
    ]);
    expect(await db.value("select value from track.trait where person_id = track.find_person('ben')")).toBe("pro");
    await refresh(db);
    expect(await db.rows("select person from analytics.cohort_people('team')")).toEqual([{ person: "ada" }]);
  });
});

test("a trait that was not known is added, and counted", async () => {
  await known(async (db) => {
    expect(await db.rows(`select * from privacy.rectify('ada', '{"traits": {"country": "Norway"}}')`)).toEqual([
      { table_name: "track.trait", row_count: "1", method: "cleared" },
    ]);
    expect(await traits(db)).toContainEqual({ name: "country", value: "Norway", set_at: expect.any(Date) });
  });
});

test("a later message changes the trait again, an earlier one does not", async () => {
  await known(async (db) => {
    await db.query(`select privacy.rectify('ada', '{"traits": {"plan": "team"}}')`);
    await ingest(db, [message({ type: "identify", traits: { plan: "old" }, timestamp: "2026-01-20T00:00:00Z" })]);
    expect(
      await db.value("select value from track.trait where name = 'plan' and person_id = track.find_person('ada')"),
    ).toBe("team");
    await ingest(db, [message({ type: "identify", traits: { plan: "new" }, timestamp: "2026-03-01T00:00:00Z" })]);
    expect(
      await db.value("select value from track.trait where name = 'plan' and person_id = track.find_person('ada')"),
    ).toBe("new");
  });
});

test("a trait that is new, and one of another identity of the person", async () => {
  await known(async (db) => {
    await db.query("select track.merge_persons('ada', 'ben')");
    await db.query(`select privacy.rectify('ada', '{"traits": {"plan": {"level": 2}, "city": "Bari", "age": 30}}')`);
    expect(
      await db.rows(
        "select external_id, name, value from track.trait join track.identity using (identity_id) order by 1, 2",
      ),
    ).toEqual([
      { external_id: "ada", name: "age", value: 30 },
      { external_id: "ada", name: "city", value: "Bari" },
      { external_id: "ada", name: "plan", value: { level: 2 } },
      { external_id: "ben", name: "plan", value: { level: 2 } },
    ]);
  });
});

test("enrolments are corrected or removed, and her request is answered", async () => {
  await known(async (db) => {
    await db.query("select privacy.open_request('ada', 'rectification')");
    const correct = (changes: object) => db.query("select privacy.rectify('ada', $1)", [JSON.stringify(changes)]);
    await correct({ enrolments: [{ item: "course", status: "completed", ended_at: "2026-02-01T00:00:00Z" }] });
    const hers = "select status, enrolled_at, ended_at from track.enrolment where person_id = track.find_person('ada')";
    expect(await db.rows(hers)).toEqual([
      {
        status: "completed",
        enrolled_at: new Date("2026-01-01T00:00:00Z"),
        ended_at: new Date("2026-02-01T00:00:00Z"),
      },
    ]);
    expect(await db.value("select count(*)::int from privacy.open_requests")).toBe(0);
    await correct({ enrolments: [{ item: "course", removed: true }] });
    expect(await db.rows(hers)).toEqual([]);
    expect(await db.value("select count(*)::int from track.enrolment")).toBe(1);
  });
});

test("the date of birth is corrected, also by the trait of its name, or deleted", async () => {
  await known(async (db) => {
    const dates = () => db.rows("select birth_date::text from privacy.person_age");
    await db.query(`select privacy.rectify('ada', '{"birthday": "2015-05-31"}')`);
    expect(await dates()).toEqual([{ birth_date: "2015-05-31" }]);
    expect(await db.value("select count(*)::int from track.trait where name = 'birthday'")).toBe(0);
    await db.query(`select privacy.rectify('ada', '{"traits": {"birthday": "1990-01-02"}}')`);
    expect(await dates()).toEqual([{ birth_date: "1990-01-02" }]);
    await db.query(`select privacy.rectify('ada', '{"birthday": null}')`);
    expect(await dates()).toEqual([]);
  });
});

test.each([
  ["null", "CF001"],
  ['\'{"birthday": "soon"}\'', "CF001"],
  ["'{\"birthday\": 20100531}'", "CF001"],
  ['\'{"birthday": "2010-02-30"}\'', "CF001"],
  ['\'{"birthday": "2999-01-01"}\'', "CF001"],
  ["'{}'", "CF001"],
  ["'[]'", "CF001"],
  ["'{\"name\": 1}'", "CF001"],
  ["'{\"traits\": [1]}'", "CF001"],
  ["'{\"traits\": null}'", "CF001"],
  ["jsonb_build_object('traits', jsonb_build_object(repeat('n', 101), 1))", "CF008"],
  ["jsonb_build_object('traits', jsonb_build_object('n', repeat('v', 40000)))", "CF008"],
  ["'{\"enrolments\": {}}'", "CF001"],
  ["'{\"enrolments\": [1]}'", "CF001"],
  ['\'{"enrolments": [{"item": "course", "grade": 1}]}\'', "CF001"],
  ['\'{"enrolments": [{"item": "course", "status": "done"}]}\'', "CF001"],
  ['\'{"enrolments": [{"item": "course", "status": null}]}\'', "CF001"],
  ['\'{"enrolments": [{"item": "course", "enrolled_at": "soon"}]}\'', "CF001"],
  ['\'{"enrolments": [{"item": "course", "enrolled_at": "infinity"}]}\'', "CF001"],
  ['\'{"enrolments": [{"item": "other"}]}\'', "CF002"],
  ["'{\"enrolments\": [{}]}'", "CF002"],
])("rectify('ada', %s) is %s, and changes nothing", async (values, code) => {
  await known(async (db) => {
    const before = await traits(db);
    await db.query("savepoint before");
    const error = await db.rejects(`select privacy.rectify('ada', ${values})`);
    expect(error).toMatchObject({ code });
    expect(error.message.length).toBeLessThan(300);
    await db.query("rollback to before");
    expect(await traits(db)).toEqual(before);
  });
});

test("an unknown person is CF002; is for admins", async () => {
  const sql = `select privacy.rectify('who is this', '{"traits": {}}')`;
  expect(await database.rejects(sql)).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, sql)).toEqual(["admin"]);
});
