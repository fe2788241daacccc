import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { testCheck } from "./problems.ts";

const database = await testDatabase();
const { exist, watch, pass, settle, history } = await testCheck(database);

const silence = (subject: string | null = null): Promise<unknown> =>
  database.query("select monitor.silence('of_a_test', now() + interval '1 hour', 'maintenance', $1)", [subject]);

beforeEach(async () => {
  await database.query("truncate monitor.alert, monitor.alert_event, monitor.alert_silence cascade");
});

test("alerts are recorded and not sent, and those that outlast the silence are sent at its end", async () => {
  await silence();
  await exist([{ subject: "short" }, { subject: "long" }]);
  expect(await watch()).toEqual({ findings: 2, opened: 2, open: 2 });
  await exist([{ subject: "long" }]);
  await settle();
  await pass("1 hour");
  await watch();
  await watch();
  expect(await history("short")).toEqual(["opened", "resolved"]);
  expect(await history("long")).toEqual(["opened", "unsilenced*"]);
  await exist([]);
  await settle();
  expect(await history("long")).toEqual(["opened", "unsilenced*", "resolved*"]);
});

test("channels that have an alert are notified of its end, and of nothing that they have", async () => {
  await exist([{ subject: "known" }, { subject: "ends" }, { subject: "worse" }]);
  await watch();
  await silence();
  await watch();
  await exist([{ subject: "known" }, { subject: "worse", severity: "critical" }]);
  await settle();
  expect(await history("ends")).toEqual(["opened*", "silenced", "resolved*"]);
  await database.query("select monitor.unsilence('of_a_test')");
  await watch();
  expect(await history("known")).toEqual(["opened*", "silenced", "unsilenced"]);
  expect(await history("worse")).toEqual(["opened*", "silenced", "raised", "unsilenced*"]);
});

test("an acknowledged alert is not sent at the end of a silence", async () => {
  await silence();
  await exist([{ subject: "acknowledged" }]);
  await watch();
  await database.query("select monitor.acknowledge(alert_id) from monitor.alert");
  await pass("1 hour");
  await watch();
  expect(await history("acknowledged")).toEqual(["opened", "acknowledged", "unsilenced"]);
});

test("a silence can be of one subject", async () => {
  await silence("a");
  await exist([{ subject: "a" }, { subject: "b" }]);
  await watch();
  expect([await history("a"), await history("b")]).toEqual([["opened"], ["opened*"]]);
});

test("the audit has the author and the reason", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("select monitor.silence('of_a_test', now() + interval '1 hour', 'a move of the database')");
    expect(
      await db.rows("select source, subject, reason, author = session_user as is_ours from monitor.alert_silence"),
    ).toEqual([{ source: "of_a_test", subject: null, reason: "a move of the database", is_ours: true }]);
  });
});

test.each([
  ["'queue', now() - interval '1 second', 'x'", "CF001", /^until is /],
  ["'queue', now() + interval '91 days', 'x'", "CF001", /^until is /],
  ["'queue', 'infinity', 'x'", "CF001", /^until is infinity/],
  ["'queue', null, 'x'", "CF001", /^until is null/],
  ["'queue', now() + interval '1 day', null", "CF001", /^reason is null or empty/],
  ["'queue', now() + interval '1 day', '  '", "CF001", /^reason is null or empty/],
  ["'queue', now() + interval '1 day', repeat('x', 2001)", "CF008", /^reason has 2001 characters/],
  ["'queue', now() + interval '1 day', 'x', repeat('x', 301)", "CF008", /^subject has 301 characters/],
  ["null, now() + interval '1 day', 'x'", "CF002", /^there is no check or rule "null"/],
  ["repeat('queue', 1000), now() + interval '1 day', 'x'", "CF002", /^there is no check or rule "(queue){20}"$/],
])("silence(%s) is refused", async (given, code, message) => {
  expect(await database.rejects(`select monitor.silence(${given})`)).toMatchObject({
    code,
    message: expect.stringMatching(message),
  });
});

test("a misspelled check is named", async () => {
  expect(await database.rejects("select monitor.silence('ququ', now() + interval '1 hour', 'x')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "queue"?',
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select monitor.silence('queue', now() + interval '1 hour', 'x')")).toEqual([
    "admin",
  ]);
});
