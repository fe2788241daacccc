create or replace function recommend._delete_record(model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.learned_item where learned_item.model_id = _delete_record.model_id;
  -- A distributed table has no foreign key that would do it.
  delete from recommend.learned where learned.model_id = _delete_record.model_id;
  delete from recommend.learning where learning.model_id = _delete_record.model_id;
end;
$$;

comment on function recommend._delete_record(bigint) is $$
@behavior -*
Deletes the record of what a version learned from each person, without which it is not changed any more.
Its weights are kept.
$$;
