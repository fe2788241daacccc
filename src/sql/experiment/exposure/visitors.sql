create or replace function experiment.visitors(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select entry.person_id
  from unnest(visitors.people) as entry (person_id)
  except
  select identity.person_id
  from track.exclusion
  join track.identity using (identity_id)
  except
  select restricted.person_id
  from privacy.restricted(visitors.people) as restricted (person_id);
end;
$$;

comment on function experiment.visitors(text, bigint[]) is $$
@behavior -*
Returns which of the given people are not excluded and not restricted, whether they have signed in or not.
The members of the set `visitors`; see `track.person_set`.
$$;
