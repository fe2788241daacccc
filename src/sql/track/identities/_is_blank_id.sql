create or replace function track._is_blank_id(external_id text)
returns boolean
language sql
immutable
parallel safe
return track._bare_id(external_id) = '' and external_id not in ('"', $$'$$, '`');

comment on function track._is_blank_id(text) is $$
Returns whether an id consists of blanks, or is empty in quotation marks.
$$;
