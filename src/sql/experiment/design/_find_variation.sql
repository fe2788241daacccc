create or replace function experiment._find_variation(experiment_id int, variation text)
returns experiment.variation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_variation experiment.variation;
begin
  select * into v_variation
  from experiment.variation as known
  where known.experiment_id = _find_variation.experiment_id
    and known.variation_key = _find_variation.variation;
  if not found then
    perform experiment._refuse_unknown_name(
      'variation',
      _find_variation.variation,
      array(
        select known.variation_key from experiment.variation as known
        where known.experiment_id = _find_variation.experiment_id
        order by known.variation
      ),
      'Use '
        || (
          select string_agg(known.variation_key, ', ' order by known.variation)
          from experiment.variation as known
          where known.experiment_id = _find_variation.experiment_id
        )
        || '.'
    );
  end if;
  return v_variation;
end;
$$;

comment on function experiment._find_variation(int, text) is $$
@behavior -*
Returns a variation of an experiment by its key. Errors: CF002 (names the nearest).
$$;
