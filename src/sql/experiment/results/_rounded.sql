create or replace function experiment._rounded(figure float8, unit float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- A power of ten, so that the figures are read easily.
  select case
    when unit > 0 and unit < 'infinity' then round(
      figure::numeric, least(greatest(-ceil(log(unit))::int, -300), 300)
    )::float8
    else figure
  end;
end;

comment on function experiment._rounded(float8, float8) is $$
@behavior -*
Rounds a figure to the power of ten that is not below a unit.
$$;

grant execute on function experiment._rounded(float8, float8) to insights_reader;
