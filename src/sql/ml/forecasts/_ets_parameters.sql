create or replace function ml._ets_parameters(
  free float8[],
  fixed float8[]
)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array[
    chosen.alpha,
    coalesce(fixed[2], chosen.alpha * (0.0001 + 0.9998 / (1 + exp(-free[2])))),
    coalesce(fixed[3], (1 - chosen.alpha) * (0.0001 + 0.9998 / (1 + exp(-free[3])))),
    coalesce(fixed[4], 0.8 + 0.18 / (1 + exp(-free[4])))
  ]
  from (select coalesce(fixed[1], 0.0001 + 0.9998 / (1 + exp(-free[1]))) as alpha) as chosen;
end;

comment on function ml._ets_parameters(float8[], float8[]) is $$
Returns smoothing parameters from unbounded numbers.
0 < alpha < 1, 0 < beta < alpha, 0 < gamma < 1 − alpha, 0.8 < phi < 0.98. Those in `fixed` that are not null are
returned unchanged.
$$;
