create or replace function recommend._keeps_record(model_id bigint, item_count bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if _keeps_record.item_count <= (select most_learned_items from recommend.setting) then
    return true;
  end if;
  perform recommend._delete_record(_keeps_record.model_id);
  return false;
end;
$$;

comment on function recommend._keeps_record(bigint, bigint) is $$
@behavior -*
Whether a version with this number of items keeps its record; otherwise the record is deleted.
The version is then one that follows people with its next training only.
$$;
