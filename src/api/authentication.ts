import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { loggableLine } from "../errors.ts";

/** The roles of a request. Each is a role of the database, `insights_<name>`. */
export const roles = ["visitor", "learner", "instructor", "analyst", "admin", "worker"] as const;
export type Role = (typeof roles)[number];

/** Whether a token of the role must name a person: learners and instructors see the rows of this person. */
export const isPerson = (role: Role): boolean => role === "learner" || role === "instructor";

/** The sender of a request. */
export interface Identity {
  role: Role;
  /** The application's name for the person, its `userId`; a visitor has none. */
  person: string | undefined;
  /** The sending application, under whose name messages are stored. */
  source: string | undefined;
  /** The only page whose operations the token may send. */
  view?: string | undefined;
}

/** The properties of a request's client, in addition to the person. */
export interface Client {
  /** The SHA-256 hash of the write key, in hexadecimal. */
  writeKey?: string | undefined;
  /** The header `Origin`. */
  origin?: string | undefined;
  /** The UUID of the browser, proven by a signed cookie. */
  browser?: string | undefined;
  /** The signals by which a visitor opts out of tracking, separated by commas: `gpc`, `dnt`. */
  optOut?: string | undefined;
  /** The start of the header `User-Agent`, for messages of clients; parsed, and not stored. */
  userAgent?: string | undefined;
  /** The reason for which the sender reads the records of people: the header `X-Read-Reason`. */
  readReason?: string | undefined;
  /** The address by which visitors take turns; not sent to the database. */
  address?: string | undefined;
}

/** The sender of a request, and its client. */
export type Sender = Identity & Client;

export const visitor: Identity = { role: "visitor", person: undefined, source: undefined };

export interface AuthenticationOptions {
  /** Key of HS256 tokens. */
  secret?: string | undefined;
  /** URL of the identity provider's keys; replaces the secret. */
  jwksUrl?: string | undefined;
  issuer?: string | undefined;
  /** Required with `jwksUrl`: a provider signs tokens for other applications too, with the same keys. */
  audience?: string | undefined;
  /**
   * The path to the claim that holds the role. Default: ["role"] with a secret; with `jwksUrl` no claim is read unless
   * it is named here.
   */
  roleClaim?: readonly string[] | undefined;
  /** The path to the claim that holds the person's userId. Default: ["sub"]. */
  personClaim?: readonly string[] | undefined;
  /** The role of a valid token that names no role. Default: "visitor". */
  defaultRole?: "visitor" | "learner" | undefined;
  /** Longest lifetime of a token in seconds. Default: one day. */
  maxLifetime?: number | undefined;
}

/**
 * An invalid token or write key (401), a key that may not be used for this or from there (403), credentials in the wrong
 * place (400), or keys of the identity provider that cannot be fetched (503).
 */
export class AuthenticationError extends Error {
  readonly statusCode: 400 | 401 | 403 | 503;
  readonly code: string;
  readonly hint: string;

  constructor(
    message: string,
    {
      hint,
      statusCode = 401,
      code = statusCode === 503 ? "08006" : "28000",
    }: { hint: string; statusCode?: 400 | 401 | 403 | 503; code?: string },
  ) {
    super(message);
    this.name = "AuthenticationError";
    this.hint = hint;
    this.statusCode = statusCode;
    this.code = code;
  }
}

const name = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .refine((value) => !value.includes("\0") && value.isWellFormed(), "expected well-formed text");

const personName = z.union([name(256), z.int().transform(String)]);

const isRole = (value: string): value is Role => (roles as readonly string[]).includes(value);
const withoutPrefix = (role: string): string => role.replace(/^insights_/, "");

/** The value at the end of a path of names. Inherited properties are not read. */
function claimAt(payload: JWTPayload, path: readonly string[]): unknown {
  let value: unknown = payload;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

function refuse(path: readonly string[], value: unknown, hint: string): never {
  throw new AuthenticationError(`the token's "${path.join(".")}" is ${JSON.stringify(value)?.slice(0, 100)}`, { hint });
}

/**
 * A string is the role, and is refused unless it is one of our roles. A list (Keycloak, Auth0) names the roles of many
 * applications: unknown names are ignored. A token with two of our roles is refused, because no order of precedence is
 * right for every application: an analyst does not have more rights than a learner, but different ones.
 */
function roleOf(
  payload: JWTPayload,
  path: readonly string[],
  named: (role: string) => string | undefined,
): Role | undefined {
  const given = claimAt(payload, path);
  const renamed = (value: unknown) => (typeof value === "string" ? named(value) : value);
  const value = Array.isArray(given) ? given.map(renamed).filter((role) => role !== undefined) : renamed(given);
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") {
    const role = withoutPrefix(value);
    return isRole(role) ? role : refuse(path, value, `It must be one of ${roles.join(", ")}.`);
  }
  if (Array.isArray(value) && value.every((element) => typeof element === "string")) {
    const ours = new Set(value.map(withoutPrefix).filter(isRole));
    if (ours.size < 2) return [...ours][0];
    return refuse(
      path,
      [...ours],
      `A token has one role of this server. Set INSIGHTS_JWT_ROLE_CLAIM to a claim that names one.`,
    );
  }
  return refuse(path, value, `It must be one of ${roles.join(", ")}, or a list with one of them.`);
}

/** `named` maps the provider's names of roles to those of this server; undefined for others. */
export function identityOf(
  payload: JWTPayload,
  { roleClaim, personClaim, defaultRole }: ClaimOptions,
  named: (role: string) => string | undefined = (role) => role,
): Identity {
  const role = (roleClaim && roleOf(payload, roleClaim, named)) ?? defaultRole;
  const subject = claimAt(payload, personClaim);
  const person = personName.optional().safeParse(subject);
  if (!person.success) refuse(personClaim, subject, "It must be the person's userId: a string of 1 to 256 characters.");
  const source = name(100).optional().safeParse(payload["source"]);
  if (!source.success)
    refuse(["source"], payload["source"], "It names the application: a string of 1 to 100 characters.");
  if (isPerson(role) && person.data === undefined) {
    throw new AuthenticationError(`the token has no "${personClaim.join(".")}"`, {
      hint: `This claim must hold the ${role}'s userId.`,
    });
  }
  const view = name(50).optional().safeParse(payload["view"]);
  if (!view.success) refuse(["view"], payload["view"], "It names a page, such as overview.");
  const limited = view.data === undefined ? {} : { view: view.data };
  return { role, person: role === "visitor" ? undefined : person.data, source: source.data, ...limited };
}

export interface ClaimOptions {
  roleClaim: readonly string[] | undefined;
  personClaim: readonly string[];
  defaultRole: Role;
}

/** Tolerated clock difference between two servers, in seconds. */
const clockTolerance = 10;

function checkLifetime({ exp = 0, iat }: JWTPayload, maxLifetime: number): void {
  const now = Date.now() / 1000;
  if (iat !== undefined && iat > now + clockTolerance) {
    throw new AuthenticationError(`the token's "iat" is in the future`, {
      hint: "Compare the clocks of the two servers.",
    });
  }
  if (exp - (iat ?? now) > maxLifetime + clockTolerance || exp - now > maxLifetime + clockTolerance) {
    throw new AuthenticationError(`the token's lifetime is longer than ${maxLifetime} seconds`, {
      hint: `Sign it with an earlier "exp", or set INSIGHTS_JWT_MAX_LIFETIME.`,
    });
  }
}

/** The error of jose as a message for the client. */
function refusal(error: unknown): AuthenticationError {
  if (error instanceof AuthenticationError) return error;
  if (error instanceof errors.JWTExpired) {
    return new AuthenticationError("the token has expired", { hint: "Sign in again, and send the new token." });
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new AuthenticationError(`the token's "${error.claim}" does not match the configuration of this server`, {
      hint: `Compare it with the server's settings; "exp" must be there.`,
    });
  }
  // jose reports "generic" when the provider's answer is not a list of keys.
  const provider = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid;
  const generic = error instanceof errors.JOSEError && error.code === "ERR_JOSE_GENERIC";
  if (error instanceof Error && (provider || generic || !(error instanceof errors.JOSEError))) {
    console.error(`keys of the identity provider cannot be fetched: ${loggableLine(error)}`);
    return new AuthenticationError("the keys of the identity provider cannot be fetched", {
      hint: "Try again in a moment.",
      statusCode: 503,
    });
  }
  return new AuthenticationError("the token is not valid", {
    hint: "Send a token that is signed with this server's key: Authorization: Bearer <token>.",
  });
}

/**
 * Reads the header `Authorization`: a request without it is a visitor's, an invalid token is refused, and one that is
 * limited to a page (`view`) unless the caller restricts it to the operations of this page.
 */
export type Authenticate = (
  authorization: string | undefined,
  options?: { acceptsView?: boolean },
) => Promise<Identity>;

export function createAuthenticate({
  secret,
  jwksUrl,
  issuer,
  audience,
  roleClaim = jwksUrl === undefined ? ["role"] : undefined,
  personClaim = ["sub"],
  defaultRole = "visitor",
  maxLifetime = 86_400,
}: AuthenticationOptions): Authenticate {
  if (jwksUrl === undefined ? secret === undefined : audience === undefined) {
    throw new TypeError(
      jwksUrl === undefined ? "a secret or a jwksUrl is required" : "an audience is required with a jwksUrl",
    );
  }
  const key: Uint8Array | JWTVerifyGetKey =
    jwksUrl === undefined
      ? new TextEncoder().encode(secret)
      : // A token with a new key is refused for at most this long, and a key that was withdrawn is used for at most that.
        createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 5000, cooldownDuration: 5000, cacheMaxAge: 300_000 });
  const options = {
    // The algorithms follow from the kind of key: a public key must never be used as a secret, nor "none" as a
    // signature.
    algorithms:
      jwksUrl === undefined
        ? ["HS256"]
        : ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
    requiredClaims: ["exp"],
    clockTolerance,
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  };
  return async (authorization, { acceptsView = false } = {}) => {
    if (authorization === undefined || authorization === "") return visitor;
    const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization.trim())?.[1];
    if (token === undefined) {
      throw new AuthenticationError("the header Authorization does not contain a token", {
        hint: "Send Authorization: Bearer <token>.",
      });
    }
    try {
      const { payload } = await (typeof key === "function"
        ? jwtVerify(token, key, options)
        : jwtVerify(token, key, options));
      checkLifetime(payload, maxLifetime);
      const identity = identityOf(payload, { roleClaim, personClaim, defaultRole });
      if (identity.view !== undefined && !acceptsView) {
        throw new AuthenticationError(`the token is limited to the page "${identity.view}"`, {
          hint: "It may send the operations of this page to /graphql, and nothing else.",
          statusCode: 403,
          code: "42501",
        });
      }
      return identity;
    } catch (error) {
      throw refusal(error);
    }
  };
}

/** Signs an HS256 token of this server, with the claims that it reads. */
export async function signToken(
  { role, person, source, view }: Identity,
  {
    secret,
    issuer,
    audience,
    roleClaim = ["role"],
    personClaim = ["sub"],
    expiresIn = "12h",
  }: AuthenticationOptions & { expiresIn?: string },
): Promise<string> {
  const claims: Record<string, unknown> = {
    ...(source === undefined ? {} : { source }),
    ...(view === undefined ? {} : { view }),
  };
  const put = ([first = "", ...rest]: readonly string[], value: string, into = claims): void => {
    if (rest.length === 0) into[first] = value;
    else {
      into[first] ??= {};
      put(rest, value, into[first] as Record<string, unknown>);
    }
  };
  put(roleClaim, role);
  if (person !== undefined) put(personClaim, person);
  const token = new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt()
    .setExpirationTime(expiresIn);
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return await token.sign(new TextEncoder().encode(secret));
}

/** Longest time of a statement of each role, in seconds. */
export const statementSeconds: Readonly<Record<Role, number>> = {
  visitor: 10,
  learner: 10,
  instructor: 30,
  analyst: 60,
  admin: 60,
  worker: 600,
};

/**
 * The settings of the transaction of a request: its role, the settings that row security reads, and those that
 * `track.ingest` reads. All are set for each request, so that none remains on a connection for the next one.
 */
export function requestSettings({
  role,
  person,
  source,
  writeKey,
  origin,
  browser,
  optOut,
  userAgent,
  readReason,
}: Sender): Record<string, string> {
  return {
    role: `insights_${role}`,
    "insights.person": person ?? "",
    // Empty until the transaction has looked up the person.
    "insights.person_id": "",
    "insights.source": source ?? "",
    "insights.write_key": writeKey ?? "",
    "insights.origin": origin ?? "",
    "insights.browser": browser ?? "",
    "insights.opt_out": optOut ?? "",
    "insights.user_agent": userAgent ?? "",
    "insights.read_reason": readReason ?? "",
    statement_timeout: `${statementSeconds[role]}s`,
    jit: "off",
  };
}
