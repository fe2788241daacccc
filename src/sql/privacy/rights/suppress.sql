create or replace function privacy._check_names(kinds text[], names text[])
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if coalesce(cardinality(_check_names.kinds), 0) <> coalesce(cardinality(_check_names.names), 0) then
    perform common.refuse(
      'CF001',
      format(
        'there are %s kinds and %s names', coalesce(cardinality(_check_names.kinds), 0),
        coalesce(cardinality(_check_names.names), 0)
      ),
      'Give two lists of the same length.'
    );
  end if;
  if cardinality(_check_names.names) > 10000 then
    perform common.refuse('CF008', format('there are %s names', cardinality(_check_names.names)),
      'Give at most 10000 in a call.');
  end if;
  select format('%s "%s"', coalesce(left(entry.kind, 20), 'null'), coalesce(left(entry.name, 70), 'null')) into v_wrong
  from unnest(_check_names.kinds, _check_names.names) as entry (kind, name)
  where entry.kind is null
    or entry.kind not in ('user', 'anonymous', 'unverified')
    or entry.name is null
    or length(entry.name) not between 1 and 256
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', format('%s is not a name', v_wrong),
      'A kind is user or anonymous, and a name has 1 to 256 characters.');
  end if;
end;
$$;

comment on function privacy._check_names(text[], text[]) is $$
Checks two lists of kinds and names. Errors: CF001 for an invalid one or for different lengths, CF008 above 10,000.
$$;

create or replace function privacy.suppress(kinds text[], names text[])
returns bigint
language plpgsql
volatile
-- A definer: it writes privacy.suppression, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_suppressed bigint;
begin
  perform privacy._check_names(suppress.kinds, suppress.names);
  insert into privacy.suppression (name_hash, since)
  -- The time differs from row to row.
  select hashed.name_hash, clock_timestamp()
  from (select distinct name_hash from privacy._hashed_names(suppress.kinds, suppress.names)) as hashed
  order by hashed.name_hash
  on conflict (name_hash) do update
  set since = greatest(excluded.since, suppression.lifted_at), lifted_at = null
  where suppression.lifted_at is not null;
  get diagnostics v_suppressed = row_count;
  return v_suppressed;
end;
$$;

comment on function privacy.suppress(text[], text[]) is $$
Suppresses names: messages and rows of the application with one of them are refused until a new consent of the person.
`kinds` (`user` or `anonymous`) and `names` are parallel. Returns the number of names that were not suppressed before.
Only keyed hashes of the names are stored. Called by `privacy.erase_person`; may also be called for people of whom
nothing is stored. Errors: CF001 for an invalid name, CF008 above 10,000 names.
$$;

grant execute on function privacy.suppress(text[], text[]) to insights_admin;
