create or replace function track.personal_data_found(
  since date default (now() at time zone 'UTC')::date - 29,
  until date default (now() at time zone 'UTC')::date
)
returns setof track.data_finding
language plpgsql
stable
parallel safe
-- A definer: only administrators may read the counts, which name properties that clients have chosen.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select
    coalesce(target.name, event_type.name), found_data.property, found_data.kind, sum(found_data.found)::bigint,
    min(found_data.day), max(found_data.day)
  from track.found_data
  left join track.event_type using (event_type_id)
  left join track.event_type as target on target.event_type_id = event_type.merged_event_type_id
  where found_data.day between personal_data_found.since and personal_data_found.until
    and found_data.kind in ('e-mail', 'phone')
  group by 1, 2, 3
  order by 4 desc, 1, 2, 3;
end;
$$;

comment on function track.personal_data_found(date, date) is $$
Returns where e-mail addresses and phone numbers were found in messages, as numbers by event, property and kind.
Of messages that arrived on the days from `since` to `until` (UTC), by default the last 30; never a value. What happens
with such values is `track.setting.personal_data`. Found are addresses with an `@` or `%40`, and phone numbers with a
country code or in groups of a national format, or in a field of such a name; digits alone are taken for ids.
$$;

grant execute on function track.personal_data_found(date, date) to insights_admin, insights_worker;
