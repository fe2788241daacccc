import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { testCheck } from "./problems.ts";

const database = await testDatabase();
const { exist, watch, alert } = await testCheck(database);

test("records who took care of an alert, when, and why", async () => {
  await exist([{ subject: "a" }]);
  await watch();
  const id = (await alert("a"))?.alert_id;
  await database.as("insights_admin", {}, async (db) => {
    expect(
      await db.rows(
        `select state, acknowledged_by = session_user as is_ours, acknowledged_at <= clock_timestamp() as is_past
         from monitor.acknowledge($1, 'I restart it')`,
        [id],
      ),
    ).toEqual([{ state: "acknowledged", is_ours: true, is_past: true }]);
    expect(
      await db.rows(
        `select transition, severity, owner, note, is_notified, author = session_user as is_ours
         from monitor.alert_event where alert_id = $1 and author is not null`,
        [id],
      ),
    ).toEqual([
      {
        transition: "acknowledged",
        severity: "warning",
        owner: "team-a",
        note: "I restart it",
        is_notified: false,
        is_ours: true,
      },
    ]);
    // No role changes alerts or their history itself.
    for (const change of [
      "update monitor.alert set state = 'resolved', resolved_at = now()",
      "delete from monitor.alert",
      "update monitor.alert_event set author = 'another'",
      "delete from monitor.alert_event",
      "delete from monitor.alert_silence",
      "update monitor.health_check set owner = 'x'",
    ]) {
      expect(await db.rejects(change)).toMatchObject({ code: "42501" });
    }
  });
});

test.each([
  ["0", "CF002", "there is no alert 0"],
  ["null", "CF002", "there is no alert null"],
  ["1, repeat('x', 2001)", "CF008", "note has 2001 characters"],
])("acknowledge(%s) is refused", async (given, code, message) => {
  expect(await database.rejects(`select monitor.acknowledge(${given})`)).toMatchObject({ code, message });
});

test("a resolved alert is refused", async () => {
  const id = (await alert("a"))?.alert_id;
  await database.query("select monitor.resolve($1)", [id]);
  expect(await database.rejects("select monitor.acknowledge($1)", [id])).toMatchObject({
    code: "CF010",
    message: `alert ${id} is resolved`,
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select monitor.acknowledge(1)")).toEqual(["admin"]);
});
