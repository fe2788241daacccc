create or replace function experiment._check_layer(
  experiment_key text,
  layer text,
  layer_from float8,
  layer_until float8
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_other experiment.experiment;
begin
  select * into v_other
  from experiment.experiment as known
  where known.layer = _check_layer.layer
    and known.experiment_key <> _check_layer.experiment_key
    and known.state in ('draft', 'running')
    and known.layer_from < _check_layer.layer_until
    and known.layer_until > _check_layer.layer_from
  order by known.layer_from
  limit 1;
  if found then
    perform common.refuse(
      'CF003',
      format(
        'the range from %s to %s of the layer "%s" overlaps', _check_layer.layer_from, _check_layer.layer_until,
        _check_layer.layer
      ),
      format(
        'The experiment "%s" has the range from %s to %s.', v_other.experiment_key, v_other.layer_from,
        v_other.layer_until
      )
    );
  end if;
end;
$$;

comment on function experiment._check_layer(text, text, float8, float8) is $$
@behavior -*
Raises CF003 when another draft or running experiment has a part of a range of a layer.
$$;
