create or replace function experiment._named_outcomes(experiment_id int, outcomes numeric[])
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_object_agg(metric.metric_key, part.figures)
    from (
      select
        slot.position,
        case
          when count(*) = 1 then to_jsonb(min(_named_outcomes.outcomes[slot.place]))
          else jsonb_agg(_named_outcomes.outcomes[slot.place] order by slot.place)
        end as figures
      from experiment._slots(array[_named_outcomes.experiment_id]) as slot
      group by slot.position
    ) as part
    join experiment.measured
      on measured.experiment_id = _named_outcomes.experiment_id
      and measured.position = part.position
    join experiment.metric using (metric_id)
  );
end;
$$;

comment on function experiment._named_outcomes(int, numeric[]) is $$
Returns outcomes by the names of their metrics; a ratio has its numerator and denominator.
$$;
