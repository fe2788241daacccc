create or replace function experiment._sums_statistic(type text, people bigint, sums numeric[], is_adjusted boolean)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select case
    when type = 'ratio' then
      jsonb_build_object(
        'type', 'ratio', 'n', people,
        'numerator', jsonb_build_object('sum', sums[1], 'sum_squares', sums[2]),
        'denominator', jsonb_build_object('sum', sums[6], 'sum_squares', sums[7]),
        'sum_products', sums[11]
      ) || case
        when is_adjusted then jsonb_build_object(
          'numerator_before', jsonb_build_object('sum', sums[3], 'sum_squares', sums[4]),
          'denominator_before', jsonb_build_object('sum', sums[8], 'sum_squares', sums[9]),
          'products', jsonb_build_object(
            'm_post_m_pre', sums[5], 'd_post_d_pre', sums[10], 'm_post_d_post', sums[11], 'm_post_d_pre', sums[12],
            'm_pre_d_post', sums[13], 'm_pre_d_pre', sums[14]
          )
        )
        else '{}'
      end
    when type in ('proportion', 'retention') then
      jsonb_build_object('type', 'proportion', 'n', people, 'sum', sums[1]) || case
        when is_adjusted then jsonb_build_object(
          'before', jsonb_build_object('sum', sums[3]), 'sum_products_before', sums[5]
        )
        else '{}'
      end
    else
      jsonb_build_object('type', 'mean', 'n', people, 'sum', sums[1], 'sum_squares', sums[2]) || case
        when is_adjusted then jsonb_build_object(
          'before', jsonb_build_object('sum', sums[3], 'sum_squares', sums[4]), 'sum_products_before', sums[5]
        )
        else '{}'
      end
  end;
end;

comment on function experiment._sums_statistic(text, bigint, numeric[], boolean) is $$
@behavior -*
Returns sums of `experiment.day_sum` as a statistic that `experiment.compare` reads.
`is_adjusted`: with those of the period before the exposure.
$$;

grant execute on function experiment._sums_statistic(text, bigint, numeric[], boolean) to insights_reader;
