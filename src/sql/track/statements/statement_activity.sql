create or replace function track.statement_activity(activity text)
returns jsonb
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_source constant smallint := track._reading_source('activities');
  v_known jsonb := '{}';
  v_definition jsonb;
begin
  if length(statement_activity.activity) > 5000 then
    perform common.refuse(
      'CF008', format('the activity has %s characters', length(statement_activity.activity)), 'Give at most 5000.'
    );
  end if;
  for v_definition in
    select found.activity -> 'definition'
    from (
      select statement.statement, statement.stored_at
      from track.statement
      where statement.source_id = v_source
        and statement.keys && array[
          track._statement_key(v_source, 'activity', statement_activity.activity),
          track._statement_key(v_source, 'related activity', statement_activity.activity)
        ]
      order by statement.stored_at desc
      limit 100
    ) as latest
    cross join lateral (
      values
        ('$.object'::jsonpath), ('$.context.contextActivities.*[*]'), ('$.object.object'),
        ('$.object.context.contextActivities.*[*]')
    ) as place (path)
    cross join lateral jsonb_path_query(latest.statement, place.path) as found (activity)
    where found.activity ->> 'id' = statement_activity.activity
      and jsonb_typeof(found.activity -> 'definition') = 'object'
    order by latest.stored_at
  loop
    v_known := v_known || v_definition || jsonb_build_object(
      'name', coalesce(v_known -> 'name', '{}') || coalesce(v_definition -> 'name', '{}'),
      'description', coalesce(v_known -> 'description', '{}') || coalesce(v_definition -> 'description', '{}')
    );
  end loop;
  return nullif(
    v_known
      - case when v_known -> 'name' = '{}' then 'name' else '' end
      - case when v_known -> 'description' = '{}' then 'description' else '' end,
    '{}'
  );
end;
$$;

comment on function track.statement_activity(text) is $$
@behavior -*
Returns the definition of an xAPI activity, or null: that of the latest 100 statements of the caller's source with it.
Later definitions have precedence; names and descriptions in all languages are kept.
Errors: CF005 unless the caller has the key of a server, CF008 for an activity of more than 5000 characters.
$$;

grant execute on function track.statement_activity(text)
to insights_visitor, insights_admin, insights_worker;
