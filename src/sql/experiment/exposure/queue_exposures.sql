create or replace function experiment.queue_exposures(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.queue_people('experiment.exposure', queue_exposures.people);
end;
$$;

comment on function experiment.queue_exposures(bigint[]) is $$
@behavior -*
Queues people for the refresh of their exposures.
For the rooms of `experiment.handler`, after they have stored, moved or deleted what shows an exposure.
$$;
