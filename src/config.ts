import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { errorCode, InsightsError } from "./errors.ts";

/** An unset and an empty variable mean the same. */
const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (value === "" ? undefined : value), schema.optional());

const databaseUrl = z.string().refine((value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value), {
  error: "expected a connection string like postgres://user:password@host:5432/database",
});

const port = z.coerce.number().int().min(0).max(65_535);

const environment = z.object({
  DATABASE_URL: optional(databaseUrl),
  ROOT_DATABASE_URL: optional(databaseUrl),
  INSIGHTS_POOLER: optional(z.stringbool()),
  INSIGHTS_LOCK_TIMEOUT: optional(z.coerce.number().int().min(1).max(60_000)),
  INSIGHTS_LOCK_TRIES: optional(z.coerce.number().int().min(1).max(1000)),
  INSIGHTS_POOL_SIZE: optional(z.coerce.number().int().min(1).max(1000)),
  INSIGHTS_DATA_DIR: optional(z.string()),
  INSIGHTS_DATABASE_PORT: optional(port),
  INSIGHTS_JWT_SECRET: optional(z.string().min(32, "expected at least 32 characters")),
  INSIGHTS_JWKS_URL: optional(z.url()),
  INSIGHTS_JWT_ISSUER: optional(z.string()),
  INSIGHTS_JWT_AUDIENCE: optional(z.string()),
  HOST: optional(z.string()),
  PORT: optional(port),
});

export interface Config {
  /** The user's own PostgreSQL; without it, the embedded database. */
  databaseUrl: string | undefined;
  /** For `npm run db:commit`: where databases are created from; without it, the database `postgres` of the server. */
  rootDatabaseUrl: string | undefined;
  /** Whether a transaction pooler stands before the database; undefined leaves it to be told from the address. */
  pooler: boolean | undefined;
  /** Milliseconds that a migration waits for a lock, while others queue behind it. */
  lockTimeout: number;
  /** How often a migration tries again when it did not get a lock. */
  lockTries: number;
  /** Connections of one process. */
  poolSize: number;
  /** Where the embedded database, its lock and a generated signing key are kept. */
  dataDirectory: string;
  /** The port of the embedded database; 0 takes any free one. */
  databasePort: number;
  /** Key of HS256 tokens; without it, one is generated and kept in the data directory. */
  jwtSecret: string | undefined;
  /** Where an identity provider publishes its keys; replaces `jwtSecret`. */
  jwksUrl: string | undefined;
  jwtIssuer: string | undefined;
  jwtAudience: string | undefined;
  host: string;
  port: number;
}

/** The settings of this process. Nothing else reads the environment. */
export function readConfig(variables: Record<string, string | undefined> = process.env): Config {
  const parsed = environment.safeParse(variables);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const name = String(issue?.path[0] ?? "environment");
    throw new InsightsError(`${name} is ${JSON.stringify(variables[name] ?? null)}: ${issue?.message ?? "not valid"}`, {
      hint: `Set ${name} to a valid value, or leave it out.`,
    });
  }
  const value = parsed.data;
  return {
    databaseUrl: value.DATABASE_URL,
    rootDatabaseUrl: value.ROOT_DATABASE_URL,
    pooler: value.INSIGHTS_POOLER,
    lockTimeout: value.INSIGHTS_LOCK_TIMEOUT ?? 400,
    lockTries: value.INSIGHTS_LOCK_TRIES ?? 10,
    poolSize: value.INSIGHTS_POOL_SIZE ?? 10,
    dataDirectory: resolve(value.INSIGHTS_DATA_DIR ?? ".insights"),
    databasePort: value.INSIGHTS_DATABASE_PORT ?? 0,
    jwtSecret: value.INSIGHTS_JWT_SECRET,
    jwksUrl: value.INSIGHTS_JWKS_URL,
    jwtIssuer: value.INSIGHTS_JWT_ISSUER,
    jwtAudience: value.INSIGHTS_JWT_AUDIENCE,
    host: value.HOST ?? "127.0.0.1",
    port: value.PORT ?? 5678,
  };
}

/** The key that signs and checks HS256 tokens: the configured one, or one made once and kept beside the data. */
export async function signingKey(config: Config): Promise<string> {
  if (config.jwtSecret !== undefined) return config.jwtSecret;
  const path = join(config.dataDirectory, "jwt-secret");
  await mkdir(config.dataDirectory, { recursive: true });
  try {
    const key = randomBytes(32).toString("base64url");
    await writeFile(path, `${key}\n`, { flag: "wx", mode: 0o600 });
    return key;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    return (await readFile(path, "utf8")).trim();
  }
}
