create or replace function experiment._quantile_statistic(statistic experiment.statistic, value jsonb, place text)
returns experiment.statistic
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.statistic := statistic;
  v_clustered constant text[] := array['n_clusters', 'main_sum', 'main_sum_squares', 'denominator_sum',
    'denominator_sum_squares', 'main_denominator_sum_product'];
  v_product numeric;
begin
  v_result.n_star := experiment._number(value, 'n_star', place);
  v_result.level := experiment._number(value, 'nu', place);
  v_result.quantile_hat := experiment._number(value, 'quantile_hat', place);
  v_result.quantile_lower := experiment._number(value, 'quantile_lower', place);
  v_result.quantile_upper := experiment._number(value, 'quantile_upper', place);
  if v_result.n_star < 0 or v_result.n_star > 1e15 then
    perform common.refuse('CF001', format('n_star of %s is %s', left(place, 100), left((value -> 'n_star')::text, 100)),
      'Give a number from 0 to 1e15.');
  elsif not (v_result.level > 0 and v_result.level < 1) then
    perform common.refuse('CF001', format('nu of %s is %s', left(place, 100), left((value -> 'nu')::text, 100)),
      'Give the level of the quantile, between 0 and 1.');
  elsif v_result.quantile_lower > v_result.quantile_upper then
    perform common.refuse('CF001',
      format('quantile_lower of %s is %s and quantile_upper %s', left(place, 100), v_result.quantile_lower,
        v_result.quantile_upper),
      'Give the bounds of the 95 % interval of the quantile.');
  end if;
  if value ?| v_clustered then
    v_result.n_clusters := experiment._number(value, 'n_clusters', place);
    if v_result.n_clusters < 0 or v_result.n_clusters <> trunc(v_result.n_clusters)
      or v_result.n_clusters > greatest(v_result.n, 1) then
      perform common.refuse('CF001', format('n_clusters of %s is %s, and n %s', left(place, 100),
        left((value -> 'n_clusters')::text, 100), v_result.n),
        'Give the number of users of whom the n events are.');
    end if;
    v_result.is_binary := array[false, false];
    v_result.sums := array[
      experiment._number(value, 'main_sum', place), experiment._number(value, 'denominator_sum', place)
    ];
    v_product := experiment._number(value, 'main_denominator_sum_product', place);
    v_result.products := array[
      experiment._number(value, 'main_sum_squares', place), v_product,
      v_product, experiment._number(value, 'denominator_sum_squares', place)
    ];
    perform experiment._check_possible(
      v_result.n_clusters, v_result.sums, v_result.products, array['main', 'denominator'], place
    );
  end if;
  return v_result;
end;
$$;

comment on function experiment._quantile_statistic(experiment.statistic, jsonb, text) is $$
Returns the statistics of a quantile, with those of its clusters when there are any.
$$;

grant execute on function experiment._quantile_statistic(experiment.statistic, jsonb, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
