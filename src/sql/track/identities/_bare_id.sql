create or replace function track._bare_id(external_id text)
returns text
language sql
immutable
parallel safe
return lower(btrim(external_id, E' \t\n\r\f\v\u00a0\u200b\ufeff"''`'));

comment on function track._bare_id(text) is $$
Returns an id in lower case, without blanks and quotation marks around it.
$$;
