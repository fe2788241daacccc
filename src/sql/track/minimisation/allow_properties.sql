create or replace function track.allow_properties(event_name text, properties text[])
returns text[]
language plpgsql
volatile
-- A definer: no role may write the list.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
begin
  return track._change_allowed(
    allow_properties.event_name, track._checked_names(allow_properties.properties, 'properties'), null
  );
end;
$$;

comment on function track.allow_properties(text, text[]) is $$
Adds properties to the allow-list of an event, and returns the list. The first call makes the list.
From then on only the listed properties of such events are stored, and those that the system itself needs: `item`,
`itemKind`, `itemTitle`, `parent`, `name`, `title`, `url`, `path`, `viewId`, `interval`, `duration`, `servingId`,
`topic`, `rating`, `browser`, `browserVersion`, `os`, `device`, `experiment_id`, `experimentId`, `variation_id` and
`variationId`. `{}` allows these alone. List also the properties of analyses, metrics, rules and event weights: without
them, these find nothing. What is dropped is counted: `track.dropped_data`.
Stored events follow by `track.apply_allow_lists`. `track.disallow_properties` removes names, and
`track.allow_all_properties` the list. New event types get `track.setting.allowed_properties`.
It waits for batches that are being stored, and fails (55P03) after 5 seconds.
Errors: CF002 for an unknown event, CF001 for null, an invalid name and the event of decisions, CF008 for more than 1000
names.
$$;

grant execute on function track.allow_properties(text, text[]) to insights_admin;
