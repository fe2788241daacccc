create or replace function ml._ease_ridges(
  sums ml.ease_sums,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  if dropout is null or not dropout between 0 and 0.99 then
    perform common.refuse('CF001', format('dropout is %s', coalesce(dropout::text, 'null')),
      'It is the probability that an item of a person is left out in training: from 0 (EASE) to 0.99.');
  end if;
  if exponent is null or not exponent between 0 and 2 then
    perform common.refuse('CF001', format('exponent is %s', coalesce(exponent::text, 'null')),
      'Give a number from 0 (the same ridge for all items) to 2.');
  end if;
  if dropout > 0 and lambda = 0 then
    null; -- the dropout is a ridge already
  else
    perform ml._check_ridge(lambda);
  end if;
  if lambda * (select max(person_count) from unnest(sums.person_counts) as person_count) ^ exponent > 1e15 then
    perform common.refuse('CF001', format('lambda is %s, with the exponent %s', lambda, exponent),
      'The ridge of an item, lambda times its number of people to the power of the exponent, is at most 1e15.');
  end if;
  return array(
    select lambda * item.person_count::float8 ^ exponent + dropout / (1 - dropout) * (item.v::real[])[item.n]
    from unnest(sums.gram, sums.person_counts) with ordinality as item (v, person_count, n)
    order by item.n
  );
end;
$$;

comment on function ml._ease_ridges(ml.ease_sums, float8, float8, float8) is $$
Returns the ridge of each item.
It is `lambda` times the number of people of the item to the power of `exponent`, plus, for a
`dropout` of p, p / (1 - p) times the diagonal of XᵀX.
Errors: CF001 (lambda, exponent, dropout).
$$;

grant execute on function ml._ease_ridges(ml.ease_sums, float8, float8, float8)
to insights_analyst, insights_admin, insights_worker;
