create or replace function experiment._attributes(person_id bigint, identity_id bigint)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity track.identity;
  v_id text;
begin
  if _attributes.identity_id is null then
    -- The first user name of the person, or else the first browser.
    select known.* into v_identity
    from track.identity as known
    where known.person_id = _attributes.person_id
      and known.kind in ('user', 'anonymous')
    order by known.kind = 'user' desc, known.identity_id
    limit 1;
  else
    select known.* into v_identity
    from track.identity as known
    where known.identity_id = _attributes.identity_id
      and known.kind in ('user', 'anonymous');
  end if;
  v_id := case
    when v_identity.kind = 'user' then v_identity.external_id
    else (
      select known.external_id
      from track.identity as known
      where known.identity_id = v_identity.user_identity_id
        and known.person_id = v_identity.person_id
    )
  end;
  return (
    select coalesce(jsonb_object_agg(latest.name, latest.value), '{}')
    from (
      select distinct on (trait.name) trait.name, trait.value
      from track.trait
      where trait.person_id = coalesce(v_identity.person_id, _attributes.person_id)
      order by trait.name, trait.set_at desc, trait.value desc, trait.value::text desc
    ) as latest
    where latest.name not in ('id', 'anonymousId')
  )
  || case when v_id is null then '{}' else jsonb_build_object('id', v_id) end
  || case
    when v_identity.kind = 'anonymous' then jsonb_build_object('anonymousId', v_identity.external_id)
    else '{}'
  end;
end;
$$;

comment on function experiment._attributes(bigint, bigint) is $$
@behavior -*
Returns the attributes of a person by which she is assigned: `id`, or `anonymousId` of a browser, and her traits.
`identity_id` null: as the first user name of the person.
$$;

grant execute on function experiment._attributes(bigint, bigint) to insights_reader;
