create or replace function track._mask_text(value text, phones boolean)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value text := track._without_emails(track._hide_escapes(value));
begin
  if phones then
    v_value := track._without_phones(v_value);
  end if;
  return track._show_escapes(v_value);
end;
$$;

comment on function track._mask_text(text, boolean) is $$
Returns the text of a JSON value without e-mail addresses and, with `phones`, phone numbers.
$$;

create or replace function track._is_suspect(value text)
returns boolean
language sql
immutable
parallel safe
-- An "@", or seven digits with little between them.
return value ~ '@|%40|[0-9](?:[^0-9]{0,3}[0-9]){6}';

comment on function track._is_suspect(text) is $$
Returns false for most short texts without an e-mail address and a phone number, faster than `track._mask_text`.
$$;

create or replace function track._mask_word(value text, phones boolean)
returns text
language sql
stable
parallel safe
return case
  when track._is_suspect(value) then track._mask_text(to_jsonb(value)::text, phones)::jsonb #>> '{}'
  else value
end;

comment on function track._mask_word(text, boolean) is $$
Returns a text without e-mail addresses and, with `phones`, phone numbers.
$$;

create or replace function track._is_identifier(name text)
returns boolean
language sql
immutable
parallel safe
return name in ('item', 'parent', 'viewId', 'servingId');

comment on function track._is_identifier(text) is $$
Returns whether a property holds an id, in which groups of digits are not treated as a phone number.
$$;

create or replace function track._mask_contacts(document jsonb, exempt text[])
returns jsonb
language sql
stable
parallel safe
return (
  select ('{' || string_agg(substr(masked.value, 2, length(masked.value) - 2), ', ') || '}')::jsonb
  from jsonb_each(document) as field
  cross join lateral (
    select case
      when field.key = any (exempt) or not track._is_suspect(jsonb_build_object(field.key, field.value)::text)
        then jsonb_build_object(field.key, field.value)::text
      else track._mask_text(
        jsonb_build_object(field.key, field.value)::text, not track._is_identifier(field.key)
      )
    end as value
  ) as masked
);

comment on function track._mask_contacts(jsonb, text[]) is $$
Returns an object without e-mail addresses and phone numbers in its keys and values, which may be nested.
Fields of the names `exempt` are not changed. Null for an object without fields.
$$;
