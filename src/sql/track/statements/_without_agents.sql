create or replace function track._without_agents(contents jsonb, names text[])
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(_without_agents.contents)
    when 'object' then
      if track._agent_name(_without_agents.contents) = any (_without_agents.names)
        and num_nonnulls(
          _without_agents.contents -> 'account', _without_agents.contents -> 'mbox',
          _without_agents.contents -> 'mbox_sha1sum', _without_agents.contents -> 'openid'
        ) = 1
      then
        return jsonb_build_object(
          'objectType', coalesce(_without_agents.contents -> 'objectType', '"Agent"'),
          'account', jsonb_build_object('homePage', 'urn:canvas-flow-insights', 'name', 'erased')
        );
      end if;
      return (
        select coalesce(jsonb_object_agg(field.key, track._without_agents(field.value, _without_agents.names)), '{}')
        from jsonb_each(_without_agents.contents) as field
      );
    when 'array' then
      return (
        select coalesce(
          jsonb_agg(track._without_agents(element.value, _without_agents.names) order by element.ordinality), '[]'
        )
        from jsonb_array_elements(_without_agents.contents) with ordinality as element
      );
    else
      return _without_agents.contents;
  end case;
end;
$$;

comment on function track._without_agents(jsonb, text[]) is $$
Returns a statement in which the agents with the given names are replaced by the account `erased`.
$$;
