import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterAll, expect, test } from "vitest";
import { signToken } from "../../src/api/authentication.ts";
import { secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, type Insights, insights } from "../support/insights.ts";
import { makeWorld } from "../support/world.ts";

/*
 * The API is killed while it records a list, and after the list is stored but before it is answered. On native
 * PostgreSQL: the embedded database would be killed with its server.
 */
const database = await testDatabase();
if (database.native) {
  await makeWorld(database);
  await database.query("select recommend.train()");
}
endAtEndOfFile();

/** A connection between the API and the database that holds back the answer to the commit of a list. */
let holds = false;
let isHeld = (): void => {};
const proxy = createServer((socket) => {
  const target = new URL(database.url());
  const upstream = connect(Number(target.port || 5432), target.hostname);
  let serves = false;
  let isSilent = false;
  for (const one of [socket, upstream])
    one.on("error", () => {}).on("close", () => [socket, upstream].map((s) => s.destroy()));
  socket.on("data", (chunk) => {
    const text = chunk.toString("latin1");
    serves ||= text.includes("serve_me");
    if (holds && serves && /commit/i.test(text)) isSilent = true;
    upstream.write(chunk);
  });
  upstream.on("data", (chunk) => {
    if (isSilent) isHeld();
    else socket.write(chunk);
  });
});
if (database.native) await once(proxy.listen(0, "127.0.0.1"), "listening");
afterAll(() => proxy.close());

async function start(): Promise<{ server: Insights; url: string }> {
  const url = new URL(database.url());
  url.hostname = "127.0.0.1";
  url.port = String((proxy.address() as AddressInfo).port);
  const server = insights(["api"], { DATABASE_URL: url.href, PORT: "0", INSIGHTS_JWT_SECRET: secret, HOME: "/tmp" });
  const [, address = ""] = await server.prints(/(http:\/\/127\.0\.0\.1:\d+)/);
  await expect
    .poll(async () => (await fetch(`${address}/healthz`).catch(() => undefined))?.status, { timeout: 60_000 })
    .toBe(200);
  return { server, url: address };
}

interface Row {
  item: string;
  servingId: string;
}
async function serve(url: string): Promise<Row[]> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${await signToken({ role: "learner", person: "ada", source: undefined }, { secret })}`,
    },
    body: JSON.stringify({ query: "mutation { recommendServeMe(input: {top: 3}) { result { item servingId } } }" }),
  });
  const { data } = (await response.json()) as { data: { recommendServeMe: { result: Row[] } } };
  return data.recommendServeMe.result;
}
const stored = async (): Promise<[number, number]> => [
  await database.value<number>("select coalesce(sum(cardinality(serving_ids)), 0)::int from recommend.serving_call"),
  await database.value<number>("select count(*)::int from recommend.serving_call"),
];
const waiting = () =>
  database.value<number>(
    "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );

test.runIf(database.native)(
  "a list whose recording is interrupted is not stored in parts",
  { timeout: 180_000 },
  async () => {
    const { server, url } = await start();
    const before = await stored();
    const locker = await database.pool.connect();
    try {
      // The row of the list waits.
      await locker.query("begin; lock table recommend.serving_call in share mode");
      const answer = serve(url).then(
        () => "answered",
        () => "lost",
      );
      await expect.poll(waiting, { timeout: 60_000 }).toBe(1);
      server.child.kill("SIGKILL");
      expect(await answer).toBe("lost");
      await locker.query("commit");
    } finally {
      locker.release();
    }
    await server.exitCode();
    await expect
      .poll(
        () =>
          database.value<number>(
            "select count(*)::int from pg_stat_activity where datname = current_database() and query ~ 'serve_me' and pid <> pg_backend_pid()",
          ),
        { timeout: 60_000 },
      )
      .toBe(0);
    expect(await stored()).toEqual(before);
  },
);

test.runIf(database.native)(
  "a list that is stored and never answered is whole, and the client's repeat is harmless",
  {
    timeout: 180_000,
  },
  async () => {
    const { server, url } = await start();
    const [rows, calls] = await stored();
    const held = new Promise<void>((resolve) => {
      isHeld = resolve;
    });
    holds = true;
    const lost = serve(url).then(
      () => "answered",
      () => "lost",
    );
    await held;
    server.child.kill("SIGKILL");
    expect(await lost).toBe("lost");
    await server.exitCode();
    holds = false;
    expect(await stored()).toEqual([rows + 3, calls + 1]);

    const second = await start();
    const list = await serve(second.url);
    expect(list).toHaveLength(3);
    expect(await stored()).toEqual([rows + 6, calls + 2]);
    // An answer counts for the list that the client has, once; the one that it never had stays unseen.
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
      for (let n = 0; n < 2; n++) {
        await db.query("select recommend.feedback('click', serving_id => $1)", [list[0]?.servingId]);
      }
      await db.query("reset role");
      await db.query("select track.refresh(100000)");
      expect(
        await db.rows(
          `select count(*)::int as rows, count(seen_at)::int as seen, count(clicked_at)::int as clicked,
           count(distinct serving_key)::int as keys
         from recommend.impression where is_served group by listed_at order by listed_at desc limit 2`,
        ),
      ).toEqual([
        { rows: 3, seen: 1, clicked: 1, keys: 3 },
        { rows: 3, seen: 0, clicked: 0, keys: 3 },
      ]);
    });
    // The same list again, as a client may send it: no row twice.
    await database.as("postgres", {}, async (db) => {
      await db.query("set local insights.person = 'ada'");
      await db.query("select track.refresh(100000)");
      const served = () => db.value<number>("select count(*)::int from recommend.impression where is_served");
      const once = await served();
      await db.query("select recommend.serve_person('ada', 3), recommend.serve_person('ada', 3)");
      await db.query("select track.refresh(100000)");
      expect(await served()).toBe(once + 3);
    });
  },
);
