create or replace function recommend._named_context(person text, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track.find_identity(_named_context.person);
begin
  return recommend._context(
    (select identity.person_id from track.identity where identity.identity_id = v_identity_id),
    v_identity_id,
    _named_context.kind
  );
end;
$$;

comment on function recommend._named_context(text, text) is $$
@behavior -*
Returns the context of the person with a name (`recommend._context`), as far as the caller may read it.
$$;

grant execute on function recommend._named_context(text, text) to insights_reader, insights_learner;
