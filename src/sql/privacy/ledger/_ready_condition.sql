create or replace function privacy._ready_condition(sealed privacy.sealed_table)
returns text
language sql
stable
parallel safe
return case
  when sealed.ready_column is null then 'true'
  else format('record.%I is not null', sealed.ready_column)
end;

comment on function privacy._ready_condition(privacy.sealed_table) is $$
Returns the SQL condition under which a row `record` of a table can be sealed.
$$;
