import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, inject, test, vi } from "vitest";
import { signToken } from "../../src/api/authentication.ts";
import { positionHeader, readPosition } from "../../src/api/replica.ts";
import { type Api, startApi } from "../../src/api/server.ts";
import { createClient } from "../../src/client/client.ts";
import { examine } from "../../src/commands/doctor.ts";
import { readConfig } from "../../src/config.ts";
import { secret } from "../support/api.ts";
import { canReplicate, type Replication, startReplication } from "../support/standby.ts";

/*
 * Queries on a hot standby: two processes of the API (here two servers of one process) on a primary and its standby.
 * Which server answers is read from what was changed on the primary while the replay of the standby is paused.
 */

const possible = canReplicate && inject("server").kind === "native";
const needs = "needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine";
const replication = possible ? await startReplication() : (undefined as unknown as Replication);
const { primary, standby } = replication ?? {};
const lines: string[] = [];
const apis: Api[] = [];

beforeAll(async () => {
  vi.spyOn(console, "error").mockImplementation((line) => void lines.push(String(line)));
  if (!possible) return;
  // The API's own login, with its rights only.
  await primary.rows("create role the_api login in role insights_api");
  await primary.rows("insert into track.item (external_id, kind, title) values ('algebra', 'course', 'before')");
  await replication.caughtUp();
  const url = primary.url("the_api");
  const config = readConfig({
    DATABASE_URL: url,
    DATABASE_READ_URL: standby.url("the_api"),
    INSIGHTS_STANDBY_LAG: "4",
    PORT: "0",
    INSIGHTS_JWT_SECRET: secret,
    INSIGHTS_POOL_SIZE: "3",
  });
  const database = { url, embedded: false, pooler: false, own: false, close: async () => {} };
  apis.push(await startApi(config, database), await startApi(config, database));
});

afterAll(async () => {
  for (const api of apis) await api.close();
  replication?.close();
});

afterEach(() => {
  lines.length = 0;
});

interface Answered {
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test asked for
  data: any;
  errors?: { message: string; extensions: { code: string } }[];
  position: string | null;
  cookie: string | null;
  status: number;
}

async function ask(
  query: string,
  { by = 0, role = "admin" as const, headers = {} as Record<string, string> } = {},
): Promise<Answered> {
  const token = await signToken({ role, person: "ada", source: undefined }, { secret });
  const response = await fetch(`${apis[by]?.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}`, ...headers },
    body: JSON.stringify({ query }),
  });
  return {
    ...((await response.json()) as { data: unknown }),
    position: response.headers.get(positionHeader),
    cookie: response.headers.get("set-cookie"),
    status: response.status,
  } as Answered;
}

/** The title of the course, as this request reads it. */
const title = async (options?: Parameters<typeof ask>[1]): Promise<string> => {
  const { data, errors } = await ask("{ trackItems { nodes { externalId title } } }", options);
  expect(errors).toBeUndefined();
  return data.trackItems.nodes.find((item: { externalId: string }) => item.externalId === "algebra").title;
};

const health = async (): Promise<{ state: string; lagSeconds: number | null }> => {
  const token = await signToken({ role: "admin", person: "ada", source: undefined }, { secret });
  const response = await fetch(`${apis[0]?.url}/healthz`, { headers: { authorization: `Bearer ${token}` } });
  return ((await response.json()) as { standby: { state: string; lagSeconds: number | null } }).standby;
};

const becomes = (state: string): Promise<void> =>
  expect.poll(async () => (await health()).state, { timeout: 60_000, interval: 100 }).toBe(state);

const rename = (to: string): Promise<unknown> =>
  primary.rows("update track.item set title = $1 where external_id = 'algebra'", [to]);

const mutation = `mutation {
  trackIngest(input: { batch: [{ type: "track", event: "Opened", messageId: "1", userId: "ada" }] }) { result { accepted } }
}`;

test("positions are compared as numbers, and other texts are refused", () => {
  expect(readPosition("0/3000060")).toBe(0x3000060n);
  expect(readPosition("16/B374D848")).toBe(0x16b374d848n);
  expect(readPosition("1/0")).toBeGreaterThan(readPosition("0/FFFFFFFF") ?? 0n);
  for (const text of ["", "unknown", "16", "16/", "123456789/0", "0/1 or 1", undefined]) {
    expect(readPosition(text)).toBeUndefined();
  }
});

test("queries are answered by the standby, mutations and what follows them by the primary", async ({ skip }) => {
  if (!possible) skip(needs);
  await becomes("ok");
  await wait(600);
  await standby.rows("select pg_wal_replay_pause()");
  try {
    await rename("after");
    expect(await title()).toBe("before");
    const written = await ask(mutation);
    expect(written.data.trackIngest.result.accepted).toBe(1);
    expect(readPosition(written.position ?? "")).toBeGreaterThan(0n);
    // The client that wrote, at any process; others still read from the standby.
    const headers = { [positionHeader]: written.position ?? "" };
    expect(await title({ headers })).toBe("after");
    expect(await title({ headers, by: 1 })).toBe("after");
    expect(await title({ headers: { [positionHeader]: "nonsense" } })).toBe("after");
    expect(await title({ by: 1 })).toBe("before");
    // A page of this server has a cookie instead.
    const page = await ask(mutation, { headers: { "sec-fetch-site": "same-origin" } });
    expect(page.cookie).toMatch(
      /^insights_position=[0-9A-F]+\/[0-9A-F]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    expect(await title({ headers: { cookie: page.cookie?.split(";")[0] ?? "" } })).toBe("after");
    expect((await ask(mutation)).cookie).toBeNull();
  } finally {
    await standby.rows("select pg_wal_replay_resume()");
  }
  await replication.caughtUp();
  expect(await title()).toBe("after");
});

test("the client of the package reads what it has written", async ({ skip }) => {
  if (!possible) skip(needs);
  await becomes("ok");
  const sent: (string | undefined)[] = [];
  const client = createClient({
    url: apis[0]?.url ?? "",
    token: () => signToken({ role: "learner", person: "ada", source: undefined }, { secret }),
    fetch: (url, init) => {
      sent.push(new Headers(init?.headers).get(positionHeader) ?? undefined);
      return fetch(url, init);
    },
  });
  await client.preview();
  await client.like({ item: "algebra" });
  await client.preview();
  expect(sent).toEqual([undefined, undefined, expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/)]);
});

/** The doctor's finding about this server as the standby. */
const doctor = async (readUrl: string): Promise<{ status: string; text: string } | undefined> =>
  (await examine(readConfig({ DATABASE_URL: primary.url(), DATABASE_READ_URL: readUrl }))).find(
    ({ check }) => check === "standby",
  );

test("the doctor checks the standby, and reports other servers", async ({ skip }) => {
  if (!possible) skip(needs);
  expect(await doctor(standby.url())).toMatchObject({
    status: "ok",
    text: expect.stringMatching(/^answers the queries of the API while it is at most 10 s behind; now \d+ bytes$/),
  });
  expect(await doctor(primary.url())).toMatchObject({
    status: "failure",
    text: "DATABASE_READ_URL is not a standby: it was promoted, or is the primary",
  });
  expect(await doctor(process.env["TEST_DATABASE_URL"] ?? "")).toMatchObject({
    status: "failure",
    text: "DATABASE_READ_URL is a server of another database",
  });
  expect(await doctor("postgres://postgres@127.0.0.1:1/insights")).toMatchObject({
    status: "failure",
    text: expect.stringContaining("ECONNREFUSED"),
  });
});

test("when the standby has replayed the position, it answers the client that wrote", async ({ skip }) => {
  if (!possible) skip(needs);
  const { position } = await ask(mutation);
  await replication.caughtUp();
  await becomes("ok");
  await wait(1200);
  await standby.rows("select pg_wal_replay_pause()");
  try {
    await rename("later");
    expect(await title({ headers: { [positionHeader]: position ?? "" } })).toBe("after");
  } finally {
    await standby.rows("select pg_wal_replay_resume()");
  }
});

test("a query that writes is answered by the primary: the reads of an administrator are logged", async ({ skip }) => {
  if (!possible) skip(needs);
  await becomes("ok");
  const count = async (): Promise<number> =>
    Number((await primary.rows<{ n: string }>("select count(*) as n from privacy.disclosure"))[0]?.n);
  const before = await count();
  for (let round = 1; round <= 2; round += 1) {
    const { errors } = await ask("{ trackPeople { nodes { personId } } }");
    expect(errors).toBeUndefined();
    expect(await count()).toBe(before + round);
  }
});

test("a standby that is too far behind is not used, and is again when it has caught up", async ({ skip }) => {
  if (!possible) skip(needs);
  await becomes("ok");
  await standby.rows("select pg_wal_replay_pause()");
  try {
    await rename("newest");
    await becomes("behind");
    expect((await health()).lagSeconds).toBeGreaterThan(4);
    expect(await title()).toBe("newest");
    expect(lines.some((line) => /^standby: it is behind \(.* s\), so that the primary answers/.test(line))).toBe(true);
  } finally {
    await standby.rows("select pg_wal_replay_resume()");
  }
  await becomes("ok");
  // Nothing is written: no lag, however long.
  await wait(5000);
  expect(await health()).toMatchObject({ state: "ok" });
});

test("without the standby the primary answers, from the first request on", async ({ skip }) => {
  if (!possible) skip(needs);
  await becomes("ok");
  standby.stop("immediate");
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, number) => ask("{ __typename trackItems { nodes { title } } }", { by: number % 2 })),
  );
  for (const { errors, status } of answers) {
    expect(errors).toBeUndefined();
    expect(status).toBe(200);
  }
  await becomes("away");
  expect(lines.some((line) => /^standby: it is away/.test(line))).toBe(true);
  standby.start();
  await becomes("ok");
  expect(await title()).toBe("newest");
});

test("a standby that was promoted is another database, and is not used", async ({ skip }) => {
  if (!possible) skip(needs);
  await becomes("ok");
  standby.promote();
  await becomes("promoted");
  await standby.rows("update track.item set title = 'of the other' where external_id = 'algebra'");
  expect(await title()).toBe("newest");
  expect(lines.some((line) => /^standby: it is promoted/.test(line))).toBe(true);
});
