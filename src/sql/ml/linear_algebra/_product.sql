create or replace function ml._product(
  a vector[],
  b vector[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  -- Concatenation copies into memory: an argument read from a table would be decompressed again for each row.
  v_a constant vector[] := a || '{}';
  v_b constant vector[] := b || '{}';
begin
  -- unnest in the select list returns the rows one by one; a function in the from clause would materialize all first.
  return array(
    select array(select -(a_row.v <#> b_row.v) from (select unnest(v_b) as v offset 0) as b_row)::vector
    from (select unnest(v_a) as v offset 0) as a_row
  );
end;
$$;

comment on function ml._product(vector[], vector[]) is $$
Returns A times the transpose of B, without checks: the kernel of all matrix functions.
$$;

grant execute on function ml._product(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
