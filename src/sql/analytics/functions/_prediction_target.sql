create or replace function analytics._prediction_target(target text)
returns analytics.prediction_target
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_target analytics.prediction_target;
begin
  select * into v_target
  from analytics.prediction_target as entry
  where entry.target = _prediction_target.target;
  if v_target.target is null then
    perform common.refuse(
      'CF002',
      format('there is no prediction target "%s"', coalesce(left(_prediction_target.target, 100), 'null')),
      (
        select format('There are %s.', string_agg(entry.target, ', ' order by entry.target))
        from analytics.prediction_target as entry
      )
    );
  end if;
  return v_target;
end;
$$;

comment on function analytics._prediction_target(text) is $$Returns a prediction target by its name. Errors: CF002.$$;

grant execute on function analytics._prediction_target(text) to insights_reader;
