create or replace function analytics.annotations(
  since timestamptz default '-infinity',
  until timestamptz default 'infinity'
)
returns setof analytics.annotation
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(annotations.since, annotations.until);
  return query
  select annotation.*
  from analytics.annotation
  where annotation.starts_at < annotations.until
    and (annotation.starts_at >= annotations.since or annotation.ends_at > annotations.since)
  order by annotation.starts_at, annotation.annotation_id;
end;
$$;

comment on function analytics.annotations(timestamptz, timestamptz) is $$
Returns the annotations that overlap the period from `since` until `until` (exclusive), in the order of their starts.
Errors: CF001 for a `since` that is not before `until`.
$$;

grant execute on function analytics.annotations(timestamptz, timestamptz)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
