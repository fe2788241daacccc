import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type TestApi, testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { oneMessage, type Reply, send } from "../support/requests.ts";

/* Limits of rates, over HTTP. Addresses of 127.0.0.0/8 are clients of their own. */

// The clock of the rates stands still, so that no bucket is refilled during a test.
vi.useFakeTimers({ toFake: ["performance"] });
afterAll(() => vi.useRealTimers());

const database = await testDatabase();
const slow = { INSIGHTS_ADDRESS_RATE: "5", INSIGHTS_PERSON_RATE: "6" };
const direct = await testApi(database, slow);
const proxied = await testApi(database, { ...slow, INSIGHTS_TRUSTED_PROXIES: "127.0.0.1" });

let count = 0;
/** An address that no other test uses. */
const nextAddress = (): string => {
  count += 1;
  return `127.0.1.${count}`;
};

async function create(values: string): Promise<string> {
  return await database.value(`select write_key from track.create_write_key(${values})`);
}

/** Numbers of answers by status, of requests that are sent together. */
async function statuses(times: number, one: () => Promise<Reply>): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const { status } of await Promise.all(Array.from({ length: times }, one)))
    counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

const post = (from: string, headers: Record<string, string> = {}, api: TestApi = direct): Promise<Reply> =>
  send(api.url, { from, headers, body: JSON.stringify({ query: "{ __typename }" }) });

let web: string;
let server: string;
beforeAll(async () => {
  web = await create("'web'");
  server = await create("'backend', 'server'");
});

describe("a visitor", () => {
  test("is limited by address, and told when to try again", async () => {
    const from = nextAddress();
    expect(await statuses(8, () => post(from))).toEqual({ 200: 5, 429: 3 });
    const { headers, errors } = await post(from);
    expect(headers["retry-after"]).toMatch(/^([1-9]|1[0-3])$/);
    expect(headers["access-control-allow-origin"]).toBe("*");
    expect(headers["access-control-expose-headers"]).toBe("retry-after, insights-position");
    expect(errors).toEqual([
      {
        message: "too many requests from this address",
        extensions: { code: "53400", hint: expect.stringMatching(/^Send at most 5 per minute; try again in \d+ s\./) },
      },
    ]);
    expect((await post(nextAddress())).status).toBe(200);
  });

  test("is also limited with the key of a page, and with keys that are invented", async () => {
    const from = nextAddress();
    expect(await statuses(6, () => post(from, { "x-write-key": web }))).toEqual({ 200: 5, 429: 1 });
    const other = nextAddress();
    let invented = 0;
    const invent = (): Promise<Reply> => {
      invented += 1;
      return post(other, { "x-write-key": `cfi_${invented}` });
    };
    expect(await statuses(9, invent)).toEqual({ 401: 5, 429: 4 });
  });

  test("is refused before the body is sent", async () => {
    const from = nextAddress();
    await statuses(5, () => post(from));
    const socket = connect({
      port: new URL(direct.url).port as unknown as number,
      host: "127.0.0.1",
      localAddress: from,
    });
    let told = "";
    socket
      .on("error", () => {})
      .on("data", (data) => {
        told += data;
      });
    await once(socket, "connect");
    socket.write(
      "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\nContent-Type: application/json\r\n\r\n",
    );
    await expect.poll(() => told, { timeout: 60_000 }).toMatch(/^HTTP\/1.1 429 [\s\S]*"code":"53400"/);
    socket.destroy();
  });

  test("who has a hundred requests above the limit waiting loses further ones, and other addresses do not", async () => {
    const from = nextAddress();
    await statuses(5, () => post(from));
    const reply = (): Promise<Reply | { status: 0 }> => post(from).catch(() => ({ status: 0 as const }));
    const flood = Promise.all(Array.from({ length: 250 }, reply));
    expect((await post(nextAddress())).status).toBe(200);
    const counts = Map.groupBy(await flood, ({ status }) => status);
    expect([...counts.keys()].sort()).toEqual([0, 429]);
    expect(counts.get(429)?.length).toBeLessThanOrEqual(200);
    // When they have been answered, the address is answered again.
    expect((await post(from)).status).toBe(429);
  });

  test("who sends many requests without waiting for answers loses the connection", async () => {
    const from = nextAddress();
    await statuses(5, () => post(from));
    const socket = connect({ port: Number(new URL(direct.url).port), host: "127.0.0.1", localAddress: from });
    socket.on("error", () => {});
    await once(socket, "connect");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write("POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}".repeat(50));
    await closed;
    expect((await post(nextAddress())).status).toBe(200);
  });
});

describe("failed authentication", () => {
  test("counts as a visitor's request, and does not keep out people of the same address", async () => {
    const from = nextAddress();
    const bad = { authorization: "Bearer a.b.c" };
    expect(await statuses(9, () => post(from, bad))).toEqual({ 401: 5, 429: 4 });
    expect((await post(from)).status).toBe(429);
    const authorization = `Bearer ${await direct.token("learner", "behind the same address")}`;
    expect((await post(from, { authorization })).status).toBe(200);
  });
});

describe("a signed-in person", () => {
  test("is limited as a person, whatever the address", async () => {
    const authorization = `Bearer ${await direct.token("learner", "ada")}`;
    const other = `Bearer ${await direct.token("learner", "ben")}`;
    const from = nextAddress();
    expect(await statuses(5, () => post(from, { authorization }))).toEqual({ 200: 5 });
    expect(await statuses(5, () => post(nextAddress(), { authorization }))).toEqual({ 200: 1, 429: 4 });
    expect((await post(from, { authorization })).errors[0]?.message).toBe('too many requests of "ada"');
    // A school behind one address.
    expect(await statuses(6, () => post(from, { authorization: other }))).toEqual({ 200: 6 });
    expect(await statuses(5, () => post(from))).toEqual({ 200: 5 });
  });

  test("of the role admin or worker is not limited", async () => {
    for (const role of ["admin", "worker"] as const) {
      const authorization = `Bearer ${await direct.token(role, "ada")}`;
      const from = nextAddress();
      expect(await statuses(30, () => post(from, { authorization }))).toEqual({ 200: 30 });
    }
  });
});

describe("a key", () => {
  test("of a server is limited by its rate alone", async () => {
    const from = nextAddress();
    expect(await statuses(30, () => post(from, { "x-write-key": server }))).toEqual({ 200: 30 });
    const slowKey = await create("'backend', 'server', requests_per_minute => 3");
    expect(await statuses(9, () => post(nextAddress(), { "x-write-key": slowKey }))).toEqual({ 200: 3, 429: 6 });
    expect((await post(from, { "x-write-key": slowKey })).errors[0]?.message).toBe(
      "too many requests with this write key",
    );
  });

  test("loses nothing to requests that the address is refused for", async () => {
    const key = await create("'web', requests_per_minute => 6");
    const flood = nextAddress();
    expect(await statuses(20, () => post(flood, { "x-write-key": key }))).toEqual({ 200: 5, 429: 15 });
    expect((await post(nextAddress(), { "x-write-key": key })).status).toBe(200);
    expect((await post(nextAddress(), { "x-write-key": key })).status).toBe(429);
  });

  test("that is known to be valid is accepted from a person whose address is at its limit", async () => {
    const app = await create("'app', 'signed_in'");
    const from = nextAddress();
    await statuses(9, () => post(from, { "x-write-key": "cfi_invented" }));
    const authorization = `Bearer ${await direct.token("learner", "eva")}`;
    expect((await post(from, { authorization, "x-write-key": app })).status).toBe(200);
  });
});

describe("behind a proxy", () => {
  const through = (header: string, from = "127.0.0.1"): Promise<Reply> =>
    post(from, { "x-forwarded-for": header }, proxied);

  test("each visitor has an address", async () => {
    expect(await statuses(8, () => through("192.0.2.1"))).toEqual({ 200: 5, 429: 3 });
    expect((await through("192.0.2.2")).status).toBe(200);
    // Entries that the visitor added before the proxy do not count.
    expect((await through("203.0.113.99, 192.0.2.1")).status).toBe(429);
  });

  test("a client that is not the proxy, and pretends to be one, is not trusted", async () => {
    const liar = nextAddress();
    let address = 0;
    const spoof = (): Promise<Reply> => {
      address += 1;
      return through(`198.51.100.${address}`, liar);
    };
    expect(await statuses(8, spoof)).toEqual({ 200: 5, 429: 3 });
    // Nor are others limited in whose name it sent.
    expect((await through("198.51.100.1")).status).toBe(200);
  });

  test("without INSIGHTS_TRUSTED_PROXIES nobody is believed", async () => {
    const from = nextAddress();
    let address = 0;
    const spoof = (): Promise<Reply> => {
      address += 1;
      return post(from, { "x-forwarded-for": `198.51.100.${address}` });
    };
    expect(await statuses(8, spoof)).toEqual({ 200: 5, 429: 3 });
  });

  test("IPv6 clients are limited by network", async () => {
    let host = 0;
    const next = (): Promise<Reply> => {
      host += 1;
      return through(`2001:db8:1:2::${host.toString(16)}`);
    };
    expect(await statuses(8, next)).toEqual({ 200: 5, 429: 3 });
    expect((await through("2001:db8:1:3::1")).status).toBe(200);
  });

  test("a header with 10,000 entries is refused, or read like a short one", async () => {
    const many = (entries: number): string => Array.from({ length: entries }, () => "1").join(",");
    expect((await through(many(10_000))).status).toBe(431);
    expect(await statuses(8, () => through(`${many(5000)},192.0.2.77`))).toEqual({ 200: 5, 429: 3 });
  });
});

test("/healthz, pages and the preflight are not limited; /me is", async () => {
  const from = nextAddress();
  await statuses(6, () => post(from));
  for (const path of ["/healthz", "/"]) {
    expect(await statuses(10, () => send(direct.url, { from, method: "GET", path }))).toEqual({ 200: 10 });
  }
  expect((await send(direct.url, { from, method: "OPTIONS" })).status).toBe(204);
  expect((await send(direct.url, { from, method: "GET", path: "/me" })).status).toBe(429);
});

test("no address is stored", async () => {
  const from = "127.0.9.99";
  await database.query("delete from track.event");
  await send(direct.url, { from, body: oneMessage() });
  await send(proxied.url, { headers: { "x-forwarded-for": "192.0.2.123" } });
  const tables = await database.rows<{ name: string }>(
    `select format('%I.%I', nspname, relname) as name
     from pg_catalog.pg_class
     join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
     where relkind in ('r', 'p') and nspname in ('track', 'monitor', 'privacy')`,
  );
  expect(await database.value("select count(*)::int from track.event")).toBe(2);
  for (const { name } of tables) {
    const found = await database.value(
      `select count(*)::int from ${name} as one where to_jsonb(one)::text ~ '127\\.0\\.9\\.99|192\\.0\\.2\\.123'`,
    );
    expect(`${name} ${found}`).toBe(`${name} 0`);
  }
});
