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
    common.author()
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
`at_least` (1), `at_most` or `exactly`: the number of times, or of days (UTC) with `counted` `days`. With `within`
`28 days`: today and the 27 days before it (UTC); with `older_than` `7 days`: without today and the 6 days before it.
With `since` and `until` (exclusive): between two times. With `first` true: the first such event ever is in the period.
`{"enrolment": course, …}`, with `status` `active`, `completed` or `dropped`.
`{"prediction": target, …}` of `analytics.prediction_target`, with `above`, `below`, `course`: as of the last midnight.
`{"set": name}`: people of another set (`track.person_set`), such as `segment.power`.
A rule has at most 20,000 characters and 10 levels, and with the rules of cohorts that it names 200 conditions. The
cost of a refresh is that of the people whose data changed; days that pass change `within` and `older_than` when
`analytics.refresh_cohorts` runs.
Errors: CF001 for an invalid rule, and one that names its own cohort, CF002 for an unknown event, item, set or target
(names the nearest), CF006 for a prediction that is not trained, CF008 for a rule that is too large, CF010 for the set
of a variation whose people were deleted by retention.
$$;

grant execute on function analytics.define_cohort(text, jsonb, text, boolean) to insights_admin;
