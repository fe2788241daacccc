import { expect, test } from "vitest";
import { createClient, InsightsError, type TypedDocument } from "../../src/client/client.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld, refresh } from "../support/world.ts";

const database = await testDatabase();
await makeWorld(database);
await database.query("select recommend.train()");
const { url, token } = await testApi(database);

const clientOf = (person: string) => createClient({ url, token: () => token("learner", person) });
const rejection = async (work: Promise<unknown>): Promise<InsightsError> => {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InsightsError);
  return error as InsightsError;
};

test("recommendations are served, answered and withdrawn", async () => {
  const client = clientOf("ada");
  const preview = await client.preview({ top: 3 });
  const rows = await client.recommendations({ top: 3 });
  expect(rows.map(({ item, rank }) => [item, rank])).toEqual(preview.map(({ item, rank }) => [item, rank]));
  expect(rows.length).toBe(3);
  const [first, second] = rows;
  expect(await client.seen({ servingId: first?.servingId ?? "" })).toBe(true);
  expect(await client.clicked({ servingId: first?.servingId ?? "" })).toBe(true);
  expect(await client.dismiss({ servingId: second?.servingId ?? "" })).toBe(true);
  const items = async (): Promise<(string | null)[]> => (await client.preview()).map(({ item }) => item);
  expect(await items()).not.toContain(second?.item);
  expect(await client.withdraw({ item: second?.item ?? "" })).toBe(true);
  expect(await items()).toContain(second?.item);
  expect(await client.like({ item: first?.item ?? "" })).toBe(true);
  expect(await client.rate({ item: first?.item ?? "" }, 5)).toBe(true);
  expect(await client.preview({ onlyItems: [second?.item ?? ""], kind: "course" })).toHaveLength(1);
  await refresh(database);
  // The dismissal was withdrawn.
  expect(
    await database.rows(
      `select rank, clicked_at is not null as clicked, dismissed_at is not null as dismissed
       from recommend.impression where clicked_at is not null or dismissed_at is not null order by rank`,
    ),
  ).toEqual([{ rank: 1, clicked: true, dismissed: false }]);
});

test("pages continue a list without repeating an item", async () => {
  const client = clientOf("ben");
  const whole = await client.preview({ top: 2 });
  const first = await client.recommendations({ top: 1 });
  const page = first[0]?.nextPage ?? undefined;
  expect(page, JSON.stringify(whole.map(({ item }) => item))).toBeDefined();
  const second = await client.recommendations({ top: 1, ...(page === undefined ? {} : { page }) });
  expect([...first, ...second].map(({ item }) => item)).toEqual(whole.map(({ item }) => item));
});

test("decisions, an export and a request about her own data", async () => {
  const client = clientOf("ada");
  expect((await client.decide(false, ["personalization"])).map(({ purpose, granted }) => [purpose, granted])).toEqual([
    ["personalization", false],
  ]);
  expect((await client.consents()).map(({ purpose, granted }) => [purpose, granted])).toEqual([
    ["personalization", false],
  ]);
  expect(await client.dislike({ item: (await client.preview())[0]?.item ?? "" })).toBe(false);
  const data = (await client.exportMyData()) as { person: unknown; data: Record<string, unknown[]> };
  expect(JSON.stringify(data.person)).toContain("ada");
  expect(JSON.stringify(data.data)).not.toContain("ben");
  const { requestId, dueAt } = await client.request("erasure");
  expect(requestId).toMatch(/^[\da-f-]{36}$/);
  expect(Date.parse(dueAt)).toBeGreaterThan(Date.now());
  expect(await rejection(client.request("erasure"))).toMatchObject({ code: "CF003", isTemporary: false });
});

test("errors have the code, hint, status and field of the server's answer", async () => {
  const client = clientOf("ada");
  expect(await rejection(client.like({ item: "curse" }))).toMatchObject({
    code: "CF002",
    status: 200,
    path: ["recommendFeedback"],
    hint: expect.stringContaining("Did you mean"),
  });
  expect(await rejection(client.recommendations({ top: -1 }))).toMatchObject({ code: "CF001" });
  expect(await rejection(createClient({ url }).exportMyData())).toMatchObject({
    code: expect.stringMatching(/^(42501|CF005)$/),
  });
  expect(await rejection(createClient({ url, token: () => "invalid" }).preview())).toMatchObject({
    code: "28000",
    status: 401,
  });
  expect(await rejection(createClient({ url: "http://127.0.0.1:1" }).preview())).toMatchObject({
    code: "network",
    status: 0,
    isTemporary: true,
  });
  const answers: Record<string, Response> = {
    html: new Response("<html>", { status: 502 }),
    limited: new Response(
      JSON.stringify({ errors: [{ message: "too many requests", extensions: { code: "53400", hint: "Wait." } }] }),
      { status: 429, headers: { "retry-after": "7" } },
    ),
    empty: new Response("null", { status: 200 }),
  };
  const answered = (name: string) => createClient({ url, fetch: async () => answers[name] as Response }).preview();
  expect(await rejection(answered("html"))).toMatchObject({ code: "network", status: 502 });
  expect(await rejection(answered("limited"))).toMatchObject({ code: "53400", retryAfter: 7, isTemporary: true });
  expect(await rejection(answered("empty"))).toMatchObject({ code: "XX000" });
});

test("an operation of the application's own has the types that it states", async () => {
  const document: TypedDocument<{ trackMyJourney: { nodes: { event: string }[] } }, { first: number }> =
    "query ($first: Int) { trackMyJourney(first: $first) { nodes { event } } }";
  const { trackMyJourney } = await clientOf("ben").query(document, { first: 2 });
  expect(trackMyJourney.nodes).toHaveLength(2);
});
