create or replace function track._item(type text, name jsonb, properties jsonb, context jsonb)
returns text
language sql
immutable
parallel safe
-- A page without an item is an item by its path, as in web analytics.
return coalesce(
  nullif(properties ->> 'item', ''),
  case type
    when 'page' then left(coalesce(nullif(properties ->> 'path', ''), nullif(context #>> '{page,path}', '')), 512)
    when 'screen' then left(nullif(name #>> '{}', ''), 512)
  end
);

comment on function track._item(text, jsonb, jsonb, jsonb) is $$
Returns the external id of the item of a message; null when there is none.
$$;

create or replace function track._item_kind(type text, properties jsonb, context jsonb, is_trusted boolean)
returns text
language sql
immutable
parallel safe
return case
  when is_trusted and properties ? 'itemKind' then properties ->> 'itemKind'
  when type in ('page', 'screen') and nullif(properties ->> 'item', '') is null
    and (
      is_trusted
      or type = 'page' and starts_with(coalesce(nullif(properties ->> 'path', ''), context #>> '{page,path}'), '/')
    )
    then 'page'
end;

comment on function track._item_kind(text, jsonb, jsonb, boolean) is $$
Returns the kind of the item of a message; null unless the sender may describe items.
$$;

create or replace function track._traits(type text, traits jsonb, context jsonb)
returns jsonb
language sql
stable
parallel safe
return case
  when type = 'identify' and jsonb_typeof(traits) = 'object'
    then traits || case jsonb_typeof(context -> 'timezone')
      when 'string' then jsonb_build_object('timezone', context -> 'timezone')
      else '{}'
    end
  when jsonb_typeof(context -> 'timezone') = 'string' then jsonb_build_object('timezone', context -> 'timezone')
end;

comment on function track._traits(text, jsonb, jsonb) is $$
Returns the traits of the person of a message: those of `identify`, and the time zone of the client.
$$;
