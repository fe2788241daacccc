create or replace function track._merge_enrolments(item_ids bigint[], identity_ids bigint[] default null)
returns setof bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with named as (
    select distinct on (enrolment.person_id, enrolment.identity_id, item.merged_item_id)
      enrolment.person_id, enrolment.identity_id, enrolment.item_id, item.merged_item_id
    from track.enrolment
    join track.item on item.item_id = enrolment.item_id
    where enrolment.item_id = any (_merge_enrolments.item_ids)
      and (_merge_enrolments.identity_ids is null or enrolment.identity_id = any (_merge_enrolments.identity_ids))
      and item.merged_item_id is not null
    order by
      enrolment.person_id, enrolment.identity_id, item.merged_item_id, enrolment.enrolled_at desc, enrolment.item_id
  ),

  merged as (
    update track.enrolment
    set item_id = named.merged_item_id, named_item_id = named.item_id
    from named
    where enrolment.person_id = named.person_id
      and enrolment.identity_id = named.identity_id
      and enrolment.item_id = named.item_id
      and not exists (
        select 1
        from track.enrolment as own
        where own.person_id = named.person_id
          and own.identity_id = named.identity_id
          and own.item_id = named.merged_item_id
      )
    returning enrolment.person_id
  )
  select merged.person_id from merged;
end;
$$;

comment on function track._merge_enrolments(bigint[], bigint[]) is $$
Gives the enrolments of merged items the items of which these are names, after `track._name_enrolments`.
Of several of an identity, the one of the item's own name counts, or else the latest one. Returns their people.
$$;
