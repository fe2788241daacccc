create or replace function track.plan_event_retention(rule privacy.retention, horizon timestamptz)
returns setof privacy.retention_step
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The plan contains the partitions before the horizon only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_held constant bigint[] := array(select privacy.restricted());
  v_types constant int[] := case when rule.purpose is not null then track._types_of_purpose(rule.purpose) end;
  v_month record;
  v_found record;
  v_step privacy.retention_step := row(
    rule.rule, 'track.event', rule.method, 0, '{}', 0, null, plan_event_retention.horizon
  );
begin
  -- By arrival: an event never arrives before its time, so that later months contain none.
  for v_month in
    select month.*
    from track._event_partitions() as month
    where month.since < plan_event_retention.horizon
  loop
    execute format(
      'select
        count(*) filter (where event.%1$I < $1 and event.person_id <> all ($2)) as row_count,
        count(*) filter (where event.%1$I < $1 and event.person_id = any ($2)) as held_count,
        count(*) as all_count
      from track.%2$I as event
      where ($3 is null or event.event_type_id = any ($3))
        and ($4 or event.person_id <> 0)',
      case rule.counted_from when 'event' then 'occurred_at' else 'received_at' end,
      v_month.name
    )
    into v_found
    using plan_event_retention.horizon, v_held, v_types, rule.method = 'delete';
    v_step.row_count := v_step.row_count + v_found.row_count;
    v_step.held_count := v_step.held_count + v_found.held_count;
    if v_types is null and rule.method = 'delete' and v_month.until <= plan_event_retention.horizon
      and v_found.row_count = v_found.all_count
    then
      v_step.partitions := v_step.partitions || ('track.' || v_month.name);
    end if;
  end loop;
  -- The oldest one, month by month: the first that has any.
  for v_month in
    select month.*
    from track._event_partitions() as month
  loop
    execute format(
      'select min(event.%1$I) as at
      from track.%2$I as event
      where ($1 is null or event.event_type_id = any ($1))
        and ($2 or event.person_id <> 0)',
      case rule.counted_from when 'event' then 'occurred_at' else 'received_at' end,
      v_month.name
    )
    into v_found
    using v_types, rule.method = 'delete';
    v_step.oldest_at := least(v_step.oldest_at, v_found.at);
    -- A later month may contain an event that arrived earlier, but none that arrived before the month began.
    exit when v_step.oldest_at < v_month.until;
  end loop;
  return next v_step;
end;
$$;

comment on function track.plan_event_retention(privacy.retention, timestamptz) is $$
@behavior -*
Counts the events that a rule of retention deletes with the next run. Called by `privacy.retention_plan`.
$$;
