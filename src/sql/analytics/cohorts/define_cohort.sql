create or replace function analytics._rule_names(rule jsonb)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select md5(coalesce(string_agg(named.meaning, ',' order by named.meaning), ''))
    from (
      select format('event %s', coalesce(event_type.merged_event_type_id, event_type.event_type_id)) as meaning
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.event)).event') as found (value)
      join track.event_type on event_type.name = found.value #>> '{}'

      union all

      select format('enrolment %s', coalesce(known.merged_item_id, known.item_id))
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.enrolment)).enrolment') as found (value)
      join track.item as known on known.external_id = found.value #>> '{}'

      union all

      select format('item %s', string_agg(ancestor.item_id::text, ' ' order by ancestor.item_id))
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.item)).item') as found (value)
      join track.item as known on known.external_id = found.value #>> '{}'
      join track.item_ancestor as ancestor
        on ancestor.ancestor_item_id = coalesce(known.merged_item_id, known.item_id)
      group by found.value
    ) as named
  );
end;
$$;

comment on function analytics._rule_names(jsonb) is $$
Returns a hash of what the names in a rule mean now: event types, items with what they contain.
$$;

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

create or replace function analytics._drop_unused_predictions()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.undefine_person_set(person_set.name)
  from track.person_set
  where starts_with(person_set.name, 'prediction.')
    and not exists (
      select
      from analytics.cohort
      cross join lateral jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
      where cohort.is_live
        and person_set.name = analytics._prediction_set(found.value)
    );
end;
$$;

comment on function analytics._drop_unused_predictions() is $$
Removes the sets of people of predictions that no live cohort names.
$$;

create or replace function analytics._evaluate_cohort(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_last bigint := 0;
begin
  -- In parts, so that the memory that is used is bounded. The lock is that of the refresh.
  loop
    v_people := array(
      select person.person_id
      from track.person
      where person.person_id > v_last
      order by person.person_id
      limit 50000
    );
    exit when v_people = '{}';
    perform track.recompute_person_sets('analytics.cohort', v_people, _evaluate_cohort.name);
    v_last := v_people[cardinality(v_people)];
  end loop;
  update analytics.cohort set evaluated_at = clock_timestamp() where cohort.name = _evaluate_cohort.name;
end;
$$;

comment on function analytics._evaluate_cohort(text) is $$
Recomputes for all people whether they belong to a live cohort.
$$;

create or replace function analytics._place_cohort(
  name text, rule jsonb, description text, is_live boolean, defined_by text
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_description constant text := coalesce(
    _place_cohort.description,
    (select person_set.description from track.person_set where person_set.name = _place_cohort.name),
    'A cohort.'
  );
  v_is_named constant boolean := exists (
    select from analytics.cohort where _place_cohort.name in (select analytics._rule_sets(cohort.rule))
  );
begin
  perform analytics._list_predicted(_place_cohort.rule, v_today);
  perform track.define_person_set(
    _place_cohort.name, v_description, 'analytics.cohort_members', 'analytics.cohort', queue_people => false
  );
  insert into analytics.cohort (name, rule, is_live, as_of, names, defined_by)
  values (
    _place_cohort.name, _place_cohort.rule, _place_cohort.is_live, v_today,
    analytics._rule_names(_place_cohort.rule), _place_cohort.defined_by
  )
  on conflict on constraint cohort_pkey do update
  set
    rule = excluded.rule, is_live = excluded.is_live, as_of = excluded.as_of, names = excluded.names,
    defined_by = excluded.defined_by, defined_at = clock_timestamp();
  perform analytics._evaluate_cohort(_place_cohort.name);

  if not _place_cohort.is_live then
    perform track.list_person_set(_place_cohort.name);
  end if;
  perform analytics._drop_unused_predictions();
  -- The refresh recomputes the cohorts that name this one. Until then, they are computed at each reading.
  if v_is_named then
    perform track.rebuild('analytics.cohort');
  end if;
  return track.person_set_size(_place_cohort.name);
end;
$$;

comment on function analytics._place_cohort(text, jsonb, text, boolean, text) is $$
Stores a cohort whose rule was checked, and computes its people. Returns their number.
$$;

create or replace function analytics.define_cohort(
  name text, rule jsonb, description text default null, is_live boolean default true
)
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_name constant text := analytics._cohort_set(define_cohort.name);
  v_members text;
begin
  if starts_with(v_name, 'segment.') then
    perform common.refuse(
      'CF001', format('"%s" is a segment', v_name), 'Segments are defined by analytics.define_segments.'
    );
  end if;
  if define_cohort.is_live is null then
    perform common.refuse('CF001', 'is_live is null', 'Give true or false.');
  end if;
  if length(define_cohort.description) > 1000 then
    perform common.refuse(
      'CF008', format('the description has %s characters', length(define_cohort.description)), 'It has 1,000 at most.'
    );
  end if;
  if length(define_cohort.rule::text) > 20000 then
    perform common.refuse(
      'CF008', format('the rule has %s characters', length(define_cohort.rule::text)),
      'A rule has 20,000 characters at most.'
    );
  end if;

  -- One definition at a time, so that two cohorts cannot name each other.
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));
  select person_set.members into v_members from track.person_set where person_set.name = v_name;
  if v_members <> 'analytics.cohort_members' then
    perform common.refuse(
      'CF001', format('the members of "%s" are computed by %s', v_name, v_members), 'Use another name.'
    );
  end if;
  perform analytics._check_circle(v_name, define_cohort.rule);
  perform analytics._check_rule(define_cohort.rule);
  perform analytics._check_size(v_name, define_cohort.rule);
  return analytics._place_cohort(
    v_name, define_cohort.rule, define_cohort.description, define_cohort.is_live,
    coalesce(nullif(current_setting('insights.person', true), ''), session_user)
  );
end;
$$;

comment on function analytics.define_cohort(text, jsonb, text, boolean) is $$
Defines a cohort: people for whom a rule is true. Returns the number of people. A cohort of this name is replaced.
The cohort `beta` is the set of people `cohort.beta`, which all functions accept as a filter and as a breakdown. It is
complete when the function returns. `is_live` true: the refresh keeps it up to date; false: its people are fixed, and
follow merges of people only. `description` null: unchanged.
A rule is a JSON object, and one of:
`{"all": [rule, …]}`, `{"any": [rule, …]}`, `{"not": rule}`.
`{"trait": name, …}` with `is`, `is_not` (also people without the trait), `in` (a list), `contains` (a part of a string
in any case, or an element of a list), `greater` and `less` (numbers only), or `is_set`. Values are compared as JSON:
the string "5" is not the number 5.
`{"event": name, …}`: people who have done it; null: any event that is not automatic. With `item`: events of the item
and of what it contains, automatic ones too. With `property` `{"name": …, "is": …}`: events with this value. With
`at_least` (1), `at_most` or `exactly`: so many times, or on so many days (UTC) with `counted` `days`. With `within`
`28 days`: today and the 27 days before it (UTC); with `older_than` `7 days`: without today and the 6 days before it.
With `since` and `until` (exclusive): between two times. With `first` true: the first such event ever is in the period.
`{"enrolment": course, …}`, with `status` `active`, `completed` or `dropped`.
`{"prediction": target, …}` of `analytics.prediction_target`, with `above`, `below`, `course`: as of the last midnight.
`{"set": name}`: people of another set (`track.person_set`), such as `segment.power`.
A rule has at most 20,000 characters and 10 levels, and with the rules of cohorts that it names 200 conditions. The
cost of a refresh is that of the people whose data changed; days that pass change `within` and `older_than` when
`analytics.refresh_cohorts` runs.
Errors: CF001 for an invalid rule, and one that names its own cohort, CF002 for an unknown event, item, set or target
(names the nearest), CF006 for a prediction that is not trained, CF008 for a rule that is too large.
$$;

grant execute on function analytics.define_cohort(text, jsonb, text, boolean) to insights_admin;
