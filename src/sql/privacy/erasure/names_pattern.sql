create or replace function privacy.names_pattern(names text[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select
      '(^|[^[:alnum:]])('
        || string_agg(regexp_replace(name, '([^[:alnum:]])', '\\\1', 'g'), '|' order by length(name) desc, name)
        || ')($|[^[:alnum:]])'
    from (select distinct name from unnest(names_pattern.names) as name) as entry
  );
end;
$$;

comment on function privacy.names_pattern(text[]) is $$
@behavior -*
Returns a regular expression that matches texts in which one of the names occurs as a word. For the erase functions.
$$;
