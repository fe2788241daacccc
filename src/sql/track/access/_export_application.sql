create or replace function track._export_application(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'named_item', named_item.external_id,
        'status', enrolment.status,
        'enrolled_at', enrolment.enrolled_at,
        'ended_at', enrolment.ended_at,
        'identity', subject.names[array_position(subject.identity_ids, enrolment.identity_id)]
      )
      order by enrolment.enrolled_at, enrolment.item_id, enrolment.identity_id
    )
    from track.enrolment
    join track.item using (item_id)
    left join track.item as named_item on named_item.item_id = enrolment.named_item_id
    where enrolment.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.enrolment', v_rows);
  return next privacy.exported_rows(
    'track.item_role',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'role', item_role.role,
          'started_at', item_role.started_at,
          'ended_at', item_role.ended_at,
          'identity', subject.names[array_position(subject.identity_ids, item_role.identity_id)]
        )
        order by item_role.item_id, item_role.role, item_role.started_at, item_role.identity_id
      )
      from track.item_role
      join track.item using (item_id)
      where item_role.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.person_set_block',
    (
      select jsonb_agg(
        jsonb_build_object('name', person_set.name, 'description', person_set.description)
        order by person_set.name
      )
      from track.person_set_block as stored
      join track.person_set using (name)
      where stored.block = subject.person_id / 4096
        and get_bit(stored.people, (subject.person_id % 4096)::int) = 1
    )
  );
  return next privacy.exported_rows(
    'track.person_set_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', member.name,
          'identity', subject.names[array_position(subject.identity_ids, member.identity_id)]
        )
        order by member.name, member.identity_id
      )
      from track.person_set_member as member
      where member.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.exclusion',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', exclusion.reason,
          'note', exclusion.note,
          'excluded_at', exclusion.excluded_at,
          'identity', subject.names[array_position(subject.identity_ids, exclusion.identity_id)]
        )
        order by exclusion.identity_id
      )
      from track.exclusion
      where exclusion.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.item_source',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'attribute', told.attribute,
          'value', case told.attribute
            when 'name' then item.external_id
            when 'kind' then coalesce(named.kind, item.kind)
            when 'title' then coalesce(named.title, item.title)
            when 'url' then coalesce(named.url, item.url)
            when 'parent' then parent.external_id
          end,
          'identity', subject.names[array_position(subject.identity_ids, told.identity_id)]
        )
        order by told.item_id, told.attribute
      )
      from track.item_source as told
      join track.item using (item_id)
      -- Of an item that was merged, its description under its own name.
      left join track.named_item as named using (item_id)
      left join track.item as parent
        on parent.item_id = case when named.item_id is not null then named.parent_item_id else item.parent_item_id end
      where told.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.name_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'name', entry.name,
          'target', entry.target,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.name_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.forgotten_import',
    (
      select jsonb_agg(
        jsonb_build_object(
          'started_at', entry.started_at,
          'completed_at', entry.completed_at,
          'name', entry.name,
          'actor', entry.actor
        )
        order by entry.started_at, entry.source_id
      )
      from track.forgotten_import as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.write_key_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'key_id', entry.key_id,
          'details', entry.details,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.write_key_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function track._export_application(privacy.subject) is $$
Returns what the application and its administrators store about a person, for `track.export`.
Enrolments, roles, sets, the exclusion from figures, items that she named first, and what she did as an administrator.
$$;
