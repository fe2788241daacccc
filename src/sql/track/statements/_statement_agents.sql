create or replace function track._statement_agents(statement jsonb)
returns table (agent jsonb, is_direct boolean, is_actor boolean, name text)
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
begin atomic
  with named as (
    select found.agent, place.is_direct, place.is_actor, place.is_person
    from (
      values
        ('$.actor'::jsonpath, true, true, true),
        ('$.object ? (@.objectType == "Agent" || @.objectType == "Group")', true, false, true),
        ('$.authority', false, false, false),
        ('$.context.instructor', false, false, true),
        ('$.context.team', false, false, true),
        ('$.object.actor', false, false, true),
        ('$.object.object ? (@.objectType == "Agent" || @.objectType == "Group")', false, false, true),
        ('$.object.context.instructor', false, false, true),
        ('$.object.context.team', false, false, true)
    ) as place (path, is_direct, is_actor, is_person)
    cross join lateral jsonb_path_query(statement, place.path) as found (agent)
  )

  select
    found.agent, found.is_direct, found.is_actor,
    case
      when found.is_person and coalesce(found.agent ->> 'objectType', 'Agent') = 'Agent'
        then track._agent_name(found.agent)
    end
  from (
    select named.agent, named.is_direct, named.is_actor, named.is_person
    from named
    union all
    select member.agent, named.is_direct, named.is_actor, named.is_person
    from named
    cross join lateral jsonb_path_query(named.agent, '$.member[*]') as member (agent)
  ) as found;
end;

comment on function track._statement_agents(jsonb) is $$
Returns the agents and groups of a statement, with the members of groups.
`is_direct`: whether it is in the actor or the object. `name`: that of the person; null for a group and the authority.
$$;
