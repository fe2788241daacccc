create or replace function analytics.unwatch_trend(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the row policies of the table apply.
  delete from analytics.trend_watch
  where trend_watch.name = unwatch_trend.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('no trend "%s" is watched', coalesce(left(unwatch_trend.name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(unwatch_trend.name, 100), array(select trend_watch.name from analytics.trend_watch order by 1)
        ) || '"?',
        'The names are in analytics.trend_watch.'
      )
    );
  end if;
end;
$$;

comment on function analytics.unwatch_trend(text) is $$
Ends the watch of a trend, and deletes the anomalies that were found. Errors: CF002 for a name that does not exist.
$$;

grant execute on function analytics.unwatch_trend(text) to insights_admin;
