create or replace function experiment._own_attributes(given jsonb, out person_id bigint, out attributes jsonb)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
begin
  perform experiment._check_attributes(_own_attributes.given);
  -- A visitor states her attributes herself, but not the name of a user.
  _own_attributes.attributes := coalesce(_own_attributes.given, '{}') - 'id';
  if v_name is not null then
    _own_attributes.person_id := track.current_person_id();
    _own_attributes.attributes := _own_attributes.attributes
      || case
        when _own_attributes.person_id is null then '{}'
        else experiment._attributes(_own_attributes.person_id, null) - 'anonymousId'
      end
      || jsonb_build_object('id', v_name);
  end if;
end;
$$;

comment on function experiment._own_attributes(jsonb) is $$
@behavior -*
Returns the signed-in person, null for a visitor, and her attributes with those that are given. Errors: CF001, CF008.
$$;

grant execute on function experiment._own_attributes(jsonb) to insights_reader;
