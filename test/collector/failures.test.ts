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
import { agentOf, statementId, statementOf } from "../support/statements.ts";

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
  for (const [one, other] of [
    [socket, upstream],
    [upstream, socket],
  ] as const) {
    open.add(one);
    // A session whose client was killed must end, as it does without a proxy, and not keep its locks.
    one
      .on("error", () => {})
      .on("close", () => {
        open.delete(one);
        other.destroy();
      });
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

  const basic = { authorization: `Basic ${Buffer.from(`${key}:any`).toString("base64")}` };
  const xapi = { ...basic, "x-experience-api-version": "1.0.3", "content-type": "application/json" };

  test("a database that is away answers 503 on every resource of xAPI that needs it, and 200 or 204 later", async () => {
    await database.query("truncate track.statement, track.client_document");
    const { url: api } = await start();
    const agent = encodeURIComponent(JSON.stringify(agentOf("ada")));
    const activity = encodeURIComponent("https://campus.example/task-1");
    const one = (number: number) => JSON.stringify(statementOf(number));
    const requests: [method: string, path: string, body: string | undefined][] = [
      ["POST", "statements", one(1)],
      ["PUT", `statements?statementId=${statementId(2)}`, one(2)],
      ["GET", `statements?verb=${encodeURIComponent("http://adlnet.gov/expapi/verbs/passed")}`, undefined],
      ["PUT", `activities/state?activityId=${activity}&agent=${agent}&stateId=place`, '{"page": 3}'],
      ["GET", `activities/state?activityId=${activity}&agent=${agent}`, undefined],
      ["POST", `agents/profile?agent=${agent}&profileId=p`, '{"a": 1}'],
      ["PUT", `activities/profile?activityId=${activity}&profileId=p`, '{"a": 1}'],
      ["GET", `agents?agent=${agent}`, undefined],
      ["GET", `activities?activityId=${activity}`, undefined],
      ["DELETE", `activities/state?activityId=${activity}&agent=${agent}&stateId=other`, undefined],
    ];
    const ask = ([method, path, body]: (typeof requests)[0]) =>
      sendTo(api, {
        path: `/xapi/${path}`,
        method,
        // Only the first of two writers of a profile may do so without a condition.
        headers: method === "PUT" && path.startsWith("activities/profile") ? { ...xapi, "if-none-match": "*" } : xapi,
        ...(body === undefined ? {} : { body }),
      });
    // The key is known from here on.
    expect((await ask(["GET", "statements?limit=1", undefined])).status).toBe(200);
    cut();
    for (const request of requests) {
      const { status, headers } = await ask(request);
      expect([request[0], request[1], status]).toEqual([request[0], request[1], 503]);
      expect(Number(headers["retry-after"])).toBeGreaterThan(0);
      expect(headers["x-experience-api-version"]).toBe("1.0.3");
    }
    expect((await sendTo(api, { path: "/xapi/about", method: "GET", headers: xapi })).status).toBe(200);
    isCut = false;
    await expect
      .poll(async () => (await ask(["GET", "statements?limit=1", undefined])).status, { timeout: 20_000 })
      .toBe(200);
    for (const request of requests)
      expect([request[1], Math.floor((await ask(request)).status / 100)]).toEqual([request[1], 2]);
    expect(await database.value("select count(*) from track.statement")).toBe("2");
    expect(await database.value("select count(*) from track.client_document")).toBe("3");
  });

  test("of a stream of statements, all that were acknowledged are stored once, whatever is killed meanwhile", async () => {
    await database.query("truncate track.event, track.message, track.packed_message, track.statement");
    let { server, url: api } = await start();
    const { port } = new URL(api);
    const acknowledged = new Set<number>();
    const count = 240;
    let next = 0;
    let repeated = 0;
    // As an application does that keeps what was not acknowledged: the client of xAPI repeats nothing itself.
    const sender = async (): Promise<void> => {
      while (next < count) {
        next += 1;
        const number = next;
        const statement = statementOf(number, { actor: agentOf(`u${number % 20}`) });
        for (;;) {
          const reply = await sendTo(api, {
            path: number % 2 === 0 ? "/xapi/statements" : `/xapi/statements?statementId=${statementId(number)}`,
            method: number % 2 === 0 ? "POST" : "PUT",
            headers: xapi,
            body: JSON.stringify(statement),
          }).catch(() => undefined);
          if (reply !== undefined && (reply.status === 200 || reply.status === 204)) break;
          // No status after which a client would discard it.
          if (reply !== undefined) expect([408, 503]).toContain(reply.status);
          repeated += 1;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        acknowledged.add(number);
      }
    };
    const lost = async (): Promise<string[]> => {
      const ids = [...acknowledged].map(statementId);
      const stored = new Set(
        (await database.rows<{ statement_id: string }>("select statement_id from track.statement")).map(
          (row) => row.statement_id,
        ),
      );
      return ids.filter((id) => !stored.has(id));
    };
    const at = async (number: number, act: () => Promise<unknown>): Promise<void> => {
      while (acknowledged.size < number) await new Promise((resolve) => setTimeout(resolve, 5));
      await act();
      expect(await lost()).toEqual([]);
    };
    const senders = Promise.all(Array.from({ length: 6 }, sender));
    // Sessions that are ended in the middle of a statement, as by a crash of PostgreSQL.
    const end = () =>
      database.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      );
    await at(30, end);
    await at(60, async () => {
      cut();
      await new Promise((resolve) => setTimeout(resolve, 500));
      isCut = false;
    });
    await at(100, async () => {
      server.child.kill("SIGKILL");
      await server.exitCode();
      ({ server, url: api } = await start(port));
    });
    for (const number of [130, 150, 170]) await at(number, end);
    await at(200, async () => {
      server.child.kill("SIGKILL");
      await server.exitCode();
      ({ server, url: api } = await start(port));
    });
    await senders;
    expect(await lost()).toEqual([]);
    expect(repeated).toBeGreaterThan(0);
    expect(await database.value("select count(*) from track.statement")).toBe(String(count));
    // Each with its event, once.
    expect(await database.value("select count(*) from track.event")).toBe(String(count));
    expect(
      await database.value("select count(distinct event_id) from track.statement, unnest(event_ids) as event_id"),
    ).toBe(String(count));
  });
});
