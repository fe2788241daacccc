create or replace function track._refresh_people(
  refresh text,
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  out failed bigint[],
  out error text
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant bigint[] := array(select distinct person_id from unnest(people) as person_id order by person_id);
  v_middle constant bigint := v_all[cardinality(v_all) / 2];
  v_half record;
  v_rest record;
begin
  failed := '{}';
  begin
    execute format('select %I.%I($1, $2, $3)', split_part(refresh, '.', 1), split_part(refresh, '.', 2))
    using people, since, until;
    return;
  exception
    -- Errors that the data of one person may cause. Any other error ends the step; the next call tries again.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then
      get stacked diagnostics error = message_text;
  end;
  if cardinality(v_all) = 1 then
    failed := v_all;
    return;
  end if;

  for v_half in
    select
      array_agg(period.person_id) as people,
      array_agg(period.since) as since,
      array_agg(period.until) as until
    from unnest(people, since, until) as period (person_id, since, until)
    group by period.person_id <= v_middle
  loop
    v_rest := track._refresh_people(refresh, v_half.people, v_half.since, v_half.until);
    failed := failed || v_rest.failed;
  end loop;
end;
$$;

comment on function track._refresh_people(text, bigint[], timestamptz[], timestamptz[]) is $$
Calls the refresh function of a consumer for the given periods of people.
When it fails because of the data, the people are halved repeatedly, until those that fail are isolated and the others
are refreshed.
$$;
