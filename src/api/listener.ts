import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Config } from "../config.ts";
import { errorCode, InsightsError } from "../errors.ts";

/*
 * The port, and what a connection may cost: an open one, one that sends or reads slowly.
 */

export type Handle = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export interface Listener {
  /** Its address, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Answers requests from now on. Until then they are told that the server starts. */
  serve(handle: Handle): void;
  /** Lets running requests end. */
  close(): Promise<void>;
}

export const bounds = {
  /** Open connections. A new one takes the place of one that waits: see `makeRoom`. */
  connections: 1000,
  /** Milliseconds for the head of a request, and for all of it. */
  head: 10_000,
  request: 30_000,
  /** Milliseconds from the head of a request to the last byte of its answer, for clients that read slowly. */
  exchange: 150_000,
  /** Milliseconds until a client whose body is not read is told so, and until its connection is closed: it may not come back faster. */
  refusal: 250,
  linger: 2000,
} as const;

export const jsonHeaders = { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" };

export function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, jsonHeaders);
  response.end(JSON.stringify(body));
}

export const problem = (message: string, code: string, hint: string) => ({
  errors: [{ message, extensions: { code, hint } }],
});

export function busy(response: ServerResponse, message = "the server is busy"): void {
  response.setHeader("retry-after", "5");
  answer(response, 503, problem(message, "53300", "Try again in a few seconds."));
}

/**
 * Answers a request whose body is not read. Its connection is closed later, for a client that is still sending would otherwise be cut
 * off before it has the answer; reading what nobody wants would be work.
 */
export function refuse(request: IncomingMessage, response: ServerResponse, status: number, body: unknown): void {
  const { socket } = request;
  const text = JSON.stringify(body);
  request.pause();
  const answering = setTimeout(() => {
    response.writeHead(status, { ...jsonHeaders, connection: "close", "content-length": Buffer.byteLength(text) });
    response.write(text);
  }, bounds.refusal);
  const closing = setTimeout(() => socket.destroy(), bounds.refusal + bounds.linger);
  response.once("close", () => {
    clearTimeout(answering);
    clearTimeout(closing);
  });
}

/** Sent with every answer. A page has a policy of its own. */
const safeHeaders = {
  "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
} as const;

/** Connections that wait for something of their client: a request, the rest of one, the end of an answer is not among it. */
class Waiting {
  // In the order in which they began to wait.
  readonly #sockets = new Set<Socket>();

  add(socket: Socket): void {
    this.#sockets.delete(socket);
    if (!socket.destroyed) this.#sockets.add(socket);
  }

  remove(socket: Socket): void {
    this.#sockets.delete(socket);
  }

  /** Ends the one that has waited longest, of the address that has most of them: a flood from one place ends its own. */
  makeRoom(): boolean {
    const counts = new Map<string, number>();
    for (const { remoteAddress = "" } of this.#sockets) counts.set(remoteAddress, (counts.get(remoteAddress) ?? 0) + 1);
    const most = Math.max(...counts.values());
    for (const socket of this.#sockets) {
      if (counts.get(socket.remoteAddress ?? "") !== most) continue;
      this.#sockets.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }
}

function cannotListen(error: Error, { host, port }: Config): Error {
  const code = errorCode(error);
  if (code === "EADDRINUSE" || code === "EACCES") {
    return new InsightsError(`port ${port} of ${host} is ${code === "EADDRINUSE" ? "taken" : "not allowed"}`, {
      hint: "Set PORT to a free port, such as PORT=5680; 0 takes any.",
    });
  }
  if (code === "ENOTFOUND" || code === "EADDRNOTAVAIL" || code === "EAI_AGAIN") {
    return new InsightsError(`HOST is "${host}", which is no address of this machine`, {
      hint: "Use 127.0.0.1 or 0.0.0.0.",
    });
  }
  return error;
}

/** Takes the port. It comes before everything else that a command does, so that a port that is taken is told before it. */
export async function openListener(config: Config, limits: { connections: number } = bounds): Promise<Listener> {
  let handle: Handle = async (_request, response) => busy(response, "the server is starting");
  const waiting = new Waiting();
  let open = 0;

  const server = createServer(
    { requestTimeout: bounds.request, headersTimeout: bounds.head, connectionsCheckingInterval: 2000 },
    (request, response) => {
      const { socket } = request;
      for (const [name, value] of Object.entries(safeHeaders)) response.setHeader(name, value);

      const hasBody =
        request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined;
      if (hasBody) request.once("end", () => waiting.remove(socket));
      else waiting.remove(socket);
      const slow = setTimeout(() => socket.destroy(), bounds.exchange).unref();

      response.once("close", () => {
        clearTimeout(slow);
        waiting.add(socket);
      });
      handle(request, response).catch((error: unknown) => {
        // A client that has gone away is no failure.
        if (socket.destroyed) return;
        console.error("request failed:", error);
        if (response.headersSent) response.destroy();
        else answer(response, 500, problem("an error occurred on the server", "XX000", "The server's log has it."));
      });
    },
  );
  server.on("connection", (socket) => {
    open += 1;
    socket.once("close", () => {
      open -= 1;
      waiting.remove(socket);
    });
    if (open > limits.connections && !waiting.makeRoom()) socket.destroy();
    else waiting.add(socket);
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(cannotListen(error, config)));
    server.listen(config.port, config.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = config.host === "0.0.0.0" || config.host === "::" ? "127.0.0.1" : config.host;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    port,
    serve(next) {
      handle = next;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await closed;
    },
  };
}
