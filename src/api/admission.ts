import type { IncomingMessage } from "node:http";
import type { Config } from "../config.ts";
import type { Addresses } from "./addresses.ts";
import { type Authenticate, AuthenticationError, type Identity, type Sender, visitor } from "./authentication.ts";
import { checkOneAuthorization, hashOf, readHeaders, type Stated } from "./headers.ts";
import type { Keys, OpenKey, Scope } from "./keys.ts";
import { createRates } from "./rates.ts";
import type { Source } from "./refusals.ts";
import type { Sessions } from "./sessions.ts";

/*
 * Decides, from the headers of a request, who sends it and whether its body is read.
 *
 * Who is limited by what:
 * - signed-in people by person, so that a school behind one address is not limited as one visitor;
 * - visitors by address, with the key of a web page or without one. Failed authentication counts as a visitor's request;
 * - keys by the rate of the key, in addition. With a key of level `server` there is no limit by address;
 * - administrators and workers not at all.
 */

/** Above the limit of a rate: 429. 53400 is PostgreSQL's code configuration_limit_exceeded. */
export class RateError extends Error {
  readonly statusCode: number;
  readonly code: string;
  readonly hint: string;
  /** Seconds. */
  readonly retryAfter: number;

  constructor(what: string, perMinute: number, retryAfter: number) {
    // A flood consists of these: no time for stack traces.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(`too many requests ${what}`);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = "RateError";
    this.statusCode = 429;
    this.code = "53400";
    this.hint = `Send at most ${perMinute} per minute; try again in ${retryAfter} s. Send several messages in one request.`;
    this.retryAfter = retryAfter;
  }
}

export interface Admitted {
  sender: Sender & { address: string };
  key: OpenKey | undefined;
}

export interface AdmitOptions {
  /** Whether the request counts for a limit of rate. Default: true. */
  limited?: boolean;
  /** Whether pages send such requests: sessions, and tokens that are limited to a page, are accepted. Default: false. */
  ofPages?: boolean;
}

export interface Admission {
  /** Rejects with an `AuthenticationError`, a `RateError`, or an error of the database. */
  admit(request: IncomingMessage, options?: AdmitOptions): Promise<Admitted>;
  /** The same for a request that has nothing but a key. */
  admitKey(request: IncomingMessage, key: string, scope: Scope): Promise<OpenKey>;
  /** The same for one that sends messages, with a key that was in its body or as a bearer token. */
  admitWith(request: IncomingMessage, key: string): Promise<Admitted>;
  /** The sender of a request whose key is not known yet. */
  unknown(request: IncomingMessage): Admitted;
  /** Where a request belongs that is refused, as far as that is known. */
  sourceOf(request: IncomingMessage): Source;
}

/** The level of a sender, as `track.ingest` determines it. */
function levelOf({ role, person }: Identity, key: OpenKey | undefined): Source["level"] {
  if (key?.level === "server") return "server";
  const own = role === "worker" || role === "admin" ? "server" : person === undefined ? "anonymous" : "signed_in";
  if (key === undefined) return own;
  return own === "anonymous" ? own : key.level;
}

export function createAdmission(
  { addressRate, personRate }: Pick<Config, "addressRate" | "personRate">,
  authenticate: Authenticate,
  addresses: Addresses,
  keys: Keys,
  sessions?: Pick<Sessions, "read">,
): Admission {
  // Each kind has a bound of its own: many addresses cannot displace people or keys.
  const rates = { address: createRates(), person: createRates(), key: createRates() };
  const known = new WeakMap<IncomingMessage, { identity: Identity; key: OpenKey | undefined }>();

  function limitAddress(address: string): void {
    const seconds = rates.address.take(address, addressRate);
    if (seconds > 0) throw new RateError("from this address", addressRate, seconds);
  }

  /** `counted`: whether the request counts for another rate than that of its address. */
  async function openKey(
    request: IncomingMessage,
    {
      hash,
      origin,
      scope,
      identity,
      counted,
      privileged,
    }: {
      hash: string;
      origin: string | undefined;
      scope: Scope;
      identity: Identity;
      counted: boolean;
      privileged: boolean;
    },
  ): Promise<OpenKey> {
    const address = addresses.of(request);
    // Looking up a key costs a query. A key that was valid before is looked up also when the address is at its limit: a
    // client that invents keys does not keep out others of the same address.
    const isNew = keys.isNew(hash, origin, scope);
    if (!counted && isNew) limitAddress(address);
    let key: OpenKey;
    try {
      key = await keys.open(hash, origin, scope);
    } catch (error) {
      if (!counted && !isNew && error instanceof AuthenticationError) limitAddress(address);
      throw error;
    }
    known.set(request, { identity, key });
    if (!counted && !isNew && key.level !== "server") limitAddress(address);
    const perMinute = key.requests_per_minute;
    const seconds = privileged ? 0 : rates.key.take(String(key.key_id), perMinute);
    if (seconds > 0) throw new RateError("with this write key", perMinute, seconds);
    return key;
  }

  async function admit(
    request: IncomingMessage,
    { limited = true, ofPages = false }: AdmitOptions = {},
  ): Promise<Admitted> {
    const address = addresses.of(request);
    let stated: Stated;
    let identity: Identity;
    try {
      checkOneAuthorization(request.rawHeaders);
      stated = readHeaders((name) => request.headers[name] as string | undefined);
      const session = ofPages && stated.authorization === undefined ? await sessions?.read(request) : undefined;
      identity = session ?? (await authenticate(stated.authorization, { acceptsView: ofPages }));
    } catch (error) {
      if (error instanceof AuthenticationError && error.statusCode !== 503) limitAddress(address);
      throw error;
    }
    known.set(request, { identity, key: undefined });
    const { role, person } = identity;
    const { writeKey, origin } = stated.client;

    const privileged = role === "admin" || role === "worker";
    let counted = !limited || privileged;
    if (!counted && person !== undefined) {
      const seconds = rates.person.take(person, personRate);
      if (seconds > 0) throw new RateError(`of "${person.slice(0, 100)}"`, personRate, seconds);
      counted = true;
    }
    let key: OpenKey | undefined;
    if (writeKey !== undefined) {
      key = await openKey(request, { hash: writeKey, origin, scope: "events", identity, counted, privileged });
    } else if (!counted) limitAddress(address);
    return { sender: { ...identity, ...stated.client, address }, key };
  }

  async function admitKey(request: IncomingMessage, key: string, scope: Scope): Promise<OpenKey> {
    const { origin } = request.headers;
    let hash: string;
    try {
      hash = hashOf(key);
    } catch (error) {
      limitAddress(addresses.of(request));
      throw error;
    }
    return await openKey(request, { hash, origin, scope, identity: visitor, counted: false, privileged: false });
  }

  /** Of the headers, those that contain no key. */
  const unknown = (request: IncomingMessage): Admitted => {
    const { client } = readHeaders((name) =>
      name === "authorization" || name === "x-write-key" ? undefined : (request.headers[name] as string | undefined),
    );
    return { sender: { ...visitor, ...client, address: addresses.of(request) }, key: undefined };
  };

  return {
    admit,
    admitKey,
    async admitWith(request, sent) {
      const key = await admitKey(request, sent, "events");
      const { sender } = unknown(request);
      return { sender: { ...sender, writeKey: hashOf(sent) }, key };
    },
    unknown,
    sourceOf(request) {
      const { identity, key } = known.get(request) ?? { identity: visitor, key: undefined };
      return { source: key?.source ?? identity.source ?? "default", level: levelOf(identity, key) };
    },
  };
}
