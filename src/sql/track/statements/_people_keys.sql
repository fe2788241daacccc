create or replace function track._person_keys(name text, level text, is_actor boolean)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array[track._statement_key(0::smallint, case level when 'anonymous' then 'browser' else 'user' end, name)]
  || case
    when is_actor
      then track._statement_key(
        0::smallint, case level when 'anonymous' then 'browser' else 'user' end || ' actor', name
      )
  end;

comment on function track._person_keys(text, text, boolean) is $$
Returns the hash of the name of a person in statements of sources of a level, and that of an actor.
$$;

create or replace function track._people_keys(statement jsonb, level text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct key
    from track._statement_agents(_people_keys.statement) as named
    cross join lateral unnest(
      track._person_keys(named.name, _people_keys.level, named.is_actor)
    ) as key
    where named.name is not null
      and key is not null
  );
end;
$$;

comment on function track._people_keys(jsonb, text) is $$
Returns the hashes of the names of all people in a statement of a source of a level, by which an erasure finds it.
$$;
