import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const requested = <T>(regime: string, work: (db: Queries, id: string) => Promise<T>): Promise<T> =>
  inside(async (db) => {
    await ingest(db, [message()]);
    return work(db, await db.value("select request_id from privacy.open_request('ada', 'access', $1)", [regime]));
  });

test.each([
  ["gdpr", "2 months"],
  ["ccpa", "45 days"],
])("%s: once, by %s from the first limit on", async (regime, extension) => {
  await requested(regime, async (db, id) => {
    expect(
      await db.value("select extended_until = due_at + $2::interval from privacy.extend_request($1)", [id, extension]),
    ).toBe(true);
    expect(
      await db.value(
        "select open.due_at = request.extended_until from privacy.open_requests as open join privacy.request using (request_id)",
      ),
    ).toBe(true);
    expect(await db.rejects("select privacy.extend_request($1)", [id])).toMatchObject({ code: "CF003" });
  });
});

test("not when the law allows none, when it was answered, or when it is late", async () => {
  await requested("ferpa", async (db, id) => {
    expect(await db.rejects("select privacy.extend_request($1)", [id])).toMatchObject({ code: "CF005" });
  });
  await requested("gdpr", async (db, id) => {
    await db.query("select privacy.complete_request($1)", [id]);
    expect(await db.rejects("select privacy.extend_request($1)", [id])).toMatchObject({ code: "CF003" });
  });
  await requested("gdpr", async (db, id) => {
    await db.query("update privacy.request set received_at = '2026-01-01', due_at = '2026-02-01'");
    expect(await db.value("select is_overdue from privacy.open_requests")).toBe(true);
    expect(await db.rejects("select privacy.extend_request($1)", [id])).toMatchObject({ code: "CF005" });
  });
});

test("not of an opt-out where the law has a time of its own for it", async () => {
  await inside(async (db) => {
    await ingest(db, [message()]);
    for (const kind of ["opt_out", "limit_use"]) {
      const id = await db.value("select request_id from privacy.open_request('ada', $1, 'ccpa')", [kind]);
      expect(await db.rejects("select privacy.extend_request($1)", [id])).toMatchObject({ code: "CF005" });
    }
    const id = await db.value("select request_id from privacy.open_request('ada', 'objection', 'ccpa')");
    expect(
      await db.value("select extended_until = due_at + interval '45 days' from privacy.extend_request($1)", [id]),
    ).toBe(true);
  });
});

test("an unknown request is CF002; is for admins", async () => {
  const sql = "select privacy.extend_request('00000000-0000-0000-0000-000000000000')";
  expect(await database.rejects(sql)).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select privacy.extend_request(null)")).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, sql)).toEqual(["admin"]);
});
