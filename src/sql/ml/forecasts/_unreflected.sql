create or replace function ml._unreflected(
  partials float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_line float8[] := partials;
  v_lower float8[];
begin
  for k in 2..cardinality(partials) loop
    v_lower := v_line;
    for i in 1..k - 1 loop
      v_line[i] := v_lower[i] - partials[k] * v_lower[k - i];
    end loop;
  end loop;
  return v_line;
end;
$$;

comment on function ml._unreflected(float8[]) is $$
Returns the autoregression with the given partial autocorrelations, which is stationary when each is within −1 and 1.
$$;
