/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.funnel_people(
  steps jsonb,
  step int,
  dropped boolean default true,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  item text default null,
  among text default null
)
returns setof analytics.funnel_person
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set jit to off
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    funnel_people.steps, funnel_people.exclusions, funnel_people.step_order, funnel_people.item
  );
  v_count constant int := (select count(*) from unnest(v_filters) as filter where not filter.is_exclusion);
  v_next constant int := (
    select min(filter.first_step)
    from unnest(v_filters) as filter
    where not filter.is_exclusion
      and not filter.is_optional
      and filter.first_step > funnel_people.step
  );
  v_days constant timestamptz[] := analytics._bounds('day', funnel_people.since, funnel_people.until, 'UTC');
  v_people analytics.funnel_person[];
begin
  if funnel_people.step is null or funnel_people.step < 1 or funnel_people.step > v_count
    or coalesce(funnel_people.dropped, true) and v_next is null
  then
    perform common.refuse(
      'CF001',
      format('step is %s', coalesce(funnel_people.step::text, 'null')),
      format('Give a step from 1 to %s, and one that is not the last for the people who dropped off.', v_count)
    );
  end if;

  v_people := array(
    select
      row(
        attempt.person_id, named.external_id, attempt.reached, attempt.times[funnel_people.step], attempt.times
      )::analytics.funnel_person
    from analytics._attempts_by_value(
      v_filters, array[v_days[1], v_days[cardinality(v_days)]], funnel_people.step_order,
      analytics._conversion_window(funnel_people.conversion_window), funnel_people.among, null, 'first_touch', 10, null
    ) as attempt
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = attempt.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as named on true
    where attempt.times[funnel_people.step] is not null
      and (not coalesce(funnel_people.dropped, true) or attempt.times[v_next] is null)
    order by attempt.times[funnel_people.step], attempt.person_id
  );
  perform privacy.record_disclosure(
    array(select listed.person_id from unnest(v_people) as listed), 'analytics.funnel_people'
  );
  return query
  select listed.*
  from unnest(v_people) as listed;
end;
$$;

alter function analytics.funnel_people(
  jsonb, int, boolean, timestamptz, timestamptz, text, interval, jsonb, text, text
) owner to insights_reader;

comment on function analytics.funnel_people(
  jsonb, int, boolean, timestamptz, timestamptz, text, interval, jsonb, text, text
) is $$
@behavior -mutationField +queryField
Returns the people of a step of a funnel: those who did not do the next one (`dropped`), or all.
The earliest first. The other arguments are those of `analytics.funnel`, and so are the rules; the numbers of people
are those of its rows. `track.set_person_set` makes the people a set, by which every analysis can be filtered.
Errors: as `analytics.funnel`, CF001 for a step that does not exist, or without a next one. These reads are logged in
`privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.funnel_people(
  jsonb, int, boolean, timestamptz, timestamptz, text, interval, jsonb, text, text
) to insights_admin, insights_worker;
