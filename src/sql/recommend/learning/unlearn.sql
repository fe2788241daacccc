create or replace function recommend.unlearn(person_id bigint)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known record;
  v_stale bigint[];
  v_records bigint := 0;
  v_unlearned bigint := 0;
  v_marked bigint;
begin
  -- Not while a refresh learns, or a training reads its rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_known in
    select learning.model_id, learning.is_live, substr(project.name, length('recommend.') + 1) as kind
    from recommend.learning
    join ml.model using (model_id)
    join ml.project using (project_id)
    order by learning.model_id
  loop
    v_stale := '{}';
    if not v_known.is_live then
      -- Items of hers may be in the row of another person, from before a merge or a split.
      v_stale := array(
        select learned.person_id
        from recommend.learned
        where learned.model_id = v_known.model_id
          and learned.is_stale
      );
    end if;
    if v_stale <> '{}' or exists (
      select 1
      from recommend.learned
      where learned.model_id = v_known.model_id
        and learned.person_id = unlearn.person_id
    ) then
      select count(*) + v_records into v_records
      from recommend.learned
      where learned.model_id = v_known.model_id
        and learned.person_id = unlearn.person_id;
      begin
        if recommend._update_model(
          v_known.model_id,
          v_stale || unlearn.person_id,
          array(
            select rows_
            from recommend._rows_to_learn(v_known.kind, v_known.model_id, v_stale) as rows_
            where rows_.person_id <> unlearn.person_id
          )
        ) > 0 then
          v_unlearned := v_unlearned + 1;
        end if;
      exception
        -- The weights without her cannot be computed, such as those of a matrix that is nearly singular. A person can
        -- be erased all the same: without its record, the version is marked below.
        when data_exception or sqlstate 'CF007' then
          perform recommend._delete_record(v_known.model_id);
      end;
    end if;
  end loop;
  v_marked := recommend._mark_versions(
    array(
      select distinct part.model_id
      from recommend.model_part as part
      where not exists (select from recommend.learning where learning.model_id = part.model_id)
      order by part.model_id
    ),
    'a person was erased'
  );
  if v_records > 0 then
    return next row('recommend.learned', v_records, 'deleted')::privacy.erased;
  end if;
  if v_unlearned > 0 then
    return next row('ml.model', v_unlearned, 'unlearned')::privacy.erased;
  end if;
  if v_marked > 0 then
    return next row('ml.model', v_marked, 'marked')::privacy.erased;
  end if;
end;
$$;

comment on function recommend.unlearn(bigint) is $$
@behavior -*
Removes what the recommenders learned from a person, in all versions whose weights are kept.
Returns the changes by table.
Versions with a record (`recommend.learned`) become those that were trained, with the same parameters, without the
person. Versions without a record, because they have too many items or are older, are marked for training.
$$;
