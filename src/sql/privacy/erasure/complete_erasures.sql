create or replace function privacy.complete_erasures(refreshed_at timestamptz)
returns int
language plpgsql
volatile
-- A definer: it writes privacy.erasure, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_completed int;
begin
  if complete_erasures.refreshed_at is null or complete_erasures.refreshed_at > clock_timestamp() then
    perform common.refuse(
      'CF001', format('refreshed_at is %s', coalesce(complete_erasures.refreshed_at::text, 'null')),
      'Give the time at which the refresh began.'
    );
  end if;
  update privacy.erasure
  set completed_at = greatest(clock_timestamp(), erasure.erased_at)
  where erasure.completed_at is null
    and erasure.erased_at < complete_erasures.refreshed_at;
  get diagnostics v_completed = row_count;
  return v_completed;
end;
$$;

comment on function privacy.complete_erasures(timestamptz) is $$
@behavior -*
Marks the receipts of erasures before a refresh of the materialized views and lists as complete.
`refreshed_at`: start of the refresh. Returns their number. Called by the task `erase`.
Errors: CF001 for null or a time in the future.
$$;

grant execute on function privacy.complete_erasures(timestamptz) to insights_worker;
