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
  select hashed.kind, hashed.name, found.since, found.lifted_at
  from privacy._hashed_names(suppressed.kinds, suppressed.names) as hashed
  -- The limit keeps the planner from reading the whole table.
  cross join lateral (
    select suppression.since, suppression.lifted_at
    from privacy.suppression
    where suppression.name_hash = hashed.name_hash
    limit 1
  ) as found;
end;
$$;

comment on function privacy.suppressed(text[], text[]) is $$
@behavior -*
Returns which of the names are suppressed, or were before a new consent (`lifted_at`).
`kinds` (`user`, `anonymous` or `unverified`) and `names` are parallel. Read by `track` once per batch.
$$;
