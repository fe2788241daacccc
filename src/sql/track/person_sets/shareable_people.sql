create or replace function track.shareable_people(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select shareable.person_id
  from privacy.shareable_people(shareable_people.people) as shareable (person_id);
end;
$$;

comment on function track.shareable_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people allow that their data leaves the organization.
The members of the set `shareable`; see `privacy.may_share` and `track.person_set`.
$$;
