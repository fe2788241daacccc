create or replace function privacy.subject_hash(names text[], salt text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if salt !~ '^([0-9a-fA-F]{2}){0,128}$' then
    perform common.refuse('CF001', format('the salt "%s" is not hexadecimal', left(salt, 100)),
      'Give the salt of the receipt, as privacy.erase_person returned it.');
  end if;
  return encode(
    sha256(
      decode(subject_hash.salt, 'hex')
        || convert_to(
          (
            select string_agg(length(entry.name) || ':' || entry.name, '' order by entry.name collate "C")
            from (select distinct name from unnest(subject_hash.names) as name) as entry
          ),
          'UTF8'
        )
    ),
    'hex'
  );
end;
$$;

comment on function privacy.subject_hash(text[], text) is $$
@behavior -*
Returns the hash of a receipt for a salt (hexadecimal) and all names that the person had, in any order.
It is the SHA-256 hash of the salt and, in the order of the names, the length of each, a colon and the name.
Error CF001 for a salt that is not hexadecimal.
$$;

grant execute on function privacy.subject_hash(text[], text) to insights_admin, insights_worker;
