create or replace function experiment._check_placement(placement text, variations jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_handler experiment.handler;
begin
  select * into v_handler
  from experiment.handler as known
  where known.room = split_part(_check_placement.placement, '.', 1);
  if not found or _check_placement.placement !~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' then
    perform experiment._refuse_unknown_name(
      'placement',
      _check_placement.placement,
      array(select known.room from experiment.handler as known order by known.room limit 1000),
      coalesce(
        'A placement begins with one of: '
          || (select string_agg(known.room, ', ' order by known.room) from experiment.handler as known) || '.',
        'No schema offers placements.'
      )
    );
  end if;
  if v_handler.check_function is not null then
    execute format(
      'select %I.%I($1, variation.value -> ''value'') from jsonb_array_elements($2) as variation (value)',
      split_part(v_handler.check_function, '.', 1), split_part(v_handler.check_function, '.', 2)
    )
    using _check_placement.placement, _check_placement.variations;
  end if;
end;
$$;

comment on function experiment._check_placement(text, jsonb) is $$
@behavior -*
Raises an error for a placement that no schema offers, and for values that its schema does not understand.
Errors: CF002, and those of the check function of the schema.
$$;
