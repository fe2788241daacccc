create or replace function experiment._check_attributes(attributes jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(_check_attributes.attributes) <> 'object' then
    perform common.refuse('CF001', format('the attributes are %s', left(_check_attributes.attributes::text, 100)),
      'Give an object such as {"country": "DE"}.');
  elsif octet_length(_check_attributes.attributes::text) > 20000 then
    perform common.refuse('CF008', 'the attributes have more than 20,000 bytes', 'Give those that rules use.');
  end if;
end;
$$;

comment on function experiment._check_attributes(jsonb) is $$
@behavior -*
Raises CF001 or CF008 for attributes that are not an object, or too long. Null is valid.
$$;

grant execute on function experiment._check_attributes(jsonb) to insights_reader;
