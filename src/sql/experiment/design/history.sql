create or replace function experiment.history(key text, subject text default 'experiment')
returns setof experiment.change
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if history.subject is null or history.subject not in ('experiment', 'feature', 'metric', 'layer', 'holdout') then
    perform common.refuse(
      'CF001', format('subject is "%s"', coalesce(left(history.subject, 100), 'null')),
      'Use experiment, feature, metric, layer or holdout.'
    );
  end if;
  return query
  select known.*
  from experiment.change as known
  where known.subject = history.subject
    and known.key = history.key
  order by known.changed_at, known.change_id;
end;
$$;

comment on function experiment.history(text, text) is $$
Returns the changes of an experiment, or of a feature, metric, layer or holdout (`subject`), the first one first.
Those of one that was dropped remain. Errors: CF001 for an unknown subject.
$$;

grant execute on function experiment.history(text, text) to insights_admin;
