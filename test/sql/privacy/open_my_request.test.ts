import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();

test("records a request of the signed-in person, whom nobody else is", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message(), message({ userId: "ben" })]);
    await db.query("select privacy.open_request('ben', 'access')");
    await db.query("set local role insights_learner");
    await db.query("set local insights.person to 'ada'");
    await db.query("select track.sign_in()");
    const [row] = await db.rows("select kind, regime from privacy.open_my_request('erasure', 'ccpa')");
    expect(row).toEqual({ kind: "erasure", regime: "ccpa" });
    expect(await db.rows("select kind, is_overdue from privacy.open_requests")).toEqual([
      { kind: "erasure", is_overdue: false },
    ]);
  });
});

test("a user of whom nothing is stored makes no request for the person with a browser of this name", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ type: "identify", event: undefined, userId: "eve", anonymousId: "mallory" }),
      message({ type: "identify", event: undefined, userId: "eve", anonymousId: "ben" }),
      message({ userId: "ben" }),
    ]);
    await db.query("set local role insights_learner");
    await db.query("set local insights.person to 'mallory'");
    await db.query("savepoint signed_in");
    for (const kind of ["erasure", "access", "rectification"]) {
      expect(await db.rejects(`select privacy.open_my_request('${kind}')`)).toMatchObject({ code: "CF002" });
      await db.query("rollback to signed_in");
    }
    // A user with the name of a browser of another person is herself.
    await db.query("set local insights.person to 'ben'");
    await db.query("select privacy.open_my_request('erasure')");
    await db.query("reset role");
    expect(
      await db.rows("select external_id from track.identity join privacy.request using (person_id) order by 1"),
    ).toEqual([{ external_id: "ben" }]);
  });
});

test.each([
  [{}, "'access'", "CF005"],
  [{ "insights.person": "who is this" }, "'access'", "CF002"],
  [{ "insights.person": "ada" }, "'everything'", "CF001"],
])("as %s, open_my_request(%s) is %s", async (settings, values, code) => {
  await database.as("insights_learner", settings as Record<string, string>, async (db) => {
    expect(await db.rejects(`select privacy.open_my_request(${values})`)).toMatchObject({ code });
  });
});

test("is for learners", async () => {
  expect(await rolesThatMay(database, "select privacy.open_my_request('access')")).toEqual(["learner", "instructor"]);
});
