create or replace function privacy.object(person text, purpose text default null)
returns text[]
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject privacy.subject;
  v_basis text;
  v_purposes text[];
begin
  if object.purpose is not null then
    v_basis := (select known.basis from privacy.purpose as known where known.purpose = object.purpose);
    if v_basis is null then
      perform common.refuse(
        'CF002', format('there is no purpose "%s"', left(object.purpose, 100)),
        (
          select format('The purposes are %s.', string_agg(known.purpose, ', ' order by known.purpose))
          from privacy.purpose as known
        )
      );
    end if;
    if v_basis not in ('consent', 'legitimate_interests', 'public_task') then
      perform common.refuse(
        'CF005', format('the basis of "%s" is %s', object.purpose, v_basis),
        'A person can object to legitimate interests and to a public task (GDPR article 21), and withdraw a consent.'
      );
    end if;
  end if;
  v_subject := privacy._held_subject(object.person);
  v_purposes := array(
    select known.purpose
    from privacy.purpose as known
    where known.purpose = object.purpose
      or object.purpose is null
        and (known.basis in ('legitimate_interests', 'public_task') or known.opted_out_by_gpc)
    order by known.purpose
  );

  perform privacy.record_decisions(
    array_fill(v_subject.person_id, array[cardinality(v_purposes)]),
    array_fill(privacy._named_identity(v_subject, object.person), array[cardinality(v_purposes)]),
    v_purposes,
    array_fill(false, array[cardinality(v_purposes)]),
    array_fill(clock_timestamp(), array[cardinality(v_purposes)]),
    'api',
    array_fill('{"objection": "GDPR article 21"}'::jsonb, array[cardinality(v_purposes)]),
    array_fill(object.person, array[cardinality(v_purposes)])
  );
  perform privacy._answer_requests(
    v_subject.person_id,
    array['objection']
    || case when 'sensitive' = any (v_purposes) then '{limit_use}'::text[] else '{}' end
    -- A law with a time for opt-outs means the sale and sharing of data by them.
    || case
      when not exists (
        select
        from privacy.purpose as known
        where known.shares_data
          and privacy.may_store(v_subject.person_id, known.purpose)
      ) or not exists (
        select
        from privacy.request
        join privacy.regime using (regime)
        where request.person_id = v_subject.person_id
          and request.kind = 'opt_out'
          and request.completed_at is null
          and regime.opt_out_days is not null
      ) then '{opt_out}'::text[]
      else '{}'
    end,
    format('The person opted out of %s.', array_to_string(v_purposes, ', '))
  );
  return v_purposes;
end;
$$;

comment on function privacy.object(text, text) is $$
Records the objection of a person to a purpose (GDPR article 21), and returns the purposes.
Null: to all that have the basis `legitimate_interests` or `public_task`, and to the sale and sharing of data
(`privacy.purpose.opted_out_by_gpc`, CCPA). From the next refresh on there is no profiling for these purposes: without
`personalization` no interactions, lists and feedback of the person, without `analytics` no predictions and segments.
A later grant of the person ends it. Completes her open requests of the kinds `objection` and `opt_out`, the latter by
the CCPA when no sale and sharing is left, and `limit_use` with the purpose `sensitive`.
Errors: CF002 for an unknown person or purpose, CF005 for a purpose that rests on a contract or a legal obligation.
$$;

grant execute on function privacy.object(text, text) to insights_admin;
