import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { makeChannel, take, transition } from "./channels.ts";

const database = await testDatabase();

test("a removed channel leaves no secret and no notification", async () => {
  await makeChannel(database, "ops");
  await makeChannel(database, "more");
  await transition(database, "a", "opened");
  expect(await database.rejects("select monitor.drop_channel('opps')")).toMatchObject({
    code: "CF002",
    message: 'there is no channel "opps"',
    hint: 'Did you mean "ops"?',
  });
  await database.query("select monitor.drop_channel('ops')");
  for (const table of ["channel", "channel_url", "channel_secret", "notification"]) {
    expect(await database.rows(`select channel from monitor.${table}`)).toEqual([{ channel: "more" }]);
  }
  expect((await take(database)).map(({ channel }) => channel)).toEqual(["more"]);
  expect(await database.rejects("select monitor.drop_channel(null)")).toMatchObject({ code: "CF002" });
});
