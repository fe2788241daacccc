import { request } from "node:http";
import pg from "pg";
import { getIntrospectionQuery } from "postgraphile/graphql";
import { afterAll, describe, expect, test, vi } from "vitest";
import { limits } from "../../src/api/limits.ts";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { socketPath } from "../../src/database/directory.ts";
import { asDatabase, testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld, refresh } from "../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query("select recommend.train()");
const { api, url, ask, post, token } = await testApi(database);

const ingest =
  "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted duplicates rejected errors } } }";

describe("collection", () => {
  const message = (messageId: string, more: object = {}) => ({
    type: "track",
    messageId,
    anonymousId: "browser 1",
    event: "Page Viewed",
    ...more,
  });

  test("a visitor's events are stored, once", async () => {
    const batch = [message("v1"), message("v2"), message("v1")];
    const first = await ask("visitor", ingest, { batch });
    expect(first.errors).toEqual([]);
    expect(first.data.trackIngest.result).toEqual({ accepted: 2, duplicates: 1, rejected: 0, errors: [] });
    const again = await ask("visitor", ingest, { batch: { batch, sentAt: new Date().toISOString() } });
    expect(again.data.trackIngest.result).toMatchObject({ accepted: 0, duplicates: 3 });
  });

  test("a learner acts as herself only", async () => {
    const answer = await ask("learner:ada", ingest, {
      batch: [message("l1", { userId: "ada" }), message("l2", { userId: "ben" })],
    });
    expect(answer.data.trackIngest.result).toMatchObject({
      accepted: 1,
      rejected: 1,
      errors: [{ index: 1, code: "CF005", message: '"userId" is "ben", who is not signed in' }],
    });
  });

  test("a batch that is a JSON string is parsed as its content", async () => {
    const answer = await ask("visitor", ingest, { batch: JSON.stringify([message("s1")]) });
    expect(answer.data.trackIngest.result).toMatchObject({ accepted: 1, rejected: 0 });
  });

  // Written as text, because JavaScript's own JSON would replace some of it.
  test.each([
    ["as JSON", (list: string) => list],
    ["as a string", (list: string) => JSON.stringify(list)],
  ])("a null byte and an unpaired surrogate reject their own messages only (%s)", async (how, wrap) => {
    const list = `[
      {"type": "track", "messageId": "good ${how}", "anonymousId": "b", "event": "X", "properties": {"emoji": "😀 \\ud83d\\ude00"}},
      {"type": "track", "messageId": "null ${how}", "anonymousId": "b", "event": "X", "properties": {"a": "\\u0000"}},
      {"type": "track", "messageId": "half ${how}", "anonymousId": "b", "event": "X", "properties": {"a": "\\ud83d"}}
    ]`;
    const response = await post(`{"query": ${JSON.stringify(ingest)}, "variables": {"batch": ${wrap(list)}}}`);
    const { data } = (await response.json()) as {
      data: { trackIngest: { result: { accepted: number; errors: object[] } } };
    };
    expect(data.trackIngest.result.accepted).toBe(1);
    expect(data.trackIngest.result.errors).toMatchObject([
      { index: 1, code: "CF009" },
      { index: 2, code: "CF009" },
    ]);
    expect(
      await database.value(
        "select properties ->> 'emoji' from track.event where properties ? 'emoji' order by received_at desc limit 1",
      ),
    ).toBe("😀 😀");
  });

  test.each([
    ["a number", 5],
    ["null in a list", { nothing: true }],
    ["text that is not JSON", "not json"],
    ["a boolean", true],
  ])("a batch that is %s is refused with a message", async (_what, batch) => {
    const { data, errors } = await ask("visitor", ingest, { batch });
    expect(data.trackIngest).toBeNull();
    expect(errors).toMatchObject([
      {
        message: expect.stringContaining("the batch is not"),
        extensions: { code: "CF009", hint: expect.stringContaining("Send a JSON list") },
      },
    ]);
  });

  test("each bad message has its own error, and nothing of it is SQL", async () => {
    const { data } = await ask("visitor", ingest, {
      batch: [
        message("'; drop table track.event; --", { event: "'; drop table track.event; --" }),
        message("year", { timestamp: "9999-01-01T00:00:00Z" }),
        message("duration", { properties: { duration: -1 } }),
        message("big", { properties: { text: "x".repeat(100_000) } }),
        { type: "track", anonymousId: "b", event: "no id" },
        message("other", { type: "shout" }),
        "not an object",
      ],
    });
    const { accepted, rejected, errors } = data.trackIngest.result;
    expect({ accepted, rejected }).toEqual({ accepted: 1, rejected: 6 });
    expect(errors.map(({ code, index }: { code: string; index: number }) => `${index} ${code}`)).toEqual([
      "1 CF001",
      "2 CF001",
      "3 CF008",
      "4 CF001",
      "5 CF001",
      "6 CF009",
    ]);
    expect(errors.every(({ hint }: { hint: string }) => hint.length > 10)).toBe(true);
    expect(await database.value("select count(*)::int from track.event_type where name like '%drop table%'")).toBe(1);
  });

  test("messages are distinguished by the source in the token", async () => {
    const send = async (source: string): Promise<number> => {
      const response = await post(JSON.stringify({ query: ingest, variables: { batch: [message("same id")] } }), {
        authorization: `Bearer ${await token("worker", undefined, source)}`,
      });
      return ((await response.json()) as { data: { trackIngest: { result: { accepted: number } } } }).data.trackIngest
        .result.accepted;
    };
    expect([await send("web"), await send("app"), await send("web")]).toEqual([1, 1, 0]);
  });
});

describe("recommendations", () => {
  const mine =
    "{ recommendForMe(top: 3) { nodes { rank item title score basis servingId reasons { kind item contribution } } } }";

  test("are explained by reasons that add up to the score", async () => {
    const { data, errors } = await ask("learner:ada", mine);
    expect(errors).toEqual([]);
    const [first, ...others] = data.recommendForMe.nodes;
    // She took algebra; people who take algebra take analysis.
    expect(first).toMatchObject({ rank: 1, item: "course-analysis", title: "Analysis", basis: "model" });
    for (const { score, reasons } of [first, ...others]) {
      const sum = reasons.reduce(
        (total: number, { contribution }: { contribution: number }) => total + contribution,
        0,
      );
      expect(sum).toBeCloseTo(score, 6);
    }
    expect(first.reasons[0]).toMatchObject({ kind: "item", item: "course-algebra" });
  });

  test("count an event from the moment that it is stored", async () => {
    const before = (await ask("learner:jon", mine)).data.recommendForMe.nodes.map(({ item }: { item: string }) => item);
    expect(before).toContain("course-algebra");
    await ask("learner:jon", ingest, {
      batch: [
        {
          type: "track",
          messageId: "jon now",
          userId: "jon",
          event: "Course Enrolled",
          properties: { item: "course-algebra" },
        },
      ],
    });
    const after = (await ask("learner:jon", mine)).data.recommendForMe.nodes;
    expect(after.map(({ item }: { item: string }) => item)).not.toContain("course-algebra");
    expect(after[0]).toMatchObject({ item: "course-analysis" });
  });

  test("an unknown person gets popular items", async () => {
    const { data } = await ask("learner:unknown", mine);
    expect(data.recommendForMe.nodes[0]).toMatchObject({ basis: "popularity" });
  });

  test("an invalid argument is answered with a message", async () => {
    expect((await ask("learner:ada", '{ recommendForMe(kind: "curse") { nodes { item } } }')).errors).toMatchObject([
      { extensions: { code: "CF002", hint: expect.stringContaining("course") } },
    ]);
    expect((await ask("learner:ada", "{ recommendForMe(top: -1) { nodes { item } } }")).errors).toMatchObject([
      { extensions: { code: "CF001" } },
    ]);
  });
});

describe("analysis", async () => {
  await refresh(database);
  const popular = '{ analyticsPopularItems(kind: "course", measure: "people") { nodes { item personCount } } }';

  test("is for analysts", async () => {
    const { data, errors } = await ask("analyst", popular);
    expect(errors).toEqual([]);
    expect(data.analyticsPopularItems.nodes.length).toBeGreaterThan(0);
    expect((await ask("admin", popular)).errors).toEqual([]);
  });

  test.each(["visitor", "learner:ada"])("not for a %s", async (who) => {
    const { data, errors } = await ask(who, popular);
    expect(data.analyticsPopularItems).toBeNull();
    expect(errors).toMatchObject([{ message: "not allowed", extensions: { code: "42501" } }]);
  });

  test("an unknown event is answered with the nearest", async () => {
    const { errors } = await ask("analyst", '{ analyticsTrend(eventName: "Page View") { nodes { eventCount } } }');
    expect(errors).toMatchObject([
      {
        message: 'there is no event "Page View"',
        extensions: { code: "CF002", hint: expect.stringContaining('"Page Viewed"') },
      },
    ]);
  });
});

describe("errors", () => {
  test("an invalid token is refused, rather than treated as a visitor", async () => {
    const response = await post('{"query": "{ __typename }"}', { authorization: "Bearer a.b.c" });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    expect(await response.json()).toMatchObject({
      errors: [{ message: "the token is not valid", extensions: { code: "28000" } }],
    });
  });

  test.each([
    ['{ trackPerson(personId: "abc") { personId } }', "CF009"],
    ['{ trackPerson(personId: "99999999999999999999") { personId } }', "CF009"],
    ['{ trackJourney(person: "a\\u0000b") { nodes { item } } }', "CF009"],
    ['{ trackJourney(person: "ada", since: "soon") { nodes { item } } }', "CF009"],
    ['{ trackJourney(person: "ada", since: "99999999-01-01") { nodes { item } } }', "CF009"],
  ])("%s is malformed", async (query, code) => {
    const { errors } = await ask("admin", query);
    expect(errors).toMatchObject([{ extensions: { code, hint: expect.any(String) } }]);
  });

  test("any other error is masked, and logged under an id", async () => {
    await database.query(`
      create function analytics.break_down() returns int language plpgsql stable set search_path to ''
      as $$ begin raise exception 'the secret is 42' using detail = 'more secrets'; end $$;
      grant execute on function analytics.break_down() to insights_analyst`);
    const logged = vi.spyOn(console, "error").mockImplementation(() => {});
    const other = await startApi(
      readConfig({
        DATABASE_URL: database.url(),
        PORT: "0",
        INSIGHTS_POOL_SIZE: "2",
        INSIGHTS_JWT_SECRET: "a key for tests, longer than 32 characters",
      }),
      asDatabase(database),
    );
    try {
      const response = await fetch(`${other.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${await token("analyst")}` },
        body: JSON.stringify({ query: "{ analyticsBreakDown }" }),
      });
      const text = await response.text();
      expect(text).not.toMatch(/secret|break_down/);
      const { errors } = JSON.parse(text) as {
        errors: { message: string; extensions: { errorId: string; code: string } }[];
      };
      expect(errors).toMatchObject([{ message: "an error occurred on the server", extensions: { code: "XX000" } }]);
      const log = logged.mock.calls.map((call) => call.map(String).join(" ")).join("\n");
      expect(log).toContain(errors[0]?.extensions.errorId);
      expect(log).toContain("the secret is 42");
    } finally {
      await other.close();
      logged.mockRestore();
      await database.query("drop function analytics.break_down()");
    }
  });
});

describe("limits", () => {
  test("of the bytes of a request, with or without a Content-Length", async () => {
    const body = JSON.stringify({ query: ingest, variables: { batch: "x".repeat(limits.bytes + 1000) } });
    const told = await post(body);
    expect(told.status).toBe(413);
    expect(await told.json()).toMatchObject({ errors: [{ extensions: { code: "CF008" } }] });

    const status = await new Promise<number | undefined>((resolve, reject) => {
      const chunked = request(
        `${url}/graphql`,
        { method: "POST", headers: { "content-type": "application/json" } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      chunked.on("error", reject);
      for (let sent = 0; sent < body.length; sent += 100_000) chunked.write(body.slice(sent, sent + 100_000));
      chunked.end();
    });
    expect(status).toBe(413);
  });

  test.each([
    ["GET", "/graphql", 405],
    ["PUT", "/graphql", 405],
    ["POST", "/healthz", 404],
    ["PUT", "/", 404],
  ])("of ignored bodies: %s %s", async (method, path, status) => {
    const told = await new Promise<{ status: number | undefined; connection: string | undefined }>(
      (resolve, reject) => {
        const sending = request(
          `${url}${path}`,
          { method, headers: { "content-length": 1_000_000_000 } },
          (response) => {
            resolve({ status: response.statusCode, connection: response.headers.connection });
            sending.destroy();
          },
        );
        sending.on("error", reject);
        sending.write("x".repeat(100));
      },
    );
    expect(told).toEqual({ status, connection: "close" });
  });

  test("of the messages of a batch", async () => {
    const { errors } = await ask("visitor", ingest, { batch: Array.from({ length: 10_001 }, () => ({})) });
    expect(errors).toMatchObject([{ message: "the batch has 10001 messages", extensions: { code: "CF008" } }]);
  });

  test("of the depth", async () => {
    const nested = (levels: number): string =>
      levels === 0 ? "itemId" : `trackItemByParentItemId { ${nested(levels - 1)} }`;
    const { status, errors } = await ask("admin", `{ trackItems { nodes { ${nested(12)} } } }`);
    expect(status).toBe(400);
    expect(errors[0]?.message).toMatch(/depth|Cannot query/);
    const cycle =
      "{ trackItems { nodes { trackItemsByParentItemId { nodes { trackItemsByParentItemId { nodes { trackItemsByParentItemId { nodes { itemId } } } } } } } } }";
    expect((await ask("admin", cycle)).errors[0]?.message).toMatch(/exceeds/);
  });

  test("of the nesting of what is sent, also within a string", async () => {
    const deep = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`;
    for (const batch of [deep(100_000), JSON.parse(deep(1000)), `[{"properties":${deep(20_000)}}]`]) {
      expect((await ask("visitor", ingest, { batch })).errors).toMatchObject([{ extensions: { code: "CF008" } }]);
    }
    const { status } = await post(`{"query": ${JSON.stringify(ingest)}, "variables": {"batch": ${deep(50_000)}}}`);
    expect(status).toBe(400);
    const page = { type: "page", messageId: "nested", anonymousId: "deep", properties: { x: JSON.parse(deep(150)) } };
    expect((await ask("visitor", ingest, { batch: [page] })).data.trackIngest.result.accepted).toBe(1);
  });

  test("of the fields, also behind aliases and fragments", async () => {
    const aliases = Array.from({ length: limits.fields + 1 }, (_, number) => `a${number}: __typename`).join(" ");
    expect((await ask("visitor", `{ ${aliases} }`)).errors).toMatchObject([{ extensions: { code: "CF008" } }]);
    const bomb = Array.from(
      { length: 60 },
      (_, level) => `fragment f${level} on Query { ...f${level + 1} query { ...f${level + 1} } }`,
    ).join(" ");
    // Spread out it would never end: 2 to the power of 60 fields.
    const { status, errors } = await ask("visitor", `{ ...f0 } ${bomb} fragment f60 on Query { __typename }`);
    expect(status).toBe(400);
    expect(errors[0]).toMatchObject({ extensions: { code: "CF008" } });
  });

  test("of the values of a request, before they are read", async () => {
    const batch = `[${"{},".repeat(600_000)}{}]`;
    const response = await post(`{"query": ${JSON.stringify(ingest)}, "variables": {"batch": ${batch}}}`);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: "CF008" } }] });
    // In a string they are one value.
    const text = {
      type: "track",
      messageId: "commas",
      anonymousId: "b",
      event: "X",
      properties: { a: "{,".repeat(90) },
    };
    expect((await ask("visitor", ingest, { batch: [text] })).data.trackIngest.result.accepted).toBe(1);
  });

  test("of the tokens of an operation", async () => {
    const { status, errors } = await ask("visitor", `{ ${"a ".repeat(20_000)} }`);
    expect(status).toBe(413);
    expect(errors).toMatchObject([{ extensions: { code: "CF008" } }]);
  });

  test.each([
    ["a list of operations", "POST", { "content-type": "application/json" }, '[{"query": "{ __typename }"}]', 400],
    ["a form", "POST", { "content-type": "multipart/form-data; boundary=x" }, "--x--", 415],
    ["an address", "POST", { "content-type": "application/x-www-form-urlencoded" }, "query={__typename}", 415],
    ["plain text", "POST", { "content-type": "text/plain" }, '{"query": "{ __typename }"}', 415],
    ["nothing", "POST", { "content-type": "application/json" }, "", 400],
    ["half of JSON", "POST", { "content-type": "application/json" }, '{"query": "{', 400],
    [
      "variables that are a text",
      "POST",
      { "content-type": "application/json" },
      '{"query":"{a}","variables":"{}"}',
      400,
    ],
    ["a compressed request", "POST", { "content-type": "application/json", "content-encoding": "gzip" }, "x", 415],
    ["an address that is read", "GET", {}, undefined, 405],
  ])("of the form of a request: %s", async (_what, method, headers, body, status) => {
    const response = await fetch(`${url}/graphql${method === "GET" ? "?query={__typename}" : ""}`, {
      method,
      headers: headers as Record<string, string>,
      ...(body === undefined ? {} : { body }),
    });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ errors: [{ message: expect.any(String) }] });
  });

  test("of the length of an operation", async () => {
    const { status, errors } = await ask("visitor", `{ ${"__typename ".repeat(6000)} }`);
    expect(status).toBe(413);
    expect(errors).toMatchObject([{ extensions: { code: "CF008" } }]);
  });

  test("of the rows of a page", async () => {
    await database.query("insert into track.event_type (name) select 'type ' || n from generate_series(1, 1200) as n");
    const all = await ask("analyst", "{ trackEventTypes { nodes { name } pageInfo { hasNextPage } totalCount } }");
    expect(all.data.trackEventTypes.nodes).toHaveLength(limits.rows);
    expect(all.data.trackEventTypes.pageInfo.hasNextPage).toBe(true);
    const last = await ask("analyst", "{ trackEventTypes(last: 2) { nodes { name } pageInfo { startCursor } } }");
    expect(last.data.trackEventTypes.nodes).toHaveLength(2);
    const before = await ask("analyst", "query ($c: Cursor) { trackEventTypes(before: $c) { nodes { name } } }", {
      c: last.data.trackEventTypes.pageInfo.startCursor,
    });
    expect(before.data.trackEventTypes.nodes).toHaveLength(limits.rows);
    for (const bad of ["first: 1001", "last: 1001", "first: -1", "first: 1, last: 1"]) {
      const { errors } = await ask("analyst", `{ trackEventTypes(${bad}) { nodes { name } } }`);
      expect(errors).toMatchObject([{ extensions: { code: expect.stringMatching(/^CF00[18]$/) } }]);
    }
    await database.query("delete from track.event_type where name like 'type %'");
  });

  test.each([
    ["lists within lists", "{ trackItems { nodes { trackItemsByParentItemId { nodes { itemId } } } } }", {}, false],
    [
      "with pages",
      "{ trackItems(first: 100) { nodes { trackItemsByParentItemId(first: 50) { nodes { itemId } } } } }",
      {},
      true,
    ],
    [
      "with pages in variables",
      "query ($a: Int, $b: Int = 1000) { trackItems(first: $a) { edges { node { trackItemsByParentItemId(last: $b) { nodes { itemId } } } } } }",
      { a: 100 },
      false,
    ],
    ["that are counted only", "{ trackItems { nodes { trackItemsByParentItemId { totalCount } } } }", {}, true],
    [
      "in fragments",
      "{ trackItems { ...a } } fragment a on TrackItemConnection { nodes { ...b } } fragment b on TrackItem { trackItemsByParentItemId { edges { node { itemId } } } }",
      {},
      false,
    ],
    [
      "side by side",
      `{ ${Array.from({ length: 101 }, (_, n) => `a${n}: trackItems { nodes { itemId } }`).join(" ")} }`,
      {},
      false,
    ],
  ])("of all rows together: %s", async (_what, query, variables, allowed) => {
    const { errors } = await ask("admin", query, variables);
    expect(errors).toMatchObject(
      allowed ? [] : [{ message: "the operation requests more than 100000 rows", extensions: { code: "CF008" } }],
    );
  });

  test.skipIf(!database.native)("of the time of a statement (needs statement_timeout)", async () => {
    const holder = await database.pool.connect();
    try {
      await holder.query("begin");
      await holder.query("lock table track.event_type in access exclusive mode");
      const { errors } = await ask("learner:ada", "{ trackEventTypes(first: 1) { nodes { name } } }");
      expect(errors).toMatchObject([{ extensions: { code: "57014" } }]);
    } finally {
      await holder.query("rollback");
      holder.release();
    }
  });

  test("let introspection pass", async () => {
    const { data, errors } = await ask("admin", getIntrospectionQuery());
    expect(errors).toEqual([]);
    expect(data.__schema.queryType.name).toBe("Query");
  });
});

describe("for development", async () => {
  const { url, post } = await testApi(database, { INSIGHTS_GRAPHIQL: "true" });

  test("introspection and suggestions are for every role, and /healthz has details", async () => {
    const answer = await (await post(JSON.stringify({ query: "{ __schema { queryType { name } } }" }))).json();
    expect(answer).toMatchObject({ data: { __schema: { queryType: { name: "Query" } } } });
    expect(await (await post('{"query": "{ recommendForMee { totalCount } }"}')).text()).toContain("Did you mean");
    expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({ database: { version: expect.any(String) } });
  });

  test("the GraphQL page works without the internet", async () => {
    const page = await fetch(`${url}/graphiql`, { headers: { accept: "text/html" } });
    expect(page.status).toBe(200);
    const html = await page.text();
    const sources = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
    expect(sources.length).toBeGreaterThan(0);
    // Works without the internet: everything comes from this server.
    expect(sources.filter((source) => /^(https?:)?\/\//.test(source))).toEqual([]);
    for (const source of sources.filter((path) => path.startsWith("/"))) {
      expect((await fetch(`${url}${source}`)).status).toBe(200);
    }
  });
});

describe("pages", () => {
  const healthAs = async (who: "admin" | "analyst"): Promise<unknown> => {
    const headers = { authorization: `Bearer ${await token(who, who)}` };
    return (await fetch(`${url}/healthz`, { headers })).json();
  };

  test("/healthz reports the status to every caller, and details to administrators", async () => {
    const response = await fetch(`${url}/healthz`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "ok" });
    expect(await healthAs("analyst")).toEqual({ status: "ok" });
    const refused = await fetch(`${url}/healthz`, { headers: { authorization: "Bearer a.b.c" } });
    expect(refused.status).toBe(401);
    expect(await healthAs("admin")).toMatchObject({
      status: "ok",
      database: { version: expect.stringMatching(/^1[5-9]/) },
      queue: { waiting: 0, oldestSeconds: 0, failed: 0 },
      freshness: { stalePeople: expect.any(Number) },
    });
    await database.query("select insights_queue.add_job('insights:refresh', run_at => now() - interval '1 hour')");
    await database.query("select track.rebuild()");
    const later = (await healthAs("admin")) as {
      queue: { oldestSeconds: number };
      freshness: { stalePeople: number };
    };
    expect(later.queue.oldestSeconds).toBeGreaterThan(3599);
    expect(later.freshness.stalePeople).toBeGreaterThan(10);
    await database.query("delete from insights_queue._private_jobs");
  });

  test("other paths are distinguished", async () => {
    const lost = await fetch(`${url}/nothing/here`);
    expect(lost.status).toBe(404);
    expect(await lost.json()).toMatchObject({ errors: [{ extensions: { code: "CF002" } }] });
    const start = await fetch(`${url}/`);
    expect(start.headers.get("content-type")).toBe("text/html; charset=utf-8");
  });

  test("every answer has a content security policy, and none a version of a server", async () => {
    const answers = await Promise.all([
      ...["/", "/graphiql.js", "/nothing", "/healthz", "/me", "/graphiql", "/ruru-static/ruru.js", "/graphql"].map(
        (path) => fetch(`${url}${path}`),
      ),
      post("not json"),
      post('{"query": "{ __typename }"}', { authorization: "Bearer a.b.c" }),
      fetch(`${url}/graphql`, { method: "OPTIONS" }),
    ]);
    for (const { url, headers } of answers) {
      expect(headers.get("content-security-policy"), url).toMatch(/default-src 'none';.*frame-ancestors 'none'/);
      expect(headers.get("content-security-policy"), url).not.toContain("unsafe");
      expect(headers.get("x-content-type-options"), url).toBe("nosniff");
      expect(headers.get("referrer-policy"), url).toBe("no-referrer");
      expect(headers.get("server") ?? headers.get("x-powered-by"), url).toBeNull();
    }
  });

  test("the GraphQL page is not served", async () => {
    for (const path of ["/graphiql", "/ruru-static/ruru.js"]) {
      expect((await fetch(`${url}${path}`, { headers: { accept: "text/html" } })).status).toBe(404);
    }
  });

  test("/me returns the owner of a token", async () => {
    const headers = { authorization: `Bearer ${await token("learner", "ada")}` };
    const server = { graphiql: false, openId: false, embedOrigins: [] };
    expect(await (await fetch(`${url}/me`, { headers })).json()).toEqual({ role: "learner", person: "ada", ...server });
    expect(await (await fetch(`${url}/me`)).json()).toEqual({ role: "visitor", ...server });
  });

  test.each([
    ["plain", "{ __schema { types { name } } }"],
    ["of a type", '{ __type(name: "Query") { name } }'],
    ["in a fragment, under another name", "query { ...f } fragment f on Query { x: __schema { types { name } } }"],
  ])("introspection is for administrators: %s", async (_what, query) => {
    for (const who of ["visitor", "learner:ada", "analyst", "worker"]) {
      expect(await ask(who, query)).toMatchObject({ status: 403, errors: [{ extensions: { code: "42501" } }] });
    }
    expect((await ask("admin", query)).errors).toEqual([]);
    // The plan of one is not used for another role.
    expect((await ask("visitor", query)).status).toBe(403);
    expect((await ask("visitor", "{ __typename }")).errors).toEqual([]);
    expect((await ask("visitor", 'query a { __typename } # __schema "__type"')).errors).toEqual([]);
  });

  test("errors suggest no names of the schema", async () => {
    const { errors } = await ask("visitor", "{ recommendForMee { nodes { item } } }");
    expect(errors[0]?.message).toBe('Cannot query field "recommendForMee" on type "Query".');
  });

  test("other sites may send requests, without cookies", async () => {
    const preflight = await fetch(`${url}/graphql`, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-allow-headers")).toContain("authorization");
    expect(preflight.headers.get("access-control-allow-credentials")).toBeNull();
  });

  test("a port that is taken is named", async () => {
    const config = readConfig({
      DATABASE_URL: database.url(),
      PORT: String(api.port),
      INSIGHTS_POOL_SIZE: "2",
      INSIGHTS_JWT_SECRET: "x".repeat(32),
    });
    await expect(startApi(config, asDatabase(database))).rejects.toMatchObject({
      message: `port ${api.port} of 127.0.0.1 is taken`,
      hint: expect.stringContaining("PORT"),
    });
  });
});

test("concurrent requests each get their own answer", async () => {
  const people = ["ada", "ben", "cleo", "dan", "eve", "fay", "gus", "hal"];
  const answers = await Promise.all(
    [...people, ...people, ...people].map(async (person) => {
      const { data } = await ask(`learner:${person}`, "{ trackIdentities { nodes { externalId kind } } }");
      return {
        person,
        names: data.trackIdentities.nodes.map(({ externalId }: { externalId: string }) => externalId).sort(),
      };
    }),
  );
  for (const { person, names } of answers) expect(names).toEqual([person, `browser of ${person}`].sort());
});

describe("without a database", async () => {
  const away = await testDatabaseThatGoes();
  afterAll(() => away.close());

  test("/healthz answers 503, and a request an error", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    await away.go();
    const health = await fetch(`${away.url}/healthz`);
    expect(health.status).toBe(503);
    expect(await health.json()).toEqual({ status: "unavailable" });
    const response = await fetch(`${away.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query: ingest, variables: { batch: [] } }),
    });
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: "08006" } }] });
  });
});

/** An API whose connections pass through a relay that can be cut. */
async function testDatabaseThatGoes() {
  const { createServer, connect } = await import("node:net");
  const { host, port } = new pg.Client({ connectionString: database.url() });
  const target = host.startsWith("/") ? { path: socketPath(host) } : { host, port };
  const sockets = new Set<import("node:net").Socket>();
  const relay = createServer((client) => {
    const server = connect(target);
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    client.pipe(server).pipe(client);
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const through = new URL("postgres://postgres@127.0.0.1");
  through.port = String((relay.address() as import("node:net").AddressInfo).port);
  through.pathname = database.native ? new URL(database.url()).pathname : "/postgres";
  const config = readConfig({
    DATABASE_URL: through.href,
    PORT: "0",
    INSIGHTS_POOL_SIZE: "2",
    INSIGHTS_JWT_SECRET: "x".repeat(32),
  });
  const other = await startApi(config, { ...asDatabase(database), url: through.href });
  const go = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (relay.listening) await new Promise((resolve) => relay.close(resolve));
  };
  return {
    url: other.url,
    go,
    async close() {
      await go();
      await other.close();
    },
  };
}
