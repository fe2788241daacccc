create or replace function recommend._training_models(kind text, item_count int)
returns setof recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Models that invert a matrix of all items: a grid of them takes minutes beyond the first number, and they cannot
  -- hold more than the second.
  v_most_items_of_grid constant int := 2000;
  v_most_items constant int := 16000;
begin
  return query
  with single as (
    select
      candidate.model,
      case when candidate.algorithm in ('popularity', 'trending') then candidate.algorithm else 'popularity' end
        as prior,
      case
        when candidate.algorithm not in ('popularity', 'trending') then
          (candidate.algorithm, candidate.parameters, candidate.history_decay, 1)::recommend.part
      end as part,
      1 as position
    from recommend._candidates() as candidate

    union all

    select
      format('ease(%s)', lambda), 'popularity',
      ('ease', jsonb_build_object('lambda', lambda), 1, 1)::recommend.part, 2
    from recommend.setting
    cross join unnest(setting.lambdas) as lambda
    where _training_models.item_count <= v_most_items_of_grid

    union all

    select
      format('%s of a search', best.algorithm), 'popularity',
      (best.algorithm, best.parameters, best.history_decay, 1)::recommend.part, 3
    from recommend.best_parameters as best
    where best.kind = _training_models.kind
  ),

  -- Each set of parameters once.
  tried as (
    select distinct on ((single.part).algorithm, (single.part).parameters, (single.part).history_decay, single.prior)
      single.*
    from single
    where coalesce((single.part).algorithm, '') not in ('ease', 'edlae')
      or _training_models.item_count <= v_most_items
    order by
      (single.part).algorithm, (single.part).parameters, (single.part).history_decay, single.prior, single.position,
      single.model
  ),

  -- The parameters of a search, or else the given ones.
  blended as (
    select distinct on ((tried.part).algorithm) tried.part
    from tried
    where (tried.part).algorithm in ('sequence', 'ease', 'item_knn')
    order by (tried.part).algorithm, tried.position = 3 desc, tried.position, tried.model
  ),

  entry as (
    select tried.model, tried.prior, array_remove(array[tried.part], null) as parts, tried.position
    from tried

    union all

    select
      format('%s + %s %s', (one.part).algorithm, share, (other.part).algorithm), 'popularity',
      array[
        one.part,
        ((other.part).algorithm, (other.part).parameters, (other.part).history_decay, share)::recommend.part
      ],
      4
    from blended as one
    join blended as other on (other.part).algorithm < (one.part).algorithm
    cross join unnest('{0.5,1,2}'::float8[]) as share
    where (one.part).algorithm = 'sequence'
  )

  select
    null::bigint, row_number() over (order by entry.position, entry.model)::smallint, entry.model, entry.prior,
    to_jsonb(entry.parts), null::bigint, false, null::interval
  from entry
  order by entry.position, entry.model;
end;
$$;

comment on function recommend._training_models(text, int) is $$
@behavior -*
Returns the models that a training tries.
They are those of `_candidates`, EASE with each of `recommend.setting.lambdas`, those that a search found, and blends of
a sequence with EASE and with the similarity of items.
$$;
