create or replace function ml._log_odds(probability float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ln(share / (1 - share))
  from (select least(greatest(probability, 1e-15), 1 - 1e-15) as share where probability is not null) as bounded;
end;

comment on function ml._log_odds(float8) is $$
The log odds of a probability, which is kept 1e-15 away from 0 and 1; null of null.
$$;

grant execute on function ml._log_odds(float8)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
