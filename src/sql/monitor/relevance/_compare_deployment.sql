create or replace function monitor._compare_deployment(
  kind text,
  former_since timestamptz,
  deployed_at timestamptz,
  until timestamptz,
  answer_period interval,
  out people bigint,
  out former_people bigint,
  out rate float8,
  out former_rate float8,
  out standard_error float8,
  out former_standard_error float8,
  out is_corrected boolean
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_cells monitor.ranked_cell[];
  v_rates monitor.corrected_rate[];
begin
  with listed as materialized (
    select
      case when impression.listed_at >= _compare_deployment.deployed_at then 'now' else 'former' end as name,
      impression.person_id, impression.rank,
      coalesce(impression.clicked_at < impression.listed_at + _compare_deployment.answer_period, false) as is_clicked
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where impression.listed_at >= _compare_deployment.former_since
      and impression.listed_at < _compare_deployment.until
      and impression.is_served
      and impression.rank between 1 and 20
      -- Experiments have results of their own.
      and impression.experiment_id is null
      and item.kind = _compare_deployment.kind
  )

  select
    (select count(distinct listed.person_id) from listed where listed.name = 'now'),
    (select count(distinct listed.person_id) from listed where listed.name = 'former'),
    array(
      select row(listed.name, null, listed.rank, (listed.person_id % 64)::int, count(*)::float8,
        count(*) filter (where listed.is_clicked)::float8)::monitor.ranked_cell
      from listed
      group by listed.name, listed.rank, listed.person_id % 64
    )
  into people, former_people, v_cells;

  is_corrected := true;
  v_rates := array(
    select compared
    from monitor._corrected_rates(
      _compare_deployment.former_since, _compare_deployment.until, _compare_deployment.kind, null, v_cells
    ) as compared
    order by compared.name
  );
  if cardinality(v_rates) < 2 then
    is_corrected := false;
    v_rates := array(
      select compared
      from monitor._corrected_rates(
        _compare_deployment.former_since, _compare_deployment.until, _compare_deployment.kind, null, v_cells, false
      ) as compared
      order by compared.name
    );
  end if;
  if cardinality(v_rates) < 2 then
    return;
  end if;

  former_rate := v_rates[1].rate;
  rate := v_rates[2].rate;
  former_standard_error := v_rates[1].standard_error;
  standard_error := (
    select sqrt(sum((pair.now - pair.former) ^ 2))
    from unnest(v_rates[2].influence, v_rates[1].influence) as pair (now, former)
  );
end;
$$;

comment on function monitor._compare_deployment(text, timestamptz, timestamptz, timestamptz, interval) is $$
@behavior -*
Compares the clicks per row before and since a deployment, corrected by the examination of ranks where it is known.
The standard error of the difference allows for people who are in both periods, and for the error of the examination.
$$;
