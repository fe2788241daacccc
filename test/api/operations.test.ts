import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSchema } from "postgraphile/graphql";
import { afterAll, describe, expect, test } from "vitest";
import { type Operations, readOperations } from "../../src/api/operations.ts";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { mySessions } from "../../src/dashboard/operations.ts";
import { asDatabase, secret, testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const directory = await mkdtemp(join(tmpdir(), "insights-operations-"));
afterAll(() => rm(directory, { recursive: true }));

const send = `mutation send($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted rejected } } }`;
const purposes = "query purposes { privacyPurposes(first: 1) { nodes { purpose } } }";
await writeFile(join(directory, "send.graphql"), send);
await writeFile(join(directory, "purposes.gql"), purposes);
await writeFile(join(directory, "notes.txt"), "not an operation");
const { post, ask, token } = await testApi(database, { INSIGHTS_OPERATIONS: directory });

async function answer(body: object, role?: "learner" | "admin"): Promise<{ status: number; text: string }> {
  const authorization = role && `Bearer ${await token(role, "ada")}`;
  const response = await post(JSON.stringify(body), authorization === undefined ? {} : { authorization });
  return { status: response.status, text: await response.text() };
}

const batch = (messageId: string) => [{ type: "track", event: "Opened", anonymousId: "b1", messageId }];

describe("with persisted operations", () => {
  test("a visitor sends the id of one, as the specification and Relay, or a hash as Apollo's client", async () => {
    const hash = createHash("sha256").update(send).digest("hex");
    const ways = [
      { documentId: "send" },
      { id: "send" },
      { extensions: { persistedQuery: { version: 1, sha256Hash: hash } } },
      // A document that is sent with an id is not used.
      { documentId: "send", query: "{ privacyPurposes { nodes { basis } } }" },
    ];
    for (const [place, way] of ways.entries()) {
      const { status, text } = await answer({ ...way, variables: { batch: batch(`o${place}`) } });
      expect([status, text]).toEqual([
        200,
        JSON.stringify({ data: { trackIngest: { result: { accepted: 1, rejected: 0 } } } }),
      ]);
    }
    expect((await answer({ documentId: "purposes" }, "learner")).text).toContain('"nodes"');
  });

  test.each([undefined, "learner"] as const)("no other operation of a %s is executed", async (role) => {
    for (const query of [`${purposes} `.repeat(2), "{ __typename }", "", "{", "{ __schema { types { name } } }"]) {
      const { status, text } = await answer({ query }, role);
      expect([status, text]).toEqual([403, expect.stringContaining("only the operations of its applications")]);
    }
  });

  test("the whole text of an operation stands for it, also of one of the server's own pages", async () => {
    expect((await answer({ query: purposes }, "learner")).text).toContain('"nodes"');
    expect((await answer({ query: mySessions.text }, "learner")).text).toContain('"nodes"');
  });

  test("an unknown id is an error, also one that is a property of every object", async () => {
    for (const id of ["other", "__proto__", "constructor", "../operations", "notes", "x".repeat(10_000)]) {
      for (const query of [undefined, purposes]) {
        const { status, text } = await answer({ documentId: id, query });
        expect([status, text]).toEqual([404, expect.stringContaining(`there is no operation \\"${id.slice(0, 100)}`)]);
        expect(text.length).toBeLessThan(400);
      }
    }
    for (const id of [7, {}, [], true]) expect((await answer({ documentId: id })).status).toBeGreaterThanOrEqual(400);
  });

  test("who writes queries of her own may send any", async () => {
    const { data } = await ask("admin:root", "{ privacyPurposes { nodes { purpose } } }");
    expect(data.privacyPurposes.nodes.length).toBeGreaterThan(1);
    expect((await answer({ documentId: "other", query: purposes }, "admin")).text).toContain('"nodes"');
  });
});

describe("the operations are read at the start", () => {
  const schema = buildSchema("type Query { purposes: Int }");
  const read = (path: string): Promise<Operations> => readOperations(path, schema);
  const file = async (name: string, content: string): Promise<string> => {
    const path = join(directory, name);
    await writeFile(path, content);
    return path;
  };

  test("what is absent, empty, of another form or of another schema is reported", async () => {
    await expect(read(join(directory, "absent"))).rejects.toThrow("cannot be read: ENOENT");
    await expect(read(await file("empty.json", "{}"))).rejects.toThrow("there are no operations");
    await expect(read(await file("list.json", '["{ __typename }"]'))).rejects.toThrow("it has another form");
    await expect(read(await file("text.json", "{ __typename }"))).rejects.toThrow("cannot be read");
    await expect(read(await file("old.json", '{"a": "{ removed }"}'))).rejects.toThrow(/operation "a" of .*"removed"/);
    await expect(read(await file("bad.json", '{"b": "{"}'))).rejects.toThrow('operation "b"');
    const twice = join(directory, "twice");
    await mkdir(twice);
    for (const name of ["a.graphql", "a.gql"]) await writeFile(join(twice, name), "{ purposes }");
    await expect(read(twice)).rejects.toThrow("there are two with this id");
  });

  test("from a file of Relay or GraphQL Code Generator, and Apollo's manifest", async () => {
    const document = "query purposes { purposes }";
    const operations = [{ id: "abc", name: "purposes", type: "query", body: document }];
    const apollo = { format: "apollo-persisted-query-manifest", version: 1, operations };
    for (const content of [{ abc: document }, apollo]) {
      expect((await read(await file("read.json", JSON.stringify(content)))).get("abc")).toBe(document);
    }
  });

  test("a server with operations of another version does not start", async () => {
    const config = readConfig({
      DATABASE_URL: database.url(),
      PORT: "0",
      INSIGHTS_JWT_SECRET: secret,
      INSIGHTS_OPERATIONS: await file("version.json", '{"a": "{ removedField }"}'),
    });
    await expect(startApi(config, asDatabase(database))).rejects.toThrow("removedField");
  });
});
