import type pg from "pg";
import type { Statement } from "./statements.ts";

/**
 * Lock modes of tables, from the weakest to the strongest:
 * https://www.postgresql.org/docs/current/explicit-locking.html
 */
export const lockModes = [
  "ACCESS SHARE",
  "ROW SHARE",
  "ROW EXCLUSIVE",
  "SHARE UPDATE EXCLUSIVE",
  "SHARE",
  "SHARE ROW EXCLUSIVE",
  "EXCLUSIVE",
  "ACCESS EXCLUSIVE",
] as const;

export type LockMode = (typeof lockModes)[number];

/** The effect of a mode on other sessions. */
export function effectOf(mode: LockMode): string {
  if (mode === "ACCESS EXCLUSIVE") return "reads and writes wait";
  if (lockModes.indexOf(mode) >= lockModes.indexOf("SHARE")) return "writes wait";
  return mode === "SHARE UPDATE EXCLUSIVE" ? "only vacuum and other changes of structure wait" : "no session waits";
}

const stronger = (a: LockMode, b: LockMode): LockMode => (lockModes.indexOf(a) > lockModes.indexOf(b) ? a : b);

export interface LockedRelation {
  relation: string;
  mode: LockMode;
  /** Its partitions are locked too. */
  partitions?: true;
}

/** The kind and the locks of a statement, as far as its text determines them. */
export interface Described {
  /** The name of its kind; undefined for an unknown kind. */
  kind: string | undefined;
  /** The object that it changes. */
  object: string;
  /** Existing tables, views and indexes that it locks; modes weaker than ROW EXCLUSIVE are omitted. */
  locks: LockedRelation[];
  /** False if the text does not determine the locks: a `do` block, a statement of an unknown kind. */
  known: boolean;
}

interface Kind {
  name: string;
  /**
   * Matches the normal form of a statement. Group `on` is the locked relation, `object` the changed object, `exclusive`
   * a relation that is locked in ACCESS EXCLUSIVE in addition.
   */
  pattern: RegExp;
  /** The mode in which `on` is locked; without it, no existing relation is locked. */
  mode?: LockMode;
  /** The partitions of `on` are locked too. */
  partitions?: true;
  /** The text does not determine the locked relations. */
  unknown?: true;
}

const part = String.raw`(?:"(?:[^"]|"")+"|[\w$\u0080-\uffff]+)`;
const name = String.raw`${part}(?:\.${part})?`;
const names = `${name}(?:, ?${name})*`;
const ifExists = "(?:if exists )?";
const ifNotExists = "(?:if not exists )?";
const pattern = (source: string): RegExp => new RegExp(`^${source}`, "i");

/**
 * Kinds of statements that occur in releases, and the lock that each takes; the first match counts. A test runs an
 * example of each kind and compares the result with `pg_locks`.
 */
export const kinds: readonly Kind[] = [
  { name: "create function", pattern: pattern(`create (?:or replace )?(?:function|procedure) (?<object>${name})`) },
  { name: "create aggregate", pattern: pattern(`create (?:or replace )?aggregate (?<object>${name})`) },
  { name: "alter function", pattern: pattern(`alter (?:function|procedure|aggregate|routine) (?<object>${name})`) },
  {
    name: "drop function",
    pattern: pattern(`drop (?:function|procedure|aggregate|routine) ${ifExists}(?<object>${name})`),
  },
  {
    name: "comment on function",
    pattern: pattern(`comment on (?:function|procedure|aggregate|routine) (?<object>${name})`),
  },
  {
    name: "grant on function",
    pattern: pattern(
      `(?:grant|revoke) (?:execute|all|all privileges) on (?:all )?(?:function|procedure|routine)s? (?<object>${name}|in schema ${name})`,
    ),
  },
  { name: "grant on schema", pattern: pattern(`(?:grant|revoke) .+? on (?:schema|type|domain) (?<object>${names})`) },
  { name: "grant on table", pattern: pattern(`(?:grant|revoke) .+? on (?:table )?(?<object>${names}) (?:to|from)`) },
  { name: "grant role", pattern: pattern(`(?:grant|revoke) (?<object>${names}) (?:to|from)`) },
  { name: "alter default privileges", pattern: pattern("alter default privileges(?<object>)") },
  { name: "create schema", pattern: pattern(`create schema ${ifNotExists}(?<object>${name})`) },
  { name: "create type", pattern: pattern(`create (?:type|domain) (?<object>${name})`) },
  { name: "create operator", pattern: pattern(`create (?:operator|cast|collation)(?<object>)`) },
  { name: "alter type", pattern: pattern(`alter type (?<object>${name}) (?:add value|rename value|owner)`) },
  { name: "alter composite type", pattern: pattern(`alter type (?<on>${name})`), mode: "ACCESS EXCLUSIVE" },
  { name: "drop type", pattern: pattern(`drop (?:type|domain) ${ifExists}(?<object>${name})`), unknown: true },
  {
    name: "comment on schema",
    pattern: pattern(`comment on (?:schema|type|domain|role|extension) (?<object>${name})`),
  },

  {
    name: "create partition",
    pattern: pattern(`create table ${ifNotExists}(?<object>${name}) partition of (?<on>${name})`),
    mode: "ACCESS EXCLUSIVE",
  },
  { name: "create table", pattern: pattern(`create (?:unlogged )?table ${ifNotExists}(?<object>${name})`) },
  {
    name: "create temporary table",
    pattern: pattern(`create (?:temporary|temp) table ${ifNotExists}(?<object>${name})`),
  },
  {
    name: "attach partition",
    pattern: pattern(`alter table ${ifExists}(?<on>${name}) attach partition (?<exclusive>${name})`),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  {
    name: "validate constraint",
    pattern: pattern(`alter table ${ifExists}(?:only )?(?<on>${name}) validate constraint [^,]+$`),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  {
    name: "alter table set parameters",
    pattern: pattern(`alter table ${ifExists}(?:only )?(?<on>${name}) (?:re)?set ?\\([^)]*\\)$`),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  {
    name: "alter table set statistics",
    pattern: pattern(
      `alter table ${ifExists}(?:only )?(?<on>${name}) alter (?:column )?${part} set statistics -?\\d+$`,
    ),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  {
    name: "add foreign key",
    pattern: pattern(
      `alter table ${ifExists}(?:only )?(?<on>${name}) add (?:constraint ${part} )?foreign key ?\\([^)]*\\) references [^,]*(?:\\([^)]*\\))?[^,]*$`,
    ),
    mode: "SHARE ROW EXCLUSIVE",
  },
  {
    name: "enable trigger",
    pattern: pattern(
      `alter table ${ifExists}(?:only )?(?<on>${name}) (?:en|dis)able (?:always |replica )?trigger ${part}$`,
    ),
    mode: "SHARE ROW EXCLUSIVE",
  },
  {
    name: "alter columns",
    pattern: pattern(
      `alter table ${ifExists}(?<on>${name}) (?:add|drop|alter|rename column|rename constraint)\\b(?! trigger)`,
    ),
    mode: "ACCESS EXCLUSIVE",
    partitions: true,
  },
  {
    name: "alter table",
    pattern: pattern(`alter (?:table|view|materialized view|sequence|index) ${ifExists}(?:only )?(?<on>${name})`),
    mode: "ACCESS EXCLUSIVE",
  },
  {
    name: "drop table",
    pattern: pattern(`drop (?:table|view|materialized view|sequence) ${ifExists}(?<on>${names})`),
    mode: "ACCESS EXCLUSIVE",
    partitions: true,
  },
  {
    name: "drop index",
    pattern: pattern(`drop index ${ifExists}(?<on>${names})`),
    mode: "ACCESS EXCLUSIVE",
    partitions: true,
  },
  {
    name: "truncate",
    pattern: pattern(`truncate (?:table )?(?:only )?(?<on>${names})`),
    mode: "ACCESS EXCLUSIVE",
    partitions: true,
  },
  {
    name: "comment on column",
    pattern: pattern(`comment on column (?<on>${name})\\.${part} is`),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  {
    name: "comment on table",
    pattern: pattern(`comment on (?:table|view|materialized view|index|sequence) (?<on>${name})`),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  {
    name: "comment on a part of a table",
    pattern: pattern(`comment on (?:policy|trigger|constraint) ${part} on (?<object>${name})`),
  },

  {
    name: "create policy",
    pattern: pattern(`(?:create|alter) policy (?<object>${part}) on (?<on>${name})`),
    mode: "ACCESS EXCLUSIVE",
  },
  {
    name: "drop policy",
    pattern: pattern(`drop policy ${ifExists}(?<object>${part}) on (?<on>${name})`),
    mode: "ACCESS EXCLUSIVE",
  },
  {
    name: "create trigger",
    pattern: pattern(`create (?:or replace )?(?:constraint )?trigger (?<object>${part}) .+? on (?<on>${name})`),
    mode: "SHARE ROW EXCLUSIVE",
  },
  {
    name: "drop trigger",
    pattern: pattern(`drop trigger ${ifExists}(?<object>${part}) on (?<on>${name})`),
    mode: "ACCESS EXCLUSIVE",
  },
  { name: "replace view", pattern: pattern(`create or replace view (?<on>${name})`), mode: "ACCESS EXCLUSIVE" },
  { name: "create view", pattern: pattern(`create (?:materialized )?view ${ifNotExists}(?<object>${name})`) },
  {
    name: "refresh concurrently",
    pattern: pattern(`refresh materialized view concurrently (?<on>${name})`),
    mode: "EXCLUSIVE",
  },
  { name: "refresh", pattern: pattern(`refresh materialized view (?<on>${name})`), mode: "ACCESS EXCLUSIVE" },
  {
    name: "create index on only",
    pattern: pattern(`create (?:unique )?index (?:${ifNotExists}(?<object>${name}) )?on only (?<on>${name})`),
    mode: "SHARE",
  },
  {
    name: "create index",
    pattern: pattern(`create (?:unique )?index (?:${ifNotExists}(?<object>${name}) )?on (?<on>${name})`),
    mode: "SHARE",
    partitions: true,
  },
  {
    name: "create statistics",
    pattern: pattern(`create statistics (?:${ifNotExists}(?<object>${name}) )?.*\\bfrom (?<on>${name})$`),
    mode: "SHARE UPDATE EXCLUSIVE",
  },
  { name: "create sequence", pattern: pattern(`create sequence ${ifNotExists}(?<object>${name})`) },
  { name: "insert", pattern: pattern(`insert into (?<on>${name})`), mode: "ROW EXCLUSIVE" },
  { name: "update", pattern: pattern(`update (?:only )?(?<on>${name})`), mode: "ROW EXCLUSIVE" },
  { name: "delete", pattern: pattern(`delete from (?:only )?(?<on>${name})`), mode: "ROW EXCLUSIVE" },
  { name: "set", pattern: pattern(`set (?<object>[\\w.]+)`) },
  { name: "do", pattern: pattern("do\\b(?<object>)"), unknown: true },
];

/** Tables that a foreign key references are locked too, to prevent concurrent deletion of their rows. */
const references = new RegExp(String.raw`\breferences (${name})`, "gi");
const withReferences = new Set(["create table", "create partition", "alter columns", "add foreign key"]);

/**
 * A block that only checks and sets something, as prepare.sql does: outside of its strings, no word of it could lock a
 * table.
 */
function onlyLooks(block: string): boolean {
  const code = block.replace(/--[^\n]*/g, "").replace(/'(?:[^']|'')*'/g, "''");
  const writes =
    /\b(execute|create|alter|drop|grant|revoke|comment|insert|update|delete|merge|truncate|lock|refresh|call)\b/i;
  return !writes.test(code) && !/\bperform (?!(?:pg_catalog\.)?set_config\b)/i.test(code);
}

const plain = (relation: string): string => relation.replace(/\s+/g, "");

/** Classifies a statement and its locks by the table of kinds. */
export function describe({ normal }: Pick<Statement, "normal">): Described {
  for (const kind of kinds) {
    const groups = kind.pattern.exec(normal)?.groups;
    if (groups === undefined) continue;
    const on = (groups["on"] ?? "")
      .split(",")
      .map(plain)
      .filter((relation) => relation !== "");
    const locks = new Map<string, LockMode>();
    const add = (relation: string, mode: LockMode): void => {
      locks.set(relation, stronger(mode, locks.get(relation) ?? mode));
    };
    if (kind.mode !== undefined) for (const relation of on) add(relation, kind.mode);
    if (groups["exclusive"] !== undefined) add(plain(groups["exclusive"]), "ACCESS EXCLUSIVE");
    if (withReferences.has(kind.name)) {
      for (const [, relation] of normal.matchAll(references)) add(plain(relation ?? ""), "SHARE ROW EXCLUSIVE");
    }
    return {
      kind: kind.name,
      object: plain(groups["object"] ?? on.join(", ")),
      locks: [...locks].map(([relation, mode]) => ({
        relation,
        mode,
        ...(kind.partitions === true && on.includes(relation) ? { partitions: true as const } : {}),
      })),
      known: kind.unknown !== true || (kind.name === "do" && onlyLooks(normal)),
    };
  }
  return { kind: undefined, object: "", locks: [], known: false };
}

/** Whether a statement is known to lock no existing table, view or index. */
export const locksNothing = (statement: Pick<Statement, "normal">): boolean => {
  const { known, locks } = describe(statement);
  return known && locks.length === 0;
};

/** A lock on an existing relation. */
export interface Lock {
  relation: string;
  mode: LockMode;
  bytes: number;
  /** The number of partitions that are locked with it. */
  partitions: number;
}

/** The locks of statements on existing relations: with the tables of dropped indexes, and with their sizes. */
export async function locksIn(client: pg.ClientBase, locks: readonly LockedRelation[]): Promise<Lock[]> {
  const { rows } = await client.query<Lock>(
    `with asked as (
       select pg_catalog.to_regclass(relation) as oid, mode, partitions
       from jsonb_to_recordset($1::jsonb) as asked (relation text, mode text, partitions boolean)
     ),
     locked as (
       select oid, mode, partitions from asked
       union all
       -- To drop an index takes its table too.
       select index.indrelid, mode, partitions from asked join pg_catalog.pg_index as index
         on index.indexrelid = asked.oid and asked.mode = 'ACCESS EXCLUSIVE'
     )
     select locked.oid::regclass::text as relation, mode,
       sum(pg_catalog.pg_relation_size(tree.relid))::float8 as bytes,
       (count(*) filter (where locked.partitions and tree.level > 0))::int as partitions
     from locked
     join pg_catalog.pg_class as class on class.oid = locked.oid
     cross join lateral (
       select relid, level from pg_catalog.pg_partition_tree(locked.oid)
       union
       select locked.oid::regclass, 0
     ) as tree
     group by locked.oid, mode
     order by 1, 2`,
    [JSON.stringify(locks)],
  );
  const strongest = new Map<string, Lock>();
  for (const lock of rows) {
    const other = strongest.get(lock.relation);
    if (other === undefined || stronger(lock.mode, other.mode) === lock.mode) strongest.set(lock.relation, lock);
  }
  return [...strongest.values()];
}
