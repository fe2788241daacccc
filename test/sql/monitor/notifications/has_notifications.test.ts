import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { finish, makeChannel, pass, take, transition } from "./channels.ts";

const database = await testDatabase();
const has = (): Promise<boolean> => database.value("select monitor.has_notifications()");

test("there is one to send when it waits, not while it is being sent, while its channel waits, or when it is done", async () => {
  expect(await has()).toBe(false);
  await makeChannel(database, "ops");
  await transition(database, "a", "opened");
  expect(await has()).toBe(true);
  const [first] = await take(database);
  expect(await has()).toBe(false);
  if (first !== undefined) await finish(database, first, "status 500", 500);
  expect(await has()).toBe(false);
  await pass(database, "1 minute");
  expect(await has()).toBe(true);
  for (const taken of await take(database)) await finish(database, taken);
  await pass(database, "10 days");
  expect(await has()).toBe(false);
});
