create or replace function recommend._my_context(kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := track.current_person_id();
begin
  -- A userId that has sent nothing has no identity, also when a browser has the same name.
  return recommend._context(
    v_person_id,
    case when v_person_id is not null then track.find_identity(current_setting('insights.person', true)) end,
    _my_context.kind
  );
end;
$$;

comment on function recommend._my_context(text) is $$
@behavior -*
Returns the context of the signed-in person (`recommend._context`), or one without a person.
$$;

grant execute on function recommend._my_context(text) to insights_reader;
