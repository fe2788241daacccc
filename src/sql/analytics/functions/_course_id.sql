create or replace function analytics._course_id(course text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_course_id bigint;
begin
  -- A merged item is a further name of the other one.
  select item.item_id into v_course_id
  from track.item as known
  join track.item on item.item_id = coalesce(known.merged_item_id, known.item_id)
  where known.external_id = _course_id.course
    and item.kind = 'course'
    and (v_reads_all or track.teaches(item.item_id));
  if v_course_id is null and not v_reads_all then
    -- The same error for a course that does not exist.
    perform common.refuse(
      'CF002',
      format('you do not teach a course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      'track.taught_courses returns the courses that you teach.'
    );
  end if;
  if v_course_id is null then
    perform common.refuse(
      'CF002',
      format('there is no course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            _course_id.course,
            (select array_agg(item.external_id) from track.item where item.kind = 'course')
          )
          || '"?',
        'Give the external id of an item of kind course.'
      )
    );
  end if;
  return v_course_id;
end;
$$;

comment on function analytics._course_id(text) is $$
Returns the key of a course by its external id, of an instructor only for a course that she teaches now.
Errors: CF002 (unknown course, names the nearest; the same for an instructor who does not teach it).
$$;

grant execute on function analytics._course_id(text) to insights_reader;
