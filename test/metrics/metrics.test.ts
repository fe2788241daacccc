import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { signToken } from "../../src/api/authentication.ts";
import { startApi } from "../../src/api/server.ts";
import { type Config, readConfig } from "../../src/config.ts";
import { type Metrics, openMetricsPort, startMetrics } from "../../src/metrics/metrics.ts";
import { asDatabase, secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { parseMetrics, type Sample } from "../support/metrics.ts";

const database = await testDatabase();
const metricsToken = "a-token-for-scrapers-of-40-characters-xx";

const configOf = (variables: Record<string, string> = {}): Config =>
  readConfig({
    DATABASE_URL: database.url(),
    PORT: "0",
    INSIGHTS_JWT_SECRET: secret,
    INSIGHTS_POOL_SIZE: "3",
    ...variables,
  });

/** A process of the API, with /metrics on a port of its own and on that of the API. */
async function start(variables: Record<string, string> = {}) {
  const config = configOf({ INSIGHTS_METRICS_PORT: "0", ...variables });
  const port = await openMetricsPort(config);
  const metrics = (await startMetrics(config, asDatabase(database), port)) as Metrics;
  const api = await startApi(config, asDatabase(database), undefined, metrics);
  const close = async (): Promise<void> => {
    await api.close();
    await metrics.close();
  };
  return { api, url: `${port?.url}/metrics`, close };
}

async function scrape(url: string, headers: Record<string, string> = {}): Promise<{ text: string; samples: Sample[] }> {
  const response = await fetch(url, { headers });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const text = await response.text();
  return { text, samples: parseMetrics(text).samples };
}

const numberOf = (samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number | undefined =>
  samples.find(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )?.value;

const opened: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of opened) await close();
});

test("requests by operation and outcome, and nothing that a client names in any line", async () => {
  const { api, url, close } = await start();
  opened.push(close);
  const ingest =
    "mutation evil_name($batch: JSON!) { evil_alias: trackIngest(input: {batch: $batch}) { result { accepted } } }";
  const post = async (body: string, headers: Record<string, string> = {}): Promise<void> => {
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": "evil_agent",
        "x-forwarded-for": "evil_address",
        ...headers,
      },
      body,
    });
    await response.text();
  };
  const message = {
    type: "track",
    event: "evil_event",
    userId: "evil_person",
    anonymousId: "evil_browser",
    messageId: "evil_message",
    properties: { item: "evil_item" },
  };
  const admin = await signToken({ role: "admin", person: "evil_admin", source: undefined }, { secret });
  const key = await database.value<string>("select write_key from track.create_write_key('evil_source', 'server')");
  await post(JSON.stringify({ query: ingest, variables: { batch: [message, { ...message, messageId: "evil_2" }] } }), {
    "x-write-key": key,
  });
  await post(JSON.stringify({ query: "query evil_query { evil_field }", operationName: "evil_query" }));
  await post(JSON.stringify({ query: '{ trackPersonConsents(person: "evil_person") { nodes { purpose } } }' }), {
    authorization: `Bearer ${admin}`,
  });
  await post(JSON.stringify({ query: ingest, documentId: "evil_document", variables: { batch: "evil_batch" } }));
  await post("evil_body");
  await post('{"query": "{ __proto__ constructor toString hasOwnProperty }"}');
  await post(JSON.stringify({ query: "{ __typename }", extensions: { 'evil"} 1\nevil_metric 1': 1 } }));
  for (const path of [
    "/evil_path",
    "/%0aevil_metric%201",
    "/me?evil=1",
    "/api/features/evil_key",
    "/__proto__",
    '/evil"}',
  ])
    await (await fetch(`${api.url}${path}`)).text();
  await (
    await fetch(`${api.url}/graphql`, { method: "DELETE", headers: { authorization: "Bearer evil_token" } })
  ).text();

  const { text, samples } = await scrape(url);
  expect(text).not.toMatch(/evil|cfi_|__proto__|constructor/i);
  expect(numberOf(samples, "insights_api_requests_total", { operation: "trackIngest", outcome: "ok" })).toBe(1);
  expect(numberOf(samples, "insights_api_requests_total", { operation: "trackIngest", outcome: "refused" })).toBe(1);
  expect(numberOf(samples, "insights_api_messages_total")).toBe(2);
  expect(numberOf(samples, "insights_api_request_duration_seconds_count", { operation: "trackIngest" })).toBe(2);
  expect(
    numberOf(samples, "insights_api_request_duration_seconds_bucket", { operation: "trackIngest", le: "+Inf" }),
  ).toBe(2);
  expect(numberOf(samples, "insights_api_requests_total", { operation: "other", outcome: "refused" })).toBe(4);
  expect(numberOf(samples, "insights_api_requests_in_progress")).toBe(0);
  expect(numberOf(samples, "insights_api_requests_waiting")).toBe(0);
  expect(numberOf(samples, "insights_api_pool_connections", { state: "busy" })).toBe(0);
  expect(numberOf(samples, "insights_up")).toBe(1);
  expect(numberOf(samples, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
  // Every operation is a field of the schema, a route, or one of four words.
  const fields = (await (
    await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${admin}` },
      body: JSON.stringify({
        query: "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }",
      }),
    })
  ).json()) as {
    data: { __schema: Record<"queryType" | "mutationType", { fields: { name: string }[] }> };
  };
  const { queryType, mutationType } = fields.data.__schema;
  const known = new Set<string>([
    ...[...queryType.fields, ...mutationType.fields].map(({ name }) => name),
    ...["/", "/graphql", "/graphiql", "/healthz", "/me", "/metrics", "/api/features"],
    ...["introspection", "several fields", "other"],
  ]);
  const operations = samples.flatMap(({ labels: { operation } }) => operation ?? []);
  expect(operations.length).toBeGreaterThan(20);
  expect(operations.filter((operation) => !known.has(operation))).toEqual([]);
});

test("on the port of the API it exists only for those who have the token", async () => {
  const { api, close } = await start({ INSIGHTS_METRICS_TOKEN: metricsToken });
  opened.push(close);
  const url = `${api.url}/metrics`;
  const read = async (headers: Record<string, string>, method = "GET") => {
    const response = await fetch(url, { method, headers });
    return { status: response.status, body: await response.text() };
  };
  const missing = await (await fetch(`${api.url}/metricz`)).text();
  const admin = await signToken({ role: "admin", person: "root", source: undefined }, { secret });
  for (const authorization of [
    "",
    "Bearer",
    "Bearer ",
    `Bearer ${metricsToken}x`,
    `Bearer ${metricsToken.slice(0, -1)}`,
    `Basic ${metricsToken}`,
    metricsToken,
    `Bearer ${metricsToken} ${metricsToken}`,
    `Bearer ${"x".repeat(10_000)}`,
    `Bearer ${admin}`,
  ]) {
    const { status, body } = await read(authorization === "" ? {} : { authorization });
    expect(status, authorization.slice(0, 60)).toBe(404);
    expect(body).toBe(missing.replaceAll("/metricz", "/metrics"));
  }
  expect((await read({ authorization: `Bearer ${metricsToken}` }, "HEAD")).status).toBe(404);
  expect((await fetch(`${url}?token=${metricsToken}`)).status).toBe(404);
  // Nor is the token one of the API.
  const me = await fetch(`${api.url}/me`, { headers: { authorization: `Bearer ${metricsToken}` } });
  expect(me.status).toBe(401);
  const { text, samples } = await scrape(url, { authorization: `Bearer ${metricsToken}` });
  expect(numberOf(samples, "insights_up")).toBe(1);
  expect(text).not.toContain(metricsToken);
});

test("without a token it does not exist on the port of the API", async () => {
  const api = await startApi(configOf(), asDatabase(database));
  opened.push(() => api.close());
  for (const authorization of ["Bearer undefined", "Bearer ", `Bearer ${metricsToken}`])
    expect((await fetch(`${api.url}/metrics`, { headers: { authorization } })).status).toBe(404);
});

test("its own port has nothing else, and requires the token if there is one", async () => {
  const { url, close } = await start({ INSIGHTS_METRICS_TOKEN: metricsToken });
  opened.push(close);
  const refused = await fetch(url);
  expect(refused.status).toBe(401);
  expect(refused.headers.get("www-authenticate")).toBe("Bearer");
  expect((await fetch(url, { headers: { authorization: "Bearer wrong" } })).status).toBe(401);
  await scrape(url, { authorization: `Bearer ${metricsToken}` });
  for (const path of ["/", "/graphql", "/healthz", "/metrics/", "/metrics2"])
    expect((await fetch(url.replace("/metrics", path))).status).toBe(404);
  expect((await fetch(url, { method: "POST", body: "x" })).status).toBe(404);
});

test("a port that is taken is an error with the name of the variable", async () => {
  const port = await openMetricsPort(configOf({ INSIGHTS_METRICS_PORT: "0" }));
  opened.push(async () => port?.close());
  await expect(openMetricsPort(configOf({ INSIGHTS_METRICS_PORT: String(port?.port) }))).rejects.toMatchObject({
    message: `port ${port?.port} of 127.0.0.1 is taken`,
    hint: "Set INSIGHTS_METRICS_PORT to a free port, such as INSIGHTS_METRICS_PORT=5680; 0 takes any.",
  });
  await expect(
    openMetricsPort(configOf({ INSIGHTS_METRICS_PORT: "0", INSIGHTS_METRICS_HOST: "nowhere.invalid" })),
  ).rejects.toMatchObject({
    message: 'INSIGHTS_METRICS_HOST is "nowhere.invalid", which is not an address of this machine',
  });
  expect(await openMetricsPort(configOf())).toBeUndefined();
});

test("a token that is short or has spaces is refused, and not printed", () => {
  for (const token of ["short", `${"x".repeat(40)} y`, "x".repeat(1001), "ü".repeat(40)])
    expect(() => configOf({ INSIGHTS_METRICS_TOKEN: token })).toThrow(
      "INSIGHTS_METRICS_TOKEN is not valid: expected 32 to 1000 characters without spaces",
    );
});

/** A server in front of the database that can stop to forward, and counts its connections. */
async function proxy(): Promise<{ port: number; server: Server; hold(held: boolean): void; connections(): number }> {
  const target = new URL(database.url());
  let held = false;
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    connections += 1;
    const upstream = connect(Number(target.port), target.hostname);
    for (const one of [socket, upstream]) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        socket.destroy();
        upstream.destroy();
      });
    }
    socket.on("data", (data) => void (held || upstream.write(data)));
    upstream.on("data", (data) => void (held || socket.write(data)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  opened.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port,
    server,
    hold: (next) => {
      held = next;
    },
    connections: () => connections,
  };
}

test.skipIf(!database.native)(
  "a database that hangs or is gone is insights_up 0 within seconds, with one connection, and is read again later",
  async () => {
    const between = await proxy();
    const url = new URL(database.url());
    url.hostname = "127.0.0.1";
    url.port = String(between.port);
    const config = configOf({ INSIGHTS_METRICS_PORT: "0" });
    const port = await openMetricsPort(config);
    const metrics = await startMetrics(config, { ...asDatabase(database), url: url.href }, port);
    opened.push(async () => metrics?.close());
    const timed = async (): Promise<{ up: number | undefined; seconds: number; memory: number | undefined }> => {
      const began = performance.now();
      const { samples } = await scrape(`${port?.url}/metrics`);
      return {
        up: numberOf(samples, "insights_up"),
        memory: numberOf(samples, "process_resident_memory_bytes"),
        seconds: (performance.now() - began) / 1000,
      };
    };
    between.hold(true);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const hanging = await timed();
      expect(hanging.up).toBe(0);
      expect(hanging.memory).toBeGreaterThan(1e6);
      // The limit is 3 s; the machine of a test is busy.
      expect(hanging.seconds).toBeLessThan(8);
    }
    expect(between.connections()).toBe(1);
    // The driver's limit ends the connection that hangs; the next one works.
    between.hold(false);
    let up: number | undefined = 0;
    for (let attempt = 0; attempt < 30 && up !== 1; attempt += 1) {
      await wait(1000);
      up = (await timed()).up;
    }
    expect(up).toBe(1);
  },
);

test("a database that refuses connections is insights_up 0 at once", async () => {
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
  const { port: nothing } = free.address() as { port: number };
  await new Promise((resolve) => free.close(resolve));
  const config = configOf({ INSIGHTS_METRICS_PORT: "0" });
  const port = await openMetricsPort(config);
  const url = `postgres://postgres@127.0.0.1:${nothing}/nothing`;
  const metrics = await startMetrics(config, { ...asDatabase(database), url }, port);
  opened.push(async () => metrics?.close());
  const { samples, text } = await scrape(`${port?.url}/metrics`);
  expect(numberOf(samples, "insights_up")).toBe(0);
  expect(text).not.toContain(String(nothing));
});

test("fifty scrapers at once share one reading, and one that does not read its answer stops none", async () => {
  const { url, close } = await start();
  opened.push(close);
  const { port, pathname } = new URL(url);
  const slow = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => {});
      socket.pause();
      await new Promise((resolve) => socket.once("connect", resolve));
      socket.write(`GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`);
      return socket;
    }),
  );
  const began = performance.now();
  const texts = await Promise.all(Array.from({ length: 50 }, () => scrape(url)));
  // One text a second, however long it takes here.
  const most = 1 + Math.ceil((performance.now() - began) / 1000);
  expect(new Set(texts.map(({ text }) => text)).size).toBeLessThanOrEqual(most);
  expect(numberOf(texts[0]?.samples ?? [], "insights_up")).toBe(1);
  for (const socket of slow) socket.destroy();
});
