/*
 * PostgreSQL does not use the ends of the interval that rounds to a number, JavaScript does: 1e+23 is
 * 9.999999999999999e+22 here. So a digit less is tried.
 */
create or replace function experiment._double_text(value double precision)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_parts text[];
  v_digits text;
  v_exponent int;
  v_shorter text;
begin
  if _double_text.value = 0 then
    return '0';
  elsif abs(_double_text.value) < 1e15 and _double_text.value = trunc(_double_text.value) then
    return _double_text.value::bigint::text;
  elsif abs(_double_text.value) in ('infinity', 'nan') then
    return _double_text.value::text;
  end if;
  v_parts := regexp_match(abs(_double_text.value)::text, '^([0-9]+)\.?([0-9]*)(?:e([+-]?[0-9]+))?$');
  v_digits := v_parts[1] || v_parts[2];
  -- The number is 0.digits times 10 to the power of the exponent.
  v_exponent := length(v_parts[1]) + coalesce(v_parts[3]::int, 0)
    - (length(v_digits) - length(ltrim(v_digits, '0')));
  v_digits := trim(v_digits, '0');
  while length(v_digits) >= 15 loop
    v_shorter := (
      select candidate.digits
      from (
        values
          (left(v_digits, -1)),
          (((left(v_digits, -1))::numeric + 1)::text)
      ) as candidate (digits)
      where experiment._double(
        candidate.digits || 'e' || (v_exponent - length(v_digits) + 1)
      ) = abs(_double_text.value)
      limit 1
    );
    exit when v_shorter is null;
    v_exponent := v_exponent + length(v_shorter) - length(v_digits) + 1;
    v_digits := rtrim(v_shorter, '0');
  end loop;
  return case when _double_text.value < 0 then '-' else '' end || case
    when v_exponent between -5 and 0 then '0.' || repeat('0', -v_exponent) || v_digits
    when v_exponent between 1 and 21 and length(v_digits) <= v_exponent
      then rpad(v_digits, v_exponent, '0')
    when v_exponent between 1 and 21
      then left(v_digits, v_exponent) || '.' || substr(v_digits, v_exponent + 1)
    else left(v_digits, 1) || case when length(v_digits) > 1 then '.' || substr(v_digits, 2) else '' end
      || 'e' || case when v_exponent > 0 then '+' else '-' end || abs(v_exponent - 1)
  end;
end;
$$;

comment on function experiment._double_text(double precision) is $$
Returns a number as JavaScript writes it.
It has the least digits that give the number again, and an exponent from 1e+21 and below 1e-6.
$$;

grant execute on function experiment._double_text(double precision)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
