create or replace function recommend._strength(weight float8, full_weight real, liking real, is_rejected boolean)
returns real
language sql
immutable
parallel safe
return (
  case
    when liking < 0 then liking
    when liking = 0 or is_rejected then 0
    else greatest(least(weight / full_weight, 1), liking)
  end
)::real;

comment on function recommend._strength(float8, real, real, boolean) is $$
@behavior -*
Returns how much a person likes an item, from -1 to 1.
A preference that she expressed is not lifted by use when it is 0 or below. An item that she left or dismissed has
strength 0, unless she said that she dislikes it.
$$;

grant execute on function recommend._strength(float8, real, real, boolean) to insights_reader, insights_learner;
