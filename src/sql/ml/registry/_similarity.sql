create or replace function ml._similarity(a vector, b vector, similarity text)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when similarity = 'cosine' then nullif(1 - (a <=> b), 'NaN')
    when abs(a <#> b) < 'Infinity' then -(a <#> b)
  end;
end;

comment on function ml._similarity(vector, vector, text) is $$
Likeness of two vectors: `cosine`, or else their inner product.
Null for the cosine of a vector of zeros, which has no direction, and for a product that no number can hold.
$$;

grant execute on function ml._similarity(vector, vector, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
