create or replace function experiment._summed_statistic(statistic experiment.statistic, value jsonb, place text)
returns experiment.statistic
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.statistic := statistic;
  v_names text[];
  v_squares numeric[] := '{}';
  v_cross numeric[];
  v_part jsonb;
  v_place text;
  v_type text;
  v_count int;
begin
  if statistic.type = 'ratio' then
    v_result.is_adjusted := value ?| array['numerator_before', 'denominator_before', 'products'];
    v_names := array['numerator', 'denominator'] || case
      when v_result.is_adjusted then array['numerator_before', 'denominator_before'] else '{}'
    end;
  else
    v_result.is_adjusted := value ?| array['before', 'sum_products_before'];
    v_names := array[statistic.type] || case when v_result.is_adjusted then array['before'] else '{}' end;
  end if;
  if statistic.theta is not null and not v_result.is_adjusted then
    perform common.refuse('CF001', format('%s has a theta, and no sums of the time before', left(place, 100)),
      'Give both, or none.');
  end if;
  v_count := cardinality(v_names);
  v_result.sums := '{}';
  v_result.is_binary := '{}';
  for i in 1..v_count loop
    if statistic.type <> 'ratio' and i = 1 then
      v_part := value;
      v_place := place;
      v_type := statistic.type;
    else
      v_part := value -> v_names[i];
      v_place := v_names[i] || ' of ' || place;
      if coalesce(v_part, 'null') = 'null' then
        perform common.refuse('CF001', format('%s is missing', left(v_place, 150)), 'Give an object with its sums.');
      end if;
      perform experiment._refuse_unknown(v_part, v_place, array['type', 'n', 'sum', 'sum_squares']);
      v_type := experiment._word_option(
        v_part, 'type', case when statistic.type = 'ratio' then 'mean' else statistic.type end,
        array['proportion', 'mean']
      );
      -- both times are of one type
      if statistic.type <> 'ratio' and v_type <> statistic.type
        or i > 2 and (v_type = 'proportion') <> v_result.is_binary[i - 2] then
        perform common.refuse('CF001', format('type of %s is %s', left(v_place, 150), v_type),
          'Give the same type before and after the exposure.');
      elsif coalesce(v_part -> 'n', 'null') <> 'null'
        and experiment._number(v_part, 'n', v_place) <> v_result.n then
        perform common.refuse('CF001',
          format(
            'n of %s is %s, and n of %s %s',
            left(v_place, 150), left((v_part -> 'n')::text, 40), left(place, 100), v_result.n
          ),
          'Give the same users in all sums.');
      end if;
    end if;
    v_result.sums := v_result.sums || experiment._number(v_part, 'sum', v_place);
    v_result.is_binary := v_result.is_binary || (v_type = 'proportion');
    if v_type = 'proportion' and not (v_result.sums[i] >= 0 and v_result.sums[i] <= v_result.n) then
      perform common.refuse('CF001',
        format('sum of %s is %s, and n %s', left(v_place, 150), left((v_part -> 'sum')::text, 40), v_result.n),
        'The sum of a proportion is a number from 0 to n.');
    end if;
    v_squares := v_squares || case
      when v_type = 'proportion' then v_result.sums[i] else experiment._number(v_part, 'sum_squares', v_place)
    end;
  end loop;

  if v_count = 1 then
    v_result.products := v_squares;
  elsif v_count = 2 then
    v_cross := array[experiment._number(
      value, case when statistic.type = 'ratio' then 'sum_products' else 'sum_products_before' end, place
    )];
    v_result.products := array[v_squares[1], v_cross[1], v_cross[1], v_squares[2]];
  else
    v_cross := experiment._ratio_products(value, place);
    v_result.products := array[
      v_squares[1], v_cross[1], v_cross[2], v_cross[3],
      v_cross[1], v_squares[2], v_cross[4], v_cross[5],
      v_cross[2], v_cross[4], v_squares[3], v_cross[6],
      v_cross[3], v_cross[5], v_cross[6], v_squares[4]
    ];
  end if;
  perform experiment._check_possible(v_result.n, v_result.sums, v_result.products, v_names, place);
  return v_result;
end;
$$;

comment on function experiment._summed_statistic(experiment.statistic, jsonb, text) is $$
Returns the statistics of a proportion, mean or ratio, with those of the time before the exposure when there are any.
$$;

grant execute on function experiment._summed_statistic(experiment.statistic, jsonb, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._ratio_products(value jsonb, place text)
returns numeric[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_place constant text := 'products of ' || left(place, 80);
  v_names constant text[] := array['m_post_d_post', 'm_post_m_pre', 'm_post_d_pre', 'm_pre_d_post', 'd_post_d_pre',
    'm_pre_d_pre'];
  v_given jsonb := coalesce(value -> 'products', '{}');
  v_result numeric[] := '{}';
  v_name text;
begin
  perform experiment._refuse_unknown(
    v_given, v_place,
    v_names || array(select name || '_sum_of_products' from unnest(v_names) as name)
  );
  foreach v_name in array v_names loop
    if v_given ? v_name then
      v_result := v_result || experiment._number(v_given, v_name, v_place);
    elsif v_name = 'm_post_d_post' and value ? 'sum_products' and not v_given ? 'm_post_d_post_sum_of_products' then
      v_result := v_result || experiment._number(value, 'sum_products', place);
    else
      v_result := v_result || experiment._number(v_given, v_name || '_sum_of_products', v_place);
    end if;
  end loop;
  return v_result;
end;
$$;

comment on function experiment._ratio_products(jsonb, text) is $$
Returns the six sums of products of a ratio with a time before the exposure.
The names are gbstats': `m` is the numerator, `d` the denominator, `pre` the time before, `post` the time after; the
ending `_sum_of_products` may be left out.
$$;

grant execute on function experiment._ratio_products(jsonb, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
