/* A definer: it reads the list of tables and the dropped foreign keys, and returns names and statements only. */
create or replace function track.distribution_steps(undo boolean default false)
returns setof track.distribution_step
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_distributed oid[] := '{}';
  v_known oid[] := '{}';
  -- These relations exist only where the extension does.
  v_partition constant regclass := to_regclass('pg_catalog.pg_dist_partition');
  v_object constant regclass := to_regclass('pg_catalog.pg_dist_object');
begin
  if distribution_steps.undo is null then
    perform common.refuse('CF001', 'undo is null', 'Give true or false.');
  end if;
  if v_partition is not null then
    execute format(
      $query$
        select
          array(select logicalrelid::oid from %1$s where partmethod = 'h'),
          array(select objid from %2$s where classid = 'pg_catalog.pg_proc'::regclass)
      $query$,
      v_partition, v_object
    )
    into v_distributed, v_known;
  end if;

  return query
  with listed as (
    select
      to_regclass(format('%I.%I', distribution.schema_name, distribution.table_name)) as relation,
      format('%I.%I', distribution.schema_name, distribution.table_name) as name,
      distribution.column_name, distribution.colocated_with
    from track.distribution
  ),

  reference as (
    select reference.conrelid::regclass as relation, listed.name, reference.conname, reference.oid
    from pg_constraint as reference
    join listed on listed.relation = reference.conrelid
    where reference.contype = 'f'
      and reference.conparentid = 0
      and reference.confrelid not in (select listed.relation from listed)
  ),

  -- Functions that compute from their arguments only: what filters and sums rows runs where the rows are. The type of a
  -- row is not known there.
  computing as (
    select function.oid, namespace.nspname::text as room
    from pg_proc as function
    join pg_namespace as namespace on namespace.oid = function.pronamespace
    where namespace.nspname in (select distribution.schema_name from track.distribution union all values ('common'))
      and function.provolatile = 'i'
      and function.prokind in ('f', 'a')
      and function.oid <> all (v_known)
      and not exists (
        select
        from unnest(function.proargtypes || function.prorettype) as named (oid)
        join pg_type as type on type.oid = named.oid
        join pg_type as element on element.oid = coalesce(nullif(type.typelem, 0), type.oid)
        join pg_class as class on class.oid = element.typrelid
        where class.relkind <> 'c'
      )
  ),

  -- Citus determines the shards from the values of the parameters, so that a plan for all values fails.
  planned as (
    select function.oid::regprocedure::text as signature, setting.value
    from pg_proc as function
    join pg_namespace as namespace on namespace.oid = function.pronamespace
    cross join lateral unnest(function.proconfig) as setting (value)
    where namespace.nspname in (select distribution.schema_name from track.distribution)
      and setting.value in ('plan_cache_mode=force_generic_plan', 'plan_cache_mode=auto')
      and exists (
        select
        from listed
        where function.prosrc ~ ('\m' || replace(listed.name, '.', '\.') || '\M')
      )
  ),

  step (position, action, name, detail, statement) as (
    select
      0, 'plan for each execution', planned.signature, null,
      format('alter function %s set plan_cache_mode to auto', planned.signature)
    from planned
    where not distribution_steps.undo
      and planned.value = 'plan_cache_mode=force_generic_plan'

    union all

    select
      3, 'plan once', planned.signature, null,
      format('alter function %s set plan_cache_mode to force_generic_plan', planned.signature)
    from planned
    where distribution_steps.undo
      and planned.value = 'plan_cache_mode=auto'

    union all

    select
      0, 'copy functions', computing.room, format('%s functions', count(*)),
      format(
        'select count(create_distributed_function(function)) '
          'from unnest(%L::regprocedure[]) as function',
        array_agg(computing.oid::regprocedure order by computing.oid)
      )
    from computing
    where not distribution_steps.undo
    group by computing.room

    union all

    select
      1, 'drop foreign key', reference.name, reference.conname::text,
      format(
        'insert into track.dropped_reference (table_name, constraint_name, definition) values (%L, %L, %L) '
          'on conflict (table_name, constraint_name) do update set definition = excluded.definition; '
          'alter table %s drop constraint %I',
        reference.name, reference.conname, pg_get_constraintdef(reference.oid), reference.name, reference.conname
      )
    from reference
    where not distribution_steps.undo

    union all

    -- The table that others are colocated with comes before them.
    select
      case when listed.colocated_with is null then 2 else 3 end, 'distribute', listed.name, listed.column_name,
      format(
        'select create_distributed_table(%L, %L, colocate_with => %L)',
        listed.name, listed.column_name, coalesce(listed.colocated_with, 'none')
      )
    from listed
    where not distribution_steps.undo
      and listed.relation <> all (v_distributed)

    union all

    -- The rows from before, which no query reads any more.
    select
      4, 'truncate the local rows', listed.name, null,
      format('select truncate_local_data_after_distributing_table(%L)', listed.name)
    from listed
    where not distribution_steps.undo
      and listed.relation = any (v_distributed)
      and (
        pg_relation_size(listed.relation) > 0
        or exists (
          select
          from pg_partition_tree(listed.relation) as part
          where part.isleaf
            and pg_relation_size(part.relid) > 0
        )
      )

    union all

    -- Not by `undistribute_table`, which makes another table, without the privileges and comments of this one.
    select
      1, 'undistribute', listed.name, listed.column_name,
      format(
        $statement$
          lock table %1$s in access exclusive mode;
          create temporary table moved_rows on commit drop as select * from %1$s;
          create temporary table moved_part on commit drop as
            select part.relid, part.level, namespace.nspname, class.relname
            from (
              select relid, level from pg_catalog.pg_partition_tree(%2$L)
              -- A table without partitions has no tree of partitions.
              union
              select %2$L::regclass, 0
            ) as part
            join pg_catalog.pg_class as class on class.oid = part.relid
            join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace;
          select master_remove_distributed_table_metadata_from_workers(relid, nspname, relname)
          from moved_part order by level;
          select citus_drop_all_shards(relid, nspname, relname, level > 0) from moved_part order by level desc;
          select master_remove_partition_metadata(relid, nspname, relname) from moved_part order by level desc;
          delete from pg_catalog.pg_dist_object
          where classid = 'pg_catalog.pg_class'::regclass and objid in (select relid from moved_part);
          delete from %1$s;
          insert into %1$s select * from moved_rows
        $statement$,
        listed.name, listed.name
      )
    from listed
    where distribution_steps.undo
      and listed.relation = any (v_distributed)

    union all

    select
      2, 'restore foreign key', dropped.table_name, dropped.constraint_name,
      case
        when exists (
          select
          from pg_constraint as present
          where present.conrelid = to_regclass(dropped.table_name)
            and present.conname = dropped.constraint_name
        ) or to_regclass(dropped.table_name) is null then ''
        else format(
          'alter table %s add constraint %I %s; ', dropped.table_name, dropped.constraint_name, dropped.definition
        )
      end || format(
        'delete from track.dropped_reference where table_name = %L and constraint_name = %L',
        dropped.table_name, dropped.constraint_name
      )
    from track.dropped_reference as dropped
    where distribution_steps.undo
  )

  select step.action, step.name, step.detail, step.statement
  from step
  order by step.position, step.name, step.detail;
end;
$$;

comment on function track.distribution_steps(boolean) is $$
@behavior -queryField
Returns what is left to do to distribute the tables of `track.distribution` over the nodes of a cluster of Citus.
One row per step, in order; each statement is a transaction of its own, by a member of the owner of the tables:
`insights distribute` executes them, and `insights doctor` reports them. With `undo`, the steps back: the rows return to
the coordinator, and the foreign keys are added again. No row: nothing is left. Citus must be 13 or later.
A table that is distributed is locked against writes while its rows are moved.
Errors: CF001 if `undo` is null.
Source: Citus 14, `create_distributed_table` and `citus_drop_trigger`.
$$;

grant execute on function track.distribution_steps(boolean) to insights_admin, insights_worker;
