create or replace function experiment._arm_name(experiment_key text, variation_key text, variation smallint)
returns text
language sql
immutable
parallel safe
begin atomic
  select 'arm.' || replace(experiment_key, '-', '_') || '.' || case
    when length(experiment_key) + length(variation_key) <= 95 then replace(variation_key, '-', '_')
    else variation::text
  end;
end;

comment on function experiment._arm_name(text, text, smallint) is $$
Returns the name of the set of the people of a variation: its position takes the place of a name that is too long.
$$;

grant execute on function experiment._arm_name(text, text, smallint) to insights_reader;
