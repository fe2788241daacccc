import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Config } from "../config.ts";
import { errorCode, InsightsError, loggable } from "../errors.ts";

/*
 * The port, and limits on connections: open ones, and clients that send or read slowly.
 */

export type Handle = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export interface Listener {
  /** Its address, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  /** Answers requests from now on. Until then the answer is that the server is starting. */
  serve(handle: Handle): void;
  /** Waits for running requests to end. */
  close(): Promise<void>;
}

export const bounds = {
  /** Open connections. Above the limit a new one replaces an idle one: see `makeRoom`. */
  connections: 1000,
  /** Milliseconds for the headers of a request, and for the whole request. */
  head: 10_000,
  request: 30_000,
  /** Milliseconds from the headers of a request to the last byte of its answer, for clients that read slowly. */
  exchange: 150_000,
  /**
   * Milliseconds until a refused request is answered, and until its connection is closed: the client may not retry
   * faster.
   */
  refusal: 250,
  linger: 2000,
  /** Milliseconds until a request above the limit of a rate is answered; no client of this kind may retry sooner. */
  limited: 1000,
  /**
   * Requests of one address above the limit of a rate that wait for their answer. Further ones, and further connections
   * of the address, are closed without one: an answer costs several times as much.
   */
  limitedPerAddress: 100,
  /**
   * Refused requests that wait for their answer; with more, the oldest is answered at once, so that they do not use up
   * the connections.
   */
  refused: 500,
  /** Bytes of a body that is read and discarded after a refusal, so that the connection can be used again. */
  discarded: 64_000,
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

/** Connections on which a refused request waits for its answer, with the function that answers it, the oldest first. */
const refused = new Map<Socket, () => void>();

/** Numbers of those above the limit of a rate, by the address of the connection. Proxies are not in it. */
const limited = new Map<string, number>();

const isFlooding = (address: string | undefined): boolean =>
  address !== undefined && (limited.get(address) ?? 0) >= bounds.limitedPerAddress;

/**
 * Answers a request whose body is not used. The rest of a small body is discarded, and the connection stays open. With a
 * larger one it is closed later: a client that is still sending would otherwise be cut off before it receives the
 * answer, and reading a body that is not used would cost time.
 */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: unknown,
  { isDirect = false }: { isDirect?: boolean } = {},
): void {
  const { socket, headers } = request;
  const address = status === 429 && isDirect ? socket.remoteAddress : undefined;
  // A client that sends further requests without waiting for the answer would have many wait at the same time.
  if (refused.has(socket) || isFlooding(address)) {
    socket.resetAndDestroy();
    return;
  }
  if (address !== undefined) limited.set(address, (limited.get(address) ?? 0) + 1);
  const text = JSON.stringify(body);
  const small = headers["transfer-encoding"] === undefined && !(Number(headers["content-length"]) > bounds.discarded);
  if (!small) request.pause();
  const settle = (): void => {
    clearTimeout(answering);
    if (!refused.delete(socket) || address === undefined) return;
    const others = (limited.get(address) ?? 0) - 1;
    if (others > 0) limited.set(address, others);
    else limited.delete(address);
  };
  const say = (): void => {
    settle();
    response.writeHead(status, {
      ...jsonHeaders,
      "content-length": Buffer.byteLength(text),
      ...(small ? {} : { connection: "close" }),
    });
    if (small) response.end(text);
    else response.write(text);
  };
  const answering = setTimeout(say, status === 429 ? bounds.limited : bounds.refusal);
  const closing = small ? undefined : setTimeout(() => socket.destroy(), bounds.refusal + bounds.linger);
  response.once("close", () => {
    settle();
    clearTimeout(closing);
  });
  refused.set(socket, say);
  if (refused.size > bounds.refused) refused.values().next().value?.();
}

/** Sent with every answer. Pages have a policy of their own. */
const safeHeaders = {
  "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
} as const;

/** Connections that wait for their client: for a request, for the rest of one, or for the answer to be read. */
class Waiting {
  // In the order in which they started to wait.
  readonly #sockets = new Set<Socket>();

  add(socket: Socket): void {
    this.#sockets.delete(socket);
    if (!socket.destroyed) this.#sockets.add(socket);
  }

  remove(socket: Socket): void {
    this.#sockets.delete(socket);
  }

  /**
   * Closes the connection that has waited longest, of the address with most of them: a flood from one address closes
   * its own.
   */
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

/** The address to listen on, and the variables that set it. */
export interface Address extends Pick<Config, "host" | "port"> {
  variables?: { host: string; port: string };
}

function cannotListen(error: Error, { host, port, variables = { host: "HOST", port: "PORT" } }: Address): Error {
  const code = errorCode(error);
  if (code === "EADDRINUSE" || code === "EACCES") {
    return new InsightsError(`port ${port} of ${host} is ${code === "EADDRINUSE" ? "taken" : "not allowed"}`, {
      hint: `Set ${variables.port} to a free port, such as ${variables.port}=5680; 0 takes any.`,
    });
  }
  if (code === "ENOTFOUND" || code === "EADDRNOTAVAIL" || code === "EAI_AGAIN") {
    return new InsightsError(`${variables.host} is "${host}", which is not an address of this machine`, {
      hint: "Use 127.0.0.1 or 0.0.0.0.",
    });
  }
  return error;
}

/** Listens on the port. A command does this first, so that a port that is taken is reported before any other work. */
export async function openListener(config: Address, limits: { connections: number } = bounds): Promise<Listener> {
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
        // A client that disconnects is not an error.
        if (socket.destroyed) return;
        console.error(`request failed: ${loggable(error)}`);
        if (response.headersSent) response.destroy();
        else
          answer(response, 500, problem("an error occurred on the server", "XX000", "The server's log contains it."));
      });
    },
  );
  server.on("connection", (socket) => {
    if (isFlooding(socket.remoteAddress)) {
      socket.resetAndDestroy();
      return;
    }
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
