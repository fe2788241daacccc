create or replace function experiment._holdout_filter(
  experiment experiment.experiment,
  share float8,
  takes_part boolean
)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select jsonb_build_object(
    'attribute', (_holdout_filter.experiment).hash_attribute,
    'seed', 'holdout.' || (_holdout_filter.experiment).holdout,
    'hashVersion', 2,
    'ranges', jsonb_build_array(
      case
        when _holdout_filter.takes_part then jsonb_build_array(_holdout_filter.share, 1)
        else jsonb_build_array(0, _holdout_filter.share)
      end
    )
  );
end;

comment on function experiment._holdout_filter(experiment.experiment, float8, boolean) is $$
@behavior -*
Returns the filter, in GrowthBook's form, of the people who are not held out, or of those who are.
$$;

grant execute on function experiment._holdout_filter(experiment.experiment, float8, boolean) to insights_reader;
