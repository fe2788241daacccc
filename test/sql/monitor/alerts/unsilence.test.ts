import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();

test("ends the silences of a check, or those of one subject, and keeps them in the history", async () => {
  await database.query(`
    select monitor.silence('queue', now() + interval '1 hour', 'a'),
      monitor.silence('queue', now() + interval '1 hour', 'b', 'refresh'),
      monitor.silence('tasks', now() + interval '1 hour', 'c')`);
  expect(await database.value("select monitor.unsilence('queue', 'refresh')")).toBe(1);
  expect(await database.value("select monitor.unsilence('queue')")).toBe(1);
  expect(await database.value("select monitor.unsilence('queue')")).toBe(0);
  expect(
    await database.rows(
      "select reason, until <= clock_timestamp() as has_ended from monitor.alert_silence order by reason",
    ),
  ).toEqual([
    { reason: "a", has_ended: true },
    { reason: "b", has_ended: true },
    { reason: "c", has_ended: false },
  ]);
});

test("an unknown check is refused", async () => {
  expect(await database.rejects("select monitor.unsilence('tusk')")).toMatchObject({
    code: "CF002",
    message: 'there is no check or rule "tusk"',
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select monitor.unsilence('queue')")).toEqual(["admin"]);
});
