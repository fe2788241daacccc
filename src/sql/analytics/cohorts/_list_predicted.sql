create or replace function analytics._list_predicted(rule jsonb, as_of date)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_condition jsonb;
begin
  for v_condition in
    select distinct found.value
    from jsonb_path_query(_list_predicted.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
  loop
    perform track.set_person_set(
      analytics._prediction_set(v_condition),
      array(
        select distinct scored.person_id
        from analytics._learner_scores(
          v_condition ->> 'prediction',
          _list_predicted.as_of::timestamptz,
          case when v_condition ? 'course' then analytics._item_id(v_condition ->> 'course') end
        ) as scored
        where (not v_condition ? 'above' or scored.score > (v_condition ->> 'above')::float8)
          and (not v_condition ? 'below' or scored.score < (v_condition ->> 'below')::float8)
      ),
      format('People for whom this is true, as of the beginning of a day: %s', left(v_condition::text, 500))
    );
  end loop;
end;
$$;

comment on function analytics._list_predicted(jsonb, date) is $$
Replaces the sets of people of the conditions of a rule on predictions, as of the beginning of a day (UTC).
Errors: CF006 for a prediction that is not trained.
$$;
