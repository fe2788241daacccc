import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import notify from "../../tasks/notify.ts";
import { makeChannel, pass, transition } from "../sql/monitor/notifications/channels.ts";
import { asDatabase } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const logged: string[] = [];
for (const method of ["log", "error"] as const) {
  vi.spyOn(console, method).mockImplementation((...parts: unknown[]) => logged.push(parts.join(" ")));
}
vi.stubEnv("INSIGHTS_WEBHOOK_HOSTS", "127.0.0.1");

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
});
beforeEach(async () => {
  await database.query("truncate monitor.channel, monitor.alert, monitor.run cascade");
  logged.length = 0;
});

interface Got {
  id: string;
  at: string;
  signature: string;
  body: string;
}

/** A receiver; returns its URL and what it got. */
async function receiver(
  answer: (...parameters: Parameters<RequestListener>) => void,
): Promise<{ url: string; got: Got[] }> {
  const got: Got[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += chunk.toString("utf8");
    });
    request.on("end", () => {
      const header = (name: string): string => String(request.headers[name] ?? "");
      got.push({
        id: header("webhook-id"),
        at: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
      });
      answer(request, response);
    });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook/k3y`, got };
}

/** Runs the task as graphile-worker does. */
async function run(): Promise<void> {
  const helpers = {
    withPgClient: async (work: (client: unknown) => Promise<unknown>) => {
      const client = await database.pool.connect();
      try {
        return await work(client);
      } finally {
        client.release();
      }
    },
    abortSignal: new AbortController().signal,
    logger: { info: (message: string) => logged.push(message) },
  };
  await notify({}, helpers as unknown as Parameters<typeof notify>[1]);
}

const states = (): Promise<object[]> =>
  database.rows("select state, attempts, last_error from monitor.notification order by notification_id");

test("a worker sends each notification once, signed, and without a secret in its log and its run", async () => {
  const { url, got } = await receiver((_request, response) => response.writeHead(204).end());
  const secret = await makeChannel(database, "ops", { url });
  await transition(database, "a", "opened");
  await runWorkerOnce(asDatabase(database));
  await run();
  const mine = got.filter(({ body }) => body.includes('"subject" : "a"'));
  expect(mine).toHaveLength(1);
  const [{ id, at, signature, body } = { id: "", at: "", signature: "", body: "" }] = mine;
  expect(signature).toBe(
    `v1,${createHmac("sha256", Buffer.from(secret.slice(6), "base64"))
      .update(`${id}.${at}.${body}`)
      .digest("base64")}`,
  );
  expect(new Set(got.map((message) => message.id)).size).toBe(got.length);
  const kept = `${logged.join("\n")}${JSON.stringify(await database.rows("select * from monitor.run"))}`;
  expect(kept).toContain("ops delivered");
  for (const hidden of [secret.slice(6, 30), "k3y", signature]) expect(kept).not.toContain(hidden);
});

test("a receiver that fails, redirects inside, or has an address that is not listed: the others get theirs", async () => {
  const inside = await receiver((_request, response) => response.end());
  const failing = await receiver((_request, response) => response.writeHead(500).end());
  const redirecting = await receiver((_request, response) => response.writeHead(307, { location: inside.url }).end());
  const good = await receiver((_request, response) => response.end());
  await makeChannel(database, "failing", { url: failing.url });
  await makeChannel(database, "good", { url: good.url });
  await makeChannel(database, "metadata", { url: "http://169.254.169.254/latest/meta-data" });
  await makeChannel(database, "redirecting", { url: redirecting.url });
  await transition(database, "a", "opened");
  await run();
  expect(
    Object.fromEntries(
      (
        await database.rows<{ channel: string; state: string; last_error: string | null }>(
          "select channel, state, last_error from monitor.notification",
        )
      ).map(({ channel, state, last_error }) => [channel, [state, last_error]]),
    ),
  ).toEqual({
    failing: ["waiting", "status 500"],
    good: ["delivered", null],
    metadata: ["waiting", "the host has an address that is not public, and INSIGHTS_WEBHOOK_HOSTS does not list it"],
    redirecting: ["waiting", `status 307, a redirect to ${new URL(inside.url).origin}, which is not followed`],
  });
  expect(inside.got).toEqual([]);
  // A channel that waits is not tried, and the run without work is not recorded.
  await run();
  expect([failing.got.length, redirecting.got.length, good.got.length]).toEqual([1, 1, 1]);
  expect(await database.value("select count(*)::int from monitor.run where task = 'notify'")).toBe(1);
  await pass(database, "1 hour");
  await run();
  expect([failing.got.length, redirecting.got.length, good.got.length]).toEqual([2, 2, 1]);
  expect(new Set(failing.got.map(({ id, body }) => id + body)).size).toBe(1);
});

test("a worker that is killed between sending and recording: the repetition has the same webhook-id", async () => {
  const { url, got } = await receiver((_request, response) => response.end());
  await makeChannel(database, "ops", { url });
  await transition(database, "a", "opened");
  // The attempt was sent, and the process ended before its result.
  const [lost] = await database.rows<{ message_id: string }>("select message_id from monitor.take_notifications()");
  await run();
  expect(got).toEqual([]);
  await pass(database, "2 minutes 1 second");
  await run();
  expect(got.map(({ id }) => id)).toEqual([lost?.message_id]);
  expect(await states()).toEqual([{ state: "delivered", attempts: 2, last_error: null }]);
});

test.skipIf(!database.native)("two workers at once send each notification once", async () => {
  const { url, got } = await receiver(async (_request, response) => {
    await wait(20);
    response.end();
  });
  await makeChannel(database, "ops", { url });
  for (let index = 0; index < 60; index += 1) await transition(database, `s${index}`, "opened");
  await Promise.all([run(), run()]);
  await run();
  expect(got).toHaveLength(60);
  expect(new Set(got.map(({ id }) => id)).size).toBe(60);
  expect(new Set((await states()).map((row) => JSON.stringify(row)))).toEqual(
    new Set([JSON.stringify({ state: "delivered", attempts: 1, last_error: null })]),
  );
});

test("the channel is removed while its receiver answers", async () => {
  const { url, got } = await receiver(async (_request, response) => {
    await database.query("select monitor.drop_channel('ops')");
    response.writeHead(500).end();
  });
  await makeChannel(database, "ops", { url });
  await transition(database, "a", "opened");
  await run();
  expect(got).toHaveLength(1);
  expect(await states()).toEqual([]);
  expect(await database.rows("select outcome, detail from monitor.run")).toEqual([
    { outcome: "ok", detail: { "ops removed": 1 } },
  ]);
});
