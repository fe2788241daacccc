create or replace function experiment._drawn(
  users float8[],
  weights float8[],
  least_expected float8 default 10,
  least_users float8 default 0
)
returns experiment.drawn[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := array_length(weights, 2);
  v_zeros constant float8[] := array_fill(0::float8, array[v_count]);
  v_people float8;
  v_total float8;
  v_share float8[];
  v_former float8[];
  -- Variables of their own: each assignment to an array in a composite would copy it.
  v_users float8[] := v_zeros;
  v_expected float8[] := v_zeros;
  v_covariances float8[] := array_fill(0::float8, array[v_count * v_count]);
  v_parts experiment.drawn[] := '{}';
  v_is_open boolean := false;
  v_is_complete boolean;
begin
  for p in 1..array_length(weights, 1) loop
    v_people := 0;
    v_total := 0;
    for i in 1..v_count loop
      -- A variation without weight, or whose users are not known, is not tested.
      v_share[i] := case when users[p][i] is null then 0 else weights[p][i] end;
      if v_share[i] > 0 then
        v_people := v_people + users[p][i];
        v_total := v_total + v_share[i];
      end if;
    end loop;
    continue when v_people = 0;
    for i in 1..v_count loop
      v_share[i] := v_share[i] / v_total;
    end loop;

    -- A part ends when other weights begin, and it is large enough.
    v_is_complete := v_is_open;
    for i in 1..v_count loop
      exit when not v_is_complete;
      v_is_complete := v_expected[i] = 0 or (v_expected[i] >= least_expected and v_users[i] >= least_users);
    end loop;
    if v_is_complete and exists (
      select from unnest(v_former, v_share) as part (former, share) where abs(part.former - part.share) > 1e-12
    ) then
      v_parts := v_parts || row(v_users, v_expected, v_covariances)::experiment.drawn;
      v_users := v_zeros;
      v_expected := v_zeros;
      v_covariances := array_fill(0::float8, array[v_count * v_count]);
    end if;

    v_former := v_share;
    v_is_open := true;
    for i in 1..v_count loop
      continue when v_share[i] = 0;
      v_users[i] := v_users[i] + users[p][i];
      v_expected[i] := v_expected[i] + v_people * v_share[i];
      for j in 1..v_count loop
        v_covariances[(i - 1) * v_count + j] := v_covariances[(i - 1) * v_count + j]
          + v_people * v_share[i] * (case when i = j then 1 else 0 end - v_share[j]);
      end loop;
    end loop;
  end loop;

  -- The rest belongs to the last part.
  v_is_complete := v_parts = '{}';
  for i in 1..v_count loop
    exit when v_is_complete;
    exit when v_expected[i] > 0 and (v_expected[i] < least_expected or v_users[i] < least_users);
    v_is_complete := i = v_count;
  end loop;
  if v_is_complete then
    return v_parts || row(v_users, v_expected, v_covariances)::experiment.drawn;
  end if;
  return v_parts[:cardinality(v_parts) - 1] || experiment._added_drawn(
    array[v_parts[cardinality(v_parts)], row(v_users, v_expected, v_covariances)::experiment.drawn]
  );
end;
$$;

comment on function experiment._drawn(float8[], float8[], float8, float8) is $$
@behavior -*
Returns users and their expectation, of parts of the time: a row of `users` and `weights` per period.
Consecutive periods are added up until each variation is expected to have `least_expected` users, and has `least_users`;
those with the same weights are one. In each period the users are drawn from a multinomial distribution with its
weights. Weights that follow from outcomes of earlier users, as those of a bandit, change nothing: the differences to
the expectation are a martingale.
$$;

grant execute on function experiment._drawn(float8[], float8[], float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
