create or replace function experiment._named_attributes(
  person text,
  given jsonb,
  out person_id bigint,
  out attributes jsonb
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id bigint;
begin
  if coalesce(_named_attributes.person, '') = '' or length(_named_attributes.person) > 256 then
    perform common.refuse(
      'CF001', format('the person is "%s"', coalesce(left(_named_attributes.person, 100), 'null')),
      'Give a userId or anonymousId of 1 to 256 characters.'
    );
  end if;
  perform experiment._check_attributes(_named_attributes.given);
  v_identity_id := track.find_identity(_named_attributes.person);
  _named_attributes.person_id := (
    select known.person_id from track.identity as known where known.identity_id = v_identity_id
  );
  -- A person who has sent nothing yet is assigned by the name, as by a client.
  _named_attributes.attributes := coalesce(_named_attributes.given, '{}') || case
    when v_identity_id is null then jsonb_build_object('id', _named_attributes.person)
    else experiment._attributes(_named_attributes.person_id, v_identity_id)
  end;
end;
$$;

comment on function experiment._named_attributes(text, jsonb) is $$
@behavior -*
Returns the person with a name, null for an unknown one, and her attributes with those that are given.
Errors: CF001 and CF008.
$$;

grant execute on function experiment._named_attributes(text, jsonb) to insights_reader;
