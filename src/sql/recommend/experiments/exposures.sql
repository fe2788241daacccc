create or replace function recommend.exposures(people bigint[])
returns setof experiment.exposed
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select distinct on (impression.person_id, impression.experiment_id, impression.variation)
    impression.person_id, impression.identity_id, impression.experiment_id, impression.variation, impression.listed_at
  from recommend.impression
  where impression.person_id = any (exposures.people)
    and impression.experiment_id is not null
    and impression.is_served
  order by
    impression.person_id, impression.experiment_id, impression.variation, impression.listed_at,
    impression.serving_key;
end;
$$;

comment on function recommend.exposures(bigint[]) is $$
@behavior -*
Returns the first list of each variation that was served to each of the given people, for `experiment.exposure`.
Only rows that `recommend.serve_me` and its variants recorded count: a row that is known from an event alone is there
because of an answer, whose frequency depends on the variation.
$$;

grant execute on function recommend.exposures(bigint[]) to insights_reader;
