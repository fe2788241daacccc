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
void createHash;
void token;
