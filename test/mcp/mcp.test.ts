import { once } from "node:events";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, describe, expect, test } from "vitest";
import { createAuthenticate, type Role, signToken } from "../../src/api/authentication.ts";
import { createGate } from "../../src/api/connections.ts";
import { openListener } from "../../src/api/listener.ts";
import { rooms } from "../../src/api/rooms.ts";
import { readConfig } from "../../src/config.ts";
import { createPool } from "../../src/database/connect.ts";
import { createHandle } from "../../src/mcp/http.ts";
import { createMcp } from "../../src/mcp/server.ts";
import { packageRoot } from "../../src/paths.ts";
import { secret } from "../support/api.ts";
import { makeCampus } from "../support/campus.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
await makeCampus(database);
// Functions with many rows, wide rows, much time, and each type of argument.
await database.query(`
  create function analytics.many_rows(row_count int) returns setof bigint language sql stable
  as 'select * from generate_series(1::bigint, row_count)';
  create function analytics.wide_rows(row_count int, width int) returns setof text language sql stable
  as 'select repeat(''x'', width) from generate_series(1, row_count)';
  create function analytics.slow(seconds double precision) returns void language sql volatile
  as 'select pg_sleep(seconds)';
  comment on function analytics.slow(double precision) is '@behavior -mutationField +queryField
Sleeps.';
  create function analytics.echo(
    number int, big bigint, share double precision, yes boolean, text text, at timestamptz, span interval, day date,
    document jsonb, names text[], matrix double precision[], documents jsonb[], nothing text default null
  ) returns jsonb language sql stable
  as 'select jsonb_build_array(number, big, share, yes, text, at, span, day, document, names, matrix, documents, nothing)';
  grant execute on function analytics.many_rows, analytics.wide_rows, analytics.slow, analytics.echo
  to insights_analyst, insights_admin`);

const clients: Client[] = [];
afterAll(async () => {
  for (const client of clients) await client.close();
});

const tokenOf = (role: Role, person?: string, expiresIn = "1h"): Promise<string> =>
  signToken({ role, person, source: undefined }, { secret, expiresIn });

/** Servers on a port of their own, until the end of the file. */
async function openServer({
  write = false,
  variables = {},
}: {
  write?: boolean;
  variables?: Record<string, string>;
} = {}) {
  const config = readConfig({ DATABASE_URL: database.url(), PORT: "0", INSIGHTS_JWT_SECRET: secret, ...variables });
  const pool = createPool({ url: database.url() }, database.native ? 4 : 1);
  const listener = await openListener(config);
  const mcp = createMcp(pool, createGate(database.native ? 4 : 1, 30_000), {
    rooms,
    write,
    rows: 100,
    bytes: 20_000,
    seconds: 1,
    onlyOperations: config.operations !== undefined,
  });
  listener.serve(await createHandle(config, pool, mcp));
  afterAll(async () => {
    await listener.close();
    await pool.end();
  });
  return { url: `${listener.url}/mcp`, pool, mcp };
}

const { url, pool, mcp } = await openServer();

async function connect(token?: string, to = url): Promise<Client> {
  const client = new Client({ name: "test", version: "1" });
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const transport = new StreamableHTTPClientTransport(new URL(to), { requestInit: { headers } });
  await client.connect(transport as Parameters<typeof client.connect>[0]);
  clients.push(client);
  return client;
}

interface Answer {
  rows: unknown[];
  note?: string;
  error?: string;
  hint?: string;
  code?: string;
}

async function call(client: Client, name: string, given: Record<string, unknown> = {}): Promise<Answer> {
  const { content, isError } = (await client.callTool({ name, arguments: given })) as CallToolResult;
  const [first] = content;
  const answer = JSON.parse(first?.type === "text" ? first.text : "null") as Answer;
  expect(isError ?? false).toBe(answer.error !== undefined);
  return answer;
}

const namesOf = async (client: Client): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name);

const analyst = await connect(await tokenOf("analyst"));

describe("tools", () => {
  test("are the functions that the role may execute and the API publishes", async () => {
    const granted = async (role: string): Promise<string[]> =>
      (
        await database.rows<{ name: string }>(
          `select nspname || '_' || proname as name
           from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
           where nspname = any ($1) and has_function_privilege($2, pg_proc.oid, 'execute')`,
          [rooms, role],
        )
      ).map(({ name }) => name);
    for (const [role, person] of [
      ["visitor"],
      ["learner", "ada"],
      ["instructor", "tess"],
      ["analyst"],
      ["admin"],
    ] as const) {
      const tools = await namesOf(await connect(role === "visitor" ? undefined : await tokenOf(role, person)));
      const may = await granted(`insights_${role}`);
      expect(tools.filter((name) => !may.includes(name))).toEqual([]);
      expect(tools.filter((name) => /_{2}|sign_in|record_table_reads|record_disclosure/.test(name))).toEqual([]);
    }
    expect(await namesOf(await connect())).not.toContain("analytics_popular_items");
    expect(await namesOf(analyst)).toEqual(
      expect.arrayContaining(["analytics_popular_items", "analytics_retention", "ml_normal_cdf", "experiment_results"]),
    );
  });

  test("are described by the comments and the types of the functions", async () => {
    const { tools } = await analyst.listTools();
    const tool = tools.find(({ name }) => name === "analytics_popular_items");
    const comment = await database.value<string>(
      "select obj_description(oid, 'pg_proc') from pg_proc where oid = 'analytics.popular_items'::regproc",
    );
    expect(tool?.description).toBe(comment.trim());
    expect(tool?.inputSchema).toMatchObject({
      type: "object",
      additionalProperties: false,
      properties: { top: { type: "integer", description: "default: 10" }, kind: { type: "string" } },
    });
    expect(tool?.annotations).toMatchObject({ readOnlyHint: true, destructiveHint: false });
    // Tags for PostGraphile are not descriptions.
    for (const { description } of tools) expect(description).not.toMatch(/^@/m);
    const echo = tools.find(({ name }) => name === "analytics_echo");
    expect(echo?.inputSchema.required).toEqual([
      "number",
      "big",
      "share",
      "yes",
      "text",
      "at",
      "span",
      "day",
      "document",
      "names",
      "matrix",
      "documents",
    ]);
  });

  test("write only where this is asked for", async () => {
    const writing = await openServer({ write: true });
    const reading = await namesOf(await connect(await tokenOf("learner", "ada")));
    const both = await connect(await tokenOf("learner", "ada"), writing.url);
    expect(reading).not.toContain("recommend_feedback");
    expect(reading).not.toContain("track_ingest");
    const { tools } = await both.listTools();
    expect(tools.find(({ name }) => name === "track_ingest")?.annotations).toMatchObject({ readOnlyHint: false });
    const { rows } = await call(both, "track_ingest", {
      batch: [{ type: "track", messageId: "by an assistant", userId: "ada", event: "Note Written" }],
    });
    expect(rows).toMatchObject([{ accepted: 1, rejected: 0 }]);
    expect(await call(both, "privacy_erase_person", { person: "ben" })).toMatchObject({ code: "CF002" });
    // A tool that reads cannot write, whatever the function does.
    await database.query(`
      create function analytics.sly() returns int language plpgsql stable
      as 'begin delete from track.item_role; return 1; end';
      grant execute on function analytics.sly to insights_admin`);
    const admin = await connect(await tokenOf("admin", "root"), (await openServer()).url);
    expect((await call(admin, "analytics_sly")).error).toBeDefined();
    expect(await database.value("select count(*)::int from track.item_role")).toBeGreaterThan(0);
  });
});

describe("a call", () => {
  test("returns what the function returns for the role", async () => {
    const since = "2026-03-01T00:00:00Z";
    const until = "2026-03-31T00:00:00Z";
    for (const [role, token] of [
      ["insights_analyst", await tokenOf("analyst")],
      ["insights_admin", await tokenOf("admin", "root")],
    ] as const) {
      const expected = await database.as(role, {}, (db) =>
        db.rows("select to_jsonb(popular) as row from analytics.popular_items(since => $1, until => $2) as popular", [
          since,
          until,
        ]),
      );
      const { rows } = await call(await connect(token), "analytics_popular_items", { since, until });
      expect(rows).toEqual(expected.map(({ row }) => row));
      // The floor of the room applies: the campus has fewer than five people.
      expect(rows.length > 0).toBe(role === "insights_admin");
    }
  });

  test("of a learner reads her own data, of others nothing", async () => {
    const ada = await connect(await tokenOf("learner", "ada"));
    const ben = await connect(await tokenOf("learner", "ben"));
    const own = await call(ada, "track_my_journey", { since: "2026-03-01T00:00:00Z" });
    expect(JSON.stringify(own.rows)).toContain("Poem Loved");
    expect(JSON.stringify(await call(ben, "track_my_journey", { since: "2026-03-01T00:00:00Z" }))).not.toContain(
      "Poem Loved",
    );
    for (const name of ["track_journey", "analytics_course_learners", "privacy_export_person"]) {
      expect(await call(ada, name, { person: "ben", course: "algebra" })).toMatchObject({ code: "CF002" });
    }
    expect(await namesOf(await connect())).not.toContain("track_my_journey");
  });

  test("of records of people is logged, with its reason", async () => {
    const tess = await connect(await tokenOf("instructor", "tess"));
    const { rows } = await call(tess, "analytics_course_learners", { course: "algebra" });
    expect(JSON.stringify(rows)).toContain("Ada L.");
    const log = "select read_by, role, function_name, reason from privacy.disclosure where subject_name = 'ada'";
    expect(await database.rows(log)).toContainEqual(
      expect.objectContaining({ read_by: "tess", function_name: "analytics.course_learners" }),
    );
    await database.query("update privacy.setting set needs_read_reason = true");
    expect(await call(tess, "analytics_course_learners", { course: "algebra" })).toMatchObject({ code: "CF005" });
    await database.query("update privacy.setting set needs_read_reason = false");
  });

  test("is cut with a note: by rows, and by bytes", async () => {
    const many = await call(analyst, "analytics_many_rows", { row_count: 10_000 });
    expect(many.rows).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    expect(many.note).toBe(
      "Cut after 100 rows: an answer has at most 100 rows and 20000 bytes. Ask for a shorter period or fewer rows.",
    );
    const whole = await call(analyst, "analytics_many_rows", { row_count: 100 });
    expect(whole).toEqual({ rows: many.rows });
    const wide = await call(analyst, "analytics_wide_rows", { row_count: 50, width: 998 });
    expect(wide.rows.length).toBe(20);
    expect(wide.note).toMatch(/^Cut after 20 rows/);
    expect(await call(analyst, "analytics_wide_rows", { row_count: 1, width: 1_000_000 })).toMatchObject({
      rows: [],
      note: expect.stringContaining("Cut after 0 rows"),
    });
  });

  test.skipIf(!database.native)("is ended after its time (needs statement_timeout)", async () => {
    expect(await call(analyst, "analytics_slow", { seconds: 30 })).toMatchObject({
      code: "57014",
      error: "the request took too long and was stopped",
    });
    expect(await call(analyst, "analytics_slow", { seconds: 0 })).toEqual({ rows: [] });
  });

  test("passes each type unchanged, and text as text", async () => {
    const hostile = `x'); drop table track.event; --\u2028"\\ $1 {"a":1}`;
    const given = {
      number: -7,
      big: "9007199254740993",
      share: 0.25,
      yes: true,
      text: hostile,
      at: "2026-03-01T00:00:00Z",
      span: "7 days",
      day: "2026-03-01",
      document: { a: [1, null, hostile] },
      names: ["{a,b}", 'quo"te', "back\\slash", null],
      matrix: [
        [1, 2],
        [3, 4.5],
      ],
      documents: [{ a: 1 }, "text", null, [1]],
    };
    const { rows } = await call(analyst, "analytics_echo", given);
    expect(rows).toHaveLength(1);
    const [number, , share, yes, text, at, span, day, document, names, matrix, documents, nothing] =
      rows[0] as unknown[];
    expect([number, share, yes, text, document, names, matrix, documents, nothing]).toEqual([
      -7,
      0.25,
      true,
      hostile,
      given.document,
      given.names,
      given.matrix,
      given.documents,
      null,
    ]);
    expect([at, span, day]).toEqual(["2026-03-01T00:00:00+00:00", "7 days", "2026-03-01"]);
  });

  test("with hostile arguments is refused without a trace of the server", async () => {
    const cases: [Record<string, unknown>, RegExp][] = [
      [{ top: "3" }, /^argument "top": /],
      [{ top: 1.5 }, /^argument "top": /],
      [{ top: 2 ** 40 }, /^argument "top": /],
      [{ top: null }, /^argument "top": /],
      [{ top: 0 }, /^top is 0/],
      [{ kind: ["course"] }, /^argument "kind": /],
      [{ kind: "a\0b" }, /null byte/],
      [{ since: "yesterday; drop table x" }, /not a valid time/],
      [{ half_life: "x".repeat(5000) }, /./],
      [{ kind: "c".repeat(100_000) }, /there is no item of kind "c{1,100}"$/],
      [{ "top => 1); drop table track.event; --": 1 }, /^Unrecognized key/],
    ];
    for (const [given, message] of cases) {
      const answer = await call(analyst, "analytics_popular_items", given);
      expect(answer.error, JSON.stringify(given).slice(0, 100)).toMatch(message);
      expect(JSON.stringify(answer).length).toBeLessThan(600);
      expect(JSON.stringify(answer)).not.toMatch(/src\/|node_modules|at Object/);
    }
    // Nesting, which the server refuses by HTTP before it parses a body.
    const [one, other] = InMemoryTransport.createLinkedPair();
    await mcp.connect(() => ({ role: "analyst", person: "ann", source: undefined })).connect(other);
    const client = new Client({ name: "test", version: "1" });
    await client.connect(one);
    clients.push(client);
    const deep = JSON.parse(`${"[".repeat(300)}${"]".repeat(300)}`);
    expect(await call(client, "analytics_echo", { document: deep })).toMatchObject({ code: "CF008" });
    expect(await call(analyst, "pg_catalog_pg_sleep", { seconds: 1 })).toMatchObject({ code: "CF002" });
    expect(await call(analyst, `a"; ${"x".repeat(5000)}`)).toMatchObject({ code: "CF002" });
    expect(await database.value("select count(*)::int from track.event")).toBeGreaterThan(0);
  });

  test("of two clients at a time are apart from each other", async () => {
    const [ada, ben] = [await connect(await tokenOf("learner", "ada")), await connect(await tokenOf("learner", "ben"))];
    const since = "2026-03-01T00:00:00Z";
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => call(index % 2 === 0 ? ada : ben, "track_my_journey", { since })),
    );
    for (const [index, answer] of answers.entries()) {
      expect(answer.error).toBeUndefined();
      expect(JSON.stringify(answer).includes("Poem Loved")).toBe(index % 2 === 0);
    }
    // Nothing of a request remains on its connection.
    const { rows } = await pool.query(
      "select coalesce(nullif(current_setting('insights.person', true), ''), 'nobody') as person, current_user = session_user as own",
    );
    expect(rows).toEqual([{ person: "nobody", own: true }]);
  });
});

describe("by HTTP", () => {
  const message = { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} };
  const post = async (
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; text: string; response: Response }> => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json, text/event-stream", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: response.status, text: await response.text(), response };
  };

  test("a wrong or expired token is refused", async () => {
    const expired = await tokenOf("analyst", "ann", "-1h");
    const foreign = await signToken(
      { role: "admin", person: "eve", source: undefined },
      { secret: `${secret} of another` },
    );
    for (const token of [expired, foreign, "nonsense"]) {
      const { status, text, response } = await post(message, { authorization: `Bearer ${token}` });
      expect(status).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(text).toMatch(/token/);
      await expect(connect(token)).rejects.toThrow(/token/);
    }
  });

  test("pages of other origins, other methods, and bodies that are not one message are refused", async () => {
    expect((await post(message, { origin: "https://evil.example" })).status).toBe(403);
    expect((await post(message, { origin: new URL(url).origin })).status).toBe(403);
    expect((await post("{")).status).toBe(400);
    expect((await post([message, message])).status).toBe(400);
    expect((await post(`{"a":${"[".repeat(1000)}${"]".repeat(1000)}}`)).status).toBe(400);
    expect((await post("x".repeat(600_000))).status).toBe(413);
    expect((await fetch(url)).status).toBe(405);
    expect((await fetch(url.replace("/mcp", "/graphql"), { method: "POST" })).status).toBe(404);
    const listed = await openServer({ variables: { INSIGHTS_ORIGINS: "https://app.example" } });
    const response = await fetch(listed.url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        origin: "https://app.example",
      },
      body: JSON.stringify(message),
    });
    expect(response.status).toBe(200);
  });

  test("with persisted operations, learners and visitors have no tools", async () => {
    const { url: restricted } = await openServer({ variables: { INSIGHTS_OPERATIONS: packageRoot } });
    const ada = await connect(await tokenOf("learner", "ada"), restricted);
    await expect(ada.listTools()).rejects.toThrow(/INSIGHTS_OPERATIONS/);
    expect(await call(ada, "track_my_journey")).toMatchObject({ code: "42501" });
    expect(await namesOf(await connect(await tokenOf("analyst"), restricted))).toContain("analytics_trend");
  });

  test.skipIf(!database.native)("a connection that is ended is replaced (needs several sessions)", async () => {
    const slow = call(analyst, "analytics_slow", { seconds: 0.9 });
    let ended = 0;
    while (ended === 0) {
      ended = await database.value<number>(
        `select count(pg_terminate_backend(pid))::int from pg_stat_activity
         where datname = current_database() and query like '%analytics"."slow%' and pid <> pg_backend_pid()`,
      );
    }
    expect(await slow).toMatchObject({ code: "08006", error: "the database is not available" });
    expect(await call(analyst, "analytics_slow", { seconds: 0 })).toEqual({ rows: [] });
  });
});

describe("on standard input and output", () => {
  function start(variables: Record<string, string>, options: string[] = []) {
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [join(packageRoot, "src", "cli.ts"), "mcp", ...options],
      env: {
        PATH: process.env["PATH"] ?? "",
        DATABASE_URL: database.url(),
        INSIGHTS_JWT_SECRET: secret,
        INSIGHTS_POOLER: String(!database.native),
        ...variables,
      },
      stderr: "pipe",
    });
    let log = "";
    transport.stderr?.on("data", (chunk) => {
      log += chunk;
    });
    const client = new Client({ name: "test", version: "1" });
    clients.push(client);
    return { client, transport, log: () => log };
  }

  test("the token of the environment decides; the process ends with its client", async () => {
    const { client, transport } = start({ INSIGHTS_TOKEN: await tokenOf("learner", "ada") }, ["--rows", "1"]);
    await client.connect(transport as Parameters<typeof client.connect>[0]);
    expect(client.getServerVersion()?.name).toBe("canvas-flow-insights");
    const { rows, note } = await call(client, "track_my_journey", { since: "2026-03-01T00:00:00Z" });
    expect(rows).toHaveLength(1);
    expect(note).toMatch(/^Cut after 1 rows/);
    expect((await namesOf(client)).some((name) => name.startsWith("ml_"))).toBe(false);
    const pid = transport.pid ?? 0;
    await client.close();
    expect(() => process.kill(pid, 0)).toThrow();
  });

  test("a token that expires while the client is connected is refused from then on", async () => {
    const authenticate = createAuthenticate({ secret });
    // Clocks may differ by ten seconds: this token is accepted for about two more.
    const authorization = `Bearer ${await tokenOf("analyst", "ann", "-8s")}`;
    const [one, other] = InMemoryTransport.createLinkedPair();
    await mcp.connect(() => authenticate(authorization)).connect(other);
    const client = new Client({ name: "test", version: "1" });
    await client.connect(one);
    clients.push(client);
    let answer = await call(client, "analytics_many_rows", { row_count: 1 });
    expect(answer).toEqual({ rows: [1] });
    while (answer.error === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      answer = await call(client, "analytics_many_rows", { row_count: 1 });
    }
    expect(answer).toMatchObject({ error: "the token has expired", code: "28000" });
    await expect(client.listTools()).rejects.toThrow(/expired/);
  });

  test("a wrong token ends the start with its reason", async () => {
    const { client, transport, log } = start({ INSIGHTS_TOKEN: "nonsense" });
    await expect(client.connect(transport as Parameters<typeof client.connect>[0])).rejects.toThrow();
    expect(log()).toContain("the header Authorization does not contain a token");
  });

  test("a server that is killed leaves nothing in the database", async () => {
    const { client, transport } = start({ INSIGHTS_TOKEN: await tokenOf("analyst", "ann") });
    await client.connect(transport as Parameters<typeof client.connect>[0]);
    const closed = once(transport.stderr ?? process.stdin, "close");
    const slow = call(client, "analytics_slow", { seconds: database.native ? 5 : 0.5 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    process.kill(transport.pid ?? 0, "SIGKILL");
    await expect(slow).rejects.toThrow(/closed/i);
    await closed;
    expect(await call(analyst, "analytics_many_rows", { row_count: 1 })).toEqual({ rows: [1] });
  });
});
