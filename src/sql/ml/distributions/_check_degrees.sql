create or replace function ml._check_degrees(degrees float8, most float8 default 1e9)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if not degrees > 0 or degrees > most then
    perform common.refuse('CF001', format('there are %s degrees of freedom', degrees),
      format('Give a number above 0, of at most %s.', most));
  end if;
end;
$$;

comment on function ml._check_degrees(float8, float8) is $$
Error CF001 unless 0 < degrees <= most. With more, the series of the distribution functions do not converge.
$$;

grant execute on function ml._check_degrees(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
