create or replace function experiment._check_duration(name text, value interval, lowest interval)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set intervalstyle to 'postgres'
as $$
begin
  if not (_check_duration.value >= _check_duration.lowest and _check_duration.value <= '10 years') then
    perform common.refuse('CF001', format('%s is %s', _check_duration.name, _check_duration.value),
      format('Give a duration from %s to 10 years.', _check_duration.lowest));
  end if;
end;
$$;

comment on function experiment._check_duration(text, interval, interval) is $$
@behavior -*
Raises CF001 for a duration that is too short, or longer than 10 years. Null is valid.
$$;
