create or replace function privacy.rectify(person text, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
-- A definer: the functions of the rooms write tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_keys constant text[] := array['traits', 'enrolments', 'birthday'];
  v_wrong text;
  v_subject privacy.subject;
  v_name text;
begin
  if jsonb_typeof(rectify.changes) is distinct from 'object' or rectify.changes = '{}' then
    perform common.refuse(
      'CF001',
      format(
        'the changes are %s', coalesce(nullif(jsonb_typeof(rectify.changes), 'object'), 'null or empty')
      ),
      'Give an object such as {"traits": {"city": "Oslo"}}.'
    );
  end if;
  if pg_column_size(rectify.changes) > 1000000 then
    perform common.refuse('CF008', format('the changes have %s bytes', pg_column_size(rectify.changes)),
      'Give at most 1 MB in a call.');
  end if;
  v_wrong := (
    select entry.key from jsonb_object_keys(rectify.changes) as entry (key) where entry.key <> all (v_keys) limit 1
  );
  if v_wrong is not null then
    perform common.refuse('CF001', format('"%s" cannot be corrected', left(v_wrong, 100)),
      format('The keys are %s.', array_to_string(v_keys, ', ')));
  end if;

  v_subject := privacy._held_subject(rectify.person);
  for v_name in
    select handler.rectify_function
    from privacy.handler
    where handler.rectify_function is not null
    order by handler.position
  loop
    return query execute format(
      'select * from %I.%I($1, $2) as changed where row_count > 0', split_part(v_name, '.', 1),
      split_part(v_name, '.', 2)
    )
    using v_subject, rectify.changes;
  end loop;
  perform privacy._answer_requests(v_subject.person_id, array['rectification'], 'The data was corrected.');
end;
$$;

comment on function privacy.rectify(text, jsonb) is $$
Corrects the data of a person (GDPR article 16, FERPA 34 CFR 99.20). Returns the numbers of changed rows by table.
`changes` is an object with these keys. `traits`: new values by name; null deletes a trait. The correct value applies
from the first time on at which the trait was sent, and the former values are gone from its history. `enrolments`: a
list of `{item, status, enrolled_at, ended_at}` for enrolments that exist, or `{item, removed: true}`.
`birthday`: the date of birth (`privacy.person_age`), which the trait of this name also corrects; null deletes it.
Derived data follows with the next refresh, predictions with the next training. Correct the application too, or its next
message or synchronisation brings the former value back. Completes the open requests of the person of this kind.
Errors: CF001 for an unknown key or an invalid value, CF002 for an unknown person or enrolment, CF008 for changes above
1 MB.
$$;

grant execute on function privacy.rectify(text, jsonb) to insights_admin;
