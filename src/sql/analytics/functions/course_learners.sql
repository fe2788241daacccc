create or replace function analytics._people_active_in(items bigint[], since timestamptz, until timestamptz)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the number of items.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_people_active_in.since at time zone 'UTC')::date;
  v_end_day constant date := case
    when isfinite(_people_active_in.until) then (_people_active_in.until at time zone 'UTC')::date + 1
    else 'infinity'
  end;
begin
  return array(
    select item_month.part::bigint * 32768 + listed.person
    from track.item_month
    cross join lateral unnest(item_month.people) as listed (person)
    where item_month.item_id = any (_people_active_in.items)
      and item_month.month > v_first_day - 31
      and item_month.month < v_end_day

    union

    select queued.person_id
    from track.queued_days(v_first_day, v_end_day) as entry
    cross join lateral unnest(entry.people) as queued (person_id)
  );
end;
$$;

comment on function analytics._people_active_in(bigint[], timestamptz, timestamptz) is $$
Returns the people who may have used one of the items between two times.
These are all that did, and all people whose events of these days are queued for a refresh.
$$;

grant execute on function analytics._people_active_in(bigint[], timestamptz, timestamptz) to insights_reader;

create or replace function analytics._names_of(people bigint[])
returns table (person_id bigint, name text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with stated as (
    select distinct on (trait.person_id, trait.name)
      trait.person_id, trait.name, left(trait.value #>> '{}', 256) as value
    from track.trait
    where trait.person_id = any (_names_of.people)
      and trait.name in ('name', 'firstName', 'lastName')
      and jsonb_typeof(trait.value) = 'string'
    order by trait.person_id, trait.name, trait.set_at desc, trait.identity_id
  )

  select
    stated.person_id,
    coalesce(
      max(nullif(stated.value, '')) filter (where stated.name = 'name'),
      nullif(concat_ws(
        ' ',
        max(nullif(stated.value, '')) filter (where stated.name = 'firstName'),
        max(nullif(stated.value, '')) filter (where stated.name = 'lastName')
      ), '')
    )
  from stated
  group by stated.person_id;
end;
$$;

comment on function analytics._names_of(bigint[]) is $$
Returns the names of people: the trait `name`, or else `firstName` and `lastName`; null when all of them are empty.
$$;

grant execute on function analytics._names_of(bigint[]) to insights_reader;

create or replace function analytics._activity_of_learners(
  course_id bigint, items bigint[], candidates bigint[], since timestamptz, until timestamptz
)
returns setof analytics.course_learner
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the number of people.
set plan_cache_mode to force_custom_plan
set jit to off
as $$
declare
  v_items constant bigint[] := _activity_of_learners.items;
  v_people bigint[];
  v_shown bigint[];
  v_queued bigint[];
begin
  v_queued := coalesce((track.queued_days('0001-01-01', 'infinity', _activity_of_learners.candidates)).people, '{}');
  select array_agg(learner.person_id), coalesce(array_agg(learner.person_id) filter (where learner.is_shown), '{}')
  into v_people, v_shown
  from analytics._course_people(_activity_of_learners.course_id, _activity_of_learners.candidates) as learner;

  return query
  with part as materialized (
    select item.item_id, item.kind
    from track.item
    where item.item_id = any (v_items)
  ),

  size as (
    select
      count(*) filter (where part.kind not in ('course', 'module')) as items,
      count(*) filter (where part.kind = 'task') as tasks
    from part
  ),

  -- A grade by a teacher, or another automatic event, is not an activity of the learner. People who are queued for a
  -- refresh are read from their events, all others from their journeys.
  happened as materialized (
    select step.person_id, place.at as occurred_at, part.item_id, part.kind, event_type.name as event
    from track.step
    join track.event_type on event_type.event_type_id = step.event_type_id
    cross join lateral unnest(step.occurred_at, step.item_ids) as place (at, item_id)
    join part on part.item_id = place.item_id
    where step.person_id = any (v_shown)
      and step.person_id <> all (v_queued)
      and not step.is_automatic
      and place.at >= _activity_of_learners.since
      and place.at < _activity_of_learners.until

    union all

    select event.person_id, event.occurred_at, part.item_id, part.kind, event_type.name
    from track.event
    join part on part.item_id = event.item_id
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_shown)
      and event.person_id = any (v_queued)
      and event.item_id = any (v_items)
      and event.occurred_at >= _activity_of_learners.since
      and event.occurred_at < _activity_of_learners.until
  ),

  active as (
    select
      happened.person_id,
      min(happened.occurred_at) as first_active_at,
      max(happened.occurred_at) as last_active_at,
      count(distinct (happened.occurred_at at time zone 'UTC')::date) as active_days,
      count(*) as event_count,
      count(distinct happened.item_id) filter (where happened.kind not in ('course', 'module')) as used_items,
      count(distinct happened.item_id) filter (
        where happened.kind = 'task' and happened.event in ('Task Submitted', 'Task Completed')
      ) as submitted_tasks
    from happened
    group by happened.person_id
  ),

  viewed as (
    select page_view.person_id, sum(page_view.engaged) as engaged
    from track.page_view
    where page_view.person_id = any (v_shown)
      and page_view.item_id = any (v_items)
      and page_view.started_at >= _activity_of_learners.since
      and page_view.started_at < _activity_of_learners.until
    group by page_view.person_id
  ),

  enrolled as (
    select
      enrolment.person_id,
      -- In the order of the alphabet: active, or else completed, or else dropped.
      min(enrolment.status) as status,
      min(enrolment.enrolled_at) as enrolled_at,
      case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
    from track.enrolment
    where enrolment.person_id = any (v_people)
      and enrolment.item_id = _activity_of_learners.course_id
    group by enrolment.person_id
  ),

  named as (
    select known.person_id, known.name
    from analytics._names_of(v_shown) as known
  )

  select
    identity.external_id,
    named.name,
    enrolled.status,
    enrolled.enrolled_at,
    enrolled.ended_at,
    active.first_active_at,
    active.last_active_at,
    case when shown.is_shown then coalesce(active.active_days, 0)::int end,
    case when shown.is_shown then coalesce(active.event_count, 0) end,
    case when shown.is_shown then coalesce(viewed.engaged, '0') end,
    case when shown.is_shown then coalesce(active.used_items, 0)::int end,
    case when shown.is_shown then coalesce(active.submitted_tasks, 0)::int end,
    case when shown.is_shown then coalesce(active.used_items, 0) / nullif(size.items, 0)::float8 end,
    case when shown.is_shown then coalesce(active.submitted_tasks, 0) / nullif(size.tasks, 0)::float8 end
  from unnest(v_people) as learner (person_id)
  cross join size
  cross join lateral (select learner.person_id = any (v_shown) as is_shown) as shown
  -- The key of a person is that of its oldest user identity.
  join track.identity on identity.identity_id = learner.person_id
  left join enrolled on enrolled.person_id = learner.person_id
  left join active on active.person_id = learner.person_id
  left join viewed on viewed.person_id = learner.person_id
  left join named on named.person_id = learner.person_id
  where enrolled.person_id is not null
    or active.person_id is not null
    or viewed.engaged > '0'
  order by identity.external_id;
end;
$$;

comment on function analytics._activity_of_learners(bigint, bigint[], bigint[], timestamptz, timestamptz) is $$
Returns those of the candidates who are learners of a course, in the order of their names, with their activity.
`items`: the course and what it contains.
$$;

grant execute on function analytics._activity_of_learners(bigint, bigint[], bigint[], timestamptz, timestamptz)
to insights_reader;

create or replace function analytics._course_learners(
  course_id bigint, since timestamptz, until timestamptz, search text, after_person text, top int
)
returns setof analytics.course_learner
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _course_learners.course_id
  );
  v_enrolled constant bigint[] := array(
    select enrolment.person_id
    from track.enrolment
    where enrolment.item_id = _course_learners.course_id
  );
  v_candidates bigint[];
  v_named bigint[];
  v_first int := 1;
  v_size int;
  v_missing int := _course_learners.top;
  v_found int;
begin
  v_candidates := array(
    select distinct listed.person_id
    from unnest(
      v_enrolled || analytics._people_active_in(v_items, _course_learners.since, _course_learners.until)
    ) as listed (person_id)
  );
  if _course_learners.search is not null then
    -- Names are those of people whose names may be shown.
    v_named := array(
      select learner.person_id
      from analytics._course_people(
        _course_learners.course_id,
        array(
          select known.person_id
          from analytics._names_of(v_candidates) as known
          where position(lower(_course_learners.search) in lower(known.name)) > 0
        )
      ) as learner
      where learner.is_shown
    );
  end if;

  -- The key of a person is that of its oldest user identity.
  v_candidates := array(
    select identity.identity_id
    from unnest(v_candidates) as candidate (person_id)
    join track.identity on identity.identity_id = candidate.person_id
    where (_course_learners.after_person is null or identity.external_id > _course_learners.after_person)
      and (
        _course_learners.search is null
        or position(lower(_course_learners.search) in lower(identity.external_id)) > 0
        or identity.identity_id = any (v_named)
      )
    order by identity.external_id
  );

  -- The first ones only. Not each of them is a learner, so that a few more are read, and then ever more.
  v_size := coalesce(_course_learners.top + _course_learners.top / 4 + 8, cardinality(v_candidates));
  while v_first <= cardinality(v_candidates) and v_missing is distinct from 0 loop
    return query
    select *
    from analytics._activity_of_learners(
      _course_learners.course_id, v_items, v_candidates[v_first : v_first + v_size - 1],
      _course_learners.since, _course_learners.until
    )
    limit v_missing;
    get diagnostics v_found = row_count;
    v_missing := v_missing - v_found;
    v_first := v_first + v_size;
    v_size := least(v_size * 2, 10000);
  end loop;
end;
$$;

comment on function analytics._course_learners(bigint, timestamptz, timestamptz, text, text, int) is $$
Computes the result of `analytics.course_learners`, with the privileges of the caller, for any course.
$$;

grant execute on function analytics._course_learners(bigint, timestamptz, timestamptz, text, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for instructors in their own courses only. */
create or replace function analytics.course_learners(
  course text,
  since timestamptz default '-infinity',
  until timestamptz default 'infinity',
  search text default null,
  after_person text default null,
  top int default null
)
returns setof analytics.course_learner
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(course_learners.course);
  v_learners analytics.course_learner[];
begin
  perform common.check_period(course_learners.since, course_learners.until);
  if course_learners.top is not null then
    perform common.check_count('top', course_learners.top, 1, 10000);
  end if;
  if length(course_learners.search) > 256 then
    perform common.refuse(
      'CF001', format('search has %s characters', length(course_learners.search)), 'It can have at most 256.'
    );
  end if;
  v_learners := array(
    select learner
    from analytics._course_learners(
      v_course_id, course_learners.since, course_learners.until,
      course_learners.search, course_learners.after_person, course_learners.top
    ) as learner
  );
  perform privacy.record_disclosure(
    array(
      select identity.person_id
      from unnest(v_learners) as learner
      join track.identity on identity.external_id = learner.person and identity.kind = 'user'
    ),
    'analytics.course_learners'
  );
  return query
  select learner.*
  from unnest(v_learners) as learner;
end;
$$;

alter function analytics.course_learners(text, timestamptz, timestamptz, text, text, int) owner to insights_reader;

comment on function analytics.course_learners(text, timestamptz, timestamptz, text, text, int) is $$
@behavior -mutationField +queryField
Returns the learners of a course, with their enrolment and their activity in the course between two times.
`until` is exclusive. They are in the order of `person`. `search`: those whose `userId` or name contains this text,
whatever its case; null or empty: all. `top`: the first ones only, from 1 to 10,000, so that large courses are read page
by page; null: all. `after_person`: those after this `userId` in the order, such as the last one of the page before.
Instructors call it for courses that they teach now.
Learners are the enrolled people, and those who were active in the course within the period without an enrolment. Of the
latter, anonymous browsers, excluded people (`track.exclude_person`) and people with a role in the course are left out.
Figures are exact and about the course only, including what it contains. Events count as soon as they are stored;
engaged time, and who is counted, are as of the last refresh.
Of people who have opted out of the purpose `analytics`, only the enrolment is returned.
Errors: CF001 for a period, `top`, or a `search` of more than 256 characters; CF002 for an unknown course, or one that
the instructor does not teach.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.course_learners(text, timestamptz, timestamptz, text, text, int)
to insights_instructor, insights_admin, insights_worker;
