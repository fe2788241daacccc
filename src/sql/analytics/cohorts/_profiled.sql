create or replace function analytics._profiled(given analytics.people_block[], people bigint[] default null)
returns analytics.people_block[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return array(
    select row(
      part.block,
      part.people
        & case
          when v_by_default then ~coalesce(decided.people, v_no_people)
          else coalesce(decided.people, v_no_people)
        end
        & ~coalesce(restricted.people, v_no_people)
    )::analytics.people_block
    from unnest(given) as part
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    left join (
      select (decision.person_id / 4096)::int as block, bit_or(track.person_bit(decision.person_id)) as people
      from privacy.latest_decisions('analytics', _profiled.people) as decision
      where decision.granted <> v_by_default
      group by decision.person_id / 4096
    ) as decided on decided.block = part.block
    left join (
      select (entry.person_id / 4096)::int as block, bit_or(track.person_bit(entry.person_id)) as people
      from privacy.restricted(_profiled.people) as entry (person_id)
      group by entry.person_id / 4096
    ) as restricted on restricted.block = part.block
    order by part.block
  );
end;
$$;

comment on function analytics._profiled(analytics.people_block[], bigint[]) is $$
Returns the given people without those who have opted out of `analytics`, and those whose data is restricted.
They are in no segment and no cohort (GDPR articles 18 and 21). `people`: the given people as a list, when they are few.
$$;

grant execute on function analytics._profiled(analytics.people_block[], bigint[]) to insights_reader;
