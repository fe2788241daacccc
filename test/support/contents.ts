import type { Queries } from "./database.ts";

/*
 * The contents of all tables of all rooms, with names in place of surrogate keys: two databases that have received the
 * same data in another order, or with other keys, have the same contents.
 */

/** Tables that are not compared, with the reason. */
const leftOut: Record<string, string> = {
  "track.message": "hashes of messages, without a person",
  "track.packed_message": "hashes of messages, without a person",
  "track.message_packing": "progress of the packing",
  "track.stale": "queue",
  "track.changed": "queue",
  "privacy.erasure": "receipts",
  "privacy.suppression": "hashes of the names of erased people",
  "privacy.ledger": "commitments, also to records that were erased",
  "monitor.run": "runs of tasks",
};

/** Columns whose values are random, or times of the clock of the server. */
const anyValue = new Set([
  "created_at",
  "updated_at",
  "recorded_at",
  "defined_at",
  "evaluated_at",
  "declared_at",
  "excluded_at",
  "changed_at",
  "logged_at",
  "track.forgotten_import.started_at",
  "stated_at",
  "as_of",
  "trained_at",
  "deployed_at",
  "described_at",
  "log_id",
  "stale_id",
  "consent_id",
  "request_id",
  "export_id",
  "exported_at",
  "disclosure_id",
  "read_id",
  "read_at",
  "annotation_id",
  "evaluation_id",
  "key_id",
  "key_hash",
  "preview",
  // A hash of the keys of the events and items in a rule.
  "analytics.cohort.names",
  "serving_key",
  "salt",
  "inner_key",
  "outer_key",
  "secret",
  "cycle_started_at",
  "used_on",
]);

type Row = Record<string, unknown>;

interface Keys {
  people: Map<number, string>;
  identities: Map<number, string>;
  items: Map<number, string>;
  types: Map<number, string>;
  sources: Map<number, string>;
  properties: Map<number, string>;
  values: Map<number, string>;
}

const named = (map: Map<number, string>, key: unknown): unknown =>
  key === null || key === undefined
    ? null
    : Array.isArray(key)
      ? key.map((one) => named(map, one))
      : (map.get(Number(key)) ?? `unknown ${key}`);

async function readKeys(db: Queries): Promise<Keys> {
  const identities = new Map<number, string>();
  const members = new Map<number, string[]>();
  for (const { identity_id, person_id, name } of await db.rows<{
    identity_id: string;
    person_id: string;
    name: string;
  }>(
    `select identity.identity_id, identity.person_id,
       identity.kind || ' ' || identity.external_id || coalesce(' of ' || person.external_id, '') as name
     from track.identity
     left join track.identity as person on person.identity_id = identity.user_identity_id`,
  )) {
    identities.set(Number(identity_id), name);
    members.set(Number(person_id), [...(members.get(Number(person_id)) ?? []), name]);
  }
  const people = new Map([...members].map(([key, names]) => [key, names.toSorted().join(", ")]));
  const read = async (sql: string): Promise<Map<number, string>> =>
    new Map((await db.rows<{ key: number; name: string }>(sql)).map(({ key, name }) => [Number(key), name]));
  const items = await read("select item_id as key, external_id as name from track.item");
  items.set(0, "no item");
  const types = await read("select event_type_id as key, name from track.event_type");
  types.set(0, "all");
  return {
    people,
    identities,
    items,
    types,
    sources: await read("select source_id as key, name || ' ' || level as name from track.source"),
    properties: await read(
      `select property_id as key, event_type.name || '.' || property as name
       from track.declared_property join track.event_type using (event_type_id)`,
    ),
    values: await read("select value_id as key, value as name from track.property_value"),
  };
}

/** People of a bit string or a list of positions, in order of their names. */
function peopleOf(row: Row, { people }: Keys): unknown {
  const bits = row["people"];
  if (typeof bits !== "string") return undefined;
  const first = Number(row["block"] ?? row["part"] ?? 0) * bits.length;
  return [...bits].flatMap((bit, place) => (bit === "1" ? [named(people, first + place)] : [])).toSorted();
}

function rename(table: string, row: Row, keys: Keys): Row {
  const renamed: Row = {};
  const listed = [row["members"], row["people"]].find(Array.isArray) as number[] | undefined;
  if (listed !== undefined) {
    const first = listed !== row["members"] ? Number(row["part"]) * 32768 : Number(row["block"]) * 4096;
    const days = row["days"] as number[];
    renamed["members"] = listed
      .map((member, place) => [named(keys.people, first + member), days[place]])
      .toSorted((a, b) => (String(a) < String(b) ? -1 : 1));
  }
  for (const [column, value] of Object.entries(row)) {
    if (
      anyValue.has(column) ||
      anyValue.has(`${table}.${column}`) ||
      (listed !== undefined && (column === "days" || column === "members"))
    )
      continue;
    if (column === "people") {
      const found = peopleOf(row, keys);
      if (found !== undefined) renamed[column] = found;
    } else if (/(^|_)person_id$/.test(column)) renamed[column] = named(keys.people, value);
    else if (table === "track.item_source" && column === "identity_id")
      // Of a browser: a later link does not change which of its users told it.
      renamed[column] = String(named(keys.identities, value)).replace(/ of .*/, "");
    else if (/(^|_)identity_id$/.test(column)) renamed[column] = named(keys.identities, value);
    else if (/(^|_)(item|course)_ids?$/.test(column) || column === "pool" || column === "neighbour_ids")
      renamed[column] = named(keys.items, value);
    else if (/(^|_)event_type_id$/.test(column)) renamed[column] = named(keys.types, value);
    else if (/(^|_)property_id$/.test(column)) renamed[column] = named(keys.properties, value);
    else if (column === "value_id" || column === "value_ids") renamed[column] = named(keys.values, value);
    else if (column === "source_id") renamed[column] = named(keys.sources, value);
    else if (column === "branch") renamed[column] = value === 0 ? "first" : "further";
    else if (column === "block" || column === "part") continue;
    else renamed[column] = value;
  }
  return renamed;
}

/** Rows of a table that are one row per block of people: the division into blocks depends on the keys. */
const byBlock = new Set([
  "track.presence",
  "track.person_set_block",
  "track.value_presence",
  "track.item_month",
  "track.course_presence",
]);

function joinBlocks(rows: Row[]): Row[] {
  const joined = new Map<string, Row>();
  for (const row of rows) {
    const lists = Object.entries(row).filter(
      ([column, value]) => (column === "people" || column === "members") && Array.isArray(value),
    );
    const sums = Object.entries(row).filter(([column]) => /_count$/.test(column));
    const rest = Object.fromEntries(
      Object.entries(row).filter(
        ([column]) => ![...lists, ...sums].some(([other]) => other === column) && column !== "engaged",
      ),
    );
    const key = JSON.stringify(rest);
    const known = joined.get(key);
    if (known === undefined) joined.set(key, { ...row });
    else {
      for (const [column, list] of lists)
        known[column] = [...(known[column] as unknown[]), ...(list as unknown[])].toSorted();
      for (const [column, sum] of sums) known[column] = Number(known[column]) + Number(sum);
    }
  }
  return [...joined.values()];
}

/** All tables of the rooms; partitions are read through their table. */
export const tablesOf = async (db: Queries): Promise<string[]> =>
  (
    await db.rows<{ name: string }>(
      `select relnamespace::regnamespace || '.' || relname as name
       from pg_class
       where relnamespace::regnamespace::text in ('ml', 'privacy', 'track', 'analytics', 'recommend', 'monitor')
         and relkind in ('r', 'p')
         and not relispartition
       order by 1`,
    )
  ).map(({ name }) => name);

/** The rows of each table, as sorted JSON; `all`: also of the tables that are not compared. */
export async function contents(db: Queries, all = false): Promise<Record<string, string[]>> {
  const keys = await readKeys(db);
  const found: Record<string, string[]> = {};
  for (const table of await tablesOf(db)) {
    if (table in leftOut && !all) continue;
    const rows = await db.rows<{ row: Row }>(`select to_jsonb(stored) as row from ${table} as stored`);
    // The identity that named an item first is not passed on to another person.
    const renamed = rows.map(({ row }) =>
      rename(table, row["attribute"] === "name" ? { ...row, identity_id: null } : row, keys),
    );
    found[table] = (byBlock.has(table) ? joinBlocks(renamed) : renamed).map((row) => JSON.stringify(row)).toSorted();
  }
  return found;
}

/** Rows that refer to one of these people, none of whom exists any more, by a key or a bit. */
export const rowsOf = async (db: Queries, people: readonly number[]): Promise<string[]> =>
  Object.entries(await contents(db, true)).flatMap(([table, rows]) =>
    rows
      .filter((row) => [...row.matchAll(/"unknown (\d+)"/g)].some(([, key]) => people.includes(Number(key))))
      .map((row) => `${table}: ${row}`),
  );
