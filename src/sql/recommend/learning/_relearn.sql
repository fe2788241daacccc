create or replace function recommend._relearn(model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_part smallint;
  v_drift float8;
  v_people int;
begin
  for v_part in select known.part from recommend._learning_parts(_relearn.model_id) as known loop
    v_drift := greatest(v_drift, recommend._relearn_part(_relearn.model_id, v_part));
    perform recommend._list_part(_relearn.model_id, v_part);
  end loop;
  v_people := (select count(*) from recommend.learned where learned.model_id = _relearn.model_id);
  update recommend.learning
  set
    drift = case when learning.update_count > 0 then v_drift else learning.drift end,
    update_count = 0,
    updated_at = clock_timestamp(),
    rebuilt_at = clock_timestamp(),
    person_count = v_people
  where learning.model_id = _relearn.model_id;
end;
$$;

comment on function recommend._relearn(bigint) is $$
@behavior -*
Computes statistics and neighbour lists of a version from its whole record, and stores the error that updates had left.
$$;
