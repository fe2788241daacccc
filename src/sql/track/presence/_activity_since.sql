create or replace function track._activity_since(day date, activity track.activity[])
returns track.activity[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select entry
    from unnest(activity) as entry
    where entry.day >= _activity_since.day
  );
end;
$$;

comment on function track._activity_since(date, track.activity[]) is $$
Returns the activity from a day on: sums of earlier days are kept as they are (`track.setting.sums_kept_before`).
$$;
