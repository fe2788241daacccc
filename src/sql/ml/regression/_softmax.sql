create or replace function ml._softmax(logits float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_top float8;
  v_total float8 := 0;
  v_result float8[] := logits;
begin
  if logits is null or array_position(logits, null) is not null then
    return null;
  end if;
  v_top := (select max(value) from unnest(logits) as value);
  for i in 1..cardinality(logits) loop
    v_result[i] := exp(greatest(logits[i] - v_top, -700));
    v_total := v_total + v_result[i];
  end loop;
  for i in 1..cardinality(logits) loop
    v_result[i] := v_result[i] / v_total;
  end loop;
  return v_result;
end;
$$;

comment on function ml._softmax(float8[]) is $$
Returns probabilities proportional to exp of the values; null when one is null.
$$;

grant execute on function ml._softmax(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
