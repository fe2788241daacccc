create or replace function privacy.suppressed(kinds text[], names text[])
returns setof privacy.suppressed_name
language plpgsql
stable
-- A definer: no role may read privacy.suppression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- Nothing is hashed where nobody was erased.
  if not exists (select from privacy.suppression) then
    return;
  end if;
  return query
  select hashed.kind, hashed.name, suppression.since, suppression.lifted_at
  from privacy._hashed_names(suppressed.kinds, suppressed.names) as hashed
  join privacy.suppression using (name_hash);
end;
$$;

comment on function privacy.suppressed(text[], text[]) is $$
@behavior -*
Returns which of the names are suppressed, or were before a new consent (`lifted_at`).
`kinds` (`user`, `anonymous` or `unverified`) and `names` are parallel. Read by `track` once per batch.
$$;
