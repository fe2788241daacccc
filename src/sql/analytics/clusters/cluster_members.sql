create or replace function analytics.cluster_members(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A person has the key of one of its identities; the cluster of the key counts, also after a merge.
  v_members constant bigint[] := array(
    select cluster_member.identity_id
    from analytics.cluster_member
    where cluster_member.identity_id = any (cluster_members.people)
      and cluster_member.name = cluster_members.set_name
  );
begin
  if v_members = '{}' then
    return;
  end if;
  return query
  select entry.person_id
  from unnest(v_members) as entry (person_id)
  join unnest(
    analytics._profiled(
      array(
        select row((given.person_id / 4096)::int, bit_or(track.person_bit(given.person_id)))::analytics.people_block
        from unnest(v_members) as given (person_id)
        group by given.person_id / 4096
      ),
      v_members
    )
  ) as part on part.block = entry.person_id / 4096
    and get_bit(part.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function analytics.cluster_members(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a cluster of behaviour, as of the last fit.
Without those who have opted out of `analytics` since then, or whose data is restricted. See `track.person_set`.
$$;
