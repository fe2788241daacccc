create or replace function experiment._added_sums(sums experiment.day_sum[])
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    part.experiment_id, part.position, part.variation, part.exposed_on, part.stratum, part.people,
    coalesce(summed.sums, '{}')
  from (
    select
      entry.experiment_id, entry.position, entry.variation, entry.exposed_on, entry.stratum,
      sum(entry.people)::bigint as people
    from unnest(_added_sums.sums) as entry
    group by entry.experiment_id, entry.position, entry.variation, entry.exposed_on, entry.stratum
  ) as part
  left join (
    select
      figure.experiment_id, figure.position, figure.variation, figure.exposed_on, figure.stratum,
      array_agg(figure.figure order by figure.place) as sums
    from (
      select
        entry.experiment_id, entry.position, entry.variation, entry.exposed_on, entry.stratum, single.place,
        trim_scale(sum(single.figure)) as figure
      from unnest(_added_sums.sums) as entry
      cross join lateral unnest(entry.sums) with ordinality as single (figure, place)
      group by entry.experiment_id, entry.position, entry.variation, entry.exposed_on, entry.stratum, single.place
    ) as figure
    group by figure.experiment_id, figure.position, figure.variation, figure.exposed_on, figure.stratum
  ) as summed using (experiment_id, position, variation, exposed_on, stratum);
end;
$$;

comment on function experiment._added_sums(experiment.day_sum[]) is $$
Adds up sums of the same metric, variation, day and stratum.
$$;
