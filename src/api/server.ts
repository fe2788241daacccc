import type { IncomingMessage, ServerResponse } from "node:http";
import { BlockList } from "node:net";
import type pg from "pg";
import { allowPage, answerPreflight, createCollector, routeNames, routesOf } from "../collector/collector.ts";
import { createDecoder } from "../collector/decode.ts";
import { BodyError, type Route, type Statuses } from "../collector/dialect.ts";
import { FullError } from "../collector/groups.ts";
import { createVerify } from "../collector/signatures.ts";
import { createStore } from "../collector/store.ts";
import { createXapi, isXapi, resourceOf, XapiError, xapiPreflight, xapiRoutes } from "../collector/xapi/xapi.ts";
import { type Config, cookieKey, signingKey } from "../config.ts";
import { createPool, type Database } from "../database/connect.ts";
import { createLatencies } from "../metrics/latencies.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createAddresses } from "./addresses.ts";
import { type Admitted, createAdmission, RateError } from "./admission.ts";
import { AuthenticationError, type AuthenticationOptions, createAuthenticate, isPerson } from "./authentication.ts";
import { createBodies, TooLargeError } from "./bodies.ts";
import { isScript, readScript, scripts } from "./browser-client.ts";
import { createFeatures, featureHeaders, featureKey } from "./features.ts";
import { answerFile, hasTag } from "./files.ts";
import { checkNoKeyInUrl } from "./headers.ts";
import { createHealthCheck } from "./health.ts";
import { createKeys } from "./keys.ts";
import { answer, type Listener, openListener, problem, refuse } from "./listener.ts";
import type { Operations } from "./operations.ts";
import { findPage, isPage } from "./pages.ts";
import { createReplica, positionHeader, type Replica } from "./replica.ts";
import { createRun, createRunAs } from "./run-as.ts";
import { createSessions } from "./sessions.ts";
import { createSignIn, isSignIn } from "./sign-in.ts";

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

interface Standby {
  pool: pg.Pool;
  replica: Replica;
  close(): Promise<void>;
}

/** The hot standby that answers queries. */
function openStandby({ readUrl = "", poolSize, standbyLag }: Config, database: Database): Standby {
  // A server that is away is found within seconds, before requests wait for it.
  const brief = { connectionTimeoutMillis: 2000, query_timeout: 2000 };
  const pool = createPool({ url: readUrl }, poolSize, { connectionTimeoutMillis: 2000 });
  const followed = { primary: createPool(database, 1, brief), standby: createPool({ url: readUrl }, 1, brief) };
  const replica = createReplica(followed, standbyLag);
  return {
    pool,
    replica,
    async close() {
      await replica.close();
      await Promise.all([pool.end(), followed.primary.end(), followed.standby.end()]);
    },
  };
}

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

/** The names of routes in measurements; other paths are `other`. */
function routeOf(url: string): string {
  const path = url.split("?", 1)[0] ?? "/";
  if (path === "/graphql" || path === "/graphiql" || path === "/healthz" || path === "/me" || path === "/metrics")
    return path;
  if (isPage(path)) return "/";
  if (featureKey(path) !== undefined) return "/api/features";
  if (isScript(path)) return path.slice(0, -3);
  const xapi = resourceOf(path);
  if (xapi !== undefined) return `/xapi/${xapi}`;
  return routesOf(path)[0]?.name ?? "other";
}

/** Routes that are operations themselves. */
const timed: ReadonlySet<string> = new Set([
  "/",
  "/healthz",
  "/me",
  "/api/features",
  ...Object.keys(scripts).map((path) => path.slice(0, -3)),
  ...routeNames,
  ...xapiRoutes,
]);

/**
 * Tokens and write keys are sent in headers that only scripts can set, so that other sites may call the API as well. The
 * cookie of a browser is sent and accepted only for pages of this server, and of the origins that a write key lists.
 */
const corsHeaders = {
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": `authorization, content-type, accept, x-write-key, x-read-reason, ${positionHeader}`,
  "access-control-expose-headers": `retry-after, ${positionHeader}`,
  "access-control-max-age": "86400",
  vary: "Origin",
};

/** Codes of a database that is busy or not available. */
const unavailable = new Set(["08006", "53300", "57014"]);

/** Host and port of an origin; undefined for `null` and other values. */
const hostOf = (origin: string): string | undefined => (URL.canParse(origin) ? new URL(origin).host : undefined);

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
 * Serves GraphQL on /graphql, the GraphQL page on /graphiql if enabled, the pages of `src/dashboard`, the owner of a token on
 * /me, the features and experiments for GrowthBook's clients on /api/features/<key>, the client for browsers on
 * /insights.js, the routes of the clients in `src/collector`, and the state of the installation on /healthz. `listener` is an open port; without it, the port
 * is opened here. `metrics` measures the requests, and is served on /metrics if it has a token; it is the caller's
 * to close.
 */
export async function startApi(
  config: Config,
  database: Database,
  listener?: Listener,
  metrics?: Metrics,
): Promise<Api> {
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
    { checkJson, limits },
    { maskErrorWithSuggestions, tellError },
    { GraphiqlPlugin },
    { browserCookiePlugin, createBrowsers },
    { createRefusals, refusedBatchesPlugin },
    { pageOperations, readOperations },
    { createMeasurements },
    { createGate },
  ] = await Promise.all([
    import("postgraphile"),
    import("postgraphile/grafserv/node"),
    import("./preset.ts"),
    import("./limits.ts"),
    import("./errors.ts"),
    import("./graphiql.ts"),
    import("./browsers.ts"),
    import("./refusals.ts"),
    import("./operations.ts"),
    import("./measurements.ts"),
    import("./connections.ts"),
  ]);

  const pool = createPool(
    database,
    database.embedded ? Math.min(config.poolSize, embeddedConnections) : config.poolSize,
  );
  // /healthz answers however many requests wait for the pool.
  const healthPool = createPool(database, 1);
  // Nor do write keys wait for the pool.
  const ownPool = createPool(database, database.embedded ? 1 : 2);
  const standby = config.readUrl === undefined || database.embedded ? undefined : openStandby(config, database);
  const run = createRunAs(ownPool, database.embedded ? 30_000 : 5000);
  const keys = createKeys(run);
  const refusals = createRefusals(run);
  const latencies = createLatencies(run);
  const maxWait = database.embedded ? 30_000 : 5000;
  const gate = createGate(pool.options.max, maxWait);
  const measurements = createMeasurements((measured) => {
    countRequest?.(measured);
    const { operation, outcome, seconds, messages } = measured;
    if (seconds !== undefined) {
      latencies.add({ operation, seconds, failed: outcome === "failed" || outcome === "busy", messages });
    }
  });
  const countRequest = metrics?.ofRequests({ inProgress: measurements.inProgress, waiting: gate.waiting, pool });
  const features = createFeatures(run);
  const addresses = createAddresses(config.trustedProxies ?? new BlockList());
  const secret = await cookieKey(config);
  const sessions = createSessions({
    secret,
    lifetime: config.sessionLifetime,
    tokenCookie: config.tokenCookie,
    authenticate,
    target: (request) => ({
      ...addresses.target(request),
      ...(config.publicUrl?.startsWith("https:") ? { secure: true } : {}),
    }),
  });
  const signIn = createSignIn(config, { sessions, secret, addresses });
  const admission = createAdmission(config, authenticate, addresses, keys, sessions);
  const browsers = createBrowsers(secret);
  /** Requests that get a cookie if they store messages. */
  const offers = new WeakMap<object, () => void>();
  const graphiql = config.graphiql ?? false;
  let operations: Operations | undefined;
  const instance = postgraphile({
    extends: [preset],
    plugins: [
      GraphiqlPlugin,
      ReadBodyPlugin,
      measurements.plugin,
      browserCookiePlugin((request) => offers.get(request)?.()),
      refusedBatchesPlugin((request, code) => refusals.count(admission.sourceOf(request as IncomingMessage), code)),
    ],
    insights: { authenticate, introspection: graphiql, operations: () => operations, replica: standby?.replica },
    pgServices: [insightsService(pool, maxWait, gate, standby)],
    grafserv: { graphiql, ...(graphiql ? { maskError: maskErrorWithSuggestions } : {}) },
  });
  const graphql = instance.createServ(grafserv).createHandler();
  const bodies = createBodies({
    visitor: config.visitorBytes,
    learner: config.learnerBytes,
    others: limits.bytes,
  });
  const decoder = createDecoder(checkJson);
  const runOfRequests = createRun(pool, maxWait);
  const xapi = createXapi({ admission, bodies, decoder, measurements, addresses, gate, run: runOfRequests, maxWait });
  const collector = createCollector({
    admission,
    bodies,
    measurements,
    features,
    recognize: recognizeClient,
    verify: config.canvasJwksUrl === undefined ? undefined : createVerify(config.canvasJwksUrl),
    decoder,
    store: createStore(runOfRequests, gate, { maxWait, width: database.embedded ? 1 : undefined }),
  });
  const health = createHealthCheck(healthPool, database.embedded, standby?.replica);

  /** Answers a request that was refused before its body was read; rethrows other errors. */
  function refuseFor(
    error: unknown,
    request: IncomingMessage,
    response: ServerResponse,
    { counted = false, statuses = {} }: { counted?: boolean; statuses?: Statuses } = {},
  ): void {
    const told =
      error instanceof AuthenticationError ||
      error instanceof RateError ||
      error instanceof BodyError ||
      error instanceof XapiError
        ? error
        : error instanceof TooLargeError
          ? { statusCode: 413, message: error.message, code: error.code, hint: error.hint }
          : { statusCode: error instanceof FullError ? 429 : 503, ...tellError(error) };
    const { message, code = "", hint } = told;
    const statusCode = statuses[told.statusCode] ?? told.statusCode;
    if (message === undefined || (told.statusCode === 503 && !unavailable.has(code))) throw error;
    if (statusCode === 401) response.setHeader("www-authenticate", "Bearer");
    if (error instanceof RateError) response.setHeader("retry-after", error.retryAfter);
    else if (statusCode === 429 || statusCode === 503)
      response.setHeader("retry-after", error instanceof FullError ? 1 : 5);
    if (counted) refusals.count(admission.sourceOf(request), code);
    if (request.method === "POST" || request.method === "PUT" || error instanceof RateError) {
      const isDirect = !addresses.isForwarded(request);
      refuse(request, response, statusCode, problem(message, code, hint ?? ""), { isDirect });
    } else answer(response, statusCode, problem(message, code, hint ?? ""));
  }

  /** Identifies the sender; undefined when the request was refused. */
  async function identify(
    request: IncomingMessage,
    response: ServerResponse,
    options: { limited: boolean; counted: boolean; ofPages?: boolean },
  ): Promise<Admitted | undefined> {
    try {
      return await admission.admit(request, { ofPages: true, ...options });
    } catch (error) {
      refuseFor(error, request, response, options);
      return undefined;
    }
  }

  /** Whether a request comes from a page of this server. */
  function isOwn(request: IncomingMessage): boolean {
    const { origin, "sec-fetch-site": site } = request.headers;
    return site === undefined
      ? origin === undefined || hostOf(origin) === addresses.target(request).host
      : site === "same-origin" || site === "none";
  }

  /** Whether a page may send and receive the cookie: one of this server, or of an origin that a write key lists. */
  async function allowOrigin(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { origin } = request.headers;
    for (const [name, value] of Object.entries(corsHeaders)) response.setHeader(name, value);
    const own = isOwn(request);
    if (own || origin === undefined || !(await keys.isListed(origin))) {
      const { origins } = config;
      if (origins === undefined || origin === undefined) response.setHeader("access-control-allow-origin", "*");
      // Without the header, a browser does not let the page read the answer, nor send a token or JSON.
      else if (own || origins.has(origin)) response.setHeader("access-control-allow-origin", origin);
      return own;
    }
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-allow-credentials", "true");
    return true;
  }

  /** Reads the cookie of a browser. A request without one gets one later if it stores messages. */
  function recognize({ sender, key }: Admitted, request: IncomingMessage, response: ServerResponse): void {
    const { secure } = addresses.target(request);
    sender.browser = browsers.read(request.headers.cookie, secure);
    const person = sender.role === "visitor" || isPerson(sender.role);
    if (sender.browser !== undefined || !person || key?.level === "server" || sender.optOut !== "") return;
    offers.set(request, () => {
      const { browser, cookie } = browsers.create(secure);
      sender.browser = browser;
      response.setHeader("set-cookie", cookie);
    });
  }

  /** The same for a client of another system, whose request stores messages. Snowplow's may ask for no cookie. */
  async function recognizeClient(
    admitted: Admitted,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { origin, "sp-anonymous": withoutCookie } = request.headers;
    // Only a browser states the origin of its page, or where a request of the same origin comes from.
    const isBrowser = origin !== undefined || request.headers["sec-fetch-site"] !== undefined;
    if (!isBrowser || withoutCookie !== undefined) return;
    if (!isOwn(request) && (origin === undefined || !(await keys.isListed(origin)))) return;
    recognize(admitted, request, response);
    offers.get(request)?.();
  }

  /**
   * Answers a client of GrowthBook. The key is in the path, where these clients send it: it is public, as is what it reads.
   * Which pages may read is decided by the origins of the key.
   */
  async function answerFeatures(request: IncomingMessage, response: ServerResponse, sent: string): Promise<void> {
    let body: Awaited<ReturnType<typeof features.read>>;
    try {
      await admission.admitKey(request, sent, "features");
      body = await features.read();
    } catch (error) {
      refuseFor(error, request, response);
      return;
    }
    const { origin, "if-none-match": known } = request.headers;
    const headers = { ...featureHeaders, etag: body.tag, "access-control-allow-origin": origin ?? "*" };
    if (hasTag(known, body.tag)) response.writeHead(304, headers).end();
    else response.writeHead(200, { ...headers, "content-length": Buffer.byteLength(body.text) }).end(body.text);
  }

  /** Answers the clients of other systems: see `src/collector`. */
  async function collect(request: IncomingMessage, response: ServerResponse, known: readonly Route[]): Promise<void> {
    allowPage(request, response);
    if (request.method === "OPTIONS") {
      answerPreflight(response);
      return;
    }
    const route = known.find(({ method }) => method === (request.method === "HEAD" ? "GET" : request.method));
    if (route === undefined) {
      response.setHeader("allow", known.map(({ method }) => method).join(", "));
      const message = `${request.method} is not a method of this route`;
      refuse(request, response, 405, problem(message, "CF002", "See docs/clients.md for the routes."));
      return;
    }
    try {
      await collector.handle(request, response, route, (request.url ?? "/").split("?", 1)[0] ?? "/");
    } catch (error) {
      refuseFor(error, request, response, { counted: route.method === "POST", statuses: route.statuses });
    }
  }

  /** Answers xAPI clients: see `src/collector/xapi`. */
  async function answerXapi(request: IncomingMessage, response: ServerResponse): Promise<void> {
    allowPage(request, response);
    response.setHeader(
      "access-control-expose-headers",
      "etag, last-modified, x-experience-api-consistent-through, x-experience-api-version, retry-after",
    );
    if (request.method === "OPTIONS") {
      response.writeHead(204, xapiPreflight).end();
      return;
    }
    try {
      await xapi.handle(request, response);
    } catch (error) {
      refuseFor(error, request, response, { counted: request.method === "POST" || request.method === "PUT" });
    }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? "/";
    // A year; not for other hosts of the domain, which are not ours to decide.
    if (addresses.target(request).secure) response.setHeader("strict-transport-security", "max-age=31536000");
    const path = url.split("?", 1)[0] ?? "/";
    const allowed = (path === "/graphql" || path === "/healthz") && (await allowOrigin(request, response));
    if (request.method === "OPTIONS" && (path === "/graphql" || path === "/healthz")) {
      response.writeHead(204).end();
      return;
    }
    const keySent = featureKey(path);
    if (request.method === "OPTIONS" && keySent !== undefined) {
      response.writeHead(204, { ...corsHeaders, "access-control-allow-origin": "*" }).end();
      return;
    }
    try {
      checkNoKeyInUrl(url);
    } catch (error) {
      refuseFor(error, request, response);
      return;
    }
    if (isXapi(path)) {
      await answerXapi(request, response);
      return;
    }
    const known = routesOf(path);
    if (known.length > 0) {
      await collect(request, response, known);
      return;
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
    if (isSignIn(path)) {
      const who = await identify(request, response, { limited: true, counted: false, ofPages: false });
      if (who !== undefined) await signIn.handle(request, response);
      return;
    }
    if (path === "/graphql") {
      const encoding = request.headers["content-encoding"];
      if (encoding !== undefined && encoding !== "identity") {
        const message = `the request is encoded as "${encoding.slice(0, 100)}"`;
        refuse(request, response, 415, problem(message, "CF009", "Send it without Content-Encoding."));
        return;
      }
      const posted = request.method === "POST";
      const who = await identify(request, response, { limited: true, counted: posted });
      if (who === undefined) return;
      const { sender, key } = who;
      if (allowed && posted) recognize(who, request, response);
      identified.set(request, sender);
      if (posted) {
        try {
          const { role, person, address } = sender;
          read.set(
            request,
            await bodies.read(request, response, { role, person, address, server: key?.level === "server" }),
          );
          measurements.received(request);
        } catch (error) {
          refuseFor(error, request, response, { counted: true });
          return;
        }
      }
    } else if (request.method === "GET" || request.method === "HEAD") {
      if (keySent !== undefined) {
        await answerFeatures(request, response, keySent);
        return;
      }
      if (isScript(path)) {
        answerFile(await readScript(path), request, response);
        return;
      }
      if (path === "/healthz") {
        const who = await identify(request, response, { limited: false, counted: false });
        if (who === undefined) return;
        const state = await health();
        const told =
          graphiql || (who.sender.role === "admin" && who.sender.view === undefined) ? state : { status: state.status };
        answer(response, state.status === "ok" ? 200 : 503, told);
        return;
      }
      if (path === "/metrics" && request.method === "GET" && (await metrics?.answerOnApi(request, response))) return;
      if (path === "/me") {
        const who = await identify(request, response, { limited: true, counted: false });
        if (who === undefined) return;
        const { role, person, source, view } = who.sender;
        const openId = config.openId !== undefined;
        answer(response, 200, {
          role,
          person,
          source,
          view,
          graphiql,
          openId,
          embedOrigins: [...(config.embedOrigins ?? [])],
        });
        return;
      }
      const page = isPage(path) ? await findPage(path, config.embedOrigins) : undefined;
      if (page !== undefined) {
        answerFile(page, request, response);
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
    await Promise.all([refusals.close(), latencies.close()]);
    await Promise.all([pool.end(), healthPool.end(), ownPool.end(), standby?.close()]);
  };

  try {
    // A schema that cannot be built is an error of the start, not of the first request.
    const schema = await instance.getSchema();
    if (config.operations !== undefined) {
      operations = new Map([...pageOperations(), ...(await readOperations(config.operations, schema))]);
    }
    serve((request, response) => {
      const route = routeOf(request.url ?? "/");
      measurements.begin(request, response, route, timed.has(route));
      return handle(request, response);
    });
    return { url, port, close };
  } catch (error) {
    await close();
    throw error;
  }
}
