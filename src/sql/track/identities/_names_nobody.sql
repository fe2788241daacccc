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
