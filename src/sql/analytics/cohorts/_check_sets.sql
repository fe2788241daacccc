create or replace function analytics._check_sets(set_names text[])
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_reason text;
begin
  if not exists (
    select from unnest(_check_sets.set_names) as entry (name) where entry.name ~ '^(arm|cohort|segment)\.'
  ) then
    return;
  end if;
  perform experiment.check_sets(_check_sets.set_names);
  select incomplete.name, incomplete.reason
  into v_name, v_reason
  from analytics._incomplete_sets() as incomplete
  where incomplete.name = any (_check_sets.set_names)
  order by incomplete.name
  limit 1;
  if found then
    perform common.refuse(
      'CF010',
      format('"%s" reads %s, whose people were deleted by a rule of retention', v_name, v_reason),
      'Define it without this set. A cohort with is_live false keeps its people.'
    );
  end if;
end;
$$;

comment on function analytics._check_sets(text[]) is $$
Raises CF010 if one of the sets has people that a rule of retention has deleted.
That is a variation of an ended experiment, or a live cohort that reads one. For functions that take names of sets,
before they read them.
$$;

grant execute on function analytics._check_sets(text[]) to insights_reader;
