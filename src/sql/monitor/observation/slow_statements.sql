create or replace function monitor.slow_statements(top int default 20)
returns setof monitor.slow_statement
language plpgsql
stable
-- A definer: the statements of other roles are visible to members of pg_read_all_stats only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_schema constant text := (
    select namespace.nspname
    from pg_extension as extension
    join pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'pg_stat_statements'
  );
begin
  perform common.check_count('top', slow_statements.top, 1, 1000);
  if v_schema is null then
    perform common.refuse(
      'CF002',
      'the extension "pg_stat_statements" is not installed in this database',
      'As an administrator, add pg_stat_statements to shared_preload_libraries, restart the server, and run: '
        'create extension pg_stat_statements'
    );
  end if;
  begin
    return query execute format(
      $statement$
        with counted as (
          select query, calls, total_exec_time, mean_exec_time, max_exec_time, rows,
            shared_blks_hit + shared_blks_read as blocks, sum(total_exec_time) over () as total
          from %I.pg_stat_statements
          where dbid = (select oid from pg_database where datname = current_database())
          order by total_exec_time desc
          limit $1
        )

        select
          -- Of other statements the server keeps the text as it was sent, with the values in it.
          case when plain.text ~* '^\s*(select|with|insert|update|delete|merge)\s' then left(plain.text, 1000) end,
          counted.calls, counted.total_exec_time / 1000, counted.mean_exec_time, counted.max_exec_time,
          counted.total_exec_time / nullif(counted.total, 0), counted.rows, counted.blocks
        from counted
        cross join lateral (
          select regexp_replace(regexp_replace(counted.query, '/\*.*?\*/', '', 'g'), '--[^\n]*', '', 'g') as text
        ) as plain
        order by counted.total_exec_time desc
      $statement$,
      v_schema
    )
    using slow_statements.top;
  exception
    when object_not_in_prerequisite_state then
      perform common.refuse(
        'CF002',
        'the extension "pg_stat_statements" is installed, but not loaded by the server',
        'As an administrator, add pg_stat_statements to shared_preload_libraries and restart the server.'
      );
  end;
end;
$$;

comment on function monitor.slow_statements(int) is $$
Returns the statements of this database that took most time in total, where pg_stat_statements is installed.
The text has parameters in place of values. It is null for statements that are not a query, and for all statements of
other roles unless `insights_owner` is a member of `pg_read_all_stats`.
Errors: CF001 for `top` outside of 1 to 1000, CF002 when the extension is not installed or not loaded.
$$;

grant execute on function monitor.slow_statements(int) to insights_admin;
