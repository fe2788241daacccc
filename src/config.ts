import type { BlockList } from "node:net";
import { resolve } from "node:path";
import { z } from "zod";
import { parseProxies } from "./api/addresses.ts";
import { roles } from "./api/authentication.ts";
import { keptSecret } from "./database/directory.ts";
import { InsightsError } from "./errors.ts";
import { type Hosts, parseHosts, publicHosts } from "./worker/webhooks/hosts.ts";

/** An unset and an empty variable are equivalent. */
const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (value === "" ? undefined : value), schema.optional());

const databaseUrl = z.string().refine((value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value), {
  error: "expected a connection string like postgres://user:password@host:5432/database",
});

/** A whole number in plain digits: "1e3", "0x10" and " 5" are errors. */
const whole = (least: number, most: number) => {
  const expected = { error: `expected a whole number from ${least} to ${most}` };
  return z
    .string()
    .regex(/^\d{1,9}$/, expected)
    .transform(Number)
    .pipe(z.number().min(least, expected).max(most, expected));
};

const port = whole(0, 65_535);

/**
 * The path to a claim of a token: "sub"; "realm_access.roles", where dots separate nested objects; a name with "://" is
 * one name; a JSON list contains the names of a path in which dots are part of a name.
 */
const claimPath = z.string().transform((text, context) => {
  const names = z.array(z.string().min(1)).min(1).max(10);
  let path: unknown = text.includes("://") ? [text] : text.split(".");
  if (text.startsWith("[")) {
    try {
      path = JSON.parse(text);
    } catch {
      path = undefined;
    }
  }
  const parsed = names.safeParse(path);
  if (parsed.success) return parsed.data;
  context.addIssue({
    code: "custom",
    message:
      'expected a claim such as sub, realm_access.roles, https://app.example/role or ["https://app.example/", "role"]',
  });
  return z.NEVER;
});

const duration = z
  .string()
  .regex(/^[1-9]\d{0,5}[smhd]$/, "expected a duration such as 30m, 24h or 7d")
  .transform((text) => Number.parseInt(text, 10) * ({ s: 1, m: 60, h: 3600, d: 86_400 }[text.slice(-1)] ?? Number.NaN));

const proxies = z.string().transform((text, context) => {
  const list = parseProxies(text);
  if (typeof list !== "string") return list;
  context.addIssue({
    code: "custom",
    message: "expected addresses and networks such as loopback, private, 10.1.0.0/16, 2001:db8::7",
  });
  return z.NEVER;
});

/** Origins of pages, as browsers send them: without a path. */
const origins = z.string().transform((text, context) => {
  const list = text.split(/[\s,]+/).filter((entry) => entry !== "");
  const wrong = list.find((entry) => !URL.canParse(entry) || new URL(entry).origin !== entry);
  if (wrong === undefined && list.length > 0) return new Set(list) as ReadonlySet<string>;
  context.addIssue({
    code: "custom",
    message: "expected origins such as https://app.example, https://app.example:8443",
  });
  return z.NEVER;
});

/** The address of the pages as browsers know it: an origin. */
const publicUrl = z.string().refine((value) => URL.canParse(value) && new URL(value).origin === value, {
  error: "expected an origin such as https://insights.example, without a path",
});

/** A provider of OpenID Connect; without TLS only on this machine. */
const issuer = z.url().refine((value) => /^https:|^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:|\/|$)/.test(value), {
  error: "expected a URL with https://",
});

/** The provider's names of roles, and ours. */
const roleNames = z.string().transform((text, context) => {
  const pairs = text
    .split(",")
    .map((pair) => pair.trim())
    .filter((pair) => pair !== "")
    .map(
      (pair) => [pair.slice(0, pair.lastIndexOf("=")).trim(), pair.slice(pair.lastIndexOf("=") + 1).trim()] as const,
    );
  const known = pairs.every(([name, role]) => name !== "" && (roles as readonly string[]).includes(role));
  if (known && pairs.length > 0) return new Map(pairs) as ReadonlyMap<string, string>;
  context.addIssue({ code: "custom", message: "expected names such as data-team=analyst, teachers=instructor" });
  return z.NEVER;
});

/** Receivers of webhooks in private networks. */
const webhookHosts = z.string().transform((text, context) => {
  const hosts = parseHosts(text);
  if (typeof hosts !== "string") return hosts;
  context.addIssue({
    code: "custom",
    message:
      "expected names, addresses and networks such as alerts.internal, 10.1.2.3:9000, [fd00::7]:9000, 10.1.0.0/16",
  });
  return z.NEVER;
});

const environment = z.object({
  DATABASE_URL: optional(databaseUrl),
  DIRECT_DATABASE_URL: optional(databaseUrl),
  ROOT_DATABASE_URL: optional(databaseUrl),
  INSIGHTS_POOLER: optional(z.stringbool()),
  INSIGHTS_LOCK_TIMEOUT: optional(whole(1, 60_000)),
  INSIGHTS_LOCK_TRIES: optional(whole(1, 1000)),
  INSIGHTS_POOL_SIZE: optional(whole(1, 1000)),
  INSIGHTS_VISITOR_BYTES: optional(whole(1000, 4_000_000)),
  INSIGHTS_LEARNER_BYTES: optional(whole(1000, 4_000_000)),
  INSIGHTS_ADDRESS_RATE: optional(whole(1, 1_000_000)),
  INSIGHTS_PERSON_RATE: optional(whole(1, 1_000_000)),
  INSIGHTS_TRUSTED_PROXIES: optional(proxies),
  INSIGHTS_COOKIE_SECRET: optional(z.string().min(32, "expected at least 32 characters")),
  INSIGHTS_DATA_DIR: optional(z.string()),
  INSIGHTS_DATABASE_PORT: optional(port),
  INSIGHTS_JWT_SECRET: optional(z.string().min(32, "expected at least 32 characters")),
  INSIGHTS_JWKS_URL: optional(z.url()),
  INSIGHTS_CANVAS_JWKS_URL: optional(z.url()),
  INSIGHTS_JWT_ISSUER: optional(z.string()),
  INSIGHTS_JWT_AUDIENCE: optional(z.string()),
  INSIGHTS_JWT_ROLE_CLAIM: optional(claimPath),
  INSIGHTS_JWT_PERSON_CLAIM: optional(claimPath),
  INSIGHTS_JWT_DEFAULT_ROLE: optional(z.enum(["visitor", "learner"])),
  INSIGHTS_JWT_MAX_LIFETIME: optional(duration),
  INSIGHTS_GRAPHIQL: optional(z.stringbool()),
  INSIGHTS_OPERATIONS: optional(z.string()),
  INSIGHTS_ORIGINS: optional(origins),
  INSIGHTS_METRICS_HOST: optional(z.string()),
  INSIGHTS_METRICS_PORT: optional(port),
  INSIGHTS_METRICS_TOKEN: optional(
    z.string().regex(/^[\x21-\x7e]{32,1000}$/, "expected 32 to 1000 characters without spaces"),
  ),
  INSIGHTS_WEBHOOK_HOSTS: optional(webhookHosts),
  INSIGHTS_TOKEN: optional(z.string()),
  INSIGHTS_URL: optional(publicUrl),
  INSIGHTS_OPENID_ISSUER: optional(issuer),
  INSIGHTS_OPENID_CLIENT_ID: optional(z.string()),
  INSIGHTS_OPENID_CLIENT_SECRET: optional(z.string()),
  INSIGHTS_OPENID_SCOPE: optional(
    z.string().regex(/^openid( \S+)*$/, "expected openid, and further scopes after spaces"),
  ),
  INSIGHTS_OPENID_ROLE_CLAIM: optional(claimPath),
  INSIGHTS_OPENID_PERSON_CLAIM: optional(claimPath),
  INSIGHTS_OPENID_ROLES: optional(roleNames),
  INSIGHTS_OPENID_DEFAULT_ROLE: optional(z.enum(["visitor", "learner"])),
  INSIGHTS_SESSION_LIFETIME: optional(duration),
  INSIGHTS_TOKEN_COOKIE: optional(z.string().regex(/^[\w.-]{1,100}$/, "expected the name of a cookie")),
  INSIGHTS_EMBED_ORIGINS: optional(origins),
  HOST: optional(z.string()),
  PORT: optional(port),
});

export interface Config {
  /** The user's own PostgreSQL; without it, the embedded database. */
  databaseUrl: string | undefined;
  /** The server itself, for migrations, if DATABASE_URL connects through a pooler. */
  directUrl: string | undefined;
  /**
   * For `npm run db:commit`: the database from which databases are created; default: the database `postgres` of the
   * server.
   */
  rootDatabaseUrl: string | undefined;
  /** Whether a transaction pooler is in front of the database; undefined: detected automatically. */
  pooler: boolean | undefined;
  /** Milliseconds that a migration waits for a lock, while others queue behind it. */
  lockTimeout: number;
  /** How often a migration is tried again when it did not get a lock. */
  lockTries: number;
  /** Connections of one process. */
  poolSize: number;
  /** Largest request of a visitor, and of a learner, in bytes. */
  visitorBytes: number;
  learnerBytes: number;
  /** Requests per minute of an address, without a valid token, and of a signed-in person. */
  addressRate: number;
  personRate: number;
  /** Reverse proxies whose `X-Forwarded-…` headers are read; undefined: none. */
  trustedProxies: BlockList | undefined;
  /** Key of the cookies of browsers; without it, one is derived from the signing key, or generated. */
  cookieSecret: string | undefined;
  /** Directory of the embedded database, its lock and a generated signing key. */
  dataDirectory: string;
  /** A port of 127.0.0.1 for the embedded database, in addition to its Unix socket; 0 selects a free one. */
  databasePort: number | undefined;
  /** Key of HS256 tokens; without it, one is generated and stored in the data directory. */
  jwtSecret: string | undefined;
  /** URL of the identity provider's keys; replaces `jwtSecret`. */
  jwksUrl: string | undefined;
  /** URL of the keys by which Canvas signs Live Events; with it, they must be signed. */
  canvasJwksUrl: string | undefined;
  /** Required values of the claims "iss" and "aud"; an audience is required with `jwksUrl`. */
  jwtIssuer: string | undefined;
  jwtAudience: string | undefined;
  /**
   * The path to the claim that holds the role: ["role"] for HS256 tokens; with `jwksUrl`, none is read unless it is
   * set.
   */
  jwtRoleClaim: string[] | undefined;
  /** The path to the claim that holds the application's userId. Default: ["sub"]. */
  jwtPersonClaim: string[] | undefined;
  /** The role of a valid token that names none. */
  jwtDefaultRole: "visitor" | "learner" | undefined;
  /** Longest lifetime of a token, in seconds. */
  jwtMaxLifetime: number | undefined;
  /**
   * The page /graphiql, introspection for every role, and details in /healthz for all callers. Undefined: true on the
   * embedded database of `insights start`, false elsewhere.
   */
  graphiql: boolean | undefined;
  /** Directory or file of persisted operations; visitors, learners and instructors may send no others. */
  operations: string | undefined;
  /** Origins whose pages may call the API, in addition to those of write keys; undefined: every origin. */
  origins: ReadonlySet<string> | undefined;
  /** The port of /metrics, which has no other page; undefined: none. */
  metricsHost: string;
  metricsPort: number | undefined;
  /** The token that /metrics requires on that port, and on the port of the API, where it does not exist without one. */
  metricsToken: string | undefined;
  /** Receivers of webhooks that may have a private address, or be called without TLS; default: none. */
  webhookHosts: Hosts;
  /** The token of `insights mcp` on standard input and output. */
  token: string | undefined;
  /** The origin of the pages as browsers know it; undefined: that of each request. */
  publicUrl: string | undefined;
  /** The provider by which people sign in to the pages; undefined: none. */
  openId:
    | {
        issuer: string;
        clientId: string;
        clientSecret: string | undefined;
        scope: string | undefined;
        /** The path to the claim with the role; undefined: none is read. */
        roleClaim: string[] | undefined;
        personClaim: string[] | undefined;
        /** Our roles by the provider's names; undefined: the names are the same. */
        roles: ReadonlyMap<string, string> | undefined;
        defaultRole: "visitor" | "learner" | undefined;
      }
    | undefined;
  /** Seconds of a session after a sign-in. */
  sessionLifetime: number;
  /** The cookie of the application that contains its token. */
  tokenCookie: string | undefined;
  /** Origins whose pages may contain pages of this server; undefined: none. */
  embedOrigins: ReadonlySet<string> | undefined;
  host: string;
  port: number;
}

/** The settings of this process. No other module reads the environment. */
export function readConfig(variables: Record<string, string | undefined> = process.env): Config {
  const parsed = environment.safeParse(variables);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const name = String(issue?.path[0] ?? "environment");
    // A secret that is too short is still a secret.
    const shown = /SECRET|TOKEN/.test(name) ? "not valid" : JSON.stringify(variables[name] ?? null).slice(0, 100);
    throw new InsightsError(`${name} is ${shown}: ${issue?.message ?? "not valid"}`, {
      hint: `Set ${name} to a valid value, or leave it out.`,
    });
  }
  const value = parsed.data;
  if (value.INSIGHTS_JWKS_URL !== undefined && value.INSIGHTS_JWT_AUDIENCE === undefined) {
    throw new InsightsError("INSIGHTS_JWKS_URL is set, but INSIGHTS_JWT_AUDIENCE is not", {
      hint: 'An identity provider signs tokens for many applications: set INSIGHTS_JWT_AUDIENCE to the "aud" of the tokens for this one.',
    });
  }
  if ((value.INSIGHTS_OPENID_ISSUER === undefined) !== (value.INSIGHTS_OPENID_CLIENT_ID === undefined)) {
    throw new InsightsError("INSIGHTS_OPENID_ISSUER and INSIGHTS_OPENID_CLIENT_ID are set together", {
      hint: "The provider assigns the client id when this server is registered, with the address /sign-in/callback.",
    });
  }
  return {
    databaseUrl: value.DATABASE_URL,
    directUrl: value.DIRECT_DATABASE_URL,
    rootDatabaseUrl: value.ROOT_DATABASE_URL,
    pooler: value.INSIGHTS_POOLER,
    lockTimeout: value.INSIGHTS_LOCK_TIMEOUT ?? 400,
    lockTries: value.INSIGHTS_LOCK_TRIES ?? 10,
    poolSize: value.INSIGHTS_POOL_SIZE ?? 10,
    visitorBytes: value.INSIGHTS_VISITOR_BYTES ?? 512_000,
    learnerBytes: value.INSIGHTS_LEARNER_BYTES ?? 1_000_000,
    addressRate: value.INSIGHTS_ADDRESS_RATE ?? 1200,
    personRate: value.INSIGHTS_PERSON_RATE ?? 1200,
    trustedProxies: value.INSIGHTS_TRUSTED_PROXIES,
    cookieSecret: value.INSIGHTS_COOKIE_SECRET,
    dataDirectory: resolve(value.INSIGHTS_DATA_DIR ?? ".insights"),
    databasePort: value.INSIGHTS_DATABASE_PORT,
    jwtSecret: value.INSIGHTS_JWT_SECRET,
    jwksUrl: value.INSIGHTS_JWKS_URL,
    canvasJwksUrl: value.INSIGHTS_CANVAS_JWKS_URL,
    jwtIssuer: value.INSIGHTS_JWT_ISSUER,
    jwtAudience: value.INSIGHTS_JWT_AUDIENCE,
    jwtRoleClaim: value.INSIGHTS_JWT_ROLE_CLAIM,
    jwtPersonClaim: value.INSIGHTS_JWT_PERSON_CLAIM,
    jwtDefaultRole: value.INSIGHTS_JWT_DEFAULT_ROLE,
    jwtMaxLifetime: value.INSIGHTS_JWT_MAX_LIFETIME,
    graphiql: value.INSIGHTS_GRAPHIQL,
    operations: value.INSIGHTS_OPERATIONS,
    origins: value.INSIGHTS_ORIGINS,
    metricsHost: value.INSIGHTS_METRICS_HOST ?? "127.0.0.1",
    metricsPort: value.INSIGHTS_METRICS_PORT,
    metricsToken: value.INSIGHTS_METRICS_TOKEN,
    webhookHosts: value.INSIGHTS_WEBHOOK_HOSTS ?? publicHosts,
    token: value.INSIGHTS_TOKEN,
    publicUrl: value.INSIGHTS_URL,
    openId:
      value.INSIGHTS_OPENID_ISSUER === undefined || value.INSIGHTS_OPENID_CLIENT_ID === undefined
        ? undefined
        : {
            issuer: value.INSIGHTS_OPENID_ISSUER,
            clientId: value.INSIGHTS_OPENID_CLIENT_ID,
            clientSecret: value.INSIGHTS_OPENID_CLIENT_SECRET,
            scope: value.INSIGHTS_OPENID_SCOPE,
            roleClaim: value.INSIGHTS_OPENID_ROLE_CLAIM,
            personClaim: value.INSIGHTS_OPENID_PERSON_CLAIM,
            roles: value.INSIGHTS_OPENID_ROLES,
            defaultRole: value.INSIGHTS_OPENID_DEFAULT_ROLE,
          },
    sessionLifetime: value.INSIGHTS_SESSION_LIFETIME ?? 28_800,
    tokenCookie: value.INSIGHTS_TOKEN_COOKIE,
    embedOrigins: value.INSIGHTS_EMBED_ORIGINS,
    host: value.HOST ?? "127.0.0.1",
    port: value.PORT ?? 5678,
  };
}

/**
 * The key that signs and verifies HS256 tokens: the configured one, or one generated once and stored in the data
 * directory.
 */
export async function signingKey(config: Config): Promise<string> {
  if (config.jwtSecret !== undefined) return config.jwtSecret;
  return await keptSecret(config.dataDirectory, "jwt-secret");
}

/** The key of the cookies of browsers. Processes behind one address need the same. */
export async function cookieKey(config: Config): Promise<string> {
  if (config.cookieSecret !== undefined) return config.cookieSecret;
  return config.jwksUrl === undefined
    ? await signingKey(config)
    : await keptSecret(config.dataDirectory, "cookie-secret");
}
