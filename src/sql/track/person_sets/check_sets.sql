create or replace function track.check_sets(set_names text[])
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  -- Other sets follow from people and identities.
  if not exists (
    select from unnest(check_sets.set_names) as entry (name) where entry.name ~ '^(arm|cohort|segment)\.'
  ) then
    return;
  end if;
  v_name := (
    select min(incomplete.name)
    from track.incomplete_sets() as incomplete (name)
    where incomplete.name = any (check_sets.set_names)
  );
  if v_name is not null then
    perform common.refuse(
      'CF010',
      format('the set "%s" reads people who were deleted by a rule of retention', v_name),
      'Use another set. A cohort with is_live false keeps its people.'
    );
  end if;
end;
$$;

comment on function track.check_sets(text[]) is $$
@behavior -*
Raises CF010 if one of the sets has people that a rule of retention has deleted.
That is a variation of an ended experiment (`arm.…`), or a live cohort or segment that reads one. For functions that
take names of sets, before they read them: the people who are left are others.
$$;

grant execute on function track.check_sets(text[]) to insights_reader;
