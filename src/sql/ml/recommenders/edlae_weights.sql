create or replace function ml.edlae_weights(
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
  return ml.ease_weights(ml.edlae_inverse(sums, lambda, exponent, dropout));
end;
$$;

comment on function ml.edlae_weights(ml.ease_sums, float8, float8, float8) is $$
@behavior -*
Returns the weights of EASE, or with a `dropout` of EDLAE, from the sums of `ml.ease_coded_sums`.
Row i holds the weights from item i to all items, in the order of `items` of the sums. The parameters are those of
`ml.ease_neighbours`, whose lists are the strongest of these weights.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml.edlae_weights(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
