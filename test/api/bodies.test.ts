import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { type Identity, visitor } from "../../src/api/authentication.ts";
import { createBodies, createLane } from "../../src/api/bodies.ts";
import { BusyError } from "../../src/api/connections.ts";
import { openListener, refuse } from "../../src/api/listener.ts";
import { readConfig } from "../../src/config.ts";

const ends: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

const learner: Identity = { role: "learner", person: "ada", source: undefined };
const worker: Identity = { role: "worker", person: undefined, source: undefined };

/** A server that reads bodies with the role in the header `x-role`, and answers when it is released. */
async function reading(bytes: number) {
  const listener = await openListener(readConfig({ PORT: "0" }));
  const bodies = createBodies({ visitor: 1000, learner: 2000, others: 4000 }, { bytes });
  let release = (): void => {};
  const gone = new Promise<void>((resolve) => {
    release = resolve;
  });
  let complete = 0;
  let bytesRead = (): number => 0;
  listener.serve(async (request, response) => {
    bytesRead = () => request.socket.bytesRead;
    const role = request.headers["x-role"];
    const who = role === "worker" ? worker : role === "learner" ? learner : visitor;
    try {
      const address = request.socket.remoteAddress ?? "";
      const body = await bodies.read(request, response, { ...who, address, server: false });
      complete += 1;
      if (request.url === "/held") await gone;
      response.end(String(body.length));
    } catch (error) {
      refuse(request, response, error instanceof BusyError ? 503 : 413, { errors: [] });
    }
  });
  ends.push(() => {
    release();
    return listener.close();
  });
  const send = (size: number, role = "visitor", path = "/"): Promise<Response> =>
    fetch(`${listener.url}${path}`, { method: "POST", body: "x".repeat(size), headers: { "x-role": role } });
  return { send, release, port: listener.port, complete: () => complete, bytesRead: () => bytesRead() };
}

async function raw(port: number, text: string): Promise<Socket & { answer: () => string }> {
  const socket = connect(port, "127.0.0.1");
  ends.push(() => socket.destroy());
  let told = "";
  socket
    .on("error", () => {})
    .on("data", (data) => {
      told += data;
    });
  await once(socket, "connect");
  socket.write(text);
  return Object.assign(socket, { answer: () => told });
}

/** Whether or not the connection was reset while it was still sending. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()));

const head = (lines: string): string => `POST / HTTP/1.1\r\nHost: x\r\n${lines}\r\n\r\n`;

describe("a body", () => {
  test("is limited by role", async () => {
    const { send } = await reading(1_000_000);
    const sizes = [1000, 1001, 2000, 2001, 4000, 4001];
    const told = async (role: string): Promise<number[]> =>
      await Promise.all(sizes.map(async (size) => (await send(size, role)).status));
    expect(await told("visitor")).toEqual([200, 413, 413, 413, 413, 413]);
    expect(await told("learner")).toEqual([200, 200, 200, 413, 413, 413]);
    expect(await told("worker")).toEqual([200, 200, 200, 200, 200, 413]);
  });

  test("that is too large is refused before it is sent, and its connection is closed", async () => {
    const { port } = await reading(1_000_000);
    const socket = await raw(port, head("Content-Length: 1000000000"));
    await closed(socket);
    expect(socket.answer()).toMatch(/^HTTP\/1.1 413 [\s\S]*connection: close/i);
  });

  test("that does not end is refused when it exceeds the limit", async () => {
    const { port } = await reading(1_000_000);
    const socket = await raw(port, head("Transfer-Encoding: chunked"));
    let sent = 0;
    const sending = setInterval(() => {
      sent += 1;
      socket.write(`64\r\n${"x".repeat(100)}\r\n`);
    }, 2);
    await closed(socket);
    clearInterval(sending);
    expect(socket.answer()).toMatch(/^HTTP\/1.1 413 /);
    expect(sent).toBeGreaterThan(10);
  });
});

describe("all bodies together", () => {
  test("that are announced and do not arrive take nothing from others", async () => {
    const { port, send } = await reading(8000);
    for (let count = 0; count < 20; count += 1) await raw(port, head("Content-Length: 1000"));
    expect((await send(700)).status).toBe(200);
  });

  test("have a limit: visitors an eighth of it, and unfinished bodies are aborted first", async () => {
    const { port, send, release, complete, bytesRead } = await reading(16_000);
    const most = `${head("Content-Length: 1000")}${"x".repeat(900)}`;
    const slow = await raw(port, most);
    await expect.poll(bytesRead, { timeout: 60_000 }).toBe(most.length);
    // 2,000 bytes are the visitors'; a piece counts for 200 more.
    const held = send(900, "visitor", "/held");
    await expect.poll(slow.answer, { timeout: 60_000 }).toMatch(/^HTTP\/1.1 503 /);
    await expect.poll(complete, { timeout: 60_000 }).toBe(1);
    expect((await send(950)).status).toBe(503);
    expect((await send(1500, "learner")).status).toBe(200);
    release();
    expect((await held).status).toBe(200);
    expect((await send(950)).status).toBe(200);
  });

  test("count their chunks: many small ones take more memory than their bytes", async () => {
    const { port } = await reading(16_000);
    const socket = await raw(port, head("Transfer-Encoding: chunked"));
    for (let count = 0; count < 30 && !socket.destroyed; count += 1) {
      socket.write("1\r\nx\r\n");
      await wait(2);
    }
    await expect.poll(socket.answer, { timeout: 60_000 }).toMatch(/^HTTP\/1.1 503 /);
  });
});

describe("large bodies", () => {
  const never = new AbortController().signal;

  test("are parsed in turns of their senders, not in the order of arrival", async () => {
    const lane = createLane({ rate: 100_000, waiting: 50, maxWait: 60_000 });
    const order: string[] = [];
    const enter = async (caller: string): Promise<void> => {
      await lane.enter(caller, 1000, never);
      order.push(caller);
    };
    await Promise.all(["m", "m", "m", "m", "ada", "m", "ben"].map(enter));
    expect(order).toEqual(["m", "ada", "ben", "m", "m", "m", "m"]);
  });

  test("that are too many, too late or aborted are refused", async () => {
    const lane = createLane({ rate: 1000, waiting: 4, maxWait: 50 });
    const hangUp = new AbortController();
    await lane.enter("m", 1000, never);
    const late = lane.enter("m", 1000, never);
    const gone = lane.enter("m", 1000, hangUp.signal);
    await expect(lane.enter("m", 1000, never)).rejects.toBeInstanceOf(BusyError);
    hangUp.abort();
    await expect(gone).rejects.toBeInstanceOf(BusyError);
    await expect(late).rejects.toBeInstanceOf(BusyError);
  });
});
