import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import { Analytics } from "@segment/analytics-node";
import { buildStructEvent, newTracker } from "@snowplow/node-tracker";
import { PostHog } from "posthog-node";
import { afterAll, describe, expect, test } from "vitest";
import { secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { type Insights, insights } from "../support/insights.ts";
import { send as sendTo } from "../support/requests.ts";

/*
 * The server is killed while clients send, and its database goes away. On native PostgreSQL: the embedded database would
 * be killed with its server. RudderStack's client gives up after three tries within a second, and is not among these.
 */

const database = await testDatabase();
const key = await database.value<string>("select write_key from track.create_write_key('app', 'server')");

/** A connection between the server and the database that the test can cut. */
const target = new URL(database.url());
const open = new Set<Socket>();
let isCut = false;
const proxy = createServer((socket) => {
  if (isCut) {
    socket.destroy();
    return;
  }
  const upstream = connect(Number(target.port || 5432), target.hostname);
  for (const one of [socket, upstream]) {
    open.add(one);
    one.on("error", () => {}).on("close", () => open.delete(one));
  }
  socket.pipe(upstream).pipe(socket);
});
await once(proxy.listen(0, "127.0.0.1"), "listening");
afterAll(() => proxy.close());
const cut = (): void => {
  isCut = true;
  for (const socket of open) socket.destroy();
};

const url = new URL(database.url());
url.hostname = "127.0.0.1";
url.port = String((proxy.address() as AddressInfo).port);

async function start(port = "0"): Promise<{ server: Insights; url: string }> {
  const server = insights(["api"], { DATABASE_URL: url.href, PORT: port, INSIGHTS_JWT_SECRET: secret, HOME: "/tmp" });
  const [, address = ""] = await server.prints(/(http:\/\/127\.0\.0\.1:\d+)/);
  await expect
    .poll(async () => (await fetch(`${address}/healthz`).catch(() => undefined))?.status, { timeout: 60_000 })
    .toBe(200);
  return { server, url: address };
}

const stored = async (event: string): Promise<number> =>
  Number(
    await database.value(
      "select count(*) from track.event join track.event_type using (event_type_id) where event_type.name = $1",
      [event],
    ),
  );

describe.skipIf(!database.native)("clients (needs a server of PostgreSQL)", () => {
  test("a server that is killed and started again loses nothing, and stores nothing twice", async () => {
    const first = await start();
    const { port } = new URL(first.url);
    const sent = 100;
    const segment = new Analytics({ writeKey: key, host: first.url, flushAt: 10, flushInterval: 50 });
    const posthog = new PostHog(key, {
      host: first.url,
      flushAt: 10,
      flushInterval: 50,
      fetchRetryCount: 300,
      fetchRetryDelay: 500,
    });
    const snowplow = newTracker({ namespace: "t", appId: key }, { endpoint: first.url, bufferSize: 10 });
    const failed: unknown[] = [];
    segment.on("error", (error) => failed.push(error));
    for (let index = 0; index < sent; index += 1) {
      segment.track({ userId: `u${index}`, event: "By Segment" });
      posthog.capture({ distinctId: `u${index}`, event: "By PostHog" });
      snowplow.setUserId(`u${index}`);
      snowplow.track(buildStructEvent({ category: "test", action: "By Snowplow" }));
      if (index === 50) {
        first.server.child.kill("SIGKILL");
        await first.server.exitCode();
        setTimeout(() => void start(port), 200);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await segment.closeAndFlush({ timeout: 200_000 });
    await posthog.shutdown(200_000);
    expect(failed).toEqual([]);
    for (const event of ["By Segment", "By PostHog", "By Snowplow"]) {
      // Snowplow's client repeats what failed when it sends again.
      await expect
        .poll(
          async () => {
            snowplow.flush();
            return [event, await stored(event)];
          },
          { timeout: 60_000, interval: 500 },
        )
        .toEqual([event, sent]);
    }
    expect(await database.value("select count(*) - count(distinct (event_type_id, person_id)) from track.event")).toBe(
      "0",
    );
  });

  test("a database that is away answers 503 with Retry-After on every route, and what was sent is stored later", async () => {
    await database.query("delete from track.event");
    const { url: api } = await start();
    const requests: [string, object, Record<string, string>][] = [
      ["/v1/batch", { writeKey: key, batch: [{ type: "track", event: "Away", userId: "a", messageId: "away 1" }] }, {}],
      ["/batch/", { api_key: key, batch: [{ event: "Away", distinct_id: "b", uuid: "away 2" }] }, {}],
      ["/e/", { api_key: key, batch: [{ event: "Away", distinct_id: "c", uuid: "away 3" }] }, {}],
      [
        "/com.snowplowanalytics.snowplow/tp2",
        { data: [{ e: "se", se_ac: "Away", aid: key, eid: "away 4", uid: "d" }] },
        {},
      ],
      [
        "/graphql",
        {
          query: "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }",
          variables: { batch: [{ type: "track", event: "Away", userId: "e", messageId: "away 5" }] },
        },
        { "x-write-key": key },
      ],
    ];
    // Without connections that are kept: the server may close one just when it is used again.
    const send = ([path, body, headers]: (typeof requests)[0]) =>
      sendTo(api, { path, headers, body: JSON.stringify(body) });
    // The key is known from here on, and each route has a connection.
    for (const [path, body, headers] of requests) {
      const text = JSON.stringify(body).replaceAll("Away", "Before").replaceAll("away", "before");
      expect((await send([path, JSON.parse(text), headers])).status).toBe(200);
    }
    cut();
    for (const request of requests) {
      const response = await send(request);
      expect([request[0], response.status]).toEqual([request[0], 503]);
      expect(Number(response.headers["retry-after"])).toBeGreaterThan(0);
    }
    isCut = false;
    for (const request of requests) {
      await expect.poll(async () => (await send(request)).status, { timeout: 20_000 }).toBe(200);
    }
    expect(await stored("Away")).toBe(requests.length);
  });
});
