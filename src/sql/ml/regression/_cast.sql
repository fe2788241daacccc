create or replace function ml._cast(expression text, from_type regtype, to_type text)
returns text
language sql
stable
parallel safe
begin atomic
  -- real and double precision are cast to numeric through their shortest text, which has up to 17 digits; a direct cast
  -- keeps only 15
  select format(
    case
      when from_type = 'boolean'::regtype then '(%s)::int::%s'
      when to_type = 'numeric' and from_type in ('real'::regtype, 'double precision'::regtype) then '(%s)::text::%s'
      else '(%s)::%s'
    end,
    expression, to_type
  );
end;

comment on function ml._cast(text, regtype, text) is $$
Returns the text of an expression of a known type, cast to float8 or numeric.
$$;

grant execute on function ml._cast(text, regtype, text)
to insights_analyst, insights_admin, insights_worker;
