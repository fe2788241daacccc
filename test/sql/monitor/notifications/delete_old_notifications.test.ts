import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { finish, makeChannel, pass, take, transition } from "./channels.ts";

const database = await testDatabase();

test("finished ones of resolved alerts are deleted after their time", async () => {
  await makeChannel(database, "ops");
  await transition(database, "open", "opened");
  await transition(database, "resolved", "opened");
  for (const taken of await take(database)) await finish(database, taken);
  await transition(database, "resolved", "resolved");
  for (const taken of await take(database)) await finish(database, taken);
  await database.query("select monitor.test_channel('ops')");
  await pass(database, "91 days");
  expect(await database.value("select monitor.delete_old_notifications('92 days')::int")).toBe(0);
  expect(await database.value("select monitor.delete_old_notifications()::int")).toBe(2);
  // The test still waits, and the alert "open" is not resolved.
  expect(await database.value("select count(*)::int from monitor.notification")).toBe(2);
  for (const given of ["1 hour", null]) {
    expect(await database.rejects("select monitor.delete_old_notifications($1)", [given])).toMatchObject({
      code: "CF001",
    });
  }
});
