create or replace function analytics._visible_learners(
  course text,
  among text,
  breakdown text,
  out course_id bigint,
  out learners bigint[],
  out smallest_group int
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_teaches constant boolean := not v_reads_all and not pg_has_role(v_caller, 'insights_analyst', 'usage');
begin
  -- For an instructor, only a course that she teaches now.
  course_id := case
    when v_teaches then analytics._course_id(_visible_learners.course)
    else analytics._item_id(_visible_learners.course)
  end;
  if v_teaches and (_visible_learners.among is not null or _visible_learners.breakdown is not null) then
    perform common.refuse(
      'CF005', 'instructors cannot filter by sets of people, or break down by them',
      'Leave among and breakdown out: the learners of the course are meant.'
    );
  end if;
  if not v_reads_all and not v_teaches then
    smallest_group := (select setting.smallest_group from analytics.setting);
  end if;

  if course_id is null then
    learners := analytics._people_among(_visible_learners.among, _visible_learners.smallest_group);
    return;
  end if;
  learners := analytics._enrolled_learners(
    _visible_learners.course_id, _visible_learners.among, _visible_learners.smallest_group, true
  );
  if v_teaches then
    learners := array(
      select learner.person_id
      from analytics._course_people(_visible_learners.course_id, _visible_learners.learners) as learner
      where learner.is_shown
    );
  end if;
end;
$$;

comment on function analytics._visible_learners(text, text, text) is $$
Returns a course, the people enrolled in it whose figures the caller may see, and the floor that applies to them.
`course` null: all people, for administrators, workers and analysts.
Called by definers: it reads the role of the caller. Administrators and workers: all but excluded people, of these sets
now (`among`), and no floor (null). Analysts: the counted ones of them, and `analytics.setting.smallest_group`.
Instructors: those of a course that they teach now, without people who have opted out of `analytics` and those whose
data is restricted, and no floor. People who have dropped the course are included.
Errors: CF001 and CF002 as `analytics._among`; CF002 for an unknown course, or one that the instructor does not teach;
CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics._visible_learners(text, text, text) to insights_reader;
