create or replace function ml._content_rows()
returns setof ml.content_row
language plpgsql
volatile
set search_path from current
as $$
begin
  -- Computed: a large value that is only read is in the toast table of a temporary table, which the caller drops.
  return query
  select item.name || '', l2_normalize(vector.embedding)
  from pg_temp._ml_item as item
  left join pg_temp._ml_vector as vector using (item_no)
  order by item.item_no;
end;
$$;

comment on function ml._content_rows() is $$
Returns the vectors of `_ml_vector`, of length 1, with the names of the items in `_ml_item`.
$$;

grant execute on function ml._content_rows() to insights_analyst, insights_admin, insights_worker;
