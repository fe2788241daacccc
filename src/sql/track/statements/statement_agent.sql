create or replace function track.statement_agent(agent jsonb)
returns text[]
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('agents');
  v_identifier constant text := left(track._agent_identifier(statement_agent.agent), 5000);
begin
  return array(
    select distinct named.agent ->> 'name'
    from (
      select statement.statement
      from track.statement
      where statement.source_id = v_source
        and statement.keys @> array[track._statement_key(v_source, 'related agent', v_identifier)]
      order by statement.stored_at desc
      limit 100
    ) as latest
    cross join lateral track._statement_agents(latest.statement) as named
    where track._agent_identifier(named.agent) = v_identifier
      and named.agent ->> 'name' is not null
    order by 1
  );
end;
$$;

comment on function track.statement_agent(jsonb) is $$
@behavior -*
Returns the names of an xAPI agent in the latest 100 statements of the source of the caller that name it.
Errors: CF005 unless the caller has the key of a server.
$$;

grant execute on function track.statement_agent(jsonb)
to insights_visitor, insights_admin, insights_worker;
