create or replace function experiment.assigned(placement text, person_id bigint, identity_id bigint, out experiment_id int, out experiment_key text, out variation smallint, out value jsonb, out probability float8) language plpgsql stable parallel safe set search_path to pg_catalog, pg_temp as $$
begin
  if not exists (select from experiment.experiment where experiment.placement = assigned.placement and state = 'running') then return; end if;
  select e.experiment_id, e.experiment_key, v.variation, v.value, 0.5 into assigned.experiment_id, assigned.experiment_key, assigned.variation, assigned.value, assigned.probability
  from experiment.experiment e join experiment.variation v on v.experiment_id = e.experiment_id and v.variation = assigned.person_id % 2
  where e.placement = assigned.placement and e.state = 'running' and assigned.person_id is not null;
end $$;
grant execute on function experiment.assigned(text,bigint,bigint) to insights_reader;
create or replace function experiment.queue_exposures(people bigint[]) returns void language plpgsql as $$ begin end $$;
