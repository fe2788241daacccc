create or replace function experiment._number(object jsonb, field text, place text)
returns numeric
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value constant jsonb := object -> field;
  v_name constant text := left(field, 100) || ' of ' || left(place, 100);
  v_number numeric;
begin
  if v_value is null or v_value = 'null' then
    perform common.refuse('CF001', format('%s is missing', v_name), 'Give a number.');
  elsif jsonb_typeof(v_value) <> 'number' then
    perform common.refuse('CF001', format('%s is %s', v_name, left(v_value::text, 100)),
      'Give a number.');
  elsif length(v_value::text) > 400 then
    perform common.refuse('CF001', format('%s has %s digits', v_name, length(v_value::text)),
      'Give a number of at most 400 digits.');
  end if;
  v_number := v_value::numeric;
  if abs(v_number) > 1e60 or (v_number <> 0 and abs(v_number) < 1e-60) then
    perform common.refuse('CF001', format('%s is %s', v_name, left(v_value::text, 100)),
      'Give 0 or a number from 1e-60 to 1e60 in absolute value, if need be in another unit.');
  end if;
  return v_number;
end;
$$;

comment on function experiment._number(jsonb, text, text) is $$
Returns a field of an object as a number without rounding; CF001 unless it is a number of ordinary size.
$$;

grant execute on function experiment._number(jsonb, text, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
