import { beforeEach, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { agentOf } from "../../support/statements.ts";

const database = await testDatabase();
beforeEach(() => database.query("truncate track.client_document"));

const state = { kind: "state", activity: "https://campus.example/task-1", agent: agentOf("ada"), id: "page" };
const profile = { kind: "agent", agent: agentOf("ada"), id: "settings" };
const call = "select track.store_document($1, $2, $3, $4, $5, $6)";
type Options = { type?: string; merges?: boolean; match?: string; none?: string };
const values = (
  place: object,
  contents: string,
  { type = "application/json", merges = false, match = "", none = "" }: Options = {},
) => [JSON.stringify(place), Buffer.from(contents), type, merges, match, none];
const store = (place: object, contents: string, options?: Options) =>
  database.query(call, values(place, contents, options));
const refused = async (place: object, contents: string, options?: Options) =>
  (await database.rejects(call, values(place, contents, options))).code;
const read = async (place: object) =>
  (
    await database.value<Buffer | null>("select contents from track.stored_document($1)", [JSON.stringify(place)])
  )?.toString();
const tag = () => database.value<string>("select left(encode(sha256(contents), 'hex'), 40) from track.client_document");

describe("a document", () => {
  test("is replaced, and two objects are merged", async () => {
    await store(state, "first", { type: "text/plain" });
    await store(state, '{"a": 1, "b": {"c": 1}}');
    await store(state, '{"b": {"d": 2}}', { merges: true });
    expect(JSON.parse((await read(state)) ?? "")).toEqual({ a: 1, b: { d: 2 } });
  });

  test.each([
    ["a list", "[1]", "application/json"],
    ["a text", '{"a": 1}', "text/plain"],
  ])("is not merged with %s", async (_name, contents, type) => {
    await store(state, '{"a": 1}');
    expect(await refused(state, contents, { type, merges: true })).toBe("CF009");
    expect(await read(state)).toBe('{"a": 1}');
  });

  test("of a registration is another one", async () => {
    await store(state, "1");
    await store({ ...state, registration: "00000000-0000-4000-8000-000000000001" }, "2");
    expect(await read(state)).toBe("1");
  });

  test("is stored under its conditions", async () => {
    await store(state, "1", { none: "*" });
    expect(await refused(state, "2", { none: "*" })).toBe("CF010");
    expect(await refused(state, "2", { match: '"other"' })).toBe("CF010");
    await store(state, "2", { match: `"${await tag()}"` });
    await store(state, "3", { match: "*" });
    expect(await read(state)).toBe("3");
    expect(await refused({ ...state, id: "new" }, "1", { match: "*" })).toBe("CF010");
  });

  test("that is a profile needs a condition", async () => {
    expect(await refused(profile, "1")).toBe("CF009");
    await store(profile, "1", { none: "*" });
    expect(await refused(profile, "2")).toBe("CF010");
    await store(profile, "2", { match: `W/"x", "${await tag()}"` });
    expect(await read(profile)).toBe("2");
  });

  test("is bounded", async () => {
    expect(await refused(state, "z".repeat(4_000_001))).toBe("CF008");
    expect(await refused({ kind: "other" }, "1")).toBe("CF009");
    await database.query(
      `select track.store_document(jsonb_build_object('kind', 'activity', 'activity', 'urn:a', 'id', i), '1', 'text/plain', true)
       from generate_series(1, 1000) as i`,
    );
    expect(await refused({ kind: "activity", activity: "urn:a", id: "x" }, "1", { merges: true })).toBe("CF008");
  });

  test("of a person is hers alone: another signed-in person stores none, and it is erased with her", async () => {
    await database.as("insights_learner", { "insights.person": "ben" }, async (db) => {
      expect(await db.rejects(call, values(state, "1"))).toMatchObject({ code: "CF005" });
    });
    await database.query(`select track.ingest('[{"type": "track", "messageId": "1", "event": "x", "userId": "ada"}]')`);
    await store(state, "1");
    await store({ kind: "activity", activity: "urn:a", id: "x" }, "2", { none: "*" });
    expect(JSON.stringify(await database.value("select privacy.export_person('ada')"))).toContain(
      Buffer.from("1").toString("base64"),
    );
    await database.query("select privacy.erase_person('ada', 'request')");
    expect(
      await database.value("select string_agg(convert_from(contents, 'UTF8'), ' ') from track.client_document"),
    ).toBe("2");
    expect(await refused(state, "1")).toBe("CF005");
  });
});
