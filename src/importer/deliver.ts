import { z } from "zod";
import { errorCode, InsightsError } from "../errors.ts";
import type { Item } from "./items.ts";
import type { Message } from "./message.ts";

/** An object that runs a query: a client or a pool of `pg`. */
export interface Queryable {
  query(sql: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

const Items = z.object({ inserted: z.int(), updated: z.int(), unchanged: z.int() });

const Result = z.object({
  accepted: z.int(),
  duplicates: z.int(),
  rejected: z.int(),
  errors: z.array(z.object({ index: z.int(), message: z.string(), code: z.string(), hint: z.string().nullish() })),
});

export type IngestResult = z.output<typeof Result>;

/** Messages per call: enough that the round trip does not matter, few enough that repeating a lost call is cheap. */
export const BATCH = 1_000;

/** Fails with a hint if the database has not been migrated, before the first row is read. */
export async function requireIngest(database: Queryable): Promise<void> {
  const { rows } = await database.query("select to_regprocedure('track.ingest(jsonb)') is not null as exists");
  if ((rows as { exists: boolean }[])[0]?.exists === true) return;
  throw new InsightsError("the database has no function track.ingest(jsonb)", { hint: "Run: insights migrate" });
}

/** Fails for the source of an application, from which rows could not be removed again. */
export async function requireImport(database: Queryable, source: string): Promise<void> {
  const { rows } = await database
    .query(
      `select exists (
         select from track.write_key join track.source using (source_id) where source.name = $1 and source.level = 'server'
       ) as exists`,
      [source],
    )
    .catch((error: unknown) => {
      // Workers may import, and not read keys.
      if (errorCode(error) === "42501") return { rows: [] };
      throw error;
    });
  if ((rows as { exists: boolean }[])[0]?.exists !== true) return;
  throw new InsightsError(`the source "${source}" is that of an application, which has a write key for it`, {
    hint: "Name the import otherwise: --source NAME. It could not be removed from the messages of the application",
  });
}

/*
 * The settings hold for the transaction, which is this statement: nothing is left in a session that a pooler shares.
 * The argument of ingest depends on them, so that they are set before ingest runs.
 */
const INGEST = `
  with source as materialized (
    select
      set_config('insights.source', $2, true) || set_config('insights.kept_ids', $3, true)
        || set_config('insights.states_enrolments', 'on', true) as name
  )
  select accepted, duplicates, rejected, errors
  from source
  cross join lateral track.ingest(case when source.name is not null then $1::jsonb end)
`;

/**
 * Sends messages to `track.ingest` under the name of their source. `keptIds` name people, although they are on the list
 * `track.placeholder_id`.
 *
 * An invalid message is rejected alone. If one nevertheless makes its whole batch fail, the batch is halved until the
 * message is isolated. Errors that no message causes, such as a lost connection, are thrown.
 */
export async function ingest(
  database: Queryable,
  source: string,
  messages: readonly Message[],
  keptIds: readonly string[] = [],
): Promise<IngestResult> {
  if (messages.length === 0) return { accepted: 0, duplicates: 0, rejected: 0, errors: [] };
  try {
    const { rows } = await database.query(INGEST, [JSON.stringify(messages), source, keptIds.join(",")]);
    return Result.parse(rows[0]);
  } catch (error) {
    if (!isAboutData(error)) throw error;
    if (messages.length === 1) {
      const { code, message, hint } = error;
      return { accepted: 0, duplicates: 0, rejected: 1, errors: [{ index: 0, code, message, hint: hint ?? null }] };
    }
    const middle = messages.length >> 1;
    const before = await ingest(database, source, messages.slice(0, middle), keptIds);
    const after = await ingest(database, source, messages.slice(middle), keptIds);
    return {
      accepted: before.accepted + after.accepted,
      duplicates: before.duplicates + after.duplicates,
      rejected: before.rejected + after.rejected,
      errors: [...before.errors, ...after.errors.map((each) => ({ ...each, index: each.index + middle }))],
    };
  }
}

const IMPORT_ITEMS = `
  with source as materialized (select set_config('insights.source', $2, true) as name)
  select inserted, updated, unchanged
  from source
  cross join lateral track.import_items(case when source.name is not null then $1::jsonb end)
`;

export interface ItemsResult {
  inserted: number;
  updated: number;
  unchanged: number;
  errors: IngestResult["errors"];
}

/** Sends items to `track.import_items` under the name of their source. An invalid item is rejected alone. */
export async function importItems(database: Queryable, source: string, items: readonly Item[]): Promise<ItemsResult> {
  if (items.length === 0) return { inserted: 0, updated: 0, unchanged: 0, errors: [] };
  try {
    const { rows } = await database.query(IMPORT_ITEMS, [JSON.stringify(items), source]);
    return { ...Items.parse(rows[0]), errors: [] };
  } catch (error) {
    if (!isAboutData(error)) throw error;
    if (items.length === 1) {
      const { code, message, hint } = error;
      return { inserted: 0, updated: 0, unchanged: 0, errors: [{ index: 0, code, message, hint: hint ?? null }] };
    }
    const middle = items.length >> 1;
    const before = await importItems(database, source, items.slice(0, middle));
    const after = await importItems(database, source, items.slice(middle));
    return {
      inserted: before.inserted + after.inserted,
      updated: before.updated + after.updated,
      unchanged: before.unchanged + after.unchanged,
      errors: [...before.errors, ...after.errors.map((each) => ({ ...each, index: each.index + middle }))],
    };
  }
}

/** Data exceptions (class 22), constraint violations (23), exceeded limits (54) and our own errors (CF). */
function isAboutData(error: unknown): error is { code: string; message: string; hint?: string } {
  return (
    error instanceof Error && "code" in error && typeof error.code === "string" && /^(22|23|54|CF)/.test(error.code)
  );
}
