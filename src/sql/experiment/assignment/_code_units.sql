create or replace function experiment._code_units(value text)
returns int[]
language sql
immutable
parallel safe
begin atomic
  select coalesce(array_agg(unit.unit order by letter.number, unit.number), '{}')
  from unnest(string_to_array(_code_units.value, null)) with ordinality as letter (value, number)
  cross join lateral unnest(
    case
      when ascii(letter.value) < 65536 then array[ascii(letter.value)]
      else array[55296 + (ascii(letter.value) - 65536) / 1024, 56320 + (ascii(letter.value) - 65536) % 1024]
    end
  ) with ordinality as unit (unit, number);
end;

comment on function experiment._code_units(text) is $$
Returns the UTF-16 code units of a text: a character above U+FFFF is two surrogates.
JavaScript hashes and compares text by them.
$$;

grant execute on function experiment._code_units(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
