create or replace function track._is_blank_id(external_id text)
returns boolean
language sql
immutable
parallel safe
return btrim(external_id, E' \t\n\r\f\v\u00a0\u200b\ufeff') in ('', '""', $$''$$, '``');

comment on function track._is_blank_id(text) is $$
Returns whether an id consists of blanks, or is empty in quotation marks.
$$;
