create or replace function privacy.effective_decisions(
  purposes text[],
  people bigint[] default null,
  born_people bigint[] default null,
  birth_dates date[] default null
)
returns table (
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz,
  signalled_at timestamptz
)
language plpgsql
stable
parallel safe
rows 100
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A list, so that the plan for a few people does not read the decisions of all people.
  v_people constant bigint[] := coalesce(
    effective_decisions.people,
    array(
      select consent.person_id
      from privacy.consent
      where consent.purpose = any (effective_decisions.purposes)

      union

      select person_age.person_id
      from privacy.person_age
    )
  );
  v_aged_purposes text[];
  v_ages smallint[];
  v_are_own boolean[];
begin
  if effective_decisions.born_people is null
    and not exists (select 1 from privacy.person_age where person_age.person_id = any (v_people))
  then
    return query
    select decision.*
    from (
      select distinct on (consent.person_id, consent.purpose)
        consent.person_id, consent.purpose,
        -- An expired grant counts as if there were none.
        case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
        consent.decided_at,
        max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
          over (partition by consent.person_id, consent.purpose) as signalled_at
      from privacy.consent
      where consent.person_id = any (v_people)
        and consent.purpose = any (effective_decisions.purposes)
      order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
    ) as decision
    where decision.granted is not null;
    return;
  end if;

  select array_agg(aged.purpose), array_agg(aged.age), array_agg(aged.is_own)
  into v_aged_purposes, v_ages, v_are_own
  from privacy._ages(effective_decisions.purposes) as aged;
  return query
  with born as materialized (
    select
      given.person_id,
      coalesce(max(given.birth_date) filter (where given.is_verified), max(given.birth_date)) as birth_date
    from (
      select person_age.person_id, person_age.birth_date, person_age.is_verified
      from privacy.person_age
      where person_age.person_id = any (v_people)

      union all

      select stated.person_id, stated.birth_date, false
      from unnest(effective_decisions.born_people, effective_decisions.birth_dates) as stated (person_id, birth_date)
      where stated.birth_date is not null
    ) as given
    group by given.person_id
  ),

  gate as materialized (
    select
      born.person_id, aged.purpose,
      max(privacy._of_age_at(born.birth_date, aged.age)) filter (where not aged.is_own) as of_age_at,
      max(privacy._of_age_at(born.birth_date, aged.age)) filter (where aged.is_own) as opt_in_until
    from born
    cross join unnest(v_aged_purposes, v_ages, v_are_own) as aged (purpose, age, is_own)
    group by born.person_id, aged.purpose
  ),

  -- A grant that a person gave before she was of age stays void afterwards.
  latest as materialized (
    select distinct on (consent.person_id, consent.purpose)
      consent.person_id, consent.purpose,
      case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
      consent.decided_at,
      max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
        over (partition by consent.person_id, consent.purpose) as signalled_at
    from privacy.consent
    left join gate on gate.person_id = consent.person_id and gate.purpose = consent.purpose
    where consent.person_id = any (v_people)
      and consent.purpose = any (effective_decisions.purposes)
      and (
        not consent.granted
        or consent.decided_by = 'guardian'
        or gate.of_age_at is null
        or consent.decided_at >= gate.of_age_at
      )
    order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
  )

  select latest.person_id, latest.purpose, latest.granted, latest.decided_at, latest.signalled_at
  from latest
  left join gate on gate.person_id = latest.person_id and gate.purpose = latest.purpose
  where latest.granted
    or not latest.granted and coalesce(gate.of_age_at, '-infinity') <= now()

  union all

  -- A minor without the consent of a guardian: no later decision of her own changes it.
  select gate.person_id, gate.purpose, false, 'infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.of_age_at > now()
    and latest.granted is not true

  union all

  -- Any grant is later.
  select gate.person_id, gate.purpose, false, '-infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.opt_in_until > now()
    and coalesce(gate.of_age_at, '-infinity') <= now()
    and latest.granted is null;
end;
$$;

comment on function privacy.effective_decisions(text[], bigint[], bigint[], date[]) is $$
@behavior -*
Returns the decision that applies now for each person and purpose; where there is none, the lawful basis applies.
It is the latest decision, except that
- an expired grant (`valid_until`) counts as if the person had not decided,
- a grant that a person gave before she was of age is void, unless a guardian gave it,
- for a minor without the consent of a guardian, the answer is false (`decided_at` is then `infinity`),
- below the `opt_in_age` of a purpose, it is false until a grant (`decided_at` is then `-infinity`).
The one place that decides: `privacy.allowed`, `privacy.latest_decisions` and `track.ingest` read it.
`people` null: all people. `born_people` and `birth_dates`: dates of birth that are not stored yet. `signalled_at`: time
of the latest opt-out signal of a browser.
$$;

grant execute on function privacy.effective_decisions(text[], bigint[], bigint[], date[])
to insights_reader, insights_learner, insights_admin, insights_worker;
