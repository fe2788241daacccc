create or replace function common.output_table(
  output_table text,
  suffixes text[] default '{}'
)
returns text
language plpgsql
volatile
as $$
declare
  v_parts text[];
  v_schema text;
  v_name text;
  v_suffix text;
begin
  begin
    v_parts := parse_ident(output_table);
  exception when invalid_parameter_value then
    null;
  end;
  if v_parts is null or array_length(v_parts, 1) > 2 then
    perform common.refuse(
      'CF001',
      format('"%s" is not a name for the output table', coalesce(left(output_table, 100), 'null')),
      'Give name or schema.name; put a name with blanks, capitals or semicolons into double quotes.'
    );
  end if;
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('CF005', 'no table can be written: this server or transaction only reads',
      'Connect to the primary server, or begin a transaction that may write.');
  end if;
  v_name := v_parts[array_length(v_parts, 1)];
  v_schema := case when array_length(v_parts, 1) = 2 then v_parts[1] else current_schema() end;
  if v_schema = 'pg_temp' and has_database_privilege(current_database(), 'temporary') then
    -- The schema of temporary tables exists from the first one on.
    if pg_my_temp_schema() = 0 then
      create temporary table _output_first ();
      drop table pg_temp._output_first;
    end if;
    v_schema := (select nspname from pg_catalog.pg_namespace where oid = pg_my_temp_schema());
  end if;
  if v_schema is null or to_regnamespace(quote_ident(v_schema)) is null then
    perform common.refuse('CF002', format('there is no schema "%s"', coalesce(left(v_schema, 100), '')),
      'Create it, or name the output table as schema.name.');
  end if;
  if not has_schema_privilege(v_schema, 'create') then
    perform common.refuse(
      'CF005',
      format('role "%s" may not create tables in schema "%s"', current_user, left(v_schema, 100)),
      'Name the output table in a schema of your own.'
    );
  end if;
  foreach v_suffix in array array['']::text[] || suffixes loop
    if octet_length(v_name || v_suffix) > 63 then
      perform common.refuse('CF001', format('the name "%s" is longer than 63 bytes', left(v_name || v_suffix, 100)),
        'Choose a shorter name for the output table.');
    end if;
    -- Held until the end of the transaction: a name is given to one session at a time.
    if not pg_try_advisory_xact_lock(hashtextextended(format('common.output_table %I.%I', v_schema, v_name || v_suffix),
      0)) then
      perform common.refuse(
        'CF003',
        format('the output table "%s" is being written by another session', left(v_name || v_suffix, 100)),
        'Wait for it, or choose another name; nothing is overwritten.'
      );
    end if;
    if to_regclass(format('%I.%I', v_schema, v_name || v_suffix)) is not null then
      perform common.refuse('CF003', format('the output table "%s" exists already', left(v_name || v_suffix, 100)),
        'Drop it, or choose another name; nothing is overwritten.');
    end if;
  end loop;
  return format('%I.%I', v_schema, v_name);
end;
$$;

comment on function common.output_table(text, text[]) is $$
Returns the quoted, qualified name of a table to be created, after checking it and the names with the suffixes.
In `pg_temp` it is a temporary table of the session.
Two sessions do not get one name: it is locked until the end of the transaction.
Errors: CF001 (not a name), CF002 (no such schema), CF003 (a table exists, or another session writes it), CF005 (no
right to create in the schema, or a server that only reads).
$$;

grant execute on function common.output_table(text, text[]) to insights_analyst, insights_admin, insights_worker;
