create or replace function analytics._weight(days int, half_life interval)
returns float8
language sql
immutable
parallel safe
return case
  -- A weight of 2 to the power of -1000 counts as zero; a smaller power would raise an underflow.
  when half_life is not null then 0.5::float8 ^ least(1000, days * 86400 / extract(epoch from half_life)::float8)
  else 1
end;

comment on function analytics._weight(int, interval) is $$
Returns the weight of what happened some days ago: halved per `half_life`; 1 without one.
$$;

grant execute on function analytics._weight(int, interval) to insights_reader;
