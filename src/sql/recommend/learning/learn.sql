create or replace function recommend._rows_to_learn(kind text, model_id bigint, people bigint[] default null)
returns setof recommend.learned
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    rows_.person_id, _rows_to_learn.model_id,
    array_agg(rows_.item_id order by rows_.last_at, rows_.item_id),
    array_agg(rows_.strength order by rows_.last_at, rows_.item_id),
    false
  from recommend._training_rows(_rows_to_learn.kind, people => _rows_to_learn.people) as rows_
  where rows_.strength > 0
  group by rows_.person_id;
end;
$$;

comment on function recommend._rows_to_learn(text, bigint, bigint[]) is $$
@behavior -*
Returns what a training learns from each person, or from some, as records of a version.
$$;

/*
 * The order of the interactions of a person, and so her row, can change with each event: her whole row is compared with
 * the record, and nothing is done when it is the same.
 */
create or replace function recommend.learn(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := array(select distinct person_id from unnest(learn.people) as person_id);
  v_known record;
begin
  if not exists (select from recommend.learning) then
    return;
  end if;
  for v_known in
    select
      known.model_id, known.is_live, known.marked_at, substr(known.name, length('recommend.') + 1) as kind,
      known.version = ml.deployed_version(known.name)
        or known.version in (
          select arm.version from recommend._arm_versions(substr(known.name, length('recommend.') + 1)) as arm
        ) as is_served
    from (
      select learning.model_id, learning.is_live, model.marked_at, model.version, project.name
      from recommend.learning
      join ml.model using (model_id)
      join ml.project using (project_id)
    ) as known
    order by known.model_id
  loop
    if v_known.is_served is not true then
      update recommend.learning
      set is_live = false
      where learning.model_id = v_known.model_id
        and learning.is_live;
      update recommend.learned
      set is_stale = true
      where learned.model_id = v_known.model_id
        and learned.person_id = any (v_people)
        and not learned.is_stale;
    elsif not v_known.is_live then
      -- Deployed again, or by an experiment: what was missed is learned.
      perform recommend._catch_up(v_known.kind, v_known.model_id);
    else
      perform recommend._update_model(
        v_known.model_id, v_people,
        array(select rows_ from recommend._rows_to_learn(v_known.kind, v_known.model_id, v_people) as rows_)
      );
    end if;
  end loop;
end;
$$;

comment on function recommend.learn(bigint[], timestamptz[], timestamptz[]) is $$
Keeps the deployed recommenders up to date with the given people, whose interactions, enrolments or decisions changed.
Called by `track.refresh`. The lists are those of a training with the same parameters on the present rows of all people:
exactly for methods that count pairs, within the precision of single floating-point numbers for EASE and EDLAE.
`since` and `until` are not used. People who may not be used any more, and those who were merged, leave the models.
Versions that variations of experiments serve learn too. Others do not; the people who changed are noted.
$$;
