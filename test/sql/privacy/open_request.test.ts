import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** Requests of ada, who is known. */
const known = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  inside(async (db) => {
    await ingest(db, [message(), message({ userId: "ben" })]);
    return work(db);
  });

test.each([
  ["gdpr", "2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z"],
  ["gdpr", "2026-03-15T00:00:00Z", "2026-04-15T00:00:00Z"],
  ["ccpa", "2026-01-31T10:00:00Z", "2026-03-17T10:00:00Z"],
  ["ferpa", "2026-01-01T00:00:00Z", "2026-02-15T00:00:00Z"],
])("%s: received at %s, to be answered until %s, in every time zone of the session", async (regime, received, due) => {
  await known(async (db) => {
    await db.query("set local timezone to 'Pacific/Auckland'");
    const [row] = await db.rows<{ received_at: Date; due_at: Date }>(
      "select received_at, due_at from privacy.open_request('ada', 'access', $1, $2)",
      [regime, received],
    );
    expect([row?.received_at.toISOString(), row?.due_at.toISOString()]).toEqual([
      new Date(received).toISOString(),
      new Date(due).toISOString(),
    ]);
  });
});

test("every kind has the time of its law: by the CCPA, 45 days, and 15 days from Monday to Friday for an opt-out", async () => {
  /** Day by day. A request of a weekend counts as one of the Friday before. */
  const afterBusinessDays = (received: Date): Date => {
    const due = new Date(received);
    while ([0, 6].includes(due.getUTCDay())) due.setUTCDate(due.getUTCDate() - 1);
    for (let left = 15; left > 0; ) {
      due.setUTCDate(due.getUTCDate() + 1);
      if (![0, 6].includes(due.getUTCDay())) left -= 1;
    }
    return due;
  };
  const kinds = "access portability erasure rectification restriction objection opt_out limit_use".split(" ");
  await known(async (db) => {
    for (let day = 1; day <= 14; day++) {
      const received = new Date(Date.UTC(2026, 5, day, 21, 30));
      for (const kind of kinds) {
        const due = await db.value<Date>("select due_at from privacy.open_request('ada', $1, 'ccpa', $2)", [
          kind,
          received.toISOString(),
        ]);
        const expected = ["opt_out", "limit_use"].includes(kind)
          ? afterBusinessDays(received)
          : new Date(received.getTime() + 45 * 86_400_000);
        expect(due.toISOString(), `${kind} of day ${day}`).toBe(expected.toISOString());
      }
      await db.query("select privacy.complete_request(request_id) from privacy.open_requests");
    }
    // Another law has one time for all.
    expect(
      await db.value(
        "select due_at = received_at + interval '45 days' from privacy.open_request('ada', 'opt_out', 'ferpa')",
      ),
    ).toBe(true);
  });
});

test("refers to the person and proves the request by the salt, which is not stored", async () => {
  await known(async (db) => {
    const [opened] = await db.rows<{ request_id: string; subject_hash: string; subject_salt: string }>(
      "select * from privacy.open_request('ada', 'erasure')",
    );
    expect(
      await db.rows(
        `select kind, regime, state, person_id = track.find_person('ada') as hers, encode(subject_hash, 'hex') = $2 as proved,
           request::text ~ $3 as stored
         from privacy.request where request_id = $1`,
        [opened?.request_id, opened?.subject_hash, opened?.subject_salt],
      ),
    ).toEqual([{ kind: "erasure", regime: "gdpr", state: "open", hers: true, proved: true, stored: false }]);
    expect(await db.value("select privacy.subject_hash('{ada}', $1)", [opened?.subject_salt])).toBe(
      opened?.subject_hash,
    );
  });
});

test("a second request of a kind is refused with the first one; other kinds and people have their own", async () => {
  await known(async (db) => {
    const id = await db.value("select request_id from privacy.open_request('ada', 'erasure')");
    await db.query("savepoint before");
    const error = await db.rejects("select privacy.open_request('ada', 'erasure', 'ccpa')");
    expect(error).toMatchObject({ code: "CF003" });
    expect(error.hint).toContain(String(id));
    await db.query("rollback to before");
    await db.query("select privacy.open_request('ada', 'access'), privacy.open_request('ben', 'erasure')");
    await db.query("select privacy.complete_request($1)", [id]);
    await db.query("select privacy.open_request('ada', 'erasure')");
    expect(await db.value("select count(*)::int from privacy.open_requests")).toBe(3);
  });
});

test("follows merges of people and their reversal, and a merged person has one open request of a kind", async () => {
  await known(async (db) => {
    await db.query("select privacy.open_request('ben', 'erasure')");
    await db.query("select track.merge_persons('ada', 'ben')");
    expect(await db.value("select person_id = track.find_person('ada') from privacy.request")).toBe(true);
    await db.query("savepoint before");
    expect(await db.rejects("select privacy.open_request('ada', 'erasure')")).toMatchObject({ code: "CF003" });
    await db.query("rollback to before");
    await db.query("select track.split_person('ada', '{ben}')");
    expect(await db.value("select person_id = track.find_person('ben') from privacy.request")).toBe(true);
    await db.query("select privacy.open_request('ada', 'erasure')");
  });
});

test("is answered by the erasure of the person, and no longer refers to her", async () => {
  await known(async (db) => {
    await db.query("select privacy.open_request('ada', 'erasure'), privacy.open_request('ada', 'access')");
    await db.query("select privacy.erase_person('ada')");
    expect(await db.rows("select kind, state, person_id, identity_id from privacy.request order by 1")).toEqual([
      { kind: "access", state: "completed", person_id: null, identity_id: null },
      { kind: "erasure", state: "completed", person_id: null, identity_id: null },
    ]);
  });
});

test("requests and answers are sealed in the ledger, and a changed one is found", async () => {
  await known(async (db) => {
    const id = await db.value("select request_id from privacy.open_request('ada', 'erasure')");
    await db.query("select privacy.seal()");
    await db.query("select privacy.complete_request($1, 'Done.')", [id]);
    await db.query("select privacy.seal()");
    expect(await db.value("select is_intact from privacy.verify_ledger()")).toBe(true);
    await db.query("savepoint before");
    await db.query("update privacy.request set due_at = due_at + interval '1 second'");
    expect(await db.value("select is_intact from privacy.verify_ledger()")).toBe(false);
    await db.query("rollback to before");
    await db.query("update privacy.request set outcome = 'Not done.'");
    expect(await db.value("select is_intact from privacy.verify_ledger()")).toBe(false);
  });
});

test.each([
  ["'who is this', 'access'", "CF002", "who is this"],
  ["null, 'access'", "CF001", "null"],
  ["'ada', 'acess'", "CF001", "acess"],
  ["'ada', null", "CF001", "null"],
  ["'ada', 'access', 'hipaa'", "CF002", "hipaa"],
  ["'ada', 'access', null", "CF002", "null"],
  ["'ada', 'access', 'gdpr', null", "CF001", "null"],
  ["'ada', 'access', 'gdpr', now() + interval '2 hours'", "CF001", "received_at"],
  ["'ada', 'access', 'gdpr', now() - interval '2 years'", "CF001", "received_at"],
  ["'ada', 'access', 'gdpr', 'infinity'", "CF001", "infinity"],
  ["repeat('x', 100000), 'access'", "CF002", "xxx"],
  ["'ada', repeat('x', 100000)", "CF001", "xxx"],
])("open_request(%s) is %s", async (values, code, text) => {
  await known(async (db) => {
    const error = await db.rejects(`select privacy.open_request(${values})`);
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
    expect(error.message.length).toBeLessThan(300);
  });
});

test("is for admins; those who may read requests read them, and a learner her own", async () => {
  expect(await rolesThatMay(database, "select privacy.open_request('ada', 'access')")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select from privacy.open_requests")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
});
