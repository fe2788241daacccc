import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { oneMessage, type Reply, send as sendTo } from "../support/requests.ts";

const database = await testDatabase();
const { url, token } = await testApi(database, { INSIGHTS_ADDRESS_RATE: "100000" });

const logged: string[] = [];
beforeAll(() => {
  for (const name of ["error", "log", "warn"] as const) {
    vi.spyOn(console, name).mockImplementation((...words: unknown[]) => void logged.push(words.map(String).join(" ")));
  }
});
afterAll(() => vi.restoreAllMocks());

interface Created {
  key_id: number;
  write_key: string;
}

async function create(values: string): Promise<Created> {
  const [key] = await database.rows<Created>(`select key_id, write_key from track.create_write_key(${values})`);
  return key as Created;
}

const send = (headers: Record<string, string> | readonly string[], body = oneMessage()): Promise<Reply> =>
  sendTo(url, { headers, body });
const basic = (key: string): string => `Basic ${Buffer.from(key).toString("base64")}`;
const told = ({ status, errors }: Reply): (string | number | undefined)[] => [
  status,
  errors[0]?.extensions.code,
  errors[0]?.message,
];

/** Sources and levels of the stored events, in the order of arrival. */
const stored = (): Promise<string[]> =>
  database
    .rows<{ source: string }>(
      `select source.name || ' ' || source.level as source
       from track.event
       join track.source using (source_id)
       order by event.received_at, event.event_id`,
    )
    .then((rows) => rows.map(({ source }) => source));

beforeEach(() => database.query("delete from track.event"));

let web: Created;
let server: Created;
beforeAll(async () => {
  web = await create("'web'");
  server = await create("'backend', 'server'");
});

describe("a write key", () => {
  test("gives messages its source: as user name of Basic, or as X-Write-Key", async () => {
    expect(await send({ authorization: basic(`${web.write_key}:`) })).toMatchObject({ status: 200, errors: [] });
    expect(await send({ "x-write-key": web.write_key })).toMatchObject({ status: 200, errors: [] });
    expect(await send({})).toMatchObject({ status: 200, errors: [] });
    expect(await stored()).toEqual(["web anonymous", "web anonymous", "default anonymous"]);
  });

  test("of a server may name any person; that of a page may not", async () => {
    const named = (): string => oneMessage({ userId: "ada", anonymousId: undefined });
    const count = ({ data }: Reply): unknown => data?.trackIngest.result.accepted;
    expect(count(await send({ "x-write-key": server.write_key }, named()))).toBe(1);
    expect(count(await send({ "x-write-key": web.write_key }, named()))).toBe(0);
    expect(await stored()).toEqual(["backend server"]);
  });

  test("is sent beside the token of a person", async () => {
    const app = await create("'app', 'signed_in'");
    const authorization = `Bearer ${await token("learner", "ada")}`;
    const body = oneMessage({ userId: "ada", anonymousId: undefined });
    expect((await send({ authorization, "x-write-key": app.write_key }, body)).data.trackIngest.result.accepted).toBe(
      1,
    );
    expect(await stored()).toEqual(["app signed_in"]);
  });

  test("does not remain for the next request on the connection", async () => {
    for (let round = 0; round < 5; round += 1) {
      await send({ "x-write-key": server.write_key });
      await send({});
    }
    expect([...new Set(await stored())].sort()).toEqual(["backend server", "default anonymous"]);
    expect((await stored()).filter((source) => source === "default anonymous")).toHaveLength(5);
  });

  test("of a server may send larger batches than a visitor", async () => {
    const large = oneMessage({ properties: { text: "x".repeat(5000) } });
    const batch = JSON.parse(large) as { query: string; variables: { batch: object[] } };
    batch.variables.batch = Array.from({ length: 150 }, (_, index) => ({
      ...batch.variables.batch[0],
      messageId: `large ${index}`,
    }));
    const body = JSON.stringify(batch);
    expect(body.length).toBeGreaterThan(700_000);
    expect(await send({ "x-write-key": web.write_key }, body)).toMatchObject({ status: 413 });
    expect((await send({ "x-write-key": server.write_key }, body)).data.trackIngest.result.accepted).toBe(150);
  });
});

describe("refused before the body is read, and stored nowhere:", () => {
  test("an unknown key", async () => {
    expect(told(await send({ "x-write-key": "cfi_unknown" }))).toEqual([401, "CF005", "the write key is unknown"]);
    expect((await send({ "x-write-key": "cfi_unknown" })).headers["www-authenticate"]).toBe("Bearer");
    expect(await stored()).toEqual([]);
  });

  test("a revoked key, also when it is still in the cache as valid", async () => {
    const key = await create("'web'");
    expect((await send({ "x-write-key": key.write_key })).status).toBe(200);
    await database.query("select track.revoke_write_key($1)", [key.key_id]);
    const { errors } = await send({ "x-write-key": key.write_key });
    expect(errors[0]).toMatchObject({ extensions: { code: "CF005" }, message: expect.stringContaining("is revoked") });
    expect(await stored()).toHaveLength(1);
    const other = await create("'web'");
    await database.query("select track.revoke_write_key($1)", [other.key_id]);
    expect(told(await send({ "x-write-key": other.write_key }))).toEqual([
      401,
      "CF005",
      expect.stringContaining("is revoked"),
    ]);
  });

  test("an expired key", async () => {
    const key = await create("'web', expires_at => now() + interval '1 hour'");
    await database.query("update track.write_key set expires_at = now() - interval '1 minute' where key_id = $1", [
      key.key_id,
    ]);
    expect(told(await send({ "x-write-key": key.write_key }))).toEqual([
      401,
      "CF005",
      expect.stringContaining("expired at"),
    ]);
  });

  test("an origin that is not allowed, and not the other way round", async () => {
    const key = await create("'web', origins => '{https://campus.example}'");
    const from = (origin: string): Promise<Reply> => send({ "x-write-key": key.write_key, origin });
    expect(told(await from("https://evil.example"))).toEqual([
      403,
      "CF005",
      expect.stringContaining('the origin "https://evil.example" may not use the write key cfi_'),
    ]);
    expect((await from("null")).status).toBe(403);
    expect((await from("https://campus.example")).status).toBe(200);
    expect((await send({ "x-write-key": key.write_key })).status).toBe(200);
    expect(await stored()).toHaveLength(2);
  });

  test("a key for something else", async () => {
    const key = await create("'web', scopes => '{features}'");
    expect(told(await send({ "x-write-key": key.write_key }))).toEqual([
      403,
      "CF005",
      expect.stringContaining('does not have the scope "events"'),
    ]);
  });

  test.each([
    ["a long key", { "x-write-key": "k".repeat(15_000) }, 401, "CF005"],
    ["a key with spaces", { "x-write-key": "two keys" }, 401, "CF005"],
    ["two keys", { "x-write-key": "a", authorization: basic("b:") }, 400, "CF009"],
    ["a user with a password", { authorization: basic("ada:secret") }, 401, "CF005"],
    ["a password alone", { authorization: basic(":secret") }, 401, "CF005"],
    ["Basic without a value", { authorization: "Basic" }, 401, "CF005"],
    ["Basic that is not base64", { authorization: "Basic {}" }, 401, "CF005"],
    ["another scheme", { authorization: "Digest abc" }, 401, "28000"],
    ["two schemes in one header", { authorization: `${basic("a:")}, Bearer a.b.c` }, 401, "CF005"],
  ])("%s", async (_what, headers, status, code) => {
    const reply = await send(headers as unknown as Record<string, string>);
    expect(told(reply).slice(0, 2)).toEqual([status, code]);
    expect(reply.errors[0]?.extensions.hint).toMatch(/\w/);
    expect(await stored()).toEqual([]);
  });

  test("two headers Authorization", async () => {
    const headers = ["Authorization", `Bearer ${await token("learner", "ada")}`, "authorization", basic(web.write_key)];
    expect(told(await send(headers))).toEqual([400, "CF009", "the request has 2 headers Authorization"]);
  });

  test("a key of one megabyte", async () => {
    const reply = await send({ "x-write-key": "k".repeat(1_000_000) }).catch(() => undefined);
    // Node refuses the head of the request, or closes the connection while it is still being sent.
    expect(reply?.status ?? 431).toBe(431);
    expect((await send({})).status).toBe(200);
  });

  test.each(["writeKey", "write_key", "WRITE-KEY", "key", "api_key", "apiKey", "x-write-key", "anything"])(
    "a key in the URL, as %s",
    async (name) => {
      for (const path of ["/graphql", "/me", "/", "/healthz", "/collect"]) {
        const reply = await sendTo(url, { path: `${path}?a=1&${name}=${web.write_key}`, method: "GET" });
        expect(told(reply)).toEqual([400, "CF009", `the URL contains a write key, in the parameter "${name}"`]);
        expect(reply.text).not.toContain(web.write_key);
      }
      const posted = await sendTo(url, { path: `/graphql?${name}=${web.write_key}` });
      expect(told(posted)[0]).toBe(400);
      expect(await stored()).toEqual([]);
    },
  );
});

test("no key is logged, shown or stored", async () => {
  const key = await create("'web'");
  const secret = key.write_key;
  const replies = [
    await sendTo(url, { path: `/graphql?writeKey=${secret}` }),
    await sendTo(url, { path: `/graphql?%77rite_key=${secret}` }),
    await send({ authorization: basic(`${secret}:secret`) }),
    await send({ "x-write-key": `${secret}, ${secret}` }),
    await send({ "x-write-key": `${secret}x` }),
    await send({ "x-write-key": secret }, JSON.stringify({ query: "{ nothing }" })),
    await send({ "x-write-key": secret }, "not JSON"),
    await send({ authorization: `Bearer ${secret}` }),
  ];
  for (const { status, text } of replies) {
    expect(status).toBeGreaterThanOrEqual(200);
    expect(text).not.toContain(secret);
  }
  expect(logged.join("\n")).not.toContain(secret.slice(4, 30));
  const tables = await database.rows<{ name: string }>(
    `select format('%I.%I', nspname, relname) as name
     from pg_catalog.pg_class
     join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
     where relkind in ('r', 'p') and nspname in ('track', 'monitor', 'privacy')`,
  );
  for (const { name } of tables) {
    const found = await database.value(
      `select count(*)::int from ${name} as one where strpos(to_jsonb(one)::text, $1) > 0`,
      [secret.slice(12)],
    );
    expect(`${name} ${found}`).toBe(`${name} 0`);
  }
});

test("other operations need no scope, and a key gives no right to read", async () => {
  const reply = await send(
    { "x-write-key": server.write_key },
    JSON.stringify({ query: "{ trackIdentities { nodes { externalId } } }" }),
  );
  expect(reply.data?.trackIdentities?.nodes ?? []).toEqual([]);
});
