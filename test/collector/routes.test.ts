import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const { url } = await testApi(database, { INSIGHTS_ADDRESS_RATE: "100000" });
const createKey = (values: string) => database.value<string>(`select write_key from track.create_write_key(${values})`);
const server = await createKey("'server', 'server'");
const web = await createKey("'web', origins => '{https://campus.example}'");
const flags = await createKey("'flags', scopes => '{events,features}'");

interface Sent {
  headers?: Record<string, string>;
  method?: string;
  body?: string | Buffer | object;
}

async function send(path: string, { headers = {}, method = "POST", body }: Sent = {}) {
  const response = await fetch(url + path, {
    method,
    headers,
    ...(body === undefined
      ? {}
      : {
          body: typeof body === "string" ? body : Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body),
        }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test asked for
    json: (text.startsWith("{") ? JSON.parse(text) : undefined) as any,
  };
}

/** The stored events, as `who event item`. */
const stored = (): Promise<string[]> =>
  database
    .rows<{ line: string }>(
      `select concat_ws(' ', identity.kind || ':' || identity.external_id, event_type.name, item.external_id) as line
       from track.event
       join track.event_type using (event_type_id)
       join track.identity using (identity_id)
       left join track.item using (item_id)`,
    )
    .then((rows) => rows.map(({ line }) => line).sort());

beforeEach(() => database.query("delete from track.event"));

let count = 0;
const track = (fields: object = {}) => {
  count += 1;
  return { type: "track", event: "Task Started", userId: "ada", messageId: `m${count}`, ...fields };
};
const event = (fields: object = {}) => {
  count += 1;
  return { event: "Task Started", distinct_id: "ada", uuid: `u${count}`, ...fields };
};
const snowplow = (fields: object = {}) => {
  count += 1;
  return { e: "pv", eid: `e${count}`, aid: server, uid: "ada", url: "https://campus.example/a", ...fields };
};
const basic = (key: string) => ({ authorization: `Basic ${Buffer.from(`${key}:`).toString("base64")}` });

describe("a body is read by its contents", () => {
  const batch = () => JSON.stringify({ writeKey: server, batch: [track()] });
  test.each([
    ["JSON", "application/json", batch],
    ["JSON as a text", "text/plain", batch],
    ["JSON as a form", "application/x-www-form-urlencoded", batch],
    ["gzip without a header", "text/plain", () => gzipSync(batch())],
    ["gzip with the wrong type", "application/x-www-form-urlencoded", () => gzipSync(batch())],
  ])("%s", async (_name, type, body) => {
    expect(await send("/v1/batch", { headers: { "content-type": type }, body: body() })).toMatchObject({
      status: 200,
      json: { success: true },
    });
    expect(await stored()).toEqual(["user:ada Task Started"]);
  });

  test("without a content type", async () => {
    const body = new Blob([batch()]);
    const response = await fetch(`${url}/v1/batch`, { method: "POST", body });
    expect(response.status).toBe(200);
    expect(await stored()).toEqual(["user:ada Task Started"]);
  });

  test("gzip with its header, as posthog-node sends it", async () => {
    const body = gzipSync(JSON.stringify({ api_key: server, batch: [event()] }));
    expect(await send("/batch/", { headers: { "content-encoding": "gzip" }, body })).toMatchObject({ status: 200 });
    expect(await stored()).toEqual(["user:ada Task Started"]);
  });

  test("a form with base64, of PostHog's older clients", async () => {
    const data = Buffer.from(JSON.stringify({ ...event(), api_key: server })).toString("base64");
    expect(await send("/e/", { body: `data=${encodeURIComponent(data)}` })).toMatchObject({ status: 200 });
    expect(await stored()).toEqual(["user:ada Task Started"]);
  });

  test.each([
    ["nothing", ""],
    ["a text", "hello"],
    ["half of it", '{"batch": ['],
    ["invalid gzip", Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(40, 7)])],
    ["half of a gzip", gzipSync(JSON.stringify({ writeKey: server, batch: [track()] })).subarray(0, 40)],
    ["gzip of a text", gzipSync("hello")],
    ["another form", "a=1&b=2"],
    ["too many levels", `{"batch": ${"[".repeat(300)}${"]".repeat(300)}}`],
    ["a list of another kind", '{"data": []}'],
    ["a number", "12"],
    ["null", "null"],
  ])("%s is 400, and stores nothing", async (_name, body) => {
    for (const path of ["/v1/batch", "/v1/track"]) {
      if (path === "/v1/track" && body === '{"data": []}') continue;
      const { status, json } = await send(path, { headers: basic(server), body });
      expect([status, json?.errors[0].extensions.code]).toEqual([400, expect.stringMatching(/^CF00[89]$/)]);
    }
    expect(await stored()).toEqual([]);
  });

  test("a small body that decompresses to gigabytes is refused before", async () => {
    const bomb = gzipSync(Buffer.alloc(17_000_000, 0x20));
    expect(bomb.length).toBeLessThan(20_000);
    expect((await send("/v1/batch", { headers: basic(server), body: bomb })).status).toBe(400);
    // A false size in its last bytes.
    const liar = Buffer.from(bomb);
    liar.writeUInt32LE(100, liar.length - 4);
    expect((await send("/v1/batch", { headers: basic(server), body: liar })).status).toBe(400);
  });
});

describe("the write key", () => {
  test.each([
    ["/v1/batch", (key: string) => ({ body: { writeKey: key, batch: [track()] } })],
    ["/v1/batch", (key: string) => ({ headers: basic(key), body: { batch: [track()] } })],
    ["/v1/batch", (key: string) => ({ headers: { "x-write-key": key }, body: { batch: [track()] } })],
    ["/v1/t", (key: string) => ({ body: { writeKey: key, ...track() } })],
    ["/batch/", (key: string) => ({ body: { api_key: key, batch: [event()] } })],
    ["/capture/", (key: string) => ({ body: { api_key: key, ...event() } })],
    ["/e/", (key: string) => ({ body: [event({ properties: { token: key } })] })],
    ["/i/v0/e/", (key: string) => ({ body: { token: key, batch: [event()] } })],
    [
      "/i/v1/analytics/events",
      (key: string) => ({ headers: { authorization: `Bearer ${key}` }, body: { batch: [event()] } }),
    ],
    ["/com.snowplowanalytics.snowplow/tp2", (key: string) => ({ body: { data: [snowplow({ aid: key })] } })],
  ])("%s %#: where the client puts it; another one is 401", async (path, request) => {
    expect(await send(path, request("cfi_unknown"))).toMatchObject({ status: 401 });
    expect(await stored()).toEqual([]);
    expect(await send(path, request(server))).toMatchObject({ status: 200 });
    expect(await stored()).toHaveLength(1);
  });

  test.each(["/v1/batch", "/batch/", "/e/", "/i/v1/analytics/events", "/com.snowplowanalytics.snowplow/tp2"])(
    "%s without one is 401",
    async (path) => {
      expect(await send(path, { body: { batch: [event()], data: [{}] } })).toMatchObject({ status: 401 });
    },
  );

  test("in a URL is refused", async () => {
    expect((await send(`/batch/?api_key=${server}`, { body: { batch: [event()] } })).status).toBe(400);
  });

  test("of a page is accepted from its origins only", async () => {
    const body = { writeKey: web, ...track({ anonymousId: "b1" }) };
    expect((await send("/v1/t", { headers: { origin: "https://other.example" }, body })).status).toBe(403);
    const { status, headers } = await send("/v1/t", { headers: { origin: "https://campus.example" }, body });
    expect([status, headers.get("access-control-allow-origin")]).toEqual([200, "https://campus.example"]);
    expect(await stored()).toEqual(["anonymous:b1 Task Started"]);
  });

  test("is not read by another route, nor by GraphQL", async () => {
    expect(
      (await send("/graphql", { headers: { authorization: `Bearer ${server}` }, body: { query: "{__typename}" } }))
        .status,
    ).toBe(401);
  });
});

describe("a key that every visitor can read", () => {
  const headers = { origin: "https://campus.example" };
  test("proves no person: messages belong to the browser", async () => {
    const batch = [track({ anonymousId: "b2" }), track({ type: "identify", anonymousId: "b2", traits: { plan: "x" } })];
    expect(await send("/v1/batch", { headers, body: { writeKey: web, batch } })).toMatchObject({
      status: 200,
      json: { success: true },
    });
    expect(await stored()).toEqual(["anonymous:b2 Task Started"]);
    expect(
      await database.value(
        "select count(*) from track.identity where external_id = 'ada' and kind = 'user' and person_id = (select person_id from track.identity where external_id = 'b2')",
      ),
    ).toBe("0");
  });

  test("a user alone is rejected, with the reason", async () => {
    expect(await send("/v1/batch", { headers, body: { writeKey: web, batch: [track()] } })).toMatchObject({
      status: 200,
      json: { rejected: 1, errors: [{ index: 0, code: "CF005" }] },
    });
    expect(await stored()).toEqual([]);
  });

  test("PostHog's browser: the device, also when its user is known", async () => {
    const properties = {
      token: web,
      $device_id: "d1",
      $current_url: "https://campus.example/a/?utm_source=x",
      $pathname: "/a/",
      $pageview_id: "v1",
    };
    const batch = [
      event({ event: "$pageview", distinct_id: "d1", properties: { ...properties, distinct_id: "d1" } }),
      event({ distinct_id: undefined, properties: { ...properties, distinct_id: "ada", item: "task-9" } }),
    ];
    expect(await send("/e/", { headers, body: { batch, sent_at: new Date().toISOString() } })).toMatchObject({
      status: 200,
      json: { status: 1 },
    });
    expect(await stored()).toEqual(["anonymous:d1 Page Viewed /a", "anonymous:d1 Task Started task-9"]);
  });
});

describe("the answers that clients expect", () => {
  test("preflights", async () => {
    for (const path of ["/v1/p", "/v1/batch", "/e/", "/com.snowplowanalytics.snowplow/tp2", "/flags/"]) {
      const { status, headers } = await send(path, {
        method: "OPTIONS",
        headers: {
          origin: "https://campus.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization,x-retry-count",
        },
      });
      expect(status).toBe(204);
      expect(headers.get("access-control-allow-origin")).toBe("https://campus.example");
      expect(headers.get("access-control-allow-headers")).toMatch(/authorization.*x-retry-count/);
      expect(Number(headers.get("access-control-max-age"))).toBeGreaterThan(0);
    }
  });

  test("settings of analytics-next, with the key that it sent", async () => {
    expect(
      await send(`/v1/projects/${web}/settings`, { method: "GET", headers: { origin: "https://campus.example" } }),
    ).toMatchObject({
      status: 200,
      json: { integrations: { "Segment.io": { apiKey: web } } },
    });
    expect((await send("/v1/projects/cfi_no/settings", { method: "GET" })).status).toBe(401);
  });

  test("configuration and scripts of posthog-js", async () => {
    expect((await send(`/array/${flags}/config`, { method: "GET" })).json).toMatchObject({
      supportedCompression: ["gzip-js"],
      sessionRecording: false,
      surveys: false,
    });
    for (const path of [`/array/${flags}/config.js`, "/static/1.449.2/surveys.js", "/static/array.js"]) {
      const { status, headers } = await send(path, { method: "GET" });
      expect([status, headers.get("content-type")]).toEqual([200, "application/javascript; charset=utf-8"]);
    }
  });

  test("PostHog's capture routes: 200 and a status; the newer one each event", async () => {
    expect(
      await send("/e/", { body: { api_key: server, batch: [event(), { distinct_id: "ada", uuid: "no name" }] } }),
    ).toMatchObject({ status: 200, text: '{"status":1}' });
    const good = event();
    const bad = { ...event(), event: "" };
    expect(
      await send("/i/v1/analytics/events", {
        headers: { authorization: `Bearer ${server}`, "posthog-request-id": "r1" },
        body: { batch: [good, bad] },
      }),
    ).toMatchObject({
      status: 200,
      json: { results: { [good.uuid]: { result: "ok" }, [bad.uuid]: { result: "drop" } } },
    });
  });

  const large = "x".repeat(4_100_000);
  test.each([
    ["/v1/batch", { batch: [track({ properties: { large } })], writeKey: server }, 400],
    ["/batch/", { api_key: server, batch: [event({ properties: { large } })] }, 413],
    ["/e/", { api_key: server, batch: [event({ properties: { large } })] }, 400],
    ["/com.snowplowanalytics.snowplow/tp2", { data: [snowplow({ large })] }, 400],
  ])("%s with a body that is too large", async (path, body, status) => {
    expect((await send(path, { body }).catch(() => ({ status: "closed" }))).status).toBe(status);
  });

  test.each([
    ["/v1/batch", { writeKey: "", batch: [track()] }, 429],
    ["/batch/", { api_key: "", batch: [event()] }, 429],
    ["/e/", { api_key: "", batch: [event()] }, 503],
    ["/i/v0/e/", { api_key: "", batch: [event()] }, 503],
    ["/com.snowplowanalytics.snowplow/tp2", { data: [snowplow()] }, 429],
  ])("%s above the rate of its key", async (path, body, status) => {
    const key = await createKey(`'rate ${path}', 'server', requests_per_minute => 1`);
    const sent = path.endsWith("tp2")
      ? { data: [snowplow({ aid: key })] }
      : path === "/v1/batch"
        ? { ...body, writeKey: key }
        : { ...body, api_key: key };
    const replies = await Promise.all(Array.from({ length: 15 }, () => send(path, { body: sent })));
    const limited = replies.find((reply) => reply.status !== 200);
    expect(limited?.status).toBe(status);
    expect(Number(limited?.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  test("another method is 405, another path 404", async () => {
    const { status, headers } = await send("/v1/batch", { method: "GET" });
    expect([status, headers.get("allow")]).toEqual([405, "POST"]);
    expect((await send("/v1/batches", { method: "GET" })).status).toBe(404);
  });
});

describe("what is sent again is stored once", () => {
  test.each([
    [
      "/v1/batch",
      () => ({ writeKey: server, batch: [track({ messageId: undefined, timestamp: "2026-03-01T00:00:00Z" })] }),
    ],
    ["/batch/", () => ({ api_key: server, batch: [event({ event: "Task Started", $set: { plan: "pro" } })] })],
    ["/com.snowplowanalytics.snowplow/tp2", () => ({ data: [snowplow({ dtm: "1767225600000" })] })],
  ])("%s", async (path, make) => {
    const body = make();
    expect((await send(path, { body })).status).toBe(200);
    expect((await send(path, { body: { ...body, sentAt: "2026-03-02T00:00:00Z" } })).status).toBe(200);
    expect(await stored()).toHaveLength(1);
  });

  test("messages without id and time are two", async () => {
    const body = { writeKey: server, batch: [{ type: "track", event: "Task Started", userId: "ada" }] };
    await send("/v1/batch", { body });
    await send("/v1/batch", { body });
    expect(await stored()).toHaveLength(2);
  });
});

describe("a client whose clock is a year ahead sends an event that is a minute old", () => {
  const wrong = (minutes: number): number => Date.now() + 31_536_000_000 - 60_000 * minutes;
  const text = (minutes: number): string => new Date(wrong(minutes)).toISOString();
  test.each<[path: string, make: () => object, headers?: () => Record<string, string>]>([
    ["/v1/batch", () => ({ writeKey: server, sentAt: text(0), batch: [track({ timestamp: text(1) })] })],
    ["/v1/track", () => ({ ...track({ originalTimestamp: text(1) }), writeKey: server, sentAt: text(0) })],
    ["/batch/", () => ({ api_key: server, sent_at: text(0), batch: [event({ timestamp: text(1) })] })],
    ["/e/", () => ({ api_key: server, sent_at: text(0), batch: [event({ timestamp: text(1) })] })],
    ["/i/v0/e/", () => ({ api_key: server, sent_at: text(0), batch: [event({ timestamp: text(1) })] })],
    [
      "/i/v1/analytics/events",
      () => ({ created_at: text(0), batch: [event({ timestamp: text(1) })] }),
      () => ({ authorization: `Bearer ${server}`, "posthog-request-timestamp": text(0) }),
    ],
    [
      "/com.snowplowanalytics.snowplow/tp2",
      () => ({ data: [snowplow({ dtm: String(wrong(1)), stm: String(wrong(0)) })] }),
    ],
    [
      "/caliper",
      () => ({
        sensor: "https://campus.example/sensor",
        sendTime: text(0),
        dataVersion: "http://purl.imsglobal.org/ctx/caliper/v1p2",
        data: [
          {
            id: "urn:uuid:3a648e68-f00d-4c08-aa59-8738e1884f99",
            type: "NavigationEvent",
            actor: { id: "https://campus.example/users/1", type: "Person" },
            action: "NavigatedTo",
            object: { id: "https://campus.example/pages/2", type: "WebPage" },
            eventTime: text(1),
          },
        ],
      }),
      () => ({ authorization: `Bearer ${server}` }),
    ],
  ])("%s: stored at its true time", async (path, make, headers = () => ({})) => {
    expect((await send(path, { body: make(), headers: headers() })).status).toBe(200);
    const age = await database.rows(
      "select extract(epoch from now() - occurred_at)::float8 as seconds from track.event",
    );
    expect(age).toEqual([{ seconds: expect.closeTo(60, -1.5) }]);
  });
});

test("requests that arrive together are stored together, each with its own errors", async () => {
  const replies = await Promise.all(
    Array.from({ length: 60 }, (_value, index) =>
      send("/v1/batch", {
        body: {
          writeKey: server,
          batch: [
            track({ userId: `u${index}` }),
            ...(index % 3 === 0 ? [{ type: "track", messageId: `bad ${index}` }] : []),
          ],
        },
      }),
    ),
  );
  for (const [index, { status, json }] of replies.entries()) {
    expect(status).toBe(200);
    if (index % 3 === 0) expect(json).toMatchObject({ rejected: 1, errors: [{ index: 1, code: "CF001" }] });
    else expect(json).toEqual({ success: true });
  }
  expect(await stored()).toHaveLength(60);
});

test("a batch of 2,500 messages is stored, in parts", async () => {
  const batch = Array.from({ length: 2500 }, (_value, index) => track({ userId: `p${index % 50}` }));
  batch[2100] = { ...batch[2100], event: "" } as (typeof batch)[0];
  expect(await send("/v1/batch", { body: { writeKey: server, batch } })).toMatchObject({
    status: 200,
    json: { rejected: 1, errors: [{ index: 2100 }] },
  });
  expect(await stored()).toHaveLength(2499);
});

test("messages with a null byte or half a character are rejected alone", async () => {
  const body = `{"writeKey": "${server}", "batch": [${JSON.stringify(track())}, {"type": "track", "event": "a\\u0000b", "userId": "ada", "messageId": "null"}, {"type": "track", "event": "a\\ud800", "userId": "ada", "messageId": "half"}]}`;
  expect(await send("/v1/batch", { body })).toMatchObject({ status: 200, json: { rejected: 2 } });
  expect(await stored()).toEqual(["user:ada Task Started"]);
});

describe("flags of PostHog's clients are our experiments", () => {
  test("evaluated for the person, and viewed under the name of the experiment", async () => {
    await database.query(`
      select experiment.define_feature('player', 'The new player of videos.');
      select experiment.define_metric('started', 'proportion', '{Task Started}', period => '7 days');
      select experiment.define_experiment('{"key": "new-player", "feature": "player", "goals": ["started"],
        "variations": [{"key": "control", "value": false}, {"key": "new", "value": true}]}');
      select experiment.start('new-player')`);
    const ask = async (id: string, path = "/flags/?v=2") =>
      (await send(path, { body: { token: flags, distinct_id: id, person_properties: { plan: "pro" } } })).json;
    await expect
      .poll(() => ask("ada"))
      .toMatchObject({ errorsWhileComputingFlags: false, flags: { player: { key: "player" } } });
    for (const id of ["ada", "ben", "eve", "kim"]) {
      const assigned = await database.value<{ key: string }>("select experiment.assign($1, 'new-player')", [id]);
      const { flags: found } = await ask(id);
      expect(found.player).toMatchObject({
        enabled: true,
        variant: assigned.key,
        reason: { description: 'experiment "new-player"' },
      });
      expect((await ask(id, "/decide/?v=3")).featureFlags).toEqual({ player: assigned.key });
      await send("/batch/", {
        body: {
          api_key: server,
          batch: [
            event({
              event: "$feature_flag_called",
              distinct_id: id,
              properties: {
                $feature_flag: "player",
                $feature_flag_response: found.player.variant,
                $feature_flag_reason: found.player.reason.description,
              },
            }),
          ],
        },
      });
    }
    expect(await stored()).toEqual(["ada", "ben", "eve", "kim"].map((id) => `user:${id} Experiment Viewed`));
    expect(await database.rows("select distinct properties ->> 'experimentId' as key from track.event")).toEqual([
      { key: "new-player" },
    ]);
  });

  test("with a key for events alone there are none; with an unknown one 401", async () => {
    expect((await send("/flags/?v=2", { body: { token: server, distinct_id: "ada" } })).json).toEqual({
      flags: {},
      errorsWhileComputingFlags: false,
    });
    expect((await send("/flags/?v=2", { body: { token: "cfi_no", distinct_id: "ada" } })).status).toBe(401);
  });
});
