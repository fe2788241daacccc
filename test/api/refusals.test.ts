import { expect, test } from "vitest";
import { createRefusals } from "../../src/api/refusals.ts";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { asDatabase, secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { oneMessage, type Reply, send } from "../support/requests.ts";

const database = await testDatabase();

async function counted(): Promise<string[]> {
  const rows = await database.rows<{ what: string }>(
    `select format('%s %s %s: %s', source, level, code, messages) as what
     from track.refused_messages()
     order by 1`,
  );
  return rows.map(({ what }) => what);
}

test("refused requests and batches are counted by source, level and code, at the latest when the server stops", async () => {
  const key = await database.value<string>("select write_key from track.create_write_key('web')");
  const server = await database.value<string>("select write_key from track.create_write_key('backend', 'server')");
  const config = readConfig({
    DATABASE_URL: database.url(),
    PORT: "0",
    INSIGHTS_JWT_SECRET: secret,
    INSIGHTS_VISITOR_BYTES: "2000",
  });
  const api = await startApi(config, asDatabase(database));
  const post = (headers: Record<string, string>, body = oneMessage()): Promise<Reply> =>
    send(api.url, { headers, body });
  const notAList = oneMessage().replace(/"batch":\[.*\]/, '"batch":"no list"');

  await post({ "x-write-key": "cfi_unknown" });
  await post({ "x-write-key": "cfi_other" });
  await post({ authorization: "Bearer a.b.c" });
  await post({ "x-write-key": key }, oneMessage({ event: "x".repeat(3000) }));
  // Of a batch that is refused as a whole, the transaction is rolled back.
  await post({ "x-write-key": key }, notAList);
  await post({ "x-write-key": server }, notAList.replace("trackIngest", "other: trackIngest"));
  // Nothing is counted of a request that is answered, or that is not for track.ingest.
  await post({ "x-write-key": key });
  await post({}, JSON.stringify({ query: "{ nothing }" }));
  await api.close();

  expect(await counted()).toEqual([
    "backend server CF009: 1",
    "default anonymous 28000: 1",
    "default anonymous CF005: 2",
    "web anonymous CF008: 1",
    "web anonymous CF009: 1",
  ]);
});

test("without a database the counts are kept, up to a limit, and written later", async () => {
  const written: unknown[][] = [];
  let available = false;
  const refusals = createRefusals(async (_role, _text, values = []) => {
    if (!available) throw new Error("the database is not available");
    written.push([...values]);
    return [];
  });
  for (let count = 0; count < 3; count += 1) {
    refusals.count({ source: "web", level: "anonymous" }, "53400");
    await refusals.write();
  }
  for (let count = 0; count < 5000; count += 1) refusals.count({ source: `s${count}`, level: "anonymous" }, "53400");
  available = true;
  await refusals.close();
  await refusals.write();
  expect(written).toHaveLength(1);
  const [sources, , , messages] = written[0] as [string[], string[], string[], number[]];
  expect(sources).toHaveLength(1000);
  expect(messages[sources.indexOf("web")]).toBe(3);
});
