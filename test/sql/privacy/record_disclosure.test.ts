import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(settings: Record<string, string>, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("postgres", settings, async (db) => {
    await ingest(db, [
      message({ userId: "ada" }),
      message({ userId: "ben" }),
      message({ userId: undefined, anonymousId: "browser" }),
    ]);
    return work(db);
  });
const people = "array(select track.find_person(name) from unnest($1::text[]) as name)";
const record = `select privacy.record_disclosure(${people}, 'lab.read')`;

test("one row for each person, with the number of the read in common", async () => {
  await inside({ "insights.read_reason": "  Advising.  " }, async (db) => {
    await db.query(record, [["ada", "browser", "ada", "unknown"]]);
    await db.query(record, [["ben"]]);
    expect(
      await db.rows(
        `select subject_name, read_by = session_user as by_login, role, function_name, reason,
           read_id - min(read_id) over () as read, read_at between now() and clock_timestamp() as is_now
         from privacy.disclosure order by 1`,
      ),
    ).toEqual(
      [
        ["ada", "0"],
        ["ben", "1"],
        ["browser", "0"],
      ].map(([subject_name, read]) => ({
        subject_name,
        by_login: true,
        role: "postgres",
        function_name: "lab.read",
        reason: "Advising.",
        read,
        is_now: true,
      })),
    );
  });
});

test("nothing is recorded for unknown people, the caller herself and anonymised events", async () => {
  await inside({}, async (db) => {
    await db.query(record, [[]]);
    await db.query("select privacy.record_disclosure(null, 'lab.read')");
    await db.query("select privacy.record_disclosure('{0,null,9223372036854775807}', 'lab.read')");
    await db.query("select set_config('insights.person_id', track.find_person('ada')::text, true)");
    await db.query(record, [["ada"]]);
    expect(await db.value("select count(*)::int from privacy.disclosure")).toBe(0);
    await db.query(record, [["ada", "ben"]]);
    expect(await db.rows("select subject_name from privacy.disclosure")).toEqual([{ subject_name: "ben" }]);
  });
});

test("a person of several names has a row for each user", async () => {
  await inside({}, async (db) => {
    await ingest(db, [message({ type: "identify", event: undefined, userId: "ada", anonymousId: "browser" })]);
    await db.query("select track.merge_persons('ada', 'ben')");
    await db.query(record, [["browser"]]);
    expect(await db.rows("select subject_name from privacy.disclosure order by 1")).toEqual([
      { subject_name: "ada" },
      { subject_name: "ben" },
    ]);
    expect(await db.value("select count(distinct read_id)::int from privacy.disclosure")).toBe(1);
    expect(await db.rows("select subject_name from privacy.disclosures('ben')")).toHaveLength(1);
  });
});

test("without a reason, in a read-only transaction, and with a long reason", async () => {
  await inside({}, async (db) => {
    await db.query("update privacy.setting set needs_read_reason = true");
    for (const reason of ["", "   "]) {
      await db.query("select set_config('insights.read_reason', $1, true)", [reason]);
      await db.query("savepoint before");
      expect(await db.rejects(record, [["ada"]])).toMatchObject({ code: "CF005" });
      await db.query("rollback to before");
    }
    await db.query("select set_config('insights.read_reason', repeat('é', 200), true)");
    await db.query(record, [["ada"]]);
    await db.query("select set_config('insights.read_reason', repeat('x', 100000), true)");
    await db.query("savepoint before");
    expect(await db.rejects(record, [["ada"]])).toMatchObject({
      code: "CF008",
      message: "insights.read_reason has 100000 characters",
    });
    await db.query("rollback to before");
    await db.query("set transaction read only");
    expect(await db.rejects(record, [["ada"]])).toMatchObject({ code: "CF005", hint: expect.stringContaining("log") });
  });
});

test("is for the functions that read, which insights_reader owns", async () => {
  expect(await rolesThatMay(database, "select privacy.record_disclosure('{1}', 'lab.read')")).toEqual([]);
  expect(
    await database.value(
      "select has_function_privilege('insights_reader', 'privacy.record_disclosure(bigint[], text)', 'execute')",
    ),
  ).toBe(true);
});
