import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { testCheck } from "./problems.ts";

const database = await testDatabase();
const { exist, watch, alert, history } = await testCheck(database);

test("gives an alert to another owner, who keeps it while the problem lasts", async () => {
  await exist([{ subject: "a" }]);
  await watch();
  const id = (await alert("a"))?.alert_id;
  expect(await database.rows("select owner, state from monitor.assign($1, 'team-b', 'theirs')", [id])).toEqual([
    { owner: "team-b", state: "open" },
  ]);
  await watch();
  expect(await database.value("select owner from monitor.alert where alert_id = $1", [id])).toBe("team-b");
  expect(await history("a")).toEqual(["opened*", "assigned"]);
  expect(
    await database.value("select owner || ': ' || note from monitor.alert_event where transition = 'assigned'"),
  ).toBe("team-b: theirs");
});

test.each([
  ["1, null", "CF001", "owner is null"],
  ["1, 'Team B'", "CF001", 'owner is "Team B"'],
  ["1, repeat('x', 500)", "CF001", `owner is "${"x".repeat(100)}"`],
  ["-1, 'b'", "CF002", "there is no alert -1"],
  ["1, 'b', repeat('x', 2001)", "CF008", "note has 2001 characters"],
])("assign(%s) is refused", async (given, code, message) => {
  expect(await database.rejects(`select monitor.assign(${given})`)).toMatchObject({ code, message });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select monitor.assign(1, 'b')")).toEqual(["admin"]);
});
