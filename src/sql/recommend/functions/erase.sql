create or replace function recommend.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The key of a person is that of one of her identities, and some of her identities are people of their own.
  v_people constant bigint[] := subject.identity_ids;
  -- Evaluations in progress, whose sums contain her. Those of trainings start again.
  v_evaluations constant bigint[] := array(
    select distinct person.evaluation_id
    from recommend.evaluation_person as person
    where person.person_id = any (v_people)
  );
begin
  -- The lists since the last refresh are stored under the people to whom they belong now.
  while recommend.collect_servings(2000) > 0 loop
  end loop;
  return next privacy.erase_rows('recommend.interaction', 'person_id', v_people);
  return next privacy.erase_rows('recommend.dismissed_topic', 'person_id', v_people);
  return next privacy.erase_rows('recommend.taken', 'person_id', v_people);
  return next privacy.erase_rows('recommend.impression', 'person_id', v_people);
  return next privacy.erase_rows('recommend.evaluation_person', 'evaluation_id', v_evaluations);
  return next privacy.erase_rows('recommend.evaluation', 'evaluation_id', v_evaluations);
  return next privacy.clear_values('recommend.rule_log', 'actor', privacy.user_names(subject));
  -- After her rows: a model learns the difference between what it has learned from her and what is stored now.
  return query
  select erased.*
  from unnest(v_people) as entry (person_id)
  cross join lateral recommend.unlearn(entry.person_id) as erased;
end;
$$;

comment on function recommend.erase(privacy.subject) is $$
@behavior -*
Erases what a person did with items, what was recommended to her, and what models have learned from her.
Called by `privacy.erase_person`.
$$;
