import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, refresh } from "./messages.ts";

const database = await testDatabase();
let people: number[] = [];

beforeAll(async () => {
  await database.query("select setval('track.identity_identity_id_seq', 4094)");
  await ingest(
    database,
    ["ada", "ben", "eve", "zoe"].map((userId) => ({
      type: "track",
      messageId: userId,
      userId,
      event: "Task Submitted",
    })),
  );
  await refresh(database);
  await database.query(`
    create schema lab;
    grant usage on schema lab to insights_owner;
    create function lab.none(set_name text, people bigint[]) returns setof bigint language sql stable
    as 'select 1::bigint where false';
    create function lab.refresh(people bigint[], since timestamptz[], until timestamptz[]) returns void language sql
    as '';
    create function lab.reads_set(set_name text) returns boolean language sql stable
    as $$select set_name = 'lab.read'$$;
    insert into track.consumer values
      ('lab.source', 200, 'lab.refresh', '{event}', 'A test.', null),
      ('lab.reader', 201, 'lab.refresh', '{set}', 'A test.', 'lab.reads_set'),
      ('lab.all', 202, 'lab.refresh', '{set}', 'A test.', null);
    select track.define_person_set(name, 'A test.', 'lab.none', 'lab.source', false)
    from unnest(array['lab.read', 'lab.unread']) as name`);
  people = (
    await database.rows<{ id: number }>("select person_id::int as id from track.person where person_id <> 0 order by 1")
  ).map(({ id }) => id);
});

const inTransaction = (work: (db: Queries) => Promise<void>) => database.as("postgres", {}, work);
const members = (db: Queries, name: string) =>
  db.value("select array(select track.person_set_members($1))::int[]", [name]);
const queued = (db: Queries) =>
  db.rows("select consumer, person_id::int as person from track.changed where consumer like 'lab.%' order by 1, 2");

test("people join and leave, on both sides of the edge of a block; a repetition changes nothing", async () => {
  await inTransaction(async (db) => {
    expect(new Set(people.map((id) => Math.floor(id / 4096))).size).toBe(2);
    await db.query("select track.move_people('lab.read', $1, null)", [[...people, 0, people[0]]]);
    expect(await members(db, "lab.read")).toEqual(people);
    await db.query("delete from track.changed");
    await db.query("select track.move_people('lab.read', $1, '{}')", [people]);
    expect(await queued(db)).toEqual([]);
    await db.query("select track.move_people('lab.read', $1, $2)", [[people[1]], [people[0], people[3]]]);
    expect(await members(db, "lab.read")).toEqual([people[1], people[2]]);
    expect((await queued(db)).map((row) => row)).toEqual(
      ["lab.all", "lab.reader"].flatMap((consumer) => [people[0], people[3]].map((person) => ({ consumer, person }))),
    );
    await db.query("select track.move_people('lab.read', null, $1)", [people]);
    expect(await members(db, "lab.read")).toEqual([]);
    expect(await db.value("select count(*)::int from track.person_set_block where name = 'lab.read'")).toBe(0);
  });
});

test("a consumer is queued for the sets that it reads, and one without a function for all sets", async () => {
  await inTransaction(async (db) => {
    await db.query("select track.move_people('lab.unread', $1, '{}')", [[people[0]]]);
    expect(await queued(db)).toEqual([{ consumer: "lab.all", person: people[0] }]);
    // The consumer of the set itself is not queued, also when it reads sets.
    await db.query("delete from track.changed");
    await db.query("update track.consumer set inputs = '{set}' where consumer = 'lab.source'");
    await db.query("select track.move_people('lab.unread', $1, '{}')", [[people[1]]]);
    expect(await queued(db)).toEqual([{ consumer: "lab.all", person: people[1] }]);
    // A list changes, and a set is removed: the same consumers.
    await db.query("delete from track.changed");
    await db.query("select track.set_person_set('lab.list', $1)", [[people[2]]]);
    expect(await queued(db)).toEqual(["lab.all", "lab.source"].map((consumer) => ({ consumer, person: people[2] })));
    await db.query("delete from track.changed");
    await db.query("select track.undefine_person_set('lab.unread')");
    expect(await queued(db)).toEqual(
      ["lab.all", "lab.source"].flatMap((consumer) => [people[0], people[1]].map((person) => ({ consumer, person }))),
    );
  });
});

test("an unknown set, and other roles", async () => {
  expect(await database.rejects("select track.move_people('lab.reed', '{1}', '{}')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "lab.read"?',
  });
  for (const role of ["insights_learner", "insights_analyst", "insights_admin", "insights_worker"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select track.move_people('lab.read', '{1}', '{}')")).toMatchObject({ code: "42501" });
    });
  }
});
