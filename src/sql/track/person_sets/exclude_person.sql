create or replace function track.exclude_person(person text, reason text, note text default null)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.exclusion, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id bigint;
  v_is_new boolean;
begin
  if exclude_person.reason is null
    or exclude_person.reason not in ('staff', 'test', 'bot', 'service_account')
  then
    perform common.refuse(
      'CF001',
      format('reason is "%s"', coalesce(left(exclude_person.reason, 100), 'null')),
      'Use staff, test, bot or service_account.'
    );
  end if;
  if length(exclude_person.note) > 1000 then
    perform common.refuse('CF008', format('the note has %s characters', length(exclude_person.note)),
      'It can have at most 1,000.');
  end if;
  v_identity_id := track._identity_to_exclude(exclude_person.person);

  insert into track.exclusion (identity_id, reason, note, excluded_by)
  values (
    v_identity_id, exclude_person.reason, exclude_person.note,
    common.author()
  )
  on conflict on constraint exclusion_pkey do update
  set reason = excluded.reason, note = excluded.note
  returning xmax = 0 into v_is_new;
  perform track._enqueue('identity', array(
    select identity.person_id from track.identity where identity.identity_id = v_identity_id
  ));
  return v_is_new;
end;
$$;

comment on function track.exclude_person(text, text, text) is $$
Excludes a person from popularity, from training and from the smallest group of figures. False when already excluded.
`reason`: `staff`, `test`, `bot` or `service_account`; a further call replaces reason and note. The person can still
use everything, recommendations included. Her identity is excluded: after a link the whole person, after an unlink the
one with this name. It takes effect at the next refresh (`track.refresh`, every minute); the list of popular items for
new people follows at the next `analytics.refresh_views` (hourly), models at their next training.
`track.include_person` reverses it.
Errors: CF001 for another reason, CF002 for an unknown name, CF008 for a note that is too long.
$$;

grant execute on function track.exclude_person(text, text, text) to insights_admin;
