import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { seal, verify } from "./ledger.ts";

const database = await testDatabase();
await makePeople(database);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("enters each record once, in parts, and adds a checkpoint per day", async () => {
  await inside(async (db) => {
    await db.query("select privacy.record_consent(person, 'analytics', true) from generate_series(1, 5) as person");
    const counts = [];
    for (let call = 0; call < 4; call++) counts.push(await db.value("select privacy.seal(2)"));
    expect(counts).toEqual([2, 2, 1, 0]);
    expect(await db.rows("select position::int, kind from privacy.ledger order by 1")).toEqual(
      [1, 2, 3, 4, 5].map((position) => ({ position, kind: "consent" })),
    );
    expect(await db.value("select count(distinct salt)::int from privacy.consent where length(salt) = 32")).toBe(5);

    await db.query("update privacy.ledger set sealed_at = sealed_at - interval '25 hours'");
    expect(await db.value("select privacy.needs_seal()")).toBe(true);
    expect(await db.value("select privacy.seal()")).toBe(0);
    expect(await db.value("select privacy.seal()")).toBe(0);
    expect(await db.rows("select kind from privacy.ledger where position > 5")).toEqual([{ kind: "checkpoint" }]);
    expect(await db.value("select privacy.needs_seal()")).toBe(false);
  });
});

test("an entry is never before the last one, also when the clock was set back", async () => {
  await inside(async (db) => {
    await seal(db);
    // Entries of a clock that was ahead by a day.
    await db.query("select privacy.record_consent(7, 'analytics', true)");
    await db.query(`
      insert into privacy.ledger
      select 6, 'checkpoint', sha256(''), privacy._ledger_hash(hash, sha256(''), 6, now() + interval '1 day', 'checkpoint'), now() + interval '1 day'
      from privacy.ledger where position = 5`);
    await db.query("select privacy.seal()");
    expect(
      await db.value("select sealed_at > now() + interval '23 hours' from privacy.ledger where position = 7"),
    ).toBe(true);
    expect((await verify(db)).broken).toBeNull();
  });
});

test("records of a table are sealed when they are ready, and several times under several kinds", async () => {
  await inside(async (db) => {
    await db.query(`
      create table privacy.lab (
        lab_id uuid primary key default gen_random_uuid(), opened_at timestamptz not null default clock_timestamp(),
        done_at timestamptz, outcome text, salt bytea, ledger_position bigint, done_salt bytea, done_position bigint
      );
      alter table privacy.lab owner to insights_owner;
      insert into privacy.sealed_table (kind, table_name, key_column, recorded_column, contents, salt_column, position_column, ready_column, description)
      values
        ('lab', 'privacy.lab', 'lab_id', 'opened_at', '{lab_id,opened_at}', 'salt', 'ledger_position', null, 'x'),
        ('lab_done', 'privacy.lab', 'lab_id', 'done_at', '{lab_id,done_at,outcome}', 'done_salt', 'done_position', 'done_at', 'x');
      insert into privacy.lab default values`);
    expect(await db.value("select privacy.seal()")).toBe(1);
    expect(await verify(db)).toMatchObject({ intact: true, records: 1, unsealed: 0 });
    await db.query("update privacy.lab set done_at = clock_timestamp(), outcome = 'done'");
    expect(await verify(db)).toMatchObject({ intact: true, records: 1, unsealed: 1 });
    expect(await db.value("select privacy.seal()")).toBe(1);
    expect(await verify(db)).toMatchObject({ intact: true, records: 2, unsealed: 0 });
    await db.query("update privacy.lab set outcome = 'not done'");
    expect((await verify(db)).problems).toMatchObject([{ problem: "changed", kind: "lab_done", position: 2 }]);
  });
});

test.runIf(database.native)("recording does not wait for sealing, and two calls wait for each other", async () => {
  await database.query("select privacy.record_consent(7, 'analytics', true)");
  await database.as("postgres", {}, async (sealing) => {
    await sealing.query("select privacy.seal()");
    await database.query("set lock_timeout = '5s'; select privacy.record_consent(8, 'analytics', true)");
    expect(await database.value("select count(*)::int from privacy.consent where person_id = 8")).toBe(1);
    expect((await database.rejects("set lock_timeout = '50ms'; select privacy.seal()")).code).toBe("55P03");
  });
});

test.runIf(database.native)(
  "a record that a merge moves at the same time is sealed once, by the next call",
  async () => {
    await database.query(
      `select track.ingest('[{"type": "identify", "messageId": "a", "userId": "cleo"}, {"type": "identify", "messageId": "b", "userId": "dan"}]')`,
    );
    await database.query("select privacy.record_consents(track.find_person('dan'), true)");
    await database.query("begin; select track.link_identities('cleo', 'dan'); rollback");
    await database.as("postgres", {}, async (merging) => {
      await merging.query("select track.link_identities('cleo', 'dan')");
      await database.query("set lock_timeout = '5s'; select privacy.seal()");
    });
    await database.query("reset lock_timeout; select privacy.seal()");
    expect(await verify(database)).toMatchObject({ intact: true, unsealed: 0 });
  },
);

test.each(["0", "null", "100001"])("seal(%s) is CF001", async (most) => {
  expect(await database.rejects(`select privacy.seal(${most})`)).toMatchObject({ code: "CF001" });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select privacy.seal()")).toEqual(["worker"]);
});
