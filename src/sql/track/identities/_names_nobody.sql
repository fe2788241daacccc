create or replace function track._bare_id(external_id text)
returns text
language sql
immutable
parallel safe
return lower(btrim(external_id, E' \t\n\r\f\v\u00a0\u200b\ufeff"''`'));

comment on function track._bare_id(text) is $$
Returns an id in lower case, without blanks and quotation marks around it.
$$;

create or replace function track._is_blank_id(external_id text)
returns boolean
language sql
immutable
parallel safe
return btrim(external_id, E' \t\n\r\f\v\u00a0\u200b\ufeff') in ('', '""', $$''$$, '``');

comment on function track._is_blank_id(text) is $$
Returns whether an id consists of blanks, or is empty in quotation marks.
$$;

create or replace function track._names_nobody(external_id text)
returns boolean
language sql
stable
parallel safe
begin atomic
  select track._is_blank_id(_names_nobody.external_id)
    or exists (
      select
      from track.placeholder_id
      where placeholder_id.external_id = track._bare_id(_names_nobody.external_id)
    );
end;

comment on function track._names_nobody(text) is $$
Returns whether an id names nobody: blanks, or a row of `track.placeholder_id`.
$$;
