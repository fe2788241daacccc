create or replace function experiment._best_arms(a float8[], b float8[], is_beta boolean)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(a);
  v_centres float8[] := a;
  v_scales float8[] := b;
  v_starts float8[] := '{}';
  v_ends float8[] := '{}';
  v_grid float8[];
  v_kept int[] := '{}';
  v_second float8;
  v_spread float8;
  v_best float8[] := array_fill(0::float8, array[2 * v_count]);
  v_left float8[];
  v_middle float8[];
  v_right float8[];
  v_mass float8[];
  v_totals float8[];
  v_height float8;
  v_arms int;
begin
  if not is_beta then
    -- differences of nearly equal means are exact, and their sum with a small step is another number
    for i in 1..v_count loop
      v_centres[i] := a[i] - (select max(mean) from unnest(a) as mean);
    end loop;
  end if;
  for i in 1..v_count loop
    if is_beta then
      -- over the angle whose squared sine is the proportion, a Beta density is bounded, and nearly normal
      v_centres[i] := atan2(sqrt(greatest(a[i] - 0.5, 0)), sqrt(greatest(b[i] - 0.5, 0)));
      v_scales[i] := least(0.5 / sqrt(greatest(a[i] + b[i] - 1, 0.2)), 1);
    end if;
    v_starts := v_starts || (v_centres[i] - 9 * v_scales[i]);
    v_ends := v_ends || (v_centres[i] + 9 * v_scales[i]);
    if is_beta then
      v_starts[i] := greatest(v_starts[i], 0);
      v_ends[i] := least(v_ends[i], pi() / 2);
    end if;
  end loop;
  -- an arm that is below two others is neither the best nor the second best
  select start
  into v_second
  from unnest(v_starts) as start
  order by start desc
  offset 1
  limit 1;
  v_kept := array(select i from generate_series(1, v_count) as i where v_ends[i] >= v_second order by i);
  v_arms := cardinality(v_kept);
  select max(v_ends[i]) - min(v_starts[i])
  into v_spread
  from unnest(v_kept) as i;
  -- a much narrower arm than that is a step in the integral of the others
  for i in 1..v_count loop
    if v_scales[i] < v_spread * 1e-10 then
      v_scales[i] := v_spread * 1e-10;
      v_starts[i] := v_centres[i] - 9 * v_scales[i];
      v_ends[i] := v_centres[i] + 9 * v_scales[i];
    end if;
  end loop;
  v_grid := experiment._grid(
    array(select v_starts[i] from unnest(v_kept) as i order by i),
    array(select v_ends[i] from unnest(v_kept) as i order by i),
    array(select v_scales[i] / 40 from unnest(v_kept) as i order by i)
  );

  -- Simpson's rule, first for the totals of the densities and then for the probabilities
  for pass in 1..2 loop
    v_mass := array_fill(0::float8, array[v_arms]);
    v_left := experiment._densities(a, b, v_centres, v_scales, v_kept, v_grid[1], is_beta);
    for k in 2..cardinality(v_grid) loop
      v_height := v_grid[k] - v_grid[k - 1];
      v_middle := experiment._densities(a, b, v_centres, v_scales, v_kept, v_grid[k - 1] + v_height / 2, is_beta);
      v_right := experiment._densities(a, b, v_centres, v_scales, v_kept, v_grid[k], is_beta);
      if pass = 2 then
        v_best := experiment._with_panel(
          v_best, v_kept, v_left, v_middle, v_right, v_mass, v_totals, v_height
        );
      end if;
      for i in 1..v_arms loop
        v_mass[i] := v_mass[i] + v_height / 6 * (v_left[i] + 4 * v_middle[i] + v_right[i]);
      end loop;
      v_left := v_right;
    end loop;
    v_totals := v_mass;
  end loop;
  -- without the error of the integration, of about 1e-8
  return array(
    select chance / sum(chance) over (partition by position <= v_count)
    from unnest(v_best) with ordinality as arm (chance, position)
    order by position
  );
end;
$$;

comment on function experiment._best_arms(float8[], float8[], boolean) is $$
Returns the probability of each arm that its independent value is the largest, and then that it is the second largest.
The values are normal with means `a` and standard deviations `b`, or Beta distributed with the parameters `a` and `b`.
$$;

grant execute on function experiment._best_arms(float8[], float8[], boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._grid(starts float8[], ends float8[], steps float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8;
  v_next float8;
  v_last float8;
  v_grid float8[];
begin
  select min(start)
  into v_x
  from unnest(starts) as start;
  select max(finish)
  into v_last
  from unnest(ends) as finish;
  v_grid := array[v_x];
  while v_x < v_last loop
    -- the smallest step of the arms at this place, or the beginning of the next arm
    v_next := v_last;
    for i in 1..cardinality(starts) loop
      if starts[i] > v_x then
        v_next := least(v_next, starts[i]);
      elsif ends[i] > v_x then
        v_next := least(v_next, v_x + steps[i]);
      end if;
    end loop;
    -- at most a rounding error away
    v_x := case when v_next > v_x then v_next else v_last end;
    v_grid := v_grid || v_x;
  end loop;
  return v_grid;
end;
$$;

comment on function experiment._grid(float8[], float8[], float8[]) is $$
Returns places from the first start to the last end, as close as the narrowest range at each place needs.
$$;

grant execute on function experiment._grid(float8[], float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._densities(
  a float8[],
  b float8[],
  centres float8[],
  scales float8[],
  kept int[],
  x float8,
  is_beta boolean
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result float8[] := '{}';
  v_log float8;
  v_sine float8;
  i int;
begin
  foreach i in array kept loop
    if not is_beta then
      v_log := -0.5 * (least(abs(x - centres[i]) / scales[i], 50)) ^ 2;
    else
      -- quotients of the sines and cosines of x and the centre, minus 1, which are small for large parameters
      v_sine := 2 * sin((x - centres[i]) / 2);
      v_log := experiment._power_log(2 * a[i] - 1, v_sine * cos((x + centres[i]) / 2), sin(centres[i]))
        + experiment._power_log(2 * b[i] - 1, -v_sine * sin((x + centres[i]) / 2), cos(centres[i]));
    end if;
    v_result := v_result || case when v_log < -200 then 0 else exp(least(v_log, 200)) end;
  end loop;
  return v_result;
end;
$$;

comment on function experiment._densities(float8[], float8[], float8[], float8[], int[], float8, boolean) is $$
Returns the density of each kept arm at x, divided by that at its centre.
$$;

grant execute on function experiment._densities(float8[], float8[], float8[], float8[], int[], float8, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._power_log(exponent float8, change float8, base float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_relative float8;
  v_sum float8;
begin
  if exponent = 0 then
    return 0;
  end if;
  v_relative := change / greatest(base, 1e-300);
  v_sum := 1 + v_relative;
  -- the division cancels the rounding error of the sum (Goldberg 1991, theorem 4)
  return exponent * case
    when v_sum <= 1e-300 then -690
    when v_sum = 1 then v_relative
    else ln(v_sum) * (v_relative / (v_sum - 1))
  end;
end;
$$;

comment on function experiment._power_log(float8, float8, float8) is $$
Returns the logarithm of ((base + change) / base) ^ exponent, accurate for small changes.
$$;

grant execute on function experiment._power_log(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._with_panel(
  best float8[],
  kept int[],
  left_densities float8[],
  middle_densities float8[],
  right_densities float8[],
  mass float8[],
  totals float8[],
  width float8
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_best float8[] := best;
  v_arms constant int := cardinality(kept);
  v_count constant int := cardinality(best) / 2;
  v_below float8[];
  v_all float8[];
  v_one float8[];
  v_density float8;
  v_weight float8;
  v_suffix_all float8;
  v_suffix_one float8;
begin
  for place in 1..3 loop
    v_weight := width / 6 * case when place = 2 then 4 else 1 end;
    v_below := '{}';
    -- of the arms before i: the probability that all are below x, and that all but one are
    v_all := array[1];
    v_one := array[0];
    for i in 1..v_arms loop
      v_below := v_below || greatest(least((mass[i] + case place
        when 1 then 0
        when 2 then width / 24 * (5 * left_densities[i] + 8 * middle_densities[i] - right_densities[i])
        else width / 6 * (left_densities[i] + 4 * middle_densities[i] + right_densities[i])
      end) / totals[i], 1), 1e-100);
      v_all := v_all || greatest(v_all[i] * v_below[i], 1e-100);
      v_one := v_one || (v_one[i] * v_below[i] + v_all[i] * (1 - v_below[i]));
    end loop;
    v_suffix_all := 1;
    v_suffix_one := 0;
    for i in reverse v_arms..1 loop
      v_density := case place
        when 1 then left_densities[i] when 2 then middle_densities[i] else right_densities[i]
      end / totals[i] * v_weight;
      v_best[kept[i]] := v_best[kept[i]] + v_density * v_all[i] * v_suffix_all;
      v_best[v_count + kept[i]] := v_best[v_count + kept[i]]
        + v_density * (v_all[i] * v_suffix_one + v_one[i] * v_suffix_all);
      v_suffix_one := v_suffix_one * v_below[i] + v_suffix_all * (1 - v_below[i]);
      v_suffix_all := greatest(v_suffix_all * v_below[i], 1e-100);
    end loop;
  end loop;
  return v_best;
end;
$$;

comment on function experiment._with_panel(
  float8[], int[], float8[], float8[], float8[], float8[], float8[], float8
) is $$
Returns the probabilities of `_best_arms` with those of one panel of Simpson's rule added.
`mass` is the integral of each density up to the panel, `totals` the whole one.
$$;

grant execute on function experiment._with_panel(
  float8[], int[], float8[], float8[], float8[], float8[], float8[], float8
) to insights_reader, insights_analyst, insights_admin, insights_worker;
