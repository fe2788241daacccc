import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { type Listener, openListener } from "../../src/api/listener.ts";
import { readConfig } from "../../src/config.ts";

const config = readConfig({ PORT: "0" });
const listeners: Listener[] = [];
const sockets: Socket[] = [];
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(listeners.map((listener) => listener.close()));
});

async function open(limits: { connections: number }): Promise<Listener> {
  const listener = await openListener(config, limits);
  listeners.push(listener);
  return listener;
}

async function raw({ port }: Listener, text = ""): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  if (text !== "") socket.write(text);
  return socket;
}

test("until it serves, it answers that it is starting", async () => {
  const listener = await open({ connections: 10 });
  const response = await fetch(listener.url);
  expect(response.status).toBe(503);
  expect(response.headers.get("retry-after")).toBe("5");
  expect(await response.json()).toMatchObject({ errors: [{ message: "the server is starting" }] });
  listener.serve(async (_request, answer) => void answer.end("served"));
  expect(await (await fetch(listener.url)).text()).toBe("served");
});

test.each([
  ["taken", async () => ({ ...config, port: (await open({ connections: 10 })).port }), /port \d+ of .* is taken/],
  ["no address of this machine", async () => ({ ...config, host: "192.0.2.1" }), /HOST is "192.0.2.1"/],
])("a port that is %s is reported", async (_what, make, message) => {
  await expect(openListener(await make())).rejects.toMatchObject({
    message: expect.stringMatching(message),
    hint: expect.any(String),
  });
});

describe("connections", () => {
  test.each([
    ["say nothing", ""],
    ["send half a head", "GET / HTTP/1.1\r\nHost: x\r\n"],
    ["send half a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhal"],
  ])("that %s do not keep others out", async (_what, text) => {
    const listener = await open({ connections: 20 });
    listener.serve(async (request, answer) => {
      for await (const _chunk of request);
      answer.end("served");
    });
    const slow: Socket[] = [];
    for (let count = 0; count < 20; count += 1) slow.push(await raw(listener, text));
    const closed = once(slow[0] as Socket, "close");
    expect(await (await fetch(listener.url)).text()).toBe("served");
    // The oldest connection was closed.
    await closed;
    expect(slow.filter(({ destroyed }) => destroyed).length).toBeLessThan(5);
  });

  test("that are being answered are not closed: a new one is refused", async () => {
    const listener = await open({ connections: 2 });
    let release = (): void => {};
    const gone = new Promise<void>((resolve) => {
      release = resolve;
    });
    let running = 0;
    const both = new Promise<void>((resolve) => {
      listener.serve(async (_request, answer) => {
        running += 1;
        if (running === 2) resolve();
        await gone;
        answer.end("served");
      });
    });
    const answers = [fetch(listener.url), fetch(listener.url)];
    await both;
    await once(await raw(listener, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "close");
    release();
    for (const answer of answers) expect(await (await answer).text()).toBe("served");
  });
});
