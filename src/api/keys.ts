import { errorCode } from "../errors.ts";
import { AuthenticationError } from "./authentication.ts";
import { BusyError } from "./connections.ts";
import type { RunAs } from "./run-as.ts";

/*
 * Verifies write keys before the body of a request is read. Answers of the database are kept for some seconds. That
 * delays no revocation: `track.ingest` verifies the key again in its transaction.
 */

const bounds = {
  /** Milliseconds for which an answer is used. */
  fresh: 5000,
  valid: 1000,
  invalid: 10_000,
  /** Lookups that may wait for the database. */
  waiting: 100,
} as const;

export interface OpenKey {
  key_id: number;
  source: string;
  level: "server" | "signed_in" | "anonymous";
  requests_per_minute: number;
}

/** Use of a key: to send messages, or to read features and experiments. */
export type Scope = "events" | "features";

export interface Keys {
  /** Whether `open` would look up a key of which nothing is known. */
  isNew(hash: string, origin: string | undefined, scope: Scope): boolean;
  /** Rejects with an `AuthenticationError` (401, or 403 for an origin or a scope) or a `BusyError`. */
  open(hash: string, origin: string | undefined, scope: Scope): Promise<OpenKey>;
  /** Whether a valid key lists the origin. */
  isListed(origin: string): Promise<boolean>;
}

/** Keeps the entries that were added last. */
function store<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value ?? "");
}

export function createKeys(run: RunAs, now: () => number = () => performance.now()): Keys {
  const valid = new Map<string, { key: OpenKey; at: number }>();
  const invalid = new Map<string, { error: AuthenticationError; at: number }>();
  const running = new Map<string, Promise<OpenKey>>();
  let origins: { list: ReadonlySet<string>; at: number } = { list: new Set(), at: Number.NEGATIVE_INFINITY };
  let reading: Promise<void> | undefined;

  const isFresh = (entry: { at: number } | undefined): boolean =>
    entry !== undefined && now() - entry.at < bounds.fresh;

  async function ask(hash: string, scope: Scope, origin: string | undefined): Promise<OpenKey | Error> {
    try {
      const [key] = await run<OpenKey>("worker", "select * from track.open_write_key($1, $2, $3)", [
        hash,
        scope,
        origin ?? null,
      ]);
      return key ?? new Error("track.open_write_key returned no row");
    } catch (error) {
      if (error instanceof Error && errorCode(error) === "CF005") return error;
      throw error;
    }
  }

  async function lookUp(hash: string, origin: string | undefined, wanted: Scope): Promise<OpenKey> {
    const found = await ask(hash, wanted, origin);
    if (!(found instanceof Error)) return found;
    // The key itself is valid if it may be used from elsewhere, or for something else.
    let forbidden = false;
    for (const [scope, from] of [
      ["events", undefined],
      ["features", undefined],
    ] as const) {
      forbidden ||= !((await ask(hash, scope, from)) instanceof Error);
    }
    throw new AuthenticationError(found.message, {
      statusCode: forbidden ? 403 : 401,
      code: "CF005",
      hint: "hint" in found ? String(found.hint) : "",
    });
  }

  async function readOrigins(): Promise<void> {
    const rows = await run<{ origin: string }>(
      "admin",
      `select distinct origin
       from track.write_key
       cross join lateral unnest(origins) as origin
       where revoked_at is null
         and (expires_at is null or expires_at > now())
         and 'events' = any(scopes)`,
    );
    origins = { list: new Set(rows.map(({ origin }) => origin)), at: now() };
  }

  return {
    isNew(hash, origin, scope) {
      const name = `${hash} ${scope} ${origin ?? ""}`;
      return !valid.has(name) && !running.has(name) && !isFresh(invalid.get(name));
    },

    async open(hash, origin, scope) {
      const name = `${hash} ${scope} ${origin ?? ""}`;
      const kept = valid.get(name);
      if (kept !== undefined && isFresh(kept)) return kept.key;
      const refused = invalid.get(name);
      if (refused !== undefined && isFresh(refused)) throw refused.error;
      let answer = running.get(name);
      if (answer === undefined) {
        if (running.size >= bounds.waiting) throw new BusyError();
        answer = lookUp(hash, origin, scope).finally(() => running.delete(name));
        running.set(name, answer);
      }
      try {
        const key = await answer;
        store(valid, name, { key, at: now() }, bounds.valid);
        return key;
      } catch (error) {
        if (error instanceof AuthenticationError) {
          valid.delete(name);
          store(invalid, name, { error, at: now() }, bounds.invalid);
        }
        throw error;
      }
    },

    async isListed(origin) {
      if (!isFresh(origins)) {
        reading ??= readOrigins().finally(() => {
          reading = undefined;
        });
        // Without the database, the origins that were read last.
        await reading.catch(() => {});
      }
      return origins.list.has(origin);
    },
  };
}
