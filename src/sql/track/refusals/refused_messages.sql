/* A definer: the counts contain no person, but a table that analysts cannot read. */
create or replace function track.refused_messages(
  since date default (now() at time zone 'UTC')::date - 6,
  until date default (now() at time zone 'UTC')::date
)
returns setof track.refused_messages
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select refusal.day, source.name, source.level, refusal.code, sum(refusal.messages)::bigint
  from track.refusal
  join track.source using (source_id)
  where refusal.day between refused_messages.since and refused_messages.until
  group by refusal.day, source.name, source.level, refusal.code
  order by refusal.day desc, sum(refusal.messages) desc, source.name, source.level, refusal.code;
end;
$$;

comment on function track.refused_messages(date, date) is $$
Returns the numbers of refused messages by day, source and error code, for the days from `since` to `until` (UTC).
By default the last 7 days. `track.refusal_sample` contains samples without values.
$$;

grant execute on function track.refused_messages(date, date) to insights_analyst, insights_admin, insights_worker;
