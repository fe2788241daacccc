/* The limits are those of rounding: half of the smallest number, and the largest number plus half of its last place. */
create or replace function experiment._double(value text)
returns double precision
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parts text[];
  v_digits text;
  v_exponent text;
  v_magnitude bigint;
  v_number numeric;
begin
  if length(_double.value) <= 18 and _double.value ~ '^[+-]?[0-9]*\.?[0-9]*$' then
    return _double.value::double precision;
  end if;
  v_parts := regexp_match(_double.value, '^[+-]?([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?$');
  if v_parts is null then
    return null;
  end if;
  v_digits := ltrim(v_parts[1] || v_parts[2], '0');
  if v_digits = '' then
    return 0;
  end if;
  v_exponent := coalesce(regexp_replace(v_parts[3], '^([+-]?)0+', '\1'), '');
  v_magnitude := length(v_digits) - length(v_parts[2]) + case
    when v_exponent in ('', '+', '-') then 0
    when length(v_exponent) > 10 then (left(v_exponent, 1) || '9999999999')::bigint
    else v_exponent::bigint
  end;
  if v_magnitude > 310 then
    return case when starts_with(_double.value, '-') then '-infinity' else 'infinity' end;
  end if;
  if v_magnitude < -330 then
    return 0;
  end if;
  v_number := abs(_double.value::numeric);
  if v_number >= 2::numeric ^ 1024 - 2::numeric ^ 970 then
    return case when starts_with(_double.value, '-') then '-infinity' else 'infinity' end;
  end if;
  if v_number <= 2.4703282292062327208e-324 then
    return 0;
  end if;
  return _double.value::double precision;
end;
$$;

comment on function experiment._double(text) is $$
Returns the double precision number that JavaScript reads from a decimal number.
Beyond the largest number it is infinite and below half of the smallest it is 0, where a cast raises an error.
Null if the text is not a decimal number.
$$;

grant execute on function experiment._double(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
