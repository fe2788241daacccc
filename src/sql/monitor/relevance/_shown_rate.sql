create or replace function monitor._shown_rate(rate float8, smallest_group int)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when _shown_rate.smallest_group is null or _shown_rate.rate = 0 or abs(_shown_rate.rate) = 'infinity'
      then _shown_rate.rate
    else round(_shown_rate.rate::numeric, 1 - floor(log(abs(_shown_rate.rate)))::int)
  end;
end;
$$;

comment on function monitor._shown_rate(float8, int) is $$
@behavior -*
Returns an estimate as analysts see it: with two significant digits. Without `smallest_group`, as it is.
$$;

grant execute on function monitor._shown_rate(float8, int) to insights_reader;
