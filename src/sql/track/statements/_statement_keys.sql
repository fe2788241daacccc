create or replace function track._statement_keys(statement jsonb, source smallint)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct track._statement_key(_statement_keys.source, found.kind, found.value)
    from (
      select kind.kind, track._agent_identifier(named.agent) as value
      from track._statement_agents(_statement_keys.statement) as named
      cross join lateral (
        select 'related agent' as kind
        union all
        select 'agent' where named.is_direct
      ) as kind

      union all

      select place.kind, activity.id #>> '{}'
      from (
        values
          ('activity', '$.object ? (!exists (@.objectType) || @.objectType == "Activity").id'::jsonpath),
          ('related activity', '$.object ? (!exists (@.objectType) || @.objectType == "Activity").id'),
          ('related activity', '$.context.contextActivities.*[*].id'),
          (
            'related activity',
            '$.object ? (@.objectType == "SubStatement").object
              ? (!exists (@.objectType) || @.objectType == "Activity").id'
          ),
          ('related activity', '$.object ? (@.objectType == "SubStatement").context.contextActivities.*[*].id'),
          ('attachment', '$.attachments[*].sha2'),
          ('attachment', '$.object ? (@.objectType == "SubStatement").attachments[*].sha2')
      ) as place (kind, path)
      cross join lateral jsonb_path_query(_statement_keys.statement, place.path) as activity (id)

      union all

      select 'verb', _statement_keys.statement #>> '{verb,id}'

      union all

      select 'registration', lower(_statement_keys.statement #>> '{context,registration}')
    ) as found
    where found.value is not null
  );
end;
$$;

comment on function track._statement_keys(jsonb, smallint) is $$
Returns the hashes of what a statement of a source is found by: agents, activities, attachments, verb and registration.
The agents and activities that only `related_agents` and `related_activities` find have kinds of their own.
$$;
