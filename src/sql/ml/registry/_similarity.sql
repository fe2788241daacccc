create or replace function ml._similarity(a vector, b vector, similarity text)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case when similarity = 'cosine' then 1 - (a <=> b) else -(a <#> b) end;
end;

comment on function ml._similarity(vector, vector, text) is $$
Likeness of two vectors: `cosine`, or else their inner product.
$$;

grant execute on function ml._similarity(vector, vector, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
