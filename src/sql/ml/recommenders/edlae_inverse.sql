create or replace function ml.edlae_inverse(
  sums ml.ease_sums,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  return ml._ease_inverse(sums.gram, ml._ease_ridges(sums, lambda, exponent, dropout));
end;
$$;

comment on function ml.edlae_inverse(ml.ease_sums, float8, float8, float8) is $$
@behavior -*
Returns P = (XᵀX + diag(ridges))⁻¹ of EASE, or with a `dropout` of EDLAE, from the sums of `ml.ease_coded_sums`.
`ml.low_rank_update` changes it for some people, `ml.ease_lists` makes neighbour lists of it. The parameters are those
of `ml.ease_neighbours`.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml.edlae_inverse(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
