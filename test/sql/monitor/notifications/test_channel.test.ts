import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { finish, makeChannel, take } from "./channels.ts";

const database = await testDatabase();

test("a test is sent like a notification, one at a time, and at once after a failure", async () => {
  await makeChannel(database, "ops");
  const id = await database.value("select monitor.test_channel('ops')");
  expect(await database.rejects("select monitor.test_channel('ops')")).toMatchObject({ code: "CF010" });
  const [taken] = await take(database);
  expect(taken?.notification_id).toBe(id);
  expect(JSON.parse(taken?.body ?? "")).toEqual({
    type: "channel.test",
    timestamp: expect.stringMatching(/Z$/),
    data: { channel: "ops" },
  });
  if (taken !== undefined) await finish(database, taken, "status 410", 410);
  await database.query("select monitor.test_channel('ops')");
  expect(await take(database)).toHaveLength(1);
  expect(await database.rejects("select monitor.test_channel('nops')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "ops"?',
  });
});
