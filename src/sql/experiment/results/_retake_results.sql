create or replace function experiment._retake_results(experiments int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The difference to the sums without the people would be theirs. Once events were deleted, nothing can be compared.
  perform experiment._take_results(known)
  from experiment.experiment as known
  join experiment.kept using (experiment_id)
  where known.experiment_id = any (_retake_results.experiments)
    and experiment._are_events_complete(known);
end;
$$;

comment on function experiment._retake_results(int[]) is $$
@behavior -*
Recomputes kept results without people who were erased or have opted out, unless events of their time were deleted.
$$;
