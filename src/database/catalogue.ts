import type pg from "pg";

/** Schemas of the installation: all but those of the system, of extensions and of tools. */
export const rooms = `
  select oid, nspname
  from pg_catalog.pg_namespace
  where nspname !~ '^pg_'
    and nspname not in ('information_schema', 'public', 'graphile_migrate', 'insights_queue')
    and not exists (
      select from pg_catalog.pg_depend as dependency
      where dependency.classid = 'pg_catalog.pg_namespace'::regclass
        and dependency.objid = pg_namespace.oid
        and dependency.deptype = 'e'
    )
`;

/** Each object of the rooms under an unambiguous name, with its whole definition. */
const objects = `
  with room as (${rooms}),

  relation as (
    select class.oid, room.nspname, class.relname, class.relkind, class.relowner, class.relacl, class.relrowsecurity,
      class.relforcerowsecurity, class.reloptions, class.relpersistence, class.relispartition, class.relpartbound,
      format('%I.%I', room.nspname, class.relname) as name
    from pg_catalog.pg_class as class
    join room on room.oid = class.relnamespace
  )

  select 'schema ' || room.nspname as object, jsonb_build_object(
    'owner', pg_get_userbyid(namespace.nspowner),
    'acl', (select array_agg(acl::text order by acl::text) from unnest(namespace.nspacl) as acl),
    'comment', obj_description(namespace.oid, 'pg_namespace')
  ) as definition
  from room
  join pg_catalog.pg_namespace as namespace on namespace.oid = room.oid

  union all
  select 'relation ' || relation.name, jsonb_build_object(
    'kind', relation.relkind,
    'persistence', relation.relpersistence,
    'owner', pg_get_userbyid(relation.relowner),
    'acl', (select array_agg(acl::text order by acl::text) from unnest(relation.relacl) as acl),
    'row_security', relation.relrowsecurity,
    'forced', relation.relforcerowsecurity,
    'options', relation.reloptions,
    'partitioned', case relation.relkind when 'p' then pg_get_partkeydef(relation.oid) end,
    'partition', pg_get_expr(relation.relpartbound, relation.oid),
    'view', case when relation.relkind in ('v', 'm') then pg_get_viewdef(relation.oid) end,
    'sequence', (
      select to_jsonb(sequence) - 'seqrelid' from pg_catalog.pg_sequence as sequence where sequence.seqrelid = relation.oid
    ),
    'comment', obj_description(relation.oid, 'pg_class')
  )
  from relation
  where relation.relkind in ('r', 'p', 'v', 'm', 'S', 'c', 'f')

  union all
  select format('column %s.%I', relation.name, attribute.attname), jsonb_build_object(
    'position', row_number() over (partition by relation.oid order by attribute.attnum),
    'type', format_type(attribute.atttypid, attribute.atttypmod),
    'not_null', attribute.attnotnull,
    'default', pg_get_expr(expression.adbin, expression.adrelid),
    'generated', attribute.attgenerated,
    'identity', attribute.attidentity,
    'collation', nullif(attribute.attcollation, 0)::regcollation::text,
    'storage', attribute.attstorage,
    'acl', (select array_agg(acl::text order by acl::text) from unnest(attribute.attacl) as acl),
    'comment', col_description(relation.oid, attribute.attnum)
  )
  from relation
  join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation.oid
  left join pg_catalog.pg_attrdef as expression on expression.adrelid = relation.oid and expression.adnum = attribute.attnum
  where relation.relkind in ('r', 'p', 'v', 'm', 'c', 'f')
    and attribute.attnum > 0
    and not attribute.attisdropped

  union all
  select format('constraint %s.%I', relation.name, definition.conname), jsonb_build_object(
    'definition', pg_get_constraintdef(definition.oid),
    'validated', definition.convalidated,
    'comment', obj_description(definition.oid, 'pg_constraint')
  )
  from relation
  join pg_catalog.pg_constraint as definition on definition.conrelid = relation.oid

  union all
  select format('index %I.%I', relation.nspname, index_relation.relname), jsonb_build_object(
    'definition', pg_get_indexdef(index.indexrelid),
    'valid', index.indisvalid,
    'comment', obj_description(index.indexrelid, 'pg_class')
  )
  from relation
  join pg_catalog.pg_index as index on index.indrelid = relation.oid
  join pg_catalog.pg_class as index_relation on index_relation.oid = index.indexrelid

  union all
  select 'function ' || function.oid::regprocedure, jsonb_build_object(
    'definition', case when function.prokind in ('f', 'p') then pg_get_functiondef(function.oid) end,
    'aggregate', (
      select to_jsonb(aggregate) - 'aggfnoid' - 'aggtranstype' || jsonb_build_object(
        'aggtranstype', format_type(aggregate.aggtranstype, null),
        'arguments', pg_get_function_arguments(function.oid),
        'result', pg_get_function_result(function.oid),
        'parallel', function.proparallel
      )
      from pg_catalog.pg_aggregate as aggregate
      where aggregate.aggfnoid = function.oid
    ),
    'owner', pg_get_userbyid(function.proowner),
    'acl', (select array_agg(acl::text order by acl::text) from unnest(function.proacl) as acl),
    'comment', obj_description(function.oid, 'pg_proc')
  )
  from pg_catalog.pg_proc as function
  join room on room.oid = function.pronamespace

  union all
  select format('type %I.%I', room.nspname, type.typname), jsonb_build_object(
    'kind', type.typtype,
    'owner', pg_get_userbyid(type.typowner),
    'acl', (select array_agg(acl::text order by acl::text) from unnest(type.typacl) as acl),
    'labels', (
      select array_agg(label.enumlabel order by label.enumsortorder)
      from pg_catalog.pg_enum as label
      where label.enumtypid = type.oid
    ),
    'base', case type.typtype when 'd' then format_type(type.typbasetype, type.typtypmod) end,
    'not_null', type.typnotnull,
    'default', type.typdefault,
    'constraints', (
      select array_agg(pg_get_constraintdef(definition.oid) order by definition.conname)
      from pg_catalog.pg_constraint as definition
      where definition.contypid = type.oid
    ),
    'comment', obj_description(type.oid, 'pg_type')
  )
  from pg_catalog.pg_type as type
  join room on room.oid = type.typnamespace
  where type.typtype in ('c', 'd', 'e', 'r')

  union all
  select format('trigger %s.%I', relation.name, definition.tgname), jsonb_build_object(
    'definition', pg_get_triggerdef(definition.oid),
    'enabled', definition.tgenabled,
    'comment', obj_description(definition.oid, 'pg_trigger')
  )
  from relation
  join pg_catalog.pg_trigger as definition on definition.tgrelid = relation.oid
  where not definition.tgisinternal

  union all
  select format('policy %s.%I', relation.name, policy.polname), jsonb_build_object(
    'command', policy.polcmd,
    'permissive', policy.polpermissive,
    'roles', (select array_agg(role.rolname order by role.rolname) from pg_catalog.pg_roles as role where role.oid = any (policy.polroles)),
    'using', pg_get_expr(policy.polqual, policy.polrelid),
    'check', pg_get_expr(policy.polwithcheck, policy.polrelid),
    'comment', obj_description(policy.oid, 'pg_policy')
  )
  from relation
  join pg_catalog.pg_policy as policy on policy.polrelid = relation.oid

  union all
  select format('statistics %I.%I', room.nspname, statistics.stxname), jsonb_build_object(
    'definition', pg_get_statisticsobjdef(statistics.oid),
    'owner', pg_get_userbyid(statistics.stxowner)
  )
  from pg_catalog.pg_statistic_ext as statistics
  join room on room.oid = statistics.stxnamespace

  union all
  select 'operator ' || operator.oid::regoperator, jsonb_build_object(
    'function', operator.oprcode::regprocedure,
    'owner', pg_get_userbyid(operator.oprowner)
  )
  from pg_catalog.pg_operator as operator
  join room on room.oid = operator.oprnamespace

  union all
  select format('default privileges of %s in %s for %s', pg_get_userbyid(privileges.defaclrole),
      coalesce(room.nspname, 'every schema'), privileges.defaclobjtype), jsonb_build_object(
    'acl', (select array_agg(acl::text order by acl::text) from unnest(privileges.defaclacl) as acl)
  )
  from pg_catalog.pg_default_acl as privileges
  left join room on room.oid = privileges.defaclnamespace
`;

export type Catalogue = Record<string, Record<string, unknown>>;

/**
 * All objects of the rooms as they are in the catalogue: two databases are equal if these are. Names are fully
 * qualified if the search_path is empty.
 */
export async function catalogueOf(client: { query(sql: string): Promise<pg.QueryResult> }): Promise<Catalogue> {
  const { rows } = (await client.query(
    `select object, jsonb_strip_nulls(definition) as definition from (${objects}) as object order by object`,
  )) as { rows: { object: string; definition: Record<string, unknown> }[] };
  return Object.fromEntries(rows.map(({ object, definition }) => [object, definition]));
}

/** The differences between two catalogues, one line per object. */
export function differences(
  actual: Catalogue,
  expected: Catalogue,
  names: { actual: string; expected: string },
): string[] {
  const lines: string[] = [];
  for (const object of [...new Set([...Object.keys(actual), ...Object.keys(expected)])].sort()) {
    const one = actual[object];
    const other = expected[object];
    if (one === undefined) lines.push(`${object}: only in ${names.expected}`);
    else if (other === undefined) lines.push(`${object}: only in ${names.actual}`);
    else {
      const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])];
      const differing = keys.filter((key) => JSON.stringify(one[key]) !== JSON.stringify(other[key]));
      if (differing.length > 0) lines.push(`${object}: ${differing.join(", ")}`);
    }
  }
  return lines;
}
