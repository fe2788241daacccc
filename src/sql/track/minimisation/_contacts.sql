create or replace function track._mask_text(value text, phones boolean)
returns text
language sql
immutable
parallel safe
return case
  when phones then track._show_escapes(track._without_phones(track._without_emails(track._hide_escapes(value))))
  else track._show_escapes(track._without_emails(track._hide_escapes(value)))
end;

comment on function track._mask_text(text, boolean) is $$
Returns the text of a JSON value without e-mail addresses and, with `phones`, phone numbers.
$$;

create or replace function track._mask_word(value text, phones boolean)
returns text
language sql
stable
parallel safe
return track._mask_text(to_jsonb(value)::text, phones)::jsonb #>> '{}';

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
Returns whether a property holds an id, in which groups of digits are no phone number.
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
      when field.key = any (exempt) then jsonb_build_object(field.key, field.value)::text
      else track._mask_text(
        jsonb_build_object(field.key, field.value)::text, not track._is_identifier(field.key)
      )
    end as value
  ) as masked
);

comment on function track._mask_contacts(jsonb, text[]) is $$
Returns an object without e-mail addresses and phone numbers in keys and values of any depth; null for one without
fields. Fields of the names `exempt` are not changed.
$$;

create or replace function track._find_contacts(event_name text, prefix text, document jsonb, exempt text[])
returns setof track.finding
language sql
stable
parallel safe
begin atomic
  -- Values deeper than 8 levels are counted at the eighth. Only branches that contain something are followed.
  with recursive
  node as (
    select
      1 as depth,
      format('%s.%s', prefix, left(track._mask_word(field.key, true), 100)) as path,
      not track._is_identifier(field.key) as has_phones,
      field.key,
      field.value
    from jsonb_each(case jsonb_typeof(document) when 'object' then document end) as field
    where field.key <> all (exempt)

    union all

    select
      node.depth + 1,
      left(node.path || coalesce('.' || left(track._mask_word(child.key, true), 100), '[]'), 200),
      node.has_phones,
      child.key,
      child.value
    from node
    cross join lateral (
      select field.key, field.value
      from jsonb_each(case jsonb_typeof(node.value) when 'object' then node.value end) as field
      union all
      select null, entry.value
      from jsonb_array_elements(case jsonb_typeof(node.value) when 'array' then node.value end) as entry
    ) as child
    where node.depth < 8
      and track._may_hold_contacts(
        case when child.key is null then child.value::text else jsonb_build_object(child.key, child.value)::text end
      )
  ),

  leaf as (
    select
      node.path,
      node.has_phones,
      case
        -- The values of an object are nodes of their own, and its key is not.
        when node.depth < 8 and jsonb_typeof(node.value) in ('object', 'array') then to_jsonb(node.key)::text
        when node.key is null then node.value::text
        else jsonb_build_object(node.key, node.value)::text
      end as content
    from node
  ),

  counted as (
    select
      leaf.path,
      track._mask_text(leaf.content, leaf.has_phones) as masked,
      leaf.content
    from leaf
    where track._may_hold_contacts(leaf.content)
  )

  select _find_contacts.event_name, counted.path, kind.name, sum(kind.found)::int
  from counted
  cross join lateral (
    values
      (
        'e-mail',
        regexp_count(counted.masked, '\[e-mail\]') - regexp_count(counted.content, '\[e-mail\]')
      ),
      ('phone', regexp_count(counted.masked, '\[phone\]') - regexp_count(counted.content, '\[phone\]'))
  ) as kind (name, found)
  where kind.found > 0
  group by counted.path, kind.name;
end;

comment on function track._find_contacts(text, text, jsonb, text[]) is $$
Returns the e-mail addresses and phone numbers in an object, by path and kind, as numbers.
$$;
