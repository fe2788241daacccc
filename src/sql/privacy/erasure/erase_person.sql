create or replace function privacy.erase_person(
  person text,
  reason text default null,
  keep_suppressed boolean default true
)
returns privacy.erasure_receipt
language plpgsql
volatile
-- A definer: it deletes rows of all rooms, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if erase_person.person is null or erase_person.keep_suppressed is null then
    perform common.refuse(
      'CF001', case when erase_person.person is null then 'person is null' else 'keep_suppressed is null' end,
      'Give the userId or anonymousId of the person, and true or false.'
    );
  end if;
  if length(erase_person.reason) > 200 then
    perform common.refuse('CF008', format('the reason has %s characters', length(erase_person.reason)),
      'It can have at most 200. Do not name the person in it.');
  end if;
  return privacy._erase(erase_person.person, null, erase_person.reason, erase_person.keep_suppressed);
end;
$$;

comment on function privacy.erase_person(text, text, boolean) is $$
Erases a person: her identities, events, all that is derived from them, and what models have learned from her.
One transaction: with an error, nothing is erased. Returns the receipt, with the salt of its hash, which is not stored.
`reason`: at most 200 characters, without a name. `keep_suppressed`: messages that name her are refused from now on,
until she consents again. Materialized views and lists follow at once by a task: see
`privacy.erasure.completed_at`.
Errors: CF002 for an unknown name, also of a person who is erased already; CF001 and CF008 for invalid arguments;
CF005 while her data is restricted (`privacy.restrict_person`).
$$;

grant execute on function privacy.erase_person(text, text, boolean) to insights_admin, insights_worker;
