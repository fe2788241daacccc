import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { type Config, signingKey } from "../config.ts";
import { createPool, type Database } from "../database/connect.ts";
import { packageRoot } from "../paths.ts";
import {
  AuthenticationError,
  type AuthenticationOptions,
  createAuthenticate,
  type Identity,
} from "./authentication.ts";
import { createBodies, TooLargeError } from "./bodies.ts";
import { BusyError } from "./connections.ts";
import { createHealthCheck } from "./health.ts";
import { answer, type Listener, openListener, problem, refuse } from "./listener.ts";

/** The running API. */
export interface Api {
  /** Its address, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  /** Waits for running requests to end, then releases all resources. */
  close(): Promise<void>;
}

/** One connection at work, and one that accepts the next request, are all that the embedded database can use. */
const embeddedConnections = 4;

/** The parameters by which the API verifies tokens; `signToken` takes the same. */
export async function authenticationOptions(config: Config): Promise<AuthenticationOptions> {
  return {
    // With an identity provider no shared key is needed, so none is generated.
    secret: config.jwksUrl === undefined ? await signingKey(config) : undefined,
    jwksUrl: config.jwksUrl,
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    roleClaim: config.jwtRoleClaim,
    personClaim: config.jwtPersonClaim,
    defaultRole: config.jwtDefaultRole,
    maxLifetime: config.jwtMaxLifetime,
  };
}

const pages: Readonly<Record<string, { file: string; type: string }>> = {
  "/": { file: "index.html", type: "text/html; charset=utf-8" },
  "/dashboard.css": { file: "dashboard.css", type: "text/css; charset=utf-8" },
  "/dashboard.js": { file: "dashboard.js", type: "text/javascript; charset=utf-8" },
  "/graphiql.js": { file: "graphiql.js", type: "text/javascript; charset=utf-8" },
  "/queries.js": { file: "queries.js", type: "text/javascript; charset=utf-8" },
  "/sign-in.js": { file: "sign-in.js", type: "text/javascript; charset=utf-8" },
};

const pageHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cache-control": "no-cache",
};

/**
 * Tokens are sent in a header that only scripts can set, never in a cookie, so that other sites may call the API as
 * well.
 */
const corsHeaders = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, accept",
  "access-control-max-age": "86400",
};

/** Bodies that have been read, by request. */
const read = new WeakMap<object, Buffer>();

const ReadBodyPlugin: GraphileConfig.Plugin = {
  name: "InsightsReadBodyPlugin",
  version: "1.0.0",
  grafserv: {
    middleware: {
      processRequest: {
        before: ["InsightsLimitsPlugin"],
        callback(next, { requestDigest }) {
          const buffer = read.get(requestDigest.requestContext.node?.req ?? requestDigest);
          if (buffer !== undefined) requestDigest.getBody = async () => ({ type: "buffer", buffer });
          return next();
        },
      },
    },
  },
};

/**
 * Serves GraphQL on /graphql, the GraphQL page on /graphiql if enabled, the start page on /, the owner of a token on
 * /me, and the state of the installation on /healthz. `listener` is an open port; without it, the port is opened here.
 */
export async function startApi(config: Config, database: Database, listener?: Listener): Promise<Api> {
  // Both are read once, when PostGraphile is loaded. A pooler does not keep our prepared statements.
  if (database.pooler) process.env["DATAPLAN_PG_PREPARED_STATEMENT_CACHE_SIZE"] = "0";
  // Just-in-time compilation is switched off for each request, not for the session, which other clients may use later.
  process.env["DATAPLAN_PG_DONT_DISABLE_JIT"] = "1";
  process.env["GRAPHILE_ENV"] ??= "production";
  const authenticate = createAuthenticate(await authenticationOptions(config));
  const { serve, url, port, close: stopListening } = listener ?? (await openListener(config));
  const [
    { postgraphile },
    { grafserv },
    { identified, insightsService, preset },
    { limits },
    { maskErrorWithSuggestions },
    { GraphiqlPlugin },
  ] = await Promise.all([
    import("postgraphile"),
    import("postgraphile/grafserv/node"),
    import("./preset.ts"),
    import("./limits.ts"),
    import("./errors.ts"),
    import("./graphiql.ts"),
  ]);

  const pool = createPool(
    database,
    database.embedded ? Math.min(config.poolSize, embeddedConnections) : config.poolSize,
  );
  // /healthz answers however many requests wait for the pool.
  const healthPool = createPool(database, 1);
  const graphiql = config.graphiql ?? false;
  const instance = postgraphile({
    extends: [preset],
    plugins: [GraphiqlPlugin, ReadBodyPlugin],
    insights: { authenticate, introspection: graphiql },
    pgServices: [insightsService(pool, database.embedded ? 30_000 : 5000)],
    grafserv: { graphiql, ...(graphiql ? { maskError: maskErrorWithSuggestions } : {}) },
  });
  const graphql = instance.createServ(grafserv).createHandler();
  const bodies = createBodies({
    visitor: config.visitorBytes,
    learner: config.learnerBytes,
    others: limits.bytes,
  });
  const health = createHealthCheck(healthPool, database.embedded);

  /** Identifies the sender; undefined when an invalid token was answered. */
  async function identify(request: IncomingMessage, response: ServerResponse): Promise<Identity | undefined> {
    try {
      return await authenticate(request.headers.authorization);
    } catch (error) {
      if (!(error instanceof AuthenticationError)) throw error;
      const { message, statusCode, hint } = error;
      if (statusCode === 401) response.setHeader("www-authenticate", "Bearer");
      const told = problem(message, statusCode === 401 ? "28000" : "08006", hint);
      if (request.method === "POST") refuse(request, response, statusCode, told);
      else answer(response, statusCode, told);
      return undefined;
    }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split("?", 1)[0] ?? "/";
    if (path === "/graphql" || path === "/healthz") {
      for (const [name, value] of Object.entries(corsHeaders)) response.setHeader(name, value);
      if (request.method === "OPTIONS") {
        response.writeHead(204).end();
        return;
      }
    }
    // Nothing reads it, and Node would receive all of it.
    const hasBody =
      Number(request.headers["content-length"] ?? 0) > 0 || request.headers["transfer-encoding"] !== undefined;
    if (hasBody && !(path === "/graphql" && request.method === "POST")) {
      const status = path === "/graphql" ? 405 : 404;
      const message = `${request.method} ${path.slice(0, 100)} does not accept a body`;
      refuse(request, response, status, problem(message, "CF002", "Send operations by POST to /graphql."));
      return;
    }
    if (path === "/graphql") {
      const encoding = request.headers["content-encoding"];
      if (encoding !== undefined && encoding !== "identity") {
        const message = `the request is encoded as "${encoding.slice(0, 100)}"`;
        refuse(request, response, 415, problem(message, "CF009", "Send it without Content-Encoding."));
        return;
      }
      const who = await identify(request, response);
      if (who === undefined) return;
      identified.set(request, who);
      if (request.method === "POST") {
        try {
          read.set(request, await bodies.read(request, response, who));
        } catch (error) {
          const tooLarge = error instanceof TooLargeError;
          if (!tooLarge && !(error instanceof BusyError)) throw error;
          if (!tooLarge) response.setHeader("retry-after", "5");
          refuse(request, response, tooLarge ? 413 : 503, problem(error.message, error.code, error.hint));
          return;
        }
      }
    } else if (request.method === "GET" || request.method === "HEAD") {
      if (path === "/healthz") {
        const who = await identify(request, response);
        if (who === undefined) return;
        const state = await health();
        const told = graphiql || who.role === "admin" ? state : { status: state.status };
        answer(response, state.status === "ok" ? 200 : 503, told);
        return;
      }
      if (path === "/me") {
        const who = await identify(request, response);
        if (who !== undefined) answer(response, 200, { ...who, graphiql });
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
        const off = path === "/graphiql" && !graphiql;
        answer(
          response,
          404,
          problem(
            `${path.slice(0, 100)} does not exist`,
            "CF002",
            off ? "Set INSIGHTS_GRAPHIQL=true to serve this page." : "See /, /graphql and /healthz.",
          ),
        );
      } else throw error;
    });
  }

  const close = async (): Promise<void> => {
    await stopListening();
    await instance.release();
    await Promise.all([pool.end(), healthPool.end()]);
  };

  try {
    // A schema that cannot be built is an error of the start, not of the first request.
    await instance.getSchema();
    serve(handle);
    return { url, port, close };
  } catch (error) {
    await close();
    throw error;
  }
}
