import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type Config, signingKey } from "../config.ts";
import { createPool, type Database } from "../database/connect.ts";
import { errorCode, InsightsError } from "../errors.ts";
import { packageRoot } from "../paths.ts";
import { type AuthenticationOptions, createAuthenticate } from "./authentication.ts";
import { createHealthCheck } from "./health.ts";

/** The running API. */
export interface Api {
  /** Its address, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Lets running requests end, then gives everything back. */
  close(): Promise<void>;
}

/** One connection at work, and one to take the next request in, is all that the embedded database has a use for. */
const embeddedConnections = 4;

/** What the API checks tokens with; `signToken` takes the same. */
export async function authenticationOptions(config: Config): Promise<AuthenticationOptions & { secret: string }> {
  return {
    secret: await signingKey(config),
    jwksUrl: config.jwksUrl,
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
  };
}

const pages: Readonly<Record<string, { file: string; type: string }>> = {
  "/": { file: "index.html", type: "text/html; charset=utf-8" },
  "/dashboard.css": { file: "dashboard.css", type: "text/css; charset=utf-8" },
  "/dashboard.js": { file: "dashboard.js", type: "text/javascript; charset=utf-8" },
  "/queries.js": { file: "queries.js", type: "text/javascript; charset=utf-8" },
};

const pageHeaders = {
  "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
  "cache-control": "no-cache",
};

/** Tokens travel in a header that only scripts can set, never in a cookie, so other sites may call as well. */
const corsHeaders = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, accept",
  "access-control-max-age": "86400",
};

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}

const problem = (message: string, code: string, hint: string) => ({
  errors: [{ message, extensions: { code, hint } }],
});

async function listen(server: Server, { host, port }: Config): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const code = errorCode(error);
      if (code === "EADDRINUSE" || code === "EACCES") {
        reject(
          new InsightsError(`port ${port} of ${host} is ${code === "EADDRINUSE" ? "taken" : "not allowed"}`, {
            hint: "Set PORT to a free port, such as PORT=5680; 0 takes any.",
          }),
        );
      } else if (code === "ENOTFOUND" || code === "EADDRNOTAVAIL") {
        reject(
          new InsightsError(`HOST is "${host}", which is no address of this machine`, {
            hint: "Use 127.0.0.1 or 0.0.0.0.",
          }),
        );
      } else reject(error);
    });
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

/** Serves GraphQL on /graphql, its page on /graphiql, the start page on / and the state of things on /healthz. */
export async function startApi(config: Config, database: Database): Promise<Api> {
  // Both are read when PostGraphile is loaded, and never again. A pooler keeps no prepared statement of ours.
  if (database.pooler) process.env["DATAPLAN_PG_PREPARED_STATEMENT_CACHE_SIZE"] = "0";
  // Just-in-time compilation is switched off for each request, not for the session, which others may use after us.
  process.env["DATAPLAN_PG_DONT_DISABLE_JIT"] = "1";
  process.env["GRAPHILE_ENV"] ??= "production";
  const [{ postgraphile }, { grafserv }, { insightsService, preset }, { limits }] = await Promise.all([
    import("postgraphile"),
    import("postgraphile/grafserv/node"),
    import("./preset.ts"),
    import("./limits.ts"),
  ]);

  const pool = createPool(
    database,
    database.embedded ? Math.min(config.poolSize, embeddedConnections) : config.poolSize,
  );
  const instance = postgraphile({
    extends: [preset],
    insights: { authenticate: createAuthenticate(await authenticationOptions(config)) },
    pgServices: [insightsService(pool)],
  });
  const grafservInstance = instance.createServ(grafserv);
  const graphql = grafservInstance.createHandler();
  const health = createHealthCheck(pool, database.embedded);

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split("?", 1)[0] ?? "/";
    response.setHeader("x-content-type-options", "nosniff");
    response.setHeader("referrer-policy", "no-referrer");
    if (path === "/graphql" || path === "/healthz") {
      for (const [name, value] of Object.entries(corsHeaders)) response.setHeader(name, value);
      if (request.method === "OPTIONS") {
        response.writeHead(204).end();
        return;
      }
    }
    if (path === "/graphql") {
      // Told before it is read, where the client says how much it will send.
      if (Number(request.headers["content-length"] ?? 0) > limits.bytes) {
        const sent = request.headers["content-length"];
        answer(
          response,
          413,
          problem(`the request has ${sent} bytes`, "CF008", `Send ${limits.bytes} at most; split the batch.`),
        );
        return;
      }
    } else if (request.method === "GET" || request.method === "HEAD") {
      if (path === "/healthz") {
        const state = await health();
        answer(response, state.status === "ok" ? 200 : 503, state);
        return;
      }
      const page = pages[path];
      if (page !== undefined) {
        response.writeHead(200, { ...pageHeaders, "content-type": page.type });
        response.end(await readFile(join(packageRoot, "src", "dashboard", page.file)));
        return;
      }
    }
    await graphql(request, response, (error?: unknown) => {
      if (error === undefined) {
        answer(
          response,
          404,
          problem(`there is nothing at ${path.slice(0, 200)}`, "CF002", "See /, /graphql, /graphiql and /healthz."),
        );
      } else fail(response, error);
    });
  }

  function fail(response: ServerResponse, error: unknown): void {
    console.error("request failed:", error);
    if (response.headersSent) response.destroy();
    else answer(response, 500, problem("an error occurred on the server", "XX000", "The server's log has it."));
  }

  const server = createServer({ requestTimeout: 60_000, headersTimeout: 10_000 }, (request, response) => {
    handle(request, response).catch((error: unknown) => fail(response, error));
  });

  const release = async (): Promise<void> => {
    await instance.release();
    await pool.end();
  };

  try {
    // A schema that can't be built is an error of the start, not of the first request.
    await instance.getSchema();
    const port = await listen(server, config);
    const host = config.host === "0.0.0.0" || config.host === "::" ? "127.0.0.1" : config.host;
    return {
      url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
      port,
      async close() {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeIdleConnections();
        await closed;
        await release();
      },
    };
  } catch (error) {
    await release();
    throw error;
  }
}
