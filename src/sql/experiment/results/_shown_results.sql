create or replace function experiment._shown_results(results experiment.result[], smallest_group int)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.result;
  v_control experiment.result;
  v_people bigint;
  v_smaller bigint;
  v_count float8;
  v_share float8;
  v_unit float8;
begin
  foreach v_result in array _shown_results.results loop
    v_people := v_result.people;
    select * into v_control
    from unnest(_shown_results.results) as control
    where control.metric = v_result.metric
      and control.variation_number = 0;
    if smallest_group = 1 then
      return next v_result;
      continue;
    end if;
    if v_people < smallest_group then
      return next row(
        v_result.metric, v_result.role, v_result.type, v_result.variation, 0, null, null, null, null, null, null,
        null, null, null, null, null, null, v_result.difference, v_result.test, v_result.alpha, v_result.population,
        v_result.complete_until, format('Fewer than %s people.', smallest_group), v_result.variation_number
      )::experiment.result;
      continue;
    end if;

    v_result.people := v_people / smallest_group * smallest_group;
    -- The influence of `smallest_group` people on a mean.
    v_share := least(smallest_group / sqrt(v_people::float8), 1);
    if v_result.type in ('proportion', 'retention') then
      -- A share is of two numbers of people, of which neither is shown when it is small.
      v_count := round(v_result.figure * v_people);
      v_result.figure := case
        when v_count < smallest_group then 0
        when v_people - v_count < smallest_group then 1
        else least(round(v_count / smallest_group) * smallest_group / v_result.people, 1)
      end;
      v_result.figure_stddev := round(sqrt(v_result.figure * (1 - v_result.figure))::numeric, 6)::float8;
    else
      v_result.figure := experiment._rounded(
        v_result.figure,
        coalesce(nullif(v_result.figure_stddev, 0) / sqrt(v_people::float8), abs(v_result.figure) / 10) * v_share
      );
      v_result.figure_stddev := experiment._rounded(v_result.figure_stddev, v_result.figure_stddev * v_share);
    end if;

    if v_control.people < smallest_group and v_result.variation_number > 0 then
      -- A difference to few people shows their figure. The note is that of a comparison that is missing.
      if v_result.effect is not null then
        v_result.note := concat_ws(' ', v_result.note, experiment._no_result_note());
      end if;
      v_result.effect := null;
      v_result.stddev := null;
      v_result.low := null;
      v_result.high := null;
      v_result.p := null;
      v_result.adjusted_p := null;
      v_result.chance_to_win := null;
      v_result.risk := null;
      v_result.variance_reduction := null;
      v_result.verdict := 'unclear';
      return next v_result;
      continue;
    end if;
    -- The influence of as many people of the smaller one of the two on the difference.
    v_smaller := greatest(least(v_people, v_control.people), 1);
    v_share := least(smallest_group / sqrt(v_smaller::float8), 1);
    v_unit := v_result.stddev * v_share;
    if v_result.type in ('proportion', 'retention') then
      v_unit := greatest(
        v_unit,
        -- Of a quotient also the influence of people of the control.
        smallest_group / v_smaller::float8 * case
          when v_result.difference = 'relative'
            then greatest(abs(1 + v_result.effect), 1) / nullif(v_control.figure, 0)
          else 1
        end
      );
    end if;
    v_result.effect := experiment._rounded(v_result.effect, v_unit);
    v_result.low := experiment._rounded(v_result.low, v_unit);
    v_result.high := experiment._rounded(v_result.high, v_unit);
    v_result.stddev := experiment._rounded(v_result.stddev, v_unit);
    v_result.risk := experiment._rounded(v_result.risk, v_unit);
    v_result.p := experiment._rounded(v_result.p, v_result.p * least(v_share, 0.1));
    v_result.adjusted_p := experiment._rounded(v_result.adjusted_p, v_result.adjusted_p * least(v_share, 0.1));
    v_result.chance_to_win := round(v_result.chance_to_win::numeric, 3)::float8;
    v_result.variance_reduction := round(v_result.variance_reduction::numeric, 2)::float8;
    return next v_result;
  end loop;
end;
$$;

comment on function experiment._shown_results(experiment.result[], int) is $$
@behavior -*
Returns results as analysts see them, of all variations with the control.
No figure is more precise than the influence that `smallest_group` people have on it, numbers of people are multiples of
it, a share is of two such numbers, and a smaller group has no figures. Without them for the control, no variation is
compared with it.
$$;

grant execute on function experiment._shown_results(experiment.result[], int) to insights_reader;
