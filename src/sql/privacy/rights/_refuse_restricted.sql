create or replace function privacy._refuse_restricted(subject privacy.subject)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_restriction privacy.restriction;
begin
  select * into v_restriction
  from privacy.restriction
  where restriction.person_id = subject.person_id
  order by restriction.since
  limit 1;
  if found then
    perform common.refuse(
      'CF005',
      format(
        'the data of the person is restricted since %s (%s)', date_trunc('second', v_restriction.since),
        v_restriction.reason
      ),
      'It must not be erased meanwhile. End the restriction first, by privacy.lift_restriction.'
    );
  end if;
end;
$$;

comment on function privacy._refuse_restricted(privacy.subject) is $$
Raises CF005 when the data of a person is restricted: it is kept for her (GDPR article 18).
$$;
