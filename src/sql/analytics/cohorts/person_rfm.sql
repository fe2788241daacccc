/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.person_rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  cell text default null
)
returns setof analytics.person_rfm
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
  v_people analytics.person_rfm[];
begin
  if person_rfm.cell not in (
    select analytics._rfm_cell(recency, value)
    from generate_series(1, 5) as recency
    cross join generate_series(1, 5) as value
  ) then
    perform common.refuse(
      'CF002',
      format('there is no cell "%s"', left(person_rfm.cell, 100)),
      'The cells are those that analytics.rfm returns, such as champions.'
    );
  end if;
  v_people := array(
    select row(
      scored.person_id, named.external_id, scored.recency_days, scored.active_days, scored.engaged,
      scored.recency_score, scored.frequency_score, scored.engaged_score, scored.cell
    )::analytics.person_rfm
    from analytics._rfm(person_rfm.since, person_rfm.until, person_rfm.among, null, 10, null) as scored
    left join lateral (
      select identity.external_id
      from track.identity
      where identity.person_id = scored.person_id
      order by identity.kind = 'user' desc, identity.identity_id
      limit 1
    ) as named on true
    where scored.cell = coalesce(person_rfm.cell, scored.cell)
      -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
      and v_by_default <> (
        scored.person_id in (
          select decision.person_id
          from privacy.latest_decisions('analytics') as decision
          where decision.granted <> v_by_default
        )
      )
    order by scored.person_id
  );
  perform privacy.record_disclosure(
    array(select listed.person_id from unnest(v_people) as listed), 'analytics.person_rfm'
  );
  return query
  select listed.*
  from unnest(v_people) as listed;
end;
$$;

alter function analytics.person_rfm(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function analytics.person_rfm(timestamptz, timestamptz, text, text) is $$
@behavior -mutationField +queryField
Returns the people of an RFM analysis with their values and scores: see `analytics.rfm`.
`cell`: only this cell; the scores are those among all people of the analysis. Of people who are not
excluded, and have not opted out of `analytics`.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set or cell, CF008 for more than 1,100 days.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.person_rfm(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;
