create or replace function track._item_kind(type text, properties jsonb, path text, is_trusted boolean)
returns text
language sql
immutable
parallel safe
return case
  when is_trusted and properties ? 'itemKind' then properties ->> 'itemKind'
  when type in ('page', 'screen') and nullif(properties ->> 'item', '') is null
    and (is_trusted or path ~* '^(/|https?://)')
    then 'page'
end;

comment on function track._item_kind(text, jsonb, text, boolean) is $$
Returns the kind of the item of a message; null unless the sender may describe items.
$$;
