create or replace function track._name_enrolments(item_ids bigint[], identity_ids bigint[] default null)
returns setof bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with named as (
    update track.enrolment
    set item_id = enrolment.named_item_id, named_item_id = null
    where enrolment.named_item_id = any (_name_enrolments.item_ids)
      and (_name_enrolments.identity_ids is null or enrolment.identity_id = any (_name_enrolments.identity_ids))
    returning enrolment.person_id
  )
  select named.person_id from named;
end;
$$;

comment on function track._name_enrolments(bigint[], bigint[]) is $$
Gives the enrolments of merged items the items that the application named. Returns their people.
`item_ids`: all names of the items; `identity_ids`: of these identities only.
$$;
