create or replace function analytics.rename_cluster(name text, new_name text, description text default null)
returns text
language plpgsql
volatile
-- A definer: it writes the tables of clusters and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := analytics._cluster_set(coalesce(rename_cluster.name, ''));
  v_new_name constant text := analytics._cluster_set(rename_cluster.new_name);
  v_user text;
begin
  if v_new_name is null or v_new_name !~ '^cluster\.[a-z0-9_]{1,60}$' then
    perform common.refuse(
      'CF001', format('"%s" cannot be the name of a cluster', coalesce(left(rename_cluster.new_name, 100), 'null')),
      'Use lower case letters, digits and "_", at most 60 characters.'
    );
  elsif length(rename_cluster.description) > 500 then
    perform common.refuse(
      'CF008', format('the description has %s characters', length(rename_cluster.description)),
      'It can have 500 at most.'
    );
  end if;
  perform pg_advisory_xact_lock(hashtext('analytics.cluster'));
  if not exists (select from analytics.cluster where cluster.name = v_name and cluster.retired_at is null) then
    perform common.refuse(
      'CF002', format('there is no cluster "%s"', coalesce(left(rename_cluster.name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          v_name, array(select known.name from analytics.cluster as known where known.retired_at is null order by 1)
        ) || '"?',
        'The clusters are those of analytics.clusters().'
      )
    );
  end if;
  if v_new_name = v_name then
    update analytics.cluster set is_named_by_hand = true where cluster.name = v_name;
    perform track.define_person_set(
      v_name,
      coalesce(
        rename_cluster.description, (select person_set.description from track.person_set where person_set.name = v_name)
      ),
      'analytics.cluster_members', queue_people => false
    );
    return v_name;
  end if;

  select cohort.name into v_user
  from analytics.cohort
  where cohort.is_live
    and v_name in (select analytics._rule_sets(cohort.rule))
  order by cohort.name
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('"%s" is named by the rule of "%s"', v_name, v_user), 'Drop or replace that cohort first.'
    );
  end if;
  -- A retired cluster leaves its name to this one.
  perform track.undefine_person_set(cluster.name)
  from analytics.cluster
  where cluster.name = v_new_name
    and cluster.retired_at is not null;
  if exists (select from track.person_set where person_set.name = v_new_name) then
    perform common.refuse(
      'CF003', format('there is a set of people "%s" already', v_new_name), 'Give another name.'
    );
  end if;

  perform track.define_person_set(
    v_new_name,
    coalesce(
      rename_cluster.description, (select person_set.description from track.person_set where person_set.name = v_name)
    ),
    'analytics.cluster_members', queue_people => false
  );
  update analytics.cluster set name = v_new_name, is_named_by_hand = true where cluster.name = v_name;
  -- The history of a cluster follows its name; that of a retired one of the new name ends here.
  delete from analytics.cluster_move where v_new_name in (cluster_move.from_cluster, cluster_move.to_cluster);
  update analytics.cluster_move
  set
    from_cluster = case when cluster_move.from_cluster = v_name then v_new_name else cluster_move.from_cluster end,
    to_cluster = case when cluster_move.to_cluster = v_name then v_new_name else cluster_move.to_cluster end
  where v_name in (cluster_move.from_cluster, cluster_move.to_cluster);
  perform track.move_people(v_new_name, array(select track.person_set_members(v_name)), '{}');
  perform track.undefine_person_set(v_name);
  return v_new_name;
end;
$$;

comment on function analytics.rename_cluster(text, text, text) is $$
Gives a cluster of behaviour another name, which stays with it when the clusters are fitted again.
Returns the name of the set. `description` null: unchanged. The set of the old name exists no more: queries that name it
need the new one. The name of a retired cluster can be used again; its history is removed. The same name again keeps
name and description from being replaced. Errors: CF001 for an invalid name, and a cluster that a cohort names; CF002
for an unknown cluster (names the nearest); CF003 when there is a set with the new name; CF008 for a description of more
than 500 characters.
$$;

grant execute on function analytics.rename_cluster(text, text, text) to insights_admin;
