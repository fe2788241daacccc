import type { Queries } from "./database.ts";

/**
 * The rows of every table and materialized view of every room, comparable between two histories of one test: keys of
 * identities by their names, times of the clock of this test as "now", bits as the positions of ones, in order.
 */
const rooms = ["track", "privacy", "experiment", "analytics", "recommend", "ml", "monitor"];

/** Random, or of the process. */
const random = new Set([
  "consent_id",
  "salt",
  "backend",
  "serving_key",
  "log_id",
  "sample_id",
  "branch",
  "request_id",
  "subject_hash",
  "disclosure_id",
  "read_id",
]);
const identities = new Set(["identity_id", "linked_identity_id", "user_identity_id"]);

export async function everyTable(
  db: Queries,
  except: readonly string[] = [],
  /** Columns that are left out. */
  withoutColumns: readonly string[] = [],
): Promise<Record<string, string[]>> {
  const since = new Date(Date.now() - 3_600_000).toISOString().slice(0, 19);
  const labels = new Map(
    (
      await db.rows<{ id: string; label: string }>(
        `select identity.identity_id::text as id,
           concat_ws(' ', identity.kind, identity.external_id, 'of ' || used_by.external_id) as label
         from track.identity left join track.identity as used_by on used_by.identity_id = identity.user_identity_id`,
      )
    ).map(({ id, label }) => [id, label]),
  );
  // A value that was removed and comes back has another key.
  const values = new Map(
    (await db.rows<{ id: string; value: string }>("select value_id::text as id, value from track.property_value")).map(
      ({ id, value }) => [id, value],
    ),
  );
  const readable = (column: string, value: unknown): unknown => {
    if (random.has(column) || withoutColumns.includes(column)) return undefined;
    // A sum of double precision depends on the order of the rows in its last digit.
    if (typeof value === "number" && !Number.isInteger(value)) return Number(value.toPrecision(12));
    if (identities.has(column)) return labels.get(String(value)) ?? value;
    if (column === "value_id") return values.get(String(value)) ?? value;
    if (column === "value_ids" && Array.isArray(value)) return value.map((id) => values.get(String(id)) ?? id);
    if (typeof value === "string") {
      if (/^[01]{1000,}$/.test(value)) return [...value.matchAll(/1/g)].map(({ index }) => index).join(" ");
      if (/^2\d{3}-\d\d-\d\d[T ]/.test(value) && value.replace(" ", "T") > since) return "now";
    }
    return value;
  };

  const tables = await db.rows<{ name: string }>(
    `select format('%I.%I', nspname, relname) as name
     from pg_catalog.pg_class as class join pg_catalog.pg_namespace as namespace on namespace.oid = relnamespace
     where nspname = any ($1) and relkind in ('r', 'p', 'm') and not relispartition
     order by 1`,
    [rooms],
  );
  const found: Record<string, string[]> = {};
  for (const { name } of tables) {
    if (except.includes(name)) continue;
    const rows = await db.rows<{ row: Record<string, unknown> }>(`select to_jsonb(one) as row from ${name} as one`);
    found[name] = rows.map(({ row }) => JSON.stringify(row, (column, value) => readable(column, value))).toSorted();
  }
  return found;
}
