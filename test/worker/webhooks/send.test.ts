import { once } from "node:events";
import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type Hosts, parseHosts, publicHosts } from "../../../src/worker/webhooks/hosts.ts";
import { type Outcome, send } from "../../../src/worker/webhooks/send.ts";
import { certificates } from "../../support/certificates.ts";

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** The port of a server on 127.0.0.1, until the end of the test. */
async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  });
  return (server.address() as AddressInfo).port;
}

const serve = (answer: RequestListener): Promise<number> => listen(createHttp(answer));
const serveRaw = (answer: (socket: Socket) => void): Promise<number> => listen(createTcp(answer));

const local = parseHosts("127.0.0.1, receiver.example") as Hosts;
const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
const message = {
  headers: { "webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,x" },
  body: '{"a":"é"}',
};

const post = (url: string, options: Partial<Parameters<typeof send>[1]> = {}): Promise<Outcome> =>
  send({ ...message, url }, { hosts: local, timeout: 400, ...options });
const postTo = (port: number, options: Partial<Parameters<typeof send>[1]> = {}): Promise<Outcome> =>
  post(`http://127.0.0.1:${port}/hook?key=k3y`, options);

/** Answers a request with a text, once its header has arrived. */
const raw = (text: string) => (socket: Socket) => socket.once("data", () => socket.end(text));

describe("a receiver that answers", () => {
  test("gets one POST with the headers and the body, byte by byte", async () => {
    const seen: { request: IncomingMessage; body: string }[] = [];
    const port = await serve((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (chunk: string) => {
        body += chunk;
      });
      request.on("end", () => {
        seen.push({ request, body });
        response.writeHead(204).end();
      });
    });
    expect(await postTo(port)).toEqual({ status: 204 });
    expect(seen).toHaveLength(1);
    expect(seen[0]?.body).toBe(message.body);
    expect(seen[0]?.request).toMatchObject({ method: "POST", url: "/hook?key=k3y" });
    expect(seen[0]?.request.headers).toMatchObject({
      ...message.headers,
      host: `127.0.0.1:${port}`,
      "content-type": "application/json",
      "content-length": "10",
    });
  });

  test.each([400, 404, 410, 429, 500, 503])("with status %d has not taken the message", async (status) => {
    const port = await serve((_request, response) => response.writeHead(status).end("the secret whsec_x"));
    expect(await postTo(port)).toEqual({ status, error: `status ${status}` });
  });

  test.each([
    ["120", { retryAfter: 120 }],
    ["-1", {}],
    ["1e9", {}],
    ["99999999999999999999", {}],
    ["Wed, 21 Oct 2026 07:28:00 GMT", {}],
  ])("with Retry-After %s", async (given, expected) => {
    const port = await serve((_request, response) => response.writeHead(503, { "retry-after": given }).end());
    expect(await postTo(port)).toEqual({ status: 503, error: "status 503", ...expected });
  });
});

describe("redirects", () => {
  test.each([301, 302, 303, 307, 308])(
    "status %d is a failure that names the target, and is not followed",
    async (status) => {
      let requests = 0;
      const inside = await serve((_request, response) => {
        requests += 1;
        response.end();
      });
      const port = await serve((_request, response) =>
        response.writeHead(status, { location: `http://127.0.0.1:${inside}/latest/meta-data?token=s3cret` }).end(),
      );
      expect(await postTo(port)).toEqual({
        status,
        error: `status ${status}, a redirect to http://127.0.0.1:${inside}, which is not followed`,
      });
      expect(requests).toBe(0);
    },
  );

  test("a target that is not valid, or very long, is not quoted", async () => {
    for (const location of ["http://", "javascript:alert(1)", `http://${"a".repeat(9000)}`, "//\u00ff\u0001@"]) {
      const port = await serveRaw(raw(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`));
      const { error = "" } = await postTo(port);
      expect(error.length).toBeLessThan(200);
      expect(error).not.toContain("alert");
    }
  });
});

describe("a receiver that does not answer", () => {
  test.each<[string, (socket: Socket) => void]>([
    ["nothing at all", () => {}],
    [
      "a header, one byte at a time",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\nX-Slow: ");
        const timer = setInterval(() => socket.write("a"), 20);
        socket.on("close", () => clearInterval(timer));
      },
    ],
    [
      "informational responses without end",
      (socket) => {
        const timer = setInterval(() => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n"), 5);
        socket.on("close", () => clearInterval(timer));
      },
    ],
  ])("%s: the attempt ends after the time limit", async (_name, answer) => {
    const port = await serveRaw(answer);
    expect(await postTo(port)).toEqual({ error: "no answer within 0.4 s" });
  });

  test("a name server that hangs counts, too", async () => {
    expect(await post("http://receiver.example/", { resolve: () => new Promise(() => {}) })).toEqual({
      error: "no answer within 0.4 s",
    });
  });

  test("a TLS handshake that hangs counts, too", async () => {
    const port = await serveRaw(() => {});
    expect(await post(`https://receiver.example:${port}/`, { resolve })).toEqual({ error: "no answer within 0.4 s" });
  });

  test.each([
    ["closes the connection", (socket: Socket) => socket.once("data", () => socket.end())],
    ["resets the connection", (socket: Socket) => socket.once("data", () => socket.resetAndDestroy())],
  ])("%s", async (_name, answer) => {
    expect(await postTo(await serveRaw(answer))).toEqual({
      error: "the connection was closed without an answer (ECONNRESET)",
    });
  });

  test("refuses the connection", async () => {
    const port = await serveRaw(() => {});
    await stops.pop()?.();
    expect(await postTo(port)).toEqual({ error: "the connection was refused (ECONNREFUSED)" });
  });

  test("has a name that does not exist", async () => {
    const missing = Object.assign(new Error("getaddrinfo ENOTFOUND receiver.example"), { code: "ENOTFOUND" });
    expect(await post("https://receiver.example/", { resolve: () => Promise.reject(missing) })).toEqual({
      error: "the name of the host does not exist (ENOTFOUND)",
    });
    expect(await post("https://receiver.example/", { resolve: async () => [] })).toEqual({
      error: "the name of the host has no address",
    });
  });
});

describe("an answer that is too large, or is not HTTP", () => {
  test("an endless body is not read to its end", async () => {
    let written = 0;
    const endless = (_request: IncomingMessage, response: ServerResponse): void => {
      const chunk = Buffer.alloc(16_384, "a");
      const write = (): void => {
        while (!response.destroyed && response.write(chunk)) written += chunk.length;
        if (!response.destroyed) written += chunk.length;
      };
      response.on("drain", write);
      write();
    };
    expect(await postTo(await serve(endless), { timeout: 5000 })).toEqual({ status: 200 });
    // The part that the sender read, and the buffers of the two sockets.
    expect(written).toBeLessThan(20_000_000);
  });

  test("a body that stops in the middle does not change the status", async () => {
    const port = await serveRaw((socket) =>
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")),
    );
    expect(await postTo(port, { timeout: 5000 })).toEqual({ status: 200 });
  });

  test("a header without end is a failure", async () => {
    const port = await serveRaw((socket) => {
      socket.once("data", () => socket.write(`HTTP/1.1 200 OK\r\n${"X-Large: aaaaaaaaaaaaaaaa\r\n".repeat(10_000)}`));
    });
    expect(await postTo(port, { timeout: 5000 })).toEqual({
      error: "the header of the answer is larger than 16384 bytes (HPE_HEADER_OVERFLOW)",
    });
  });

  test("other protocols", async () => {
    expect((await postTo(await serveRaw(raw("SSH-2.0-OpenSSH_9.2\r\n")))).error).toMatch(
      /^the answer is not HTTP \(HPE_/,
    );
    expect(
      (await post(`https://receiver.example:${await serveRaw(raw("HTTP/1.1 200 OK\r\n\r\n"))}/`, { resolve })).error,
    ).toMatch(/^the connection failed \(\w+\)$/);
    const upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    expect(await postTo(await serveRaw(raw(upgrade)))).toEqual({ error: "the answer changes the protocol" });
  });
});

describe("addresses", () => {
  test("each spelling of an address that is not public is refused, before a connection is made", async () => {
    let connections = 0;
    const port = await serveRaw(() => {
      connections += 1;
    });
    const names = [
      "127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f000001",
      "017700000001",
      "0x7f.1",
      "0177.0.0.01",
      "127.0.0.1.",
      "１２７.0.0.1",
      "127。0。0。1",
      "localhost",
      "LOCALHOST",
      "0",
      "0.0.0.0",
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[0:0:0:0:0:ffff:7f00:0001]",
      "[64:ff9b::127.0.0.1]",
      "[2002:7f00:1::]",
      "10.0.0.1",
      "169.254.169.254",
      "[fe80::1]",
      "[fd00::1]",
      "224.0.0.1",
      "255.255.255.255",
      "100.64.0.1",
      "192.0.2.1",
      "%31%32%37.0.0.1",
    ];
    for (const name of names) {
      expect([name, await post(`https://${name}:${port}/`, { hosts: publicHosts })]).toEqual([
        name,
        { error: "the host has an address that is not public, and INSIGHTS_WEBHOOK_HOSTS does not list it" },
      ]);
    }
    expect(connections).toBe(0);
  });

  test("one private address among public ones is refused", async () => {
    const mixed = async () => [
      { address: "8.8.8.8", family: 4 },
      { address: "10.0.0.1", family: 4 },
    ];
    expect((await post("https://other.example/", { hosts: publicHosts, resolve: mixed })).error).toMatch(/not public/);
  });

  test("a name that changes its address between check and connection: it is resolved once", async () => {
    let requests = 0;
    const port = await serve((_request, response) => {
      requests += 1;
      response.end();
    });
    // First a listed address on which nothing listens, then that of the server.
    const answers = ["127.0.0.2", "127.0.0.1"];
    let asked = 0;
    const rebinding = async () => [{ address: answers[asked++] ?? "127.0.0.1", family: 4 }];
    const listed = parseHosts("127.0.0.2") as Hosts;
    expect(await post(`http://rebinding.example:${port}/`, { hosts: listed, resolve: rebinding })).toEqual({
      error: "the connection was refused (ECONNREFUSED)",
    });
    expect([asked, requests]).toEqual([1, 0]);
    // The next attempt checks the new address.
    expect((await post(`http://rebinding.example:${port}/`, { hosts: listed, resolve: rebinding })).error).toMatch(
      /not public/,
    );
    expect(requests).toBe(0);
  });

  test("http is for listed hosts", async () => {
    const anywhere = async () => [{ address: "8.8.8.8", family: 4 }];
    expect(await post("http://other.example/", { hosts: publicHosts, resolve: anywhere })).toEqual({
      error: "the URL is http, and INSIGHTS_WEBHOOK_HOSTS does not list the host",
    });
  });

  test.each([
    ["https://user:password@receiver.example/", "the URL contains a user or a password"],
    ["https://user@receiver.example/", "the URL contains a user or a password"],
    ["ftp://receiver.example/", "the URL is neither https nor http"],
    ["file:///etc/passwd", "the URL is neither https nor http"],
    ["https://", "the URL is not valid"],
    ["https://a b/", "the URL is not valid"],
    ["https://receiver.example:99999/", "the URL is not valid"],
    ["https://[fe80::1%25eth0]/", "the URL is not valid"],
    ["", "the URL is not valid"],
  ])("the URL %s is refused", async (url, error) => {
    expect(await post(url)).toEqual({ error });
  });
});

describe("TLS", () => {
  const secure = (pair: { key: string; cert: string }, answered: () => void = () => {}): Promise<number> =>
    listen(
      createHttps(pair, (_request, response) => {
        answered();
        response.end();
      }),
    );
  const { valid, expired } = certificates;

  test("a certificate of a known authority for the name of the host", async () => {
    const port = await secure(valid);
    expect(await post(`https://receiver.example:${port}/`, { resolve, ca: valid.cert, timeout: 5000 })).toEqual({
      status: 200,
    });
  });

  test("is not accepted for another name, from another authority, or after its end; nothing is sent", async () => {
    let answered = 0;
    const port = await secure(valid, () => {
      answered += 1;
    });
    const old = await secure(expired, () => {
      answered += 1;
    });
    const options = { resolve, timeout: 5000 };
    // A process in which certificates are not checked checks these.
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      expect([
        await post(`https://other.example:${port}/`, {
          ...options,
          hosts: parseHosts("other.example") as Hosts,
          ca: valid.cert,
        }),
        await post(`https://127.0.0.1:${port}/`, { ...options, ca: valid.cert }),
        await post(`https://receiver.example:${port}/`, options),
        await post(`https://receiver.example:${old}/`, { ...options, ca: expired.cert }),
      ]).toEqual([
        { error: "the certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)" },
        { error: "the certificate is for another host (ERR_TLS_CERT_ALTNAME_INVALID)" },
        { error: "the certificate is self-signed (DEPTH_ZERO_SELF_SIGNED_CERT)" },
        { error: "the certificate has expired (CERT_HAS_EXPIRED)" },
      ]);
    } finally {
      delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    }
    expect(answered).toBe(0);
  });
});
