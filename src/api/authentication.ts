import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify, SignJWT } from "jose";
import { z } from "zod";

/** Who may call. Each is a role of the database, `insights_<name>`. */
export const roles = ["visitor", "learner", "analyst", "admin", "worker"] as const;
export type Role = (typeof roles)[number];

/** Who a request comes from. */
export interface Identity {
  role: Role;
  /** The application's name for the person, its `userId`; a visitor has none. */
  person: string | undefined;
  /** The application that speaks, under whose name messages are stored. */
  source: string | undefined;
}

export const visitor: Identity = { role: "visitor", person: undefined, source: undefined };

export interface AuthenticationOptions {
  /** Key of HS256 tokens. */
  secret?: string | undefined;
  /** Where an identity provider publishes its keys; replaces the secret. */
  jwksUrl?: string | undefined;
  issuer?: string | undefined;
  audience?: string | undefined;
}

/** A token that is not to be believed (401), or keys that can't be fetched (503). */
export class AuthenticationError extends Error {
  readonly statusCode: 401 | 503;
  readonly hint: string;

  constructor(message: string, { hint, statusCode = 401 }: { hint: string; statusCode?: 401 | 503 }) {
    super(message);
    this.name = "AuthenticationError";
    this.hint = hint;
    this.statusCode = statusCode;
  }
}

const name = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .refine((value) => !value.includes("\0") && value.isWellFormed(), "expected well-formed text");

const claims = z.object({
  sub: name(256).optional(),
  role: z
    .string()
    .transform((role) => role.replace(/^insights_/, ""))
    .pipe(z.enum(roles))
    .optional(),
  source: name(100).optional(),
});

function identityOf(payload: JWTPayload): Identity {
  const parsed = claims.safeParse(payload);
  if (!parsed.success) {
    const claim = String(parsed.error.issues[0]?.path[0]);
    throw new AuthenticationError(`the token's "${claim}" is ${JSON.stringify(payload[claim])?.slice(0, 100)}`, {
      hint: `"role" is one of ${roles.join(", ")}; "sub" is the person's userId; "source" names the application.`,
    });
  }
  const { sub, source } = parsed.data;
  // Identity providers that know nothing of our roles sign people in.
  const role = parsed.data.role ?? "learner";
  if (role === "learner" && sub === undefined) {
    throw new AuthenticationError(`the token has no "sub"`, { hint: `"sub" says who the learner is: the userId.` });
  }
  return { role, person: role === "visitor" ? undefined : sub, source };
}

/** Why jose refused, for people. */
function refusal(error: unknown): AuthenticationError {
  if (error instanceof AuthenticationError) return error;
  if (error instanceof errors.JWTExpired) {
    return new AuthenticationError("the token has expired", { hint: "Sign in again, and send the new token." });
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new AuthenticationError(`the token's "${error.claim}" is not what this server asks for`, {
      hint: `Compare it with the server's settings; "exp" must be there.`,
    });
  }
  if (error instanceof errors.JWKSTimeout || (!(error instanceof errors.JOSEError) && error instanceof Error)) {
    console.error(`keys of the identity provider can't be fetched: ${error.message}`);
    return new AuthenticationError("the keys of the identity provider can't be fetched", {
      hint: "Try again in a moment.",
      statusCode: 503,
    });
  }
  return new AuthenticationError("the token is not valid", {
    hint: "Send one that is signed with this server's key, as the header Authorization: Bearer …",
  });
}

/** Reads the header `Authorization`; nothing sent is a visitor, something wrong is refused. */
export type Authenticate = (authorization: string | undefined) => Promise<Identity>;

export function createAuthenticate({ secret, jwksUrl, issuer, audience }: AuthenticationOptions): Authenticate {
  const key: Uint8Array | JWTVerifyGetKey =
    jwksUrl === undefined
      ? new TextEncoder().encode(secret)
      : createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 5000 });
  const options = {
    // A public key must never be taken for a secret, nor "none" for a signature.
    algorithms:
      jwksUrl === undefined
        ? ["HS256"]
        : ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
    requiredClaims: ["exp"],
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  };
  return async (authorization) => {
    if (authorization === undefined || authorization === "") return visitor;
    const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization.trim())?.[1];
    if (token === undefined) {
      throw new AuthenticationError("the header Authorization holds no token", {
        hint: "Send Authorization: Bearer <token>.",
      });
    }
    try {
      const { payload } = await (typeof key === "function"
        ? jwtVerify(token, key, options)
        : jwtVerify(token, key, options));
      return identityOf(payload);
    } catch (error) {
      throw refusal(error);
    }
  };
}

/** An HS256 token of this server. */
export async function signToken(
  { role, person, source }: Identity,
  { secret, issuer, audience, expiresIn = "12h" }: AuthenticationOptions & { secret: string; expiresIn?: string },
): Promise<string> {
  const token = new SignJWT({ role, ...(source === undefined ? {} : { source }) })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt()
    .setExpirationTime(expiresIn);
  if (person !== undefined) token.setSubject(person);
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return await token.sign(new TextEncoder().encode(secret));
}

/** How long a statement of each role may run. */
const statementTimeout: Readonly<Record<Role, string>> = {
  visitor: "10s",
  learner: "10s",
  analyst: "60s",
  admin: "60s",
  worker: "10min",
};

/** The settings of the transaction in which a request runs: its role, and what row security asks for. */
export function requestSettings({ role, person, source }: Identity): Record<string, string> {
  return {
    role: `insights_${role}`,
    "insights.person": person ?? "",
    // Nobody, until the transaction has looked the person up.
    "insights.person_id": "",
    "insights.source": source ?? "",
    statement_timeout: statementTimeout[role],
    jit: "off",
  };
}
