create or replace function privacy.erasure_list(since timestamptz default '-infinity')
returns jsonb
language plpgsql
stable
-- A definer: no role may read privacy.suppression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  if erasure_list.since is null then
    perform common.refuse('CF001', 'since is null', 'Give the time of the oldest backup, or leave it out.');
  end if;
  return jsonb_build_object(
    'key', privacy._suppression_key(),
    'names', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'hash', encode(suppression.name_hash, 'hex'), 'since', suppression.since, 'lifted_at', suppression.lifted_at
          )
          order by suppression.name_hash
        ),
        '[]'
      )
      from privacy.suppression
      where suppression.since >= erasure_list.since
        or suppression.lifted_at >= erasure_list.since
    )
  );
end;
$$;

comment on function privacy.erasure_list(timestamptz) is $$
@behavior -*
Returns the erasures since a time, to be repeated by `privacy.replay_erasures` after the restore of an older backup.
A JSON object: `key` (which database can read the list) and `names` (keyed hashes with their times). It contains no
name, and nobody without the database can test one against it. Erasures that left the names free are not in it.
Errors: CF001 for null.
$$;

grant execute on function privacy.erasure_list(timestamptz) to insights_admin, insights_worker;
