/* Reads the tables of all rooms through their functions in privacy.handler: its callers are definers. */
create or replace function privacy._export_document(subject privacy.subject)
returns jsonb
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set intervalstyle to 'iso_8601'
set extra_float_digits to 1
set bytea_output to 'hex'
set jit to off
as $$
declare
  v_handler privacy.handler;
  v_room privacy.exported[];
  v_all privacy.exported[] := '{}';
  v_rows bigint;
  v_document jsonb;
begin
  for v_handler in
    select handler.*
    from privacy.handler
    where handler.export_function is not null
    order by handler.position desc
  loop
    execute format(
      'select array(select exported from %I.%I($1) as exported)',
      split_part(v_handler.export_function, '.', 1), split_part(v_handler.export_function, '.', 2)
    )
    into v_room
    using _export_document.subject;
    v_all := v_all || v_room;
  end loop;
  select coalesce(sum(exported.row_count), 0) into v_rows from unnest(v_all) as exported;

  insert into privacy.export_log (identity_id, exported_by, row_count)
  values ((_export_document.subject).person_id, common.author(), v_rows);

  select jsonb_build_object(
    'person', (
      select jsonb_agg(jsonb_build_object('kind', named.kind, 'name', named.name) order by named.position)
      from unnest((_export_document.subject).kinds, (_export_document.subject).names)
        with ordinality as named (kind, name, position)
    ),
    'exported_at', now(),
    'purposes', (
      select jsonb_agg(
        jsonb_build_object('purpose', purpose.purpose, 'basis', purpose.basis, 'description', purpose.description)
        order by purpose.purpose
      )
      from privacy.purpose
    ),
    'index', jsonb_agg(
      jsonb_build_object(
        'table', exported.table_name,
        'description', exported.description,
        'rows', exported.row_count,
        'columns', privacy._describe_columns(exported.table_name, exported.contents -> 0)
      )
      order by exported.position
    ),
    'data', jsonb_object_agg(exported.table_name, exported.contents) filter (where exported.row_count > 0)
  )
  into v_document
  from unnest(v_all) with ordinality as exported (table_name, description, row_count, contents, position);
  return v_document;
exception
  when program_limit_exceeded then
    perform common.refuse(
      'CF008',
      format('the data of person %s is longer than 256 MB as JSON', (_export_document.subject).person_id),
      'Export the largest tables by themselves, as an administrator: insights query.'
    );
end;
$$;

comment on function privacy._export_document(privacy.subject) is $$
Returns all data of a person as one JSON document, and logs the export in `privacy.export_log`.
`person`: her names. `purposes`: the purposes of processing, with the lawful basis of each. `index`: each table with its
meaning, number of rows and columns. `data`: the rows by table, with names in place of surrogate keys.
Error: CF008 for more than 256 MB of JSON.
$$;

create or replace function privacy._describe_columns(table_name text, example jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_object_agg(key, privacy._plain_comment(described.comment))
    from jsonb_object_keys(example) as key
    left join lateral (
      select col_description(attribute.attrelid, attribute.attnum) as comment
      from pg_attribute as attribute
      where attribute.attrelid = to_regclass(_describe_columns.table_name)
        -- Keys are replaced by names: `item` stands for `item_id`.
        and attribute.attname in (key, key || '_type_id', key || '_id', regexp_replace(key, 's$', '_ids'))
        and attribute.attnum > 0
        and not attribute.attisdropped
      order by attribute.attname = key desc, length(attribute.attname) desc
      limit 1
    ) as described on true
    where described.comment is not null
  );
end;
$$;

comment on function privacy._describe_columns(text, jsonb) is $$
Returns the comments of the columns of a table that the keys of a row in an export are named after.
$$;
