import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { makePeople } from "../../support/people.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { problemsOf, seal, verify } from "./ledger.ts";

const database = await testDatabase();
await makePeople(database, 150);
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** Hashes all entries again, as an owner of the database can: the salts are in the records. */
async function rehash(db: Queries, renumber = true): Promise<void> {
  const entries = await db.rows<{ position: string; kind: string; commitment: Buffer; micros: string }>(
    `select position, kind, commitment, (extract(epoch from sealed_at) * 1000000)::bigint as micros
     from privacy.ledger order by position`,
  );
  let previous = Buffer.alloc(0);
  for (const [index, { position, kind, commitment, micros }] of entries.entries()) {
    const numbers = Buffer.alloc(16);
    const number = renumber ? String(index + 1) : position;
    numbers.writeBigInt64BE(BigInt(number), 0);
    numbers.writeBigInt64BE(BigInt(micros), 8);
    previous = createHash("sha256").update(previous).update(commitment).update(numbers).update(kind).digest();
    await db.query("update privacy.ledger set position = $1, hash = $2 where position = $3", [
      number,
      previous,
      position,
    ]);
  }
}

/** The commitment of `privacy.seal`, of a decision as it is now. */
const commit = `
  set local timezone to 'UTC';
  update privacy.ledger
  set commitment = sha256(salt || convert_to(jsonb_build_array('consent', 'consent_id', consent_id, 'subject_name', subject_name,
    'purpose', purpose, 'granted', granted, 'decided_at', decided_at, 'recorded_at', recorded_at, 'source', source,
    'document_version', document_version, 'evidence', evidence, 'basis', basis, 'valid_until', valid_until,
    'decided_by', decided_by)::text, 'UTF8'))
  from privacy.consent
  where ledger_position = position`;

test("a ledger that nobody touched is intact, before and after merges, splits and further decisions", async () => {
  await inside(async (db) => {
    expect(await verify(db)).toMatchObject({ intact: true, entries: 0, records: 0, unsealed: 0, broken: null });
    await seal(db);
    expect(await verify(db)).toMatchObject({ intact: true, entries: 5, records: 5, unsealed: 0, removed: 0 });
    await db.query("select track.link_identities('ada', 'ben')");
    expect(await verify(db)).toMatchObject({ intact: true, entries: 5, records: 5 });
    await db.query("select privacy.record_consents(track.find_person('ada'), false)");
    expect(await verify(db)).toMatchObject({ intact: true, entries: 5, records: 5, unsealed: 6 });
    await db.query("select track.unlink_identities('ada', 'ben')");
    await db.query("select privacy.seal()");
    expect(await verify(db)).toMatchObject({ intact: true, entries: 11, records: 11, unsealed: 0 });
  });
});

test("the hashes are those that another program computes", async () => {
  await inside(async (db) => {
    await seal(db);
    const before = await db.rows("select * from privacy.ledger order by position");
    await db.query(commit);
    await rehash(db);
    expect(await db.rows("select * from privacy.ledger order by position")).toEqual(before);
  });
});

/** Statements of an owner of the database, who may write everything, to hide a change; and the differences that are found. */
const attacks: Record<string, [sql: string, found: string[]]> = {
  "turns a refusal into a grant": [
    "update privacy.consent set granted = true where not granted and purpose = 'analytics'",
    ["changed consent"],
  ],
  "changes the evidence": [
    `update privacy.consent set evidence = evidence || '{"gdprApplies": false}' where evidence is not null`,
    ["changed consent"],
  ],
  "removes an expiry": ["update privacy.consent set valid_until = 'infinity' where granted", ["changed consent"]],
  "lets a guardian decide": ["update privacy.consent set decided_by = 'guardian' where granted", ["changed consent"]],
  "backdates a decision": [
    "update privacy.consent set decided_at = decided_at - interval '1 year' where purpose = 'analytics'",
    ["changed consent"],
  ],
  "gives a decision another salt": ["update privacy.consent set salt = sha256('') where granted", ["changed consent"]],
  "takes the salt away": ["update privacy.consent set salt = null where granted", ["changed consent"]],
  "changes the text that was shown": [
    "update privacy.consent_text set body = 'We sell your data.'",
    ["changed consent_text"],
  ],
  "deletes a text": ["delete from privacy.consent_text", ["missing consent_text"]],
  "deletes a decision": ["delete from privacy.consent where purpose = 'analytics'", ["missing consent"]],
  "deletes all decisions of a person": ["delete from privacy.consent where subject_name = 'ada'", ["missing consent"]],
  "deletes a decision with its entry": [
    `with deleted as (delete from privacy.consent where purpose = 'analytics' returning ledger_position)
     delete from privacy.ledger using deleted where position = ledger_position`,
    ["broken"],
  ],
  "deletes a decision with its entry and closes the gap": [
    `with deleted as (delete from privacy.consent where purpose = 'analytics' returning ledger_position)
     delete from privacy.ledger using deleted where position = ledger_position;
     create temporary table numbered as select position, row_number() over (order by position) as number from privacy.ledger;
     update privacy.ledger set position = number from numbered where numbered.position = ledger.position;
     update privacy.consent set ledger_position = number from numbered where numbered.position = ledger_position;
     update privacy.consent_text set ledger_position = number from numbered where numbered.position = ledger_position`,
    ["broken"],
  ],
  "swaps the entries of two decisions": [
    `create temporary table swapped as
     select (array_agg(consent_id))[1] as one, (array_agg(consent_id))[2] as two,
       (array_agg(ledger_position))[1] as first, (array_agg(ledger_position))[2] as second
     from privacy.consent where granted;
     update privacy.consent set ledger_position = case consent_id when one then second else first end
     from swapped where consent_id in (one, two)`,
    ["changed consent"],
  ],
  "swaps two entries": [
    `update privacy.ledger set commitment = (select commitment from privacy.ledger as other where other.position = 3 - ledger.position)
     where position in (1, 2)`,
    ["broken", "changed consent"],
  ],
  "copies a grant": [
    `insert into privacy.consent
     select (jsonb_populate_record(consent, jsonb_build_object('consent_id', gen_random_uuid(), 'person_id', 99))).*
     from privacy.consent where granted and subject_name = 'ada'`,
    ["copied consent", "moved consent"],
  ],
  "copies a decision to another person, with its key and salt": [
    `insert into privacy.consent
     select (jsonb_populate_record(consent, jsonb_build_object('person_id', 99))).*
     from privacy.consent where granted and subject_name = 'ada'`,
    ["copied consent", "moved consent"],
  ],
  "inserts a decision that seems sealed": [
    `insert into privacy.consent (person_id, identity_id, purpose, granted, salt, ledger_position) values (1, 1, 'service', true, '', 77)`,
    ["unknown_position consent"],
  ],
  "inserts an entry": [
    `insert into privacy.ledger select 6, kind, commitment, hash, sealed_at from privacy.ledger where position = 5`,
    ["broken", "missing consent_text"],
  ],
  "gives a decision to another person": [
    "update privacy.consent set person_id = track.find_person('ben') where subject_name = 'ada'",
    ["moved consent"],
  ],
  "gives a decision to another person and identity": [
    `update privacy.consent set person_id = track.find_person('ben'), identity_id = (select identity_id from track.identity where external_id = 'ben')
     where subject_name = 'ada'`,
    ["moved consent"],
  ],
  "gives a decision to another person, under her name": [
    `update privacy.consent set person_id = track.find_person('ben'), subject_name = 'ben',
       identity_id = (select identity_id from track.identity where external_id = 'ben')
     where subject_name = 'ada'`,
    ["changed consent"],
  ],
  "makes a decision unsealed, to change and seal it again": [
    `update privacy.consent set granted = not granted, ledger_position = null, salt = null where purpose = 'analytics';
     select privacy.seal()`,
    ["missing consent"],
  ],
  "changes the kind of an entry": [
    "update privacy.ledger set kind = 'other' where position = 1",
    ["broken", "unknown_kind other", "unknown_position consent"],
  ],
  "takes a kind of records out of the list": [
    "delete from privacy.sealed_table where kind = 'consent'",
    ["unknown_kind consent"],
  ],
  "takes a column out of what is sealed": [
    "update privacy.sealed_table set contents = array_remove(contents, 'granted') where kind = 'consent'",
    ["changed consent"],
  ],
  "changes the time of an entry": [
    "update privacy.ledger set sealed_at = sealed_at - interval '1 year' where position = 1",
    ["broken"],
  ],
};

test.each(Object.entries(attacks))("an owner who %s is found", async (_name, [sql, found]) => {
  await inside(async (db) => {
    await seal(db);
    await db.query(sql);
    const report = await verify(db);
    expect(problemsOf(report)).toEqual(found);
    expect(report).toMatchObject({ intact: false, count: report.problems.length });
  });
});

test("a decision that is inserted later with an earlier time is found, also between checkpoints", async () => {
  const late = `insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, recorded_at)
    values (7, 7, 'advertising', true, now() - interval '3 days', now() - interval '3 days')`;
  await inside(async (db) => {
    await seal(db);
    await db.query(late);
    await db.query("select privacy.seal()");
    expect(problemsOf(await verify(db))).toEqual(["backdated consent"]);
    expect(problemsOf(await verify(db, "tolerance => '4 days'"))).toEqual([]);
  });
  // A transaction that was open while others were sealed is not reported as an attack.
  await inside(async (db) => {
    await seal(db);
    await db.query(late.replaceAll("3 days", "50 minutes"));
    await db.query("select privacy.seal()");
    expect(await verify(db)).toMatchObject({ intact: true });
  });
});

test("a ledger that was written again as a whole is found by a head that was kept elsewhere", async () => {
  await inside(async (db) => {
    await seal(db);
    const [head] = await db.rows<{ position: string; hash: string }>(
      "select position, hash from privacy.ledger_head()",
    );
    const expected = `${head?.position}, '${head?.hash}'`;
    expect(await verify(db, expected)).toMatchObject({ intact: true });
    // Later entries change nothing.
    await db.query("select privacy.record_consents(track.find_person('ada'), false)");
    await db.query("select privacy.seal()");
    expect(await verify(db, expected.toUpperCase())).toMatchObject({ intact: true });

    await db.query("update privacy.consent set granted = true where purpose = 'analytics'");
    await db.query(commit);
    await rehash(db);
    expect(await verify(db)).toMatchObject({ intact: true });
    expect(problemsOf(await verify(db, expected))).toEqual(["rewritten"]);
  });
  // The end of the ledger is cut off, with its records.
  await inside(async (db) => {
    await seal(db);
    const [head] = await db.rows<{ position: string; hash: string }>(
      "select position, hash from privacy.ledger_head()",
    );
    await db.query("delete from privacy.consent_text");
    await db.query("delete from privacy.ledger where kind = 'consent_text'");
    expect(await verify(db)).toMatchObject({ intact: true });
    expect(problemsOf(await verify(db, `${head?.position}, '${head?.hash}'`))).toEqual(["rewritten"]);
  });
});

test("a ledger without its first entries, or with another order of times, is broken, whatever its hashes", async () => {
  await inside(async (db) => {
    await seal(db);
    await db.query(
      "delete from privacy.consent where ledger_position = 1; delete from privacy.ledger where position = 1",
    );
    await rehash(db, false);
    expect(problemsOf(await verify(db))).toEqual(["broken"]);
  });
  await inside(async (db) => {
    await seal(db);
    await db.query("update privacy.ledger set sealed_at = sealed_at - interval '1 day' where position = 4");
    await rehash(db);
    expect(await verify(db)).toMatchObject({ broken: 4 });
  });
});

test("an erasure breaks nothing, its records cannot come back, and it covers no other deletion", async () => {
  await inside(async (db) => {
    await seal(db);
    const erased = await db.rows(
      `select erased.* from privacy.erase(track.subject('ada')) as erased where row_count > 0`,
    );
    expect(erased).toEqual([{ table_name: "privacy.consent", row_count: "3", method: "deleted" }]);
    expect(await verify(db)).toMatchObject({ intact: true, entries: 5, records: 2, removed: 3, unsealed: 1 });
    await db.query("select privacy.seal()");
    expect(await verify(db)).toMatchObject({ intact: true, entries: 6, records: 3, removed: 3, unsealed: 0 });
    // The chain and the commitments hold nothing that another table holds.
    expect(await db.value("select count(*)::int from privacy.consent where subject_name = 'ada'")).toBe(0);

    await db.query("delete from privacy.consent where subject_name = 'ben'");
    expect(problemsOf(await verify(db))).toEqual(["missing consent"]);
    // Behind the removal of another.
    await db.query(
      "update privacy.removal set positions = positions || (select array_agg(position) from privacy.ledger where kind = 'consent')",
    );
    expect(problemsOf(await verify(db))).toEqual(["changed removal"]);
    await db.query("delete from privacy.removal");
    expect(problemsOf(await verify(db))).toEqual(["missing consent", "missing removal"]);
  });
  await inside(async (db) => {
    await seal(db);
    await db.query("create temporary table kept as select * from privacy.consent");
    await db.query("select privacy.erase(track.subject('ada'))");
    await db.query("insert into privacy.consent select * from kept where subject_name = 'ada'");
    expect(problemsOf(await verify(db))).toEqual(["restored consent"]);
  });
});

test("at most a hundred differences are listed, and all are counted", async () => {
  await inside(async (db) => {
    await db.query("select privacy.record_consent(person, 'analytics', true) from generate_series(1, 150) as person");
    await db.query("select privacy.seal()");
    await db.query("update privacy.consent set granted = false");
    const report = await verify(db);
    expect(report).toMatchObject({ intact: false, count: 150 });
    expect(report.problems).toHaveLength(100);
  });
});

test("what a session sets changes no hash", async () => {
  await inside(async (db) => {
    await db.query(
      "set local timezone to 'Asia/Kathmandu'; set local datestyle to 'SQL, DMY'; set local intervalstyle to 'iso_8601'",
    );
    await seal(db);
    await db.query(
      "set local timezone to 'America/New_York'; set local datestyle to 'German'; set local extra_float_digits to 0",
    );
    expect(await verify(db)).toMatchObject({ intact: true, records: 5 });
  });
});

test.each([
  ["1", "CF001"],
  ["expected_hash => 'ab'", "CF001"],
  ["tolerance => '-1 hour'", "CF001"],
  ["tolerance => null", "CF001"],
])("verify_ledger(%s) is %s", async (values, code) => {
  const error = await database.rejects(`select privacy.verify_ledger(${values})`);
  expect(error.code).toBe(code);
  expect(error.hint).toBeTruthy();
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select privacy.verify_ledger()")).toEqual(["admin", "worker"]);
});
