import type { IncomingMessage, ServerResponse } from "node:http";
import type { Admission, Admitted } from "../api/admission.ts";
import { AuthenticationError } from "../api/authentication.ts";
import type { Bodies } from "../api/bodies.ts";
import type { Features } from "../api/features.ts";
import { jsonHeaders } from "../api/listener.ts";
import type { Measurements } from "../api/measurements.ts";
import { caliperRoutes } from "./caliper.ts";
import { canvasRoutes } from "./canvas.ts";
import type { Decoder } from "./decode.ts";
import { type Answer, asSent, type Call, type Route } from "./dialect.ts";
import { posthogRoutes } from "./posthog.ts";
import { segmentRoutes } from "./segment.ts";
import type { Verify } from "./signatures.ts";
import { snowplowRoutes } from "./snowplow.ts";
import type { Store } from "./store.ts";

/*
 * The routes of other systems' clients. A request is admitted by its write key, which some clients send in the body: the
 * body is then read first, as that of a visitor. 2xx means that the messages are durable.
 */

const routes: readonly Route[] = [
  ...segmentRoutes,
  ...posthogRoutes,
  ...snowplowRoutes,
  ...caliperRoutes,
  ...canvasRoutes,
];

/** Names of the routes in measurements. */
export const routeNames: ReadonlySet<string> = new Set(routes.map(({ name }) => name));

/** The routes of a path: one for each method. */
export const routesOf = (path: string): readonly Route[] => routes.filter((route) => route.path.test(path));

/** Answer to a preflight: the methods and headers that the clients use. */
const preflight = {
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, accept, x-write-key, x-retry-count, sp-anonymous",
  "access-control-max-age": "86400",
};

export interface Collector {
  /** Answers a request of one of `routesOf`. Rejects with what refused it. */
  handle(request: IncomingMessage, response: ServerResponse, route: Route, path: string): Promise<void>;
}

/** The key after `Bearer` in the header Authorization. */
function bearerOf({ headers: { authorization = "" } }: IncomingMessage): string {
  const [, key = ""] = /^Bearer +(\S+)$/i.exec(authorization.trim()) ?? [];
  return key;
}

const noKey = (hint: string): AuthenticationError =>
  new AuthenticationError("the request has no write key", { code: "CF005", hint });

/** Allows the page of a request to read the answer. The key decides which pages may send. */
export function allowPage(request: IncomingMessage, response: ServerResponse): void {
  const { origin } = request.headers;
  response.setHeader("vary", "Origin");
  response.setHeader("access-control-allow-origin", origin ?? "*");
  response.setHeader("access-control-expose-headers", "retry-after");
  // Snowplow's client sends its requests with credentials, and reads no answer without this.
  if (origin !== undefined) response.setHeader("access-control-allow-credentials", "true");
}

export function answerPreflight(response: ServerResponse): void {
  response.writeHead(204, preflight).end();
}

function send(response: ServerResponse, { status, headers = {}, body }: Answer): void {
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  response.writeHead(status, { ...jsonHeaders, ...headers, "content-length": Buffer.byteLength(text) }).end(text);
}

export function createCollector({
  admission,
  bodies,
  decoder,
  store,
  measurements,
  features,
  recognize,
  verify,
}: {
  admission: Admission;
  bodies: Bodies;
  decoder: Decoder;
  store: Store;
  measurements: Measurements;
  features: Features;
  /** Reads the cookie of a browser, or sets one. */
  recognize(admitted: Admitted, request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Verifies signed bodies; undefined: they are accepted by their write key. */
  verify: Verify | undefined;
}): Collector {
  /** The body as it was received. */
  async function receive(
    request: IncomingMessage,
    response: ServerResponse,
    { sender: { role, person, address }, key }: Admitted,
    { isUnknown, isSigned }: { isUnknown: boolean; isSigned: boolean },
  ): Promise<unknown> {
    const server = key?.level === "server";
    const body = await bodies.read(request, response, { role, person, address, server, isUnknown });
    measurements.received(request);
    return await decoder.decode(body, response, isSigned ? verify : undefined);
  }

  /** Whether a key has the scope to read features; a key for events alone is accepted, and reads none. */
  async function mayRead(request: IncomingMessage, key: string): Promise<boolean> {
    try {
      await admission.admitKey(request, key, "features");
      return true;
    } catch (error) {
      if (error instanceof AuthenticationError && error.statusCode === 403) {
        await admission.admitKey(request, key, "events");
        return false;
      }
      throw error;
    }
  }

  return {
    async handle(request, response, route, path) {
      const { headers } = request;
      let evaluate: Call["evaluate"] = async () => ({});
      const call = (body: unknown, level: Call["level"]): Call => ({ path, headers, body, level, evaluate });
      if (route.method === "GET") {
        if (route.key === "path") await admission.admitKey(request, route.path.exec(path)?.[1] ?? "", "events");
        send(response, await route.answer([], call(undefined, "anonymous"), []));
        return;
      }

      const { authorization, "x-write-key": own } = headers;
      const stated = route.key === "headers" && (authorization !== undefined || own !== undefined);
      let admitted = stated
        ? await admission.admit(request)
        : route.key === "bearer"
          ? await admission.admitWith(request, bearerOf(request))
          : undefined;
      const body = await receive(request, response, admitted ?? admission.unknown(request), {
        isUnknown: admitted === undefined,
        isSigned: route.signed === true,
      });
      if (admitted?.key === undefined) {
        const key = route.keyOf?.(body);
        if (key !== undefined && route.reads === true) {
          evaluate = (await mayRead(request, key)) ? features.evaluate : evaluate;
          send(response, await route.answer([], call(body, "anonymous"), []));
          return;
        }
        if (key !== undefined) admitted = await admission.admitWith(request, key);
      }
      if (admitted === undefined) throw noKey("Send it where the client expects it; see docs/clients.md.");

      await recognize(admitted, request, response);
      const { level } = admission.sourceOf(request);
      const messages = (route.messages?.(call(body, level)) ?? []).map((message) => asSent(message, level));
      const rejected = await store.store(admitted.sender, admitted.key?.level === "server", messages);
      measurements.stored(request, messages.length);
      send(response, await route.answer(rejected, call(body, level), messages));
    },
  };
}
