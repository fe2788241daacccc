import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const requested = <T>(work: (db: Queries, id: string) => Promise<T>): Promise<T> =>
  inside(async (db) => {
    await ingest(db, [message()]);
    return work(db, await db.value("select request_id from privacy.open_request('ada', 'access')"));
  });

test.each(["completed", "refused", "withdrawn"])(
  "ends a request as %s, which no longer refers to the person",
  async (state) => {
    await requested(async (db, id) => {
      const [row] = await db.rows(
        `select state, outcome, person_id, identity_id, completed_at >= received_at as in_order
       from privacy.complete_request($1, 'Sent by mail.', $2)`,
        [id, state],
      );
      expect(row).toEqual({ state, outcome: "Sent by mail.", person_id: null, identity_id: null, in_order: true });
      expect(await db.rows("select from privacy.open_requests")).toEqual([]);
    });
  },
);

test("a clock that was set back does not make an answer earlier than its request", async () => {
  await requested(async (db, id) => {
    await db.query(
      "update privacy.request set received_at = now() + interval '1 day', due_at = now() + interval '9 days'",
    );
    expect(await db.value("select completed_at = received_at from privacy.complete_request($1)", [id])).toBe(true);
  });
});

test("an answer is final", async () => {
  await requested(async (db, id) => {
    await db.query("select privacy.complete_request($1)", [id]);
    expect(await db.rejects("select privacy.complete_request($1)", [id])).toMatchObject({ code: "CF003" });
  });
});

test.each([
  ["$1, null, 'done'", "CF001"],
  ["$1, null, null", "CF001"],
  ["$1, null, 'refused'", "CF001"],
  ["$1, ' ', 'refused'", "CF001"],
  ["$1, repeat('o', 2001)", "CF008"],
])("complete_request(%s) is %s", async (values, code) => {
  await requested(async (db, id) => {
    expect(await db.rejects(`select privacy.complete_request(${values})`, [id])).toMatchObject({ code });
  });
});

test("an unknown request is CF002; is for admins and workers", async () => {
  const sql = "select privacy.complete_request('00000000-0000-0000-0000-000000000000')";
  expect(await database.rejects(sql)).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select privacy.complete_request(null)")).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, sql)).toEqual(["admin", "worker"]);
});
