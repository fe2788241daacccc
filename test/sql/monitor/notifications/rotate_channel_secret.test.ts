import { beforeEach, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { makeChannel, pass } from "./channels.ts";

const database = await testDatabase();

beforeEach(async () => {
  await database.query("truncate monitor.channel cascade");
});

const secrets = (): Promise<string[]> =>
  database
    .rows<{ secret: string }>(
      `select 'whsec_' || encode(secret, 'base64') as secret from monitor.channel_secret
       where expires_at is null or expires_at > clock_timestamp() order by created_at desc`,
    )
    .then((rows) => rows.map(({ secret }) => secret));
const rotate = (keep = "1 day"): Promise<string> =>
  database.value("select monitor.rotate_channel_secret('ops', $1)", [keep]);

test("two secrets at most are valid, the previous one for a time", async () => {
  const first = await makeChannel(database, "ops");
  const second = await rotate();
  expect(await secrets()).toEqual([second, first]);
  await pass(database, "23 hours");
  expect(await secrets()).toEqual([second, first]);
  const third = await rotate();
  expect(await secrets()).toEqual([third, second]);
  await pass(database, "25 hours");
  expect(await secrets()).toEqual([third]);
  expect(new Set([first, second, third]).size).toBe(3);
});

test("a secret that leaked is deleted at once", async () => {
  await makeChannel(database, "ops");
  const second = await rotate("0");
  expect(await database.value("select count(*)::int from monitor.channel_secret")).toBe(1);
  expect(await secrets()).toEqual([second]);
});

test("bad input", async () => {
  await makeChannel(database, "ops");
  for (const keep of ["-1 second", "31 days", "infinity", null]) {
    if (
      keep === "infinity" &&
      (await database.value<number>("select current_setting('server_version_num')::int")) < 170000
    ) {
      continue;
    }
    expect(await database.rejects("select monitor.rotate_channel_secret('ops', $1)", [keep])).toMatchObject({
      code: "CF001",
    });
  }
  expect(await database.rejects("select monitor.rotate_channel_secret('opsy')")).toMatchObject({ code: "CF002" });
});
