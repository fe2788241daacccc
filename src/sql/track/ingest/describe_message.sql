create or replace function track._path(type text, properties jsonb, context jsonb)
returns text
language sql
immutable
parallel safe
-- A page without an item is an item by its path, as in web analytics.
return case
  when type = 'page'
    then coalesce(
      nullif(properties ->> 'path', ''),
      nullif(context #>> '{page,path}', ''),
      nullif(properties ->> 'url', ''),
      nullif(context #>> '{page,url}', '')
    )
end;

comment on function track._path(text, jsonb, jsonb) is $$
Returns the path, or else the URL, of a page; null for other messages.
$$;

create or replace function track._item(
  type text,
  name jsonb,
  properties jsonb,
  path text,
  path_rule text[],
  kept_parameters text[]
)
returns text
language sql
stable
parallel safe
return coalesce(
  nullif(properties ->> 'item', ''),
  case type
    when 'page' then track._path_item(path, path_rule, kept_parameters)
    when 'screen' then left(nullif(name #>> '{}', ''), 512)
  end
);

comment on function track._item(text, jsonb, jsonb, text, text[], text[]) is $$
Returns the external id of the item of a message; null when there is none.
$$;

create or replace function track._traits(type text, traits jsonb, context jsonb)
returns jsonb
language sql
stable
parallel safe
-- Clients such as RudderStack's send the traits of `identify` in its context. The context of each later event repeats
-- them.
return case
  when type = 'identify'
    then nullif(
      case jsonb_typeof(context -> 'traits') when 'object' then context -> 'traits' else '{}' end
        || case jsonb_typeof(traits) when 'object' then traits else '{}' end
        || case jsonb_typeof(context -> 'timezone')
          when 'string' then jsonb_build_object('timezone', context -> 'timezone')
          else '{}'
        end,
      '{}'
    )
  when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone')
end;

comment on function track._traits(text, jsonb, jsonb) is $$
Returns the traits of the person of a message: those of `identify`, and the time zone of the client.
For a trait in both places, `traits` has precedence over `context.traits`.
$$;

create or replace function track._birthday(traits jsonb, context jsonb)
returns text
language sql
immutable
parallel safe
return coalesce(traits ->> 'birthday', context #>> '{traits,birthday}');

comment on function track._birthday(jsonb, jsonb) is $$
Returns the trait `birthday` of a message; null when it has none.
$$;
