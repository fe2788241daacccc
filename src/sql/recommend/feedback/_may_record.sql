/*
 * A definer owned by insights_reader, as the functions that make lists: a cached plan over tables with row security is
 * made again for each role that uses it in turn, which takes longer than the rest of the record.
 */
create or replace function recommend._may_record(person_id bigint)
returns boolean
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set plan_cache_mode to force_generic_plan
as $$
begin
  return _may_record.person_id <> 0 and privacy.allowed(_may_record.person_id, 'personalization');
end;
$$;

alter function recommend._may_record(bigint) owner to insights_reader;

comment on function recommend._may_record(bigint) is $$
@behavior -*
Returns whether lists of a person may be recorded: not of person 0, and not without consent to `personalization`.
Null for an unknown person.
$$;
