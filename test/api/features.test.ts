import { type Experiment, GrowthBook, type Result } from "@growthbook/growthbook";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { refresh } from "../sql/track/messages.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { ingest, send } from "../support/requests.ts";

/* GrowthBook's own client reads the features from the running server, decides, and sends what it showed. */
const database = await testDatabase();
const { url, ask } = await testApi(database, { INSIGHTS_ADDRESS_RATE: "100000" });

const people = Array.from({ length: 60 }, (_, i) => `person-${i}`);

async function key(scopes: string, origins = "{}", level = "anonymous"): Promise<string> {
  return await database.value(
    "select write_key from track.create_write_key('web', $1, $2::text[], $3::text[], expires_at => null)",
    [level, scopes, origins],
  );
}

const get = (path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Response> =>
  fetch(`${url}/api/features/${path}`, { headers, method });

let reader: string;
let both: string;
let sender: string;
let server: string;

beforeAll(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  [reader, both, sender, server] = await Promise.all([
    key("{features}"),
    key("{events,features}"),
    key("{events}"),
    key("{events}", "{}", "server"),
  ]);
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify([
      ...people.map((person, i) => ({
        type: "identify",
        messageId: `identify-${i}`,
        userId: person,
        traits: { plan: i % 2 === 0 ? "pro" : "free" },
      })),
      { type: "track", messageId: "lesson", userId: "person-0", event: "Lesson Completed" },
    ]),
  ]);
  await database.query(`
    select experiment.define_metric('lessons', 'count', '{Lesson Completed}', 'Lessons.');
    select experiment.define_feature('player', 'The player.', 'string', '"old"');
    select experiment.define_feature(
      'banner', 'The banner.', 'boolean', 'false', '[{"condition": {"plan": {"$in": ["pro"]}}, "force": true}]'
    );
    select experiment.define_experiment('{
      "key": "new-player", "feature": "player", "goals": ["lessons"],
      "variations": [{"key": "control", "value": "old"}, {"key": "new", "value": "new"}],
      "condition": {"plan": "pro"}
    }');
    select experiment.start('new-player');
  `);
});
afterAll(() => vi.restoreAllMocks());

describe("GrowthBook's client", () => {
  const shown: { person: string; experiment: Experiment<unknown>; result: Result<unknown> }[] = [];

  test("reads the features, and decides as the database", async () => {
    const values = new Set<unknown>();
    for (const [i, person] of people.entries()) {
      const growthbook = new GrowthBook({
        apiHost: url,
        clientKey: reader,
        attributes: { id: person, plan: i % 2 === 0 ? "pro" : "free" },
        trackingCallback: (experiment, result) => {
          shown.push({ person, experiment, result });
        },
      });
      const { success, source, error } = await growthbook.init({ timeout: 20_000, skipCache: true });
      expect({ success, source, error }).toEqual({ success: true, source: "network", error: undefined });
      expect(growthbook.isOn("banner")).toBe(i % 2 === 0);
      const found = growthbook.evalFeature("player");
      expect(
        await database.value("select experiment.evaluate_features($1) -> 'player' -> 'value'", [person]),
        person,
      ).toEqual(found.value);
      if (found.experimentResult !== undefined) {
        expect(await database.value("select experiment.assign($1, 'new-player')", [person]), person).toMatchObject({
          variationId: found.experimentResult.variationId,
          bucket: found.experimentResult.bucket,
          hashValue: person,
        });
      }
      values.add(found.value);
      growthbook.destroy();
    }
    expect([...values].sort()).toEqual(["new", "old"]);
    expect(shown).toHaveLength(30);
  });

  test("what it showed, sent as Experiment Viewed, is the exposure", async () => {
    const batch = shown.map(({ person, experiment, result }, i) => ({
      type: "track",
      messageId: `viewed-${i}`,
      userId: person,
      event: "Experiment Viewed",
      timestamp: new Date().toISOString(),
      properties: { experimentId: experiment.key, variationId: result.key },
    }));
    const reply = await send(url, {
      headers: { "x-write-key": server },
      body: JSON.stringify({ query: ingest, variables: { batch } }),
    });
    expect(reply).toMatchObject({ errors: [], data: { trackIngest: { result: { accepted: 30 } } } });
    await refresh(database);
    const exposures = await database.rows<{ person: string; variation: number }>(`
      select identity.external_id as person, exposure.variation
      from experiment.exposure
      join track.identity using (person_id)
      where identity.kind = 'user'
    `);
    const byPerson = (a: { person: string }, b: { person: string }): number => (a.person < b.person ? -1 : 1);
    expect(exposures.sort(byPerson)).toEqual(
      shown.map(({ person, result }) => ({ person, variation: result.variationId })).sort(byPerson),
    );
  });
});

describe("the answer", () => {
  test("is what GrowthBook's interface answers, with a tag that changes with it", async () => {
    const first = await get(reader);
    expect(first.status).toBe(200);
    expect(first.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(first.headers.get("cache-control")).toMatch(/^public, max-age=30\b/);
    const body = (await first.json()) as Record<string, unknown>;
    expect(Object.keys(body).sort()).toEqual(["dateUpdated", "features", "status"]);
    expect(body).toEqual({
      status: 200,
      ...(await database.value<object>("select experiment.features()")),
    });
    const tag = first.headers.get("etag") ?? "";
    for (const known of [tag, `W/${tag}`, `"x", ${tag}`, "*"]) {
      const again = await get(both, { "if-none-match": known });
      expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", tag]);
    }
    expect((await get(reader, { "if-none-match": '"x"' })).status).toBe(200);
    const head = await get(reader, {}, "HEAD");
    expect([head.status, await head.text(), head.headers.get("etag")]).toEqual([200, "", tag]);

    await database.query("select experiment.define_feature('another', 'Another.')");
    await vi.waitFor(async () => expect((await get(reader, { "if-none-match": tag })).status).toBe(200), {
      timeout: 20_000,
      interval: 200,
    });
  });

  test("holds no data of people", async () => {
    const text = await (await get(reader)).text();
    for (const person of people) expect(text).not.toContain(person);
  });
});

test("GraphQL has the functions that need no tables", async () => {
  const { data, errors } = await ask(
    "visitor",
    `query ($attributes: JSON!, $wanted: JSON!, $payload: JSON!, $experiment: JSON!, $namespace: JSON!) {
      experimentHash(seed: "seed", value: "a", version: 2)
      experimentBucketRanges(variations: 2, coverage: 0.5)
      experimentChooseVariation(n: 0.6, ranges: [0, 0.5, 0.5, 1])
      experimentInNamespace(value: "1", namespace: $namespace)
      experimentEvalCondition(attributes: $attributes, condition: $wanted)
      experimentEvalFeature(payload: $payload, featureKey: "f")
      experimentRun(payload: $payload, experiment: $experiment)
    }`,
    {
      attributes: { plan: "pro" },
      wanted: { plan: { $in: ["pro"] } },
      payload: { features: { f: { defaultValue: 1 } } },
      experiment: { key: "k", variations: [0] },
      namespace: ["namespace1", 0.4, 1],
    },
  );
  expect(errors).toEqual([]);
  expect(data).toMatchObject({
    experimentHash: 0.0505,
    experimentBucketRanges: [0, 0.25, 0.5, 0.75],
    experimentChooseVariation: 1,
    experimentInNamespace: true,
    experimentEvalCondition: true,
    experimentEvalFeature: { value: 1, source: "defaultValue" },
    experimentRun: { inExperiment: false, variationId: 0 },
  });
});

describe("a key", () => {
  test("needs the scope features", async () => {
    expect((await get(both)).status).toBe(200);
    const refused = await get(sender);
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({
      errors: [
        { extensions: { code: "CF005" }, message: expect.stringContaining('does not have the scope "features"') },
      ],
    });
    // The other way round: a key that only reads sends nothing.
    const reply = await send(url, {
      headers: { "x-write-key": reader },
      body: JSON.stringify({ query: "mutation { trackIngest(input: {batch: []}) { clientMutationId } }" }),
    });
    expect(reply.status).toBe(403);
  });

  test("that is unknown, revoked or malformed reads nothing", async () => {
    const revoked = await key("{features}");
    await database.query("select track.revoke_write_key(key_id) from track.write_key order by key_id desc limit 1");
    for (const wrong of [revoked, "cfi_unknown", "", "%", "%20", "x".repeat(1000), "sdk-abc123"]) {
      const refused = await get(wrong);
      expect(refused.status, wrong.slice(0, 50)).toBe(401);
      expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    }
  });

  test("may be used by pages of its origins alone", async () => {
    const page = "https://learn.example.com";
    const own = await key("{features}", `{${page}}`);
    const allowed = await get(own, { origin: page });
    expect(allowed.status).toBe(200);
    expect(allowed.headers.get("access-control-allow-origin")).toBe(page);
    expect(allowed.headers.get("vary")).toContain("Origin");
    const refused = await get(own, { origin: "https://evil.example.com" });
    expect(refused.status).toBe(403);
    expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    expect((await get(own)).headers.get("access-control-allow-origin")).toBe("*");
    const preflight = await get(own, { origin: page, "access-control-request-method": "GET" }, "OPTIONS");
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, "*"]);
  });

  test("other methods and paths do not exist", async () => {
    expect((await get(reader, {}, "POST")).status).toBe(404);
    expect((await get(`${reader}/x`)).status).toBe(404);
  });
});
