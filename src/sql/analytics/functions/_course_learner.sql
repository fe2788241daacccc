create or replace function analytics._course_learner(course_id bigint, person text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select learner.person_id
    from track.identity
    cross join lateral analytics._course_people(_course_learner.course_id, array[identity.person_id]) as learner
    where identity.external_id = _course_learner.person
      and identity.kind = 'user'
      and learner.is_shown
  );
end;
$$;

comment on function analytics._course_learner(bigint, text) is $$
Returns the key of the learner with a `userId` whose activity in a course is shown; null without one.
$$;

grant execute on function analytics._course_learner(bigint, text) to insights_reader;
