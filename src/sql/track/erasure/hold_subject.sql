create or replace function track.hold_subject(person text)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := track.subject(hold_subject.person);
  v_held bigint[];
begin
  for v_attempt in 1 .. 100 loop
    perform track.lock_identities(v_subject.identity_ids);
    v_held := v_subject.identity_ids;
    v_subject := track.subject(hold_subject.person);
    -- Otherwise the person was merged or split before the lock.
    if v_subject.identity_ids <@ v_held then
      return v_subject;
    end if;
  end loop;
  perform common.refuse(
    'serialization_failure', 'the identities were moved to other people concurrently', 'Try again.'
  );
end;
$$;

comment on function track.hold_subject(text) is $$
@behavior -*
Returns the same as `track.subject`, and holds the person.
Until the transaction ends, no other one merges, splits or erases her. Her messages are stored meanwhile. Errors:
CF002 for an unknown name.
$$;
