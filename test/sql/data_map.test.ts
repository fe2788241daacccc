import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";

/*
 * The data map is complete: a column that can hold a person's data is in it, or the test fails.
 */
const database = await testDatabase();

/**
 * Columns of free content that are not in the map. A column cannot hold a person's data when it is a truth value, a
 * number, a date, a time or an interval and does not refer to a person, or when its values are a fixed list of words.
 */
const unmapped = `
  select format('%I.%I.%I', namespace.nspname, relation.relname, attribute.attname) as offender
  from pg_catalog.pg_class as relation
  join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
  join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation.oid
  where relation.relkind in ('r', 'p', 'm', 'f')
    and not relation.relispartition
    and namespace.nspname !~ '^pg_'
    and namespace.nspname not in ('information_schema', 'public')
    and attribute.attnum > 0
    and not attribute.attisdropped
    and (
      attribute.atttypid <> all ('{bool,int2,int4,int8,float4,float8,numeric,date,timestamptz,timestamp,interval}'::regtype[])
      or attribute.attname ~ '(person|identity)(_id)?$'
    )
    and not exists (
      select
      from pg_catalog.pg_constraint as words
      where words.conrelid = relation.oid
        and words.contype = 'c'
        and words.conkey = array[attribute.attnum]
        and pg_get_constraintdef(words.oid) ~ '^CHECK \\(\\(\\w+ = ANY \\(ARRAY\\[[^()]*\\]\\)\\)\\)$'
    )
    and not exists (
      select
      from privacy.data_map as entry
      where entry.schema_name = namespace.nspname
        and entry.table_name = relation.relname
        and entry.column_name = attribute.attname
    )
  order by 1`;

const offenders = async (db: Queries, sql: string): Promise<string[]> =>
  (await db.rows<{ offender: string }>(sql)).map(({ offender }) => offender);

test("every column that can hold a person's data is in the map", async () => {
  const missing = await offenders(database, unmapped);
  expect(missing, `add to src/sql/<room>/data_map.sql:\n${missing.join("\n")}`).toEqual([]);
});

test("a planted column is found, of any type and in any schema", async () => {
  await database.as("postgres", {}, async (db) => {
    const before = new Set(await offenders(db, unmapped));
    await db.query(`
      create schema planted;
      create table planted.free (
        a text, b jsonb, c json, d bit(8), e varbit, f bytea, g uuid, h int[], i inet, j public.vector(3), k name, l xml,
        m tsvector, n varchar(3), o char, p int4range, r oid, s timestamptz[]
      );`);
    await db.query(`
      create table track.planted (
        person_id bigint, identity_id bigint, other_identity_id bigint, person int,
        item_id bigint, amount numeric, is_seen boolean, seen_at timestamptz, share real, length interval, day date,
        word text check (word in ('one', 'two')), free text check (free in ('one', 'two') or length(free) = 5)
      );
      create materialized view planted.view as select 'Ada'::text as name, 1 as number;
      alter table monitor.run add column note text;
      create type planted.name as (word text);
      alter table planted.free add column u planted.name;
      create domain planted.word as text;
      alter table planted.free add column v planted.word;
    `);
    expect((await offenders(db, unmapped)).filter((name) => !before.has(name))).toEqual([
      "monitor.run.note",
      ..."abcdefghijklmnoprsuv".split("").map((column) => `planted.free.${column}`),
      "planted.view.name",
      ...["free", "identity_id", "other_identity_id", "person", "person_id"].map((column) => `track.planted.${column}`),
    ]);
  });
});

test("the map names what exists", async () => {
  // The schemas of the queue and of the releases are made by their tools, where they are used.
  const absent = `
    select format('%I.%I.%I', entry.schema_name, entry.table_name, entry.column_name) as offender
    from privacy.data_map as entry
    where to_regnamespace(entry.schema_name) is not null
      and not exists (
        select
        from pg_catalog.pg_attribute as attribute
        where attribute.attrelid = to_regclass(format('%I.%I', entry.schema_name, entry.table_name))
          and attribute.attname = entry.column_name
          and not attribute.attisdropped
      )`;
  expect(await offenders(database, absent)).toEqual([]);
  expect(
    await offenders(
      database,
      `select distinct schema_name as offender from privacy.data_map where to_regnamespace(schema_name) is null
         and schema_name not in ('insights_queue', 'graphile_migrate')`,
    ),
  ).toEqual([]);
});

test("a column that holds none has a reason, and one that is kept has a basis", async () => {
  expect(
    await offenders(
      database,
      `select format('%I.%I.%I', schema_name, table_name, column_name) as offender from privacy.data_map
       where description !~ '^[A-Z].{8,}[.]$' or holds = 'none' and erasure <> 'kept'
         or (erasure = 'kept' and holds <> 'none') <> (basis is not null)`,
    ),
  ).toEqual([]);
  for (const [holds, erasure, basis] of [
    ["none", "deleted", null],
    ["traits", "kept", null],
    ["traits", "deleted", "Because."],
    ["secrets", "deleted", null],
    ["traits", "lost", null],
  ]) {
    expect(
      await database.rejects(
        `insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
         values ('a', 'b', 'c', $1, 'service', $2, 'Some column.', $3)`,
        [holds, erasure, basis],
      ),
    ).toMatchObject({ code: "23514" });
  }
});
