/* Table, columns and condition are those of privacy.retention_class, which only releases write. */
create or replace function privacy._expired_rows(class privacy.retention_class)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
return format(
  'stored.%I < $1 and (%s)', class.time_column, coalesce(class.condition, 'true')
);

comment on function privacy._expired_rows(privacy.retention_class) is $$
Returns the condition of the rows of a class that are older than `$1`.
$$;

create or replace function privacy._held_rows(class privacy.retention_class)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
return case
  when class.person_column is null then 'false'
  else format('stored.%I in (select restricted from privacy.restricted() as restricted)', class.person_column)
end;

comment on function privacy._held_rows(privacy.retention_class) is $$
Returns the condition of the rows of a class whose person has her data restricted.
$$;

create or replace function privacy._plan_rows(
  class privacy.retention_class, rule privacy.retention, horizon timestamptz
)
returns setof privacy.retention_step
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query execute format(
    'select $2, %L, %L, count(*) filter (where %s and not (%s)), %L::text[], count(*) filter (where %s and %s),
      min(stored.%I)::timestamptz, $1
    from %s as stored',
    class.table_name, rule.method, privacy._expired_rows(class), privacy._held_rows(class), '{}',
    privacy._expired_rows(class), privacy._held_rows(class), class.time_column, class.table_name
  )
  using horizon, rule.rule;
end;
$$;

comment on function privacy._plan_rows(privacy.retention_class, privacy.retention, timestamptz) is $$
Counts the rows of a class that a rule deletes with the next run.
$$;

create or replace function privacy._delete_rows(
  class privacy.retention_class, rule privacy.retention, horizon timestamptz, most_rows int
)
returns setof privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_keys constant text[] := array(
    select format('%I', attribute.attname)
    from pg_catalog.pg_index
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = pg_index.indrelid
      and attribute.attnum = any (pg_index.indkey::int2[])
    where pg_index.indrelid = (class).table_name::regclass
      and pg_index.indisprimary
    order by attribute.attnum
  );
  v_step privacy.retention_step;
  v_positions bigint[];
begin
  execute format(
    'with picked as (
      select %1$s
      from %2$s as stored
      where %3$s and not (%4$s)
      order by stored.%5$I
      limit $2
    ),

    deleted as (
      delete from %2$s as stored
      using picked
      where (%6$s) = (%7$s)
      returning stored.%5$I::timestamptz as at, array[%8$s]::bigint[] as positions
    )

    select
      (select count(*) from deleted),
      (select min(deleted.at) from deleted),
      (select array_agg(entry.position) from deleted cross join lateral unnest(deleted.positions) as entry (position))',
    (select string_agg('stored.' || key, ', ') from unnest(v_keys) as key),
    class.table_name,
    privacy._expired_rows(class),
    privacy._held_rows(class),
    class.time_column,
    (select string_agg('stored.' || key, ', ') from unnest(v_keys) as key),
    (select string_agg('picked.' || key, ', ') from unnest(v_keys) as key),
    (select string_agg(format('stored.%I', sealed), ', ') from unnest(class.sealed_columns) as sealed)
  )
  into v_step.row_count, v_step.oldest_at, v_positions
  using horizon, most_rows;
  if v_step.row_count = 0 then
    return;
  end if;
  if v_positions is not null then
    perform privacy.account_removal(v_positions, 'retention');
  end if;
  v_step.rule := rule.rule;
  v_step.table_name := class.table_name;
  v_step.method := rule.method;
  v_step.partitions := '{}';
  v_step.horizon := horizon;
  return next v_step;
end;
$$;

comment on function privacy._delete_rows(privacy.retention_class, privacy.retention, timestamptz, int) is $$
Deletes at most `most_rows` rows of a class, the oldest first; the ledger accounts for those that were sealed.
$$;
