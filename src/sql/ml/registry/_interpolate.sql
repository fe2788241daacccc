create or replace function ml._interpolate(score float8, scores float8[], answers float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when score is null then null
    when place = 0 then answers[1]
    when place = cardinality(scores) then answers[place]
    else answers[place] + (answers[place + 1] - answers[place]) * (score - scores[place]) / (
      scores[place + 1] - scores[place])
  end
  from width_bucket(score, scores) as place;
end;

comment on function ml._interpolate(float8, float8[], float8[]) is $$
The value at a score of the line through points in ascending order of `scores`, constant beyond both ends.
$$;

grant execute on function ml._interpolate(float8, float8[], float8[])
  to insights_reader, insights_analyst, insights_admin, insights_worker;
