create or replace function track.delete_old_refusals(
  samples_older_than interval default '7 days',
  counts_older_than interval default '400 days'
)
returns bigint
language plpgsql
volatile
-- A definer: no role may write these tables.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_samples bigint;
  v_counts bigint;
  v_found bigint;
begin
  if (
    delete_old_refusals.samples_older_than between '1 day' and '1000 years'
    and delete_old_refusals.counts_older_than between '1 day' and '1000 years'
  ) is not true
  then
    perform common.refuse(
      'CF001',
      format(
        'the intervals are %s and %s', coalesce(delete_old_refusals.samples_older_than::text, 'null'),
        coalesce(delete_old_refusals.counts_older_than::text, 'null')
      ),
      'Give intervals from a day to 1000 years.'
    );
  end if;
  delete from track.refusal_sample
  where refusal_sample.refused_at < now() - delete_old_refusals.samples_older_than;
  get diagnostics v_samples = row_count;
  delete from track.refusal
  where refusal.day < ((now() - delete_old_refusals.counts_older_than) at time zone 'UTC')::date;
  get diagnostics v_counts = row_count;

  -- Batches write rows of the current day only, except one that was running at midnight.
  with taken as (
    delete from track.refusal
    where refusal.day < (now() at time zone 'UTC')::date - 1
      and refusal.backend <> 0
    returning refusal.source_id, refusal.code, refusal.day, refusal.messages
  )
  insert into track.refusal (source_id, code, day, backend, messages)
  select taken.source_id, taken.code, taken.day, 0, sum(taken.messages)
  from taken
  group by taken.source_id, taken.code, taken.day
  on conflict on constraint refusal_pkey do update
  set messages = refusal.messages + excluded.messages;

  delete from track.found_data
  where found_data.day < ((now() - delete_old_refusals.counts_older_than) at time zone 'UTC')::date;
  get diagnostics v_found = row_count;
  with taken as (
    delete from track.found_data
    where found_data.day < (now() at time zone 'UTC')::date - 1
      and found_data.backend <> 0
    returning found_data.day, found_data.event_type_id, found_data.property, found_data.kind, found_data.found
  )
  insert into track.found_data (day, event_type_id, property, kind, backend, found)
  select taken.day, taken.event_type_id, taken.property, taken.kind, 0, sum(taken.found)
  from taken
  group by taken.day, taken.event_type_id, taken.property, taken.kind
  on conflict on constraint found_data_key do update
  set found = found_data.found + excluded.found;
  return v_samples + v_counts + v_found;
end;
$$;

comment on function track.delete_old_refusals(interval, interval) is $$
@behavior -mutationField
Deletes old samples and counts of refused messages, and sums the counts of former days.
It does the same with the counts of found and dropped data (`track.found_data`).
Returns the number of deleted rows. Errors: CF001 for less than a day.
$$;

grant execute on function track.delete_old_refusals(interval, interval) to insights_worker;
