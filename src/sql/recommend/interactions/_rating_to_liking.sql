create or replace function recommend._rating_to_liking(rating float8, value_from float8, value_to float8)
returns real
language sql
immutable
parallel safe
return (
  2 * (least(greatest(rating, least(value_from, value_to)), greatest(value_from, value_to)) - value_from)
    / (value_to - value_from) - 1
)::real;

comment on function recommend._rating_to_liking(float8, float8, float8) is $$
@behavior -*
Converts a rating to a preference: -1 for `value_from`, 1 for `value_to`, and for ratings beyond them.
$$;

grant execute on function recommend._rating_to_liking(float8, float8, float8) to insights_reader, insights_learner;
