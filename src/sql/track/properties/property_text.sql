create or replace function track.property_text(properties jsonb, property text)
returns text
language sql
immutable
parallel safe
as $$
select case jsonb_typeof(properties -> property)
  when 'null' then null
  when 'object' then 'other'
  when 'array' then 'other'
  else case when length(properties ->> property) > 200 then 'other' else properties ->> property end
end
$$;

comment on function track.property_text(jsonb, text) is $$
@behavior -*
Returns the value of a property of an event by which analyses group: the text of a string, number or boolean.
Null when there is none. The number 1 and the text "1" are one value. Objects, lists and texts of more than 200
characters are `other`.
$$;

grant execute on function track.property_text(jsonb, text) to insights_reader, insights_admin;
