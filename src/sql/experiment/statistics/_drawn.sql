create or replace function experiment._drawn(users float8[], weights float8[])
returns experiment.drawn
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := array_length(weights, 2);
  v_people float8;
  v_total float8;
  v_share float8[];
  -- Variables of their own: each assignment to an array in a composite would copy it.
  v_users float8[] := array_fill(0::float8, array[v_count]);
  v_expected float8[] := v_users;
  v_covariances float8[] := array_fill(0::float8, array[v_count * v_count]);
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
        v_users[i] := v_users[i] + users[p][i];
      end if;
    end loop;
    continue when v_people = 0;
    for i in 1..v_count loop
      v_share[i] := v_share[i] / v_total;
      v_expected[i] := v_expected[i] + v_people * v_share[i];
    end loop;
    for i in 1..v_count loop
      for j in 1..v_count loop
        v_covariances[(i - 1) * v_count + j] := v_covariances[(i - 1) * v_count + j]
          + v_people * v_share[i] * (case when i = j then 1 else 0 end - v_share[j]);
      end loop;
    end loop;
  end loop;
  return row(v_users, v_expected, v_covariances)::experiment.drawn;
end;
$$;

comment on function experiment._drawn(float8[], float8[]) is $$
@behavior -*
Returns users and their expectation, added up over periods: a row of users and weights each.
In each period the users are drawn from a multinomial distribution with its weights. Weights that follow from outcomes
of earlier users, as those of a bandit, change nothing: the differences to the expectation are a martingale.
$$;

grant execute on function experiment._drawn(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
