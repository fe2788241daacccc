create or replace function experiment._shown_result(result experiment.result, smallest_group int)
returns experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.result := result;
  -- The influence of `smallest_group` people on a mean, and on the effect.
  v_share constant float8 := least(smallest_group / sqrt(greatest((result).people, 1)::float8), 1);
  v_effect_unit constant float8 := (result).stddev * v_share;
begin
  if smallest_group = 1 then
    return v_result;
  end if;
  if v_result.people < smallest_group then
    return row(
      v_result.metric, v_result.role, v_result.type, v_result.variation, 0, null, null, null, null, null, null, null,
      null, null, null, null, null, v_result.difference, v_result.test, v_result.alpha, v_result.population,
      v_result.complete_until, format('Fewer than %s people.', smallest_group), v_result.variation_number
    )::experiment.result;
  end if;
  v_result.figure := experiment._rounded(
    v_result.figure,
    coalesce(v_result.figure_stddev / sqrt(v_result.people::float8), abs(v_result.figure) / 10) * v_share
  );
  v_result.figure_stddev := experiment._rounded(v_result.figure_stddev, v_result.figure_stddev * v_share);
  v_result.people := v_result.people / smallest_group * smallest_group;
  v_result.effect := experiment._rounded(v_result.effect, v_effect_unit);
  v_result.low := experiment._rounded(v_result.low, v_effect_unit);
  v_result.high := experiment._rounded(v_result.high, v_effect_unit);
  v_result.stddev := experiment._rounded(v_result.stddev, v_effect_unit);
  v_result.risk := experiment._rounded(v_result.risk, v_effect_unit);
  v_result.p := experiment._rounded(v_result.p, v_result.p * least(v_share, 0.1));
  v_result.adjusted_p := experiment._rounded(v_result.adjusted_p, v_result.adjusted_p * least(v_share, 0.1));
  v_result.chance_to_win := round(v_result.chance_to_win::numeric, 3)::float8;
  v_result.variance_reduction := round(v_result.variance_reduction::numeric, 2)::float8;
  return v_result;
end;
$$;

comment on function experiment._shown_result(experiment.result, int) is $$
@behavior -*
Returns a result as analysts see it.
No figure is more precise than the influence that `smallest_group` people have on it, numbers of people are multiples of
it, and a smaller group has no figures.
$$;

grant execute on function experiment._shown_result(experiment.result, int) to insights_reader;
