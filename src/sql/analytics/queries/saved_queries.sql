create or replace function analytics.saved_queries()
returns setof analytics.saved_query
language sql
stable
begin atomic
  select saved_query.*
  from analytics.saved_query
  order by saved_query.name;
end;

comment on function analytics.saved_queries() is $$
Returns the saved queries that the caller can run.
$$;

grant execute on function analytics.saved_queries() to insights_analyst, insights_admin, insights_worker;
