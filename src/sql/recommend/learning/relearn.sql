create or replace function recommend._catch_up(kind text, model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.learned where learned.model_id = _catch_up.model_id;
  insert into recommend.learned (person_id, model_id, item_ids, strengths)
  select rows_.person_id, rows_.model_id, rows_.item_ids, rows_.strengths
  from recommend._rows_to_learn(_catch_up.kind, _catch_up.model_id) as rows_;
  if not recommend._keeps_record(
    _catch_up.model_id,
    (
      select count(distinct entry.item_id)
      from recommend.learned
      cross join lateral unnest(learned.item_ids) as entry (item_id)
      where learned.model_id = _catch_up.model_id
    )
  )
  then
    return;
  end if;
  update recommend.learning set is_live = true where learning.model_id = _catch_up.model_id;
  perform recommend._relearn(_catch_up.model_id);
end;
$$;

comment on function recommend._catch_up(text, bigint) is $$
@behavior -*
Trains a version again on the present rows of all people, with the parameters that its training fixed.
$$;

/* A definer: it reads the interactions of all people, writes models, and is for administrators and workers. */
create or replace function recommend.relearn(kind text default 'course')
returns float8
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_model ml.model;
begin
  perform recommend._check_session('train a model', array['\_learn\_%']);
  perform recommend._check(1, relearn.kind);
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  select * into v_model from recommend._deployed_model(relearn.kind);
  if not exists (select from recommend.learning where learning.model_id = v_model.model_id) then
    perform common.refuse(
      'CF006',
      format('no recommender of kind "%s" that keeps a record is deployed', left(relearn.kind, 100)),
      format('Train one: select * from recommend.train(%L).', left(relearn.kind, 100))
    );
  end if;
  perform recommend._catch_up(relearn.kind, v_model.model_id);
  return (select learning.drift from recommend.learning where learning.model_id = v_model.model_id);
end;
$$;

comment on function recommend.relearn(text) is $$
Trains the deployed recommender again on all rows, with the same parameters, and returns the error of its updates.
The error is the relative one of `recommend.learning.drift`; null when it was never updated. For changes that queue no
person, such as an item that moves to another course, and to check the updates.
Errors: CF001 while the session has a temporary table whose name begins with `_learn_`, CF002 for a kind that no item
has, CF006 when no version with a record is deployed, 25006 in a read-only transaction.
$$;

grant execute on function recommend.relearn(text) to insights_admin, insights_worker;
