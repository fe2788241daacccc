import { createHash } from "node:crypto";
import client from "@xapi/xapi";
import { beforeEach, describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

/*
 * The Learning Record Store at /xapi, over HTTP and with the published client. ADL's conformance suite, which is run
 * beside a checkout, has about 1,300 further cases: see docs/clients.md.
 */

// Its types are those of a CommonJS module, which it is not for Node.
const XAPI = client as unknown as typeof client.default;

const database = await testDatabase();
const { url, token } = await testApi(database);
const createKey = (source: string, level = "server") =>
  database.value<string>("select write_key from track.create_write_key($1, $2)", [source, level]);
const key = await createKey("campus");

type Sent = { method?: string; key?: string; headers?: Record<string, string>; body?: unknown };

async function ask(path: string, { method = "GET", key: own = key, headers = {}, body }: Sent = {}) {
  const raw = typeof body === "string" || Buffer.isBuffer(body);
  const response = await fetch(`${url}/xapi/${path}`, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(`${own}:any`).toString("base64")}`,
      "x-experience-api-version": "1.0.3",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: raw ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson && text !== "" ? JSON.parse(text) : undefined,
  };
}

const post = (body: unknown, sent: Sent = {}) => ask("statements", { method: "POST", body, ...sent });
const query = (values: Record<string, string>) => `statements?${new URLSearchParams(values)}`;
const id = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
const ada = { name: "Ada", mbox: "mailto:ada@campus.example" };
const ben = { account: { homePage: "https://campus.example", name: "ben" } };
const task = { id: "https://campus.example/tasks/1", definition: { name: { en: "Task 1", de: "Aufgabe 1" } } };
const verbs = "http://adlnet.gov/expapi/verbs/";
const statement = (number: number, fields: object = {}) => ({
  id: id(number),
  actor: ada,
  verb: { id: `${verbs}passed` },
  object: task,
  timestamp: "2026-03-01T10:00:00.000Z",
  ...fields,
});
const events = () =>
  database.rows(
    `select event_type.name as event, identity.external_id as who, item.external_id as item, event.properties
     from track.event
     join track.event_type using (event_type_id)
     join track.identity using (identity_id)
     left join track.item using (item_id)
     order by event.occurred_at, identity.external_id`,
  );

beforeEach(() =>
  database.query(
    "truncate track.event, track.message, track.packed_message, track.statement, track.statement_attachment, track.client_document",
  ),
);

describe("statements", () => {
  test("a statement is returned as it was sent, and is an event of its person", async () => {
    const sent = statement(1, {
      verb: { id: `${verbs}passed`, display: { en: "passed" } },
      result: {
        score: { scaled: 0.8, raw: 8, min: 0, max: 10 },
        success: true,
        completion: true,
        duration: "PT1M30.5S",
      },
      context: { registration: id(900), extensions: { "https://campus.example/x": { deep: [1, null, ""] } } },
    });
    expect(await post(sent)).toMatchObject({ status: 200, json: [id(1)] });
    const found = await ask(query({ statementId: id(1) }));
    expect(found.status).toBe(200);
    const { stored, authority, version, ...rest } = found.json;
    expect(rest).toEqual(sent);
    expect([version, authority.account.name]).toEqual(["1.0.0", "campus"]);
    expect(Date.parse(stored)).toBeGreaterThan(Date.now() - 60_000);
    expect(await events()).toEqual([
      {
        event: "Task Completed",
        who: "ada@campus.example",
        item: task.id,
        properties: {
          item: task.id,
          itemTitle: "Task 1",
          score: 0.8,
          success: true,
          completion: true,
          duration: 90.5,
          registration: id(900),
        },
      },
    ]);
  });

  test("the same id again: the same statement is accepted, another one is 409", async () => {
    const body = statement(1);
    expect((await ask(query({ statementId: id(1) }), { method: "PUT", body })).status).toBe(204);
    expect((await ask(query({ statementId: id(1) }), { method: "PUT", body })).status).toBe(204);
    expect((await post([statement(2), statement(1)])).status).toBe(200);
    expect((await post([statement(3), statement(1, { actor: ben })])).status).toBe(409);
    expect((await ask("statements")).json.statements).toHaveLength(2);
    expect(await events()).toHaveLength(2);
  });

  test("one invalid statement refuses the request", async () => {
    const { status, json } = await post([statement(1), statement(2, { verb: { id: "passed" } })]);
    expect([status, json.errors[0].message]).toEqual([400, '"1.verb.id": is not an IRI with a scheme']);
    expect((await ask("statements")).json.statements).toEqual([]);
    expect(await events()).toEqual([]);
  });

  test("requests that arrive together are stored together, each with its own answer", async () => {
    await post(statement(1));
    const bodies = [
      ...Array.from({ length: 20 }, (_each, index) => statement(100 + index)),
      statement(1, { actor: ben }),
      statement(100),
      statement(101, { actor: ben }),
      [statement(121), statement(122, { timestamp: "1960-01-01T00:00:00Z" })],
    ];
    const replies = await Promise.all(bodies.map((body) => post(body)));
    expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(200), 409, 200, 409, 400]);
    expect((await ask("statements")).json.statements).toHaveLength(21);
    expect(await database.value("select count(distinct stored_at)::int from track.statement")).toBe(21);
  });

  test("a voided statement is found by voidedStatementId only, and its event is deleted", async () => {
    await post(statement(1));
    const voiding = statement(2, {
      actor: ben,
      verb: { id: `${verbs}voided` },
      object: { objectType: "StatementRef", id: id(1) },
    });
    expect((await post(voiding)).status).toBe(200);
    expect((await ask(query({ statementId: id(1) }))).status).toBe(404);
    expect((await ask(query({ voidedStatementId: id(1) }))).json.id).toBe(id(1));
    expect(await events()).toEqual([]);
    // The voiding statement is found by the voided one.
    const found = await ask(query({ verb: `${verbs}passed` }));
    expect(found.json.statements.map(({ id: own }: { id: string }) => own)).toEqual([id(2)]);
  });
});

test("the published client", async () => {
  const xapi = new XAPI({ endpoint: `${url}/xapi`, auth: XAPI.toBasicAuth(key, "") });
  const { data: ids } = await xapi.sendStatement({ statement: statement(1) as never });
  expect(ids).toEqual([id(1)]);
  await xapi.sendStatements({ statements: [statement(2), statement(3)] as never });
  const { data: one } = await xapi.getStatement({ statementId: id(1) });
  expect(one).toMatchObject(statement(1));
  const { data: found } = await xapi.getStatements({ verb: `${verbs}passed`, limit: 2, attachments: false });
  expect(found.statements).toHaveLength(2);
  const { data: rest } = await xapi.getMoreStatements({ more: found.more as string });
  expect(rest).toMatchObject({ statements: [statement(1)] });
  const place = { agent: ada as never, activityId: task.id, stateId: "bookmark" };
  await xapi.createState({ ...place, state: { page: 3 } });
  expect((await xapi.getState(place)).data).toEqual({ page: 3 });
  await xapi.deleteState(place);
  await expect(xapi.getState(place)).rejects.toThrow(/404/);
  expect((await xapi.getAbout()).data.version).toContain("1.0.3");
  await xapi.voidStatement({ actor: ben as never, statementId: id(1) });
  expect((await xapi.getVoidedStatement({ voidedStatementId: id(1) })).data).toMatchObject({ id: id(1) });
});

describe("refused", () => {
  test.each([
    ["without a version", {}, { headers: { "x-experience-api-version": "" } }, 400],
    ["of another version", {}, { headers: { "x-experience-api-version": "0.95" } }, 400],
    ["with an unknown key", {}, { key: "cfi_0000" }, 401],
    ["with another content type", {}, { headers: { "content-type": "text/plain" } }, 400],
    ["that is not JSON", '{"id": ', {}, 400],
    ["without an actor", { actor: undefined }, {}, 400],
    ["with null", { result: null }, {}, 400],
    ["with an unknown property", { extra: 1 }, {}, 400],
    ["with a null byte", { result: { response: "a\0b" } }, {}, 400],
    ["with two identifiers", { actor: { ...ada, ...ben } }, {}, 400],
    ["with a score out of its range", { result: { score: { raw: 11, max: 10 } } }, {}, 400],
    [
      "with a sub-statement in a sub-statement",
      { object: { objectType: "SubStatement", object: { objectType: "SubStatement" } } },
      {},
      400,
    ],
    [
      "with a person whose name is a placeholder",
      { actor: { ...ben, account: { ...ben.account, name: "undefined" } } },
      {},
      400,
    ],
    ["deeply nested", `${"[".repeat(1000)}${"]".repeat(1000)}`, {}, 400],
    ["of more than 4 MB", `"${"z".repeat(4_100_000)}"`, {}, 413],
    ["of 1,001 statements", Array(1001).fill(statement(1)), {}, 413],
  ] as [string, unknown, Sent, number][])("a statement %s", async (_name, fields, sent, status) => {
    const isObject = typeof fields === "object" && !Array.isArray(fields);
    const body = isObject ? statement(1, fields as object) : fields;
    const answer = await post(body, sent);
    expect(answer.status).toBe(status);
    expect(answer.headers.get("x-experience-api-version")).toBe("1.0.3");
    expect(answer.json.errors[0].message.length).toBeLessThan(400);
    expect(await database.value("select count(*)::int from track.statement")).toBe(0);
  });

  test.each([
    [query({ verbs: "x" }), 400],
    [query({ verb: "passed" }), 400],
    [query({ agent: "{" }), 400],
    [query({ limit: "-1" }), 400],
    [query({ since: "yesterday" }), 400],
    [query({ statementId: id(1), verb: "urn:v" }), 400],
    [`${query({ limit: "1" })}&limit=2`, 400],
    [query({ statementId: id(999) }), 404],
    ["activities/state?stateId=x", 400],
    ["unknown", 404],
  ])("GET %s is %i", async (path, status) => {
    expect((await ask(path)).status).toBe(status);
  });

  test("requests without a key, and methods that do not exist", async () => {
    expect((await fetch(`${url}/xapi/statements`, { headers: { "x-experience-api-version": "1.0.3" } })).status).toBe(
      401,
    );
    expect((await ask("statements", { method: "DELETE" })).status).toBe(405);
    expect((await ask("about", { method: "POST", body: {} })).status).toBe(405);
  });

  test("keys of web pages read nothing and void nothing", async () => {
    const page = await createKey("page", "anonymous");
    expect((await post(statement(1), { key: page })).status).toBe(200);
    expect((await ask("statements", { key: page })).status).toBe(403);
    const voiding = { verb: { id: `${verbs}voided` }, object: { objectType: "StatementRef", id: id(1) } };
    expect((await post(statement(2, voiding), { key: page })).status).toBe(403);
    // A statement of another source is another one.
    expect((await post(statement(1, { actor: ben }))).status).toBe(200);
    expect((await ask("statements")).json.statements).toHaveLength(1);
    expect(
      await database.rows("select kind from track.identity where external_id = 'ada@campus.example' order by 1"),
    ).toEqual([{ kind: "anonymous" }, { kind: "user" }]);
  });

  test("a person writes her own statements with her token", async () => {
    const headers = {
      authorization: `Bearer ${await token("learner", "ben")}`,
      "x-write-key": await createKey("app", "signed_in"),
    };
    expect((await post(statement(1, { actor: ben }), { headers })).status).toBe(200);
    expect((await post(statement(2), { headers })).status).toBe(403);
    expect((await ask("statements", { headers })).status).toBe(403);
  });
});

test("attachments are returned with their statement", async () => {
  const contents = Buffer.from([0, 255, 13, 10, 45, 45, 200]);
  const sha2 = createHash("sha256").update(contents).digest("hex");
  const attachment = {
    usageType: "urn:certificate",
    display: { en: "Certificate" },
    contentType: "application/pdf",
    length: 7,
    sha2,
  };
  const bodyOf = (hash: string) =>
    Buffer.concat([
      Buffer.from(
        `--b\r\nContent-Type: application/json\r\n\r\n${JSON.stringify(statement(1, { attachments: [attachment] }))}\r\n`,
      ),
      Buffer.from(
        `--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\nX-Experience-API-Hash: ${hash}\r\n\r\n`,
      ),
      contents,
      Buffer.from("\r\n--b--\r\n"),
    ]);
  const headers = { "content-type": "multipart/mixed; boundary=b" };
  expect((await post(bodyOf("0".repeat(64)), { headers })).status).toBe(400);
  expect((await post(statement(1, { attachments: [attachment] }))).status).toBe(400);
  expect((await post(bodyOf(sha2), { headers })).status).toBe(200);
  const response = await fetch(`${url}/xapi/${query({ statementId: id(1), attachments: "true" })}`, {
    headers: {
      authorization: `Basic ${Buffer.from(`${key}:`).toString("base64")}`,
      "x-experience-api-version": "1.0.3",
    },
  });
  expect(response.headers.get("content-type")).toMatch(/^multipart\/mixed; boundary=/);
  expect(Buffer.from(await response.arrayBuffer()).includes(contents)).toBe(true);
});

test("the alternate syntax is a form, also with the key in it", async () => {
  const form = (fields: Record<string, string>, method: string) =>
    fetch(`${url}/xapi/statements?method=${method}`, { method: "POST", body: new URLSearchParams(fields) });
  const common = {
    Authorization: `Basic ${Buffer.from(`${key}:x`).toString("base64")}`,
    "X-Experience-API-Version": "1.0.3",
  };
  const put = await form({ ...common, statementId: id(1), content: JSON.stringify(statement(1)) }, "PUT");
  expect(put.status).toBe(204);
  const got = await form({ ...common, statementId: id(1) }, "GET");
  expect(await got.json()).toMatchObject(statement(1));
  expect((await form({ ...common, statementId: id(2) }, "PUT")).status).toBe(400);
  expect((await form({ statementId: id(1), "X-Experience-API-Version": "1.0.3" }, "GET")).status).toBe(401);
});

test("formats", async () => {
  const actor = { objectType: "Group", name: "Team", member: [{ ...ada, objectType: "Agent" }] };
  await post(statement(1, { actor, context: { contextActivities: { parent: task } } }));
  const [ids, canonical] = await Promise.all([
    ask(query({ statementId: id(1), format: "ids" })),
    ask(query({ statementId: id(1), format: "canonical" }), {
      headers: { "accept-language": "fr;q=0.9, de-CH;q=0.8, en;q=0.1" },
    }),
  ]);
  expect(ids.json).toMatchObject({
    actor: { objectType: "Group", member: [{ objectType: "Agent", mbox: ada.mbox }] },
    context: { contextActivities: { parent: [{ id: task.id }] } },
  });
  expect(JSON.stringify(ids.json)).not.toMatch(/Team|Ada|Task 1/);
  expect(canonical.json.object.definition.name).toEqual({ de: "Aufgabe 1" });
});

test("profiles need a condition, and are stored under it", async () => {
  const path = `agents/profile?${new URLSearchParams({ agent: JSON.stringify(ben), profileId: "p" })}`;
  const put = (value: string, headers: Record<string, string> = {}) =>
    ask(path, { method: "PUT", body: value, headers: { "content-type": "text/plain", ...headers } });
  expect((await put("1")).status).toBe(400);
  expect((await put("1", { "if-none-match": "*" })).status).toBe(204);
  expect((await put("2", { "if-none-match": "*" })).status).toBe(412);
  expect((await put("2")).status).toBe(409);
  const { headers, text } = await ask(path);
  expect([text, headers.get("content-type")]).toEqual(["1", "text/plain"]);
  expect((await put("2", { "if-match": headers.get("etag") ?? "" })).status).toBe(204);
  expect((await put("3", { "if-match": headers.get("etag") ?? "" })).status).toBe(412);
  expect((await ask(path)).text).toBe("2");
});

test("pages may send: the preflight allows what clients use", async () => {
  const response = await fetch(`${url}/xapi/statements`, {
    method: "OPTIONS",
    headers: { origin: "https://campus.example" },
  });
  expect([response.status, response.headers.get("access-control-allow-methods")]).toEqual([
    204,
    "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  ]);
  expect(response.headers.get("access-control-allow-headers")).toContain("x-experience-api-version");
});

test("an agent and an activity", async () => {
  await post([statement(1), statement(2, { object: { ...task, definition: { name: { fr: "Tâche 1" } } } })]);
  expect((await ask(`agents?${new URLSearchParams({ agent: JSON.stringify({ mbox: ada.mbox }) })}`)).json).toEqual({
    objectType: "Person",
    name: ["Ada"],
    mbox: [ada.mbox],
  });
  expect((await ask(`activities?${new URLSearchParams({ activityId: task.id })}`)).json).toEqual({
    objectType: "Activity",
    id: task.id,
    definition: { name: { en: "Task 1", de: "Aufgabe 1", fr: "Tâche 1" } },
  });
});
