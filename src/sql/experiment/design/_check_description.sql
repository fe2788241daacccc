create or replace function experiment._check_description(description text)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if coalesce(btrim(_check_description.description), '') = '' then
    perform common.refuse('CF001', 'the description is empty', 'Say in a sentence what it is for.');
  elsif length(_check_description.description) > 2000 then
    perform common.refuse('CF008', format('the description has %s characters', length(_check_description.description)),
      'It can have at most 2,000.');
  end if;
end;
$$;

comment on function experiment._check_description(text) is $$
@behavior -*
Raises CF001 for an empty description, CF008 for one that is too long.
$$;
