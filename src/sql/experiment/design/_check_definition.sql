create or replace function experiment._check_bandit(definition jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := _check_bandit.definition;
  v_goal experiment.metric;
begin
  if (v_given ->> 'minimum_weight')::float8 * jsonb_array_length(v_given -> 'variations') > 1 then
    perform experiment._refuse_field('minimum_weight', v_given -> 'minimum_weight',
      'The minimum weights of all variations add up to 1 at most.');
  elsif exists (select from jsonb_array_elements(v_given -> 'weights') as given where given.value = '0') then
    perform experiment._refuse_field('weights', v_given -> 'weights',
      'The weights follow the results of all variations: each starts with more than 0.');
  elsif v_given ? 'goals' then
    v_goal := experiment._find_metric(coalesce(v_given #>> '{goals,0,metric}', v_given #>> '{goals,0}'));
    if v_goal.type = 'quantile' then
      perform common.refuse('CF001', format('the first goal "%s" is a quantile', v_goal.metric_key),
        'The weights of a bandit follow a proportion, a mean, a count, a ratio or retention.');
    end if;
  end if;
end;
$$;

comment on function experiment._check_bandit(jsonb) is $$
@behavior -*
Raises CF001 for a bandit whose weights could not follow its results.
$$;

create or replace function experiment._check_definition(definition jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := _check_definition.definition;
  v_feature experiment.feature;
  v_holdout experiment.holdout;
begin
  if v_given ? 'feature' then
    v_feature := experiment._find_feature(v_given ->> 'feature');
    perform experiment._check_value(
      variation.value -> 'value', v_feature.value_type, format('the value of %s', variation.value ->> 'key')
    )
    from jsonb_array_elements(v_given -> 'variations') as variation (value);
  end if;
  if v_given ? 'placement' then
    perform experiment._check_placement(v_given ->> 'placement', v_given -> 'variations');
  end if;
  perform experiment._check_assignment(v_given);

  if v_given ? 'layer' then
    if not exists (select from experiment.layer as known where known.layer = v_given ->> 'layer') then
      perform experiment._refuse_unknown_name(
        'layer',
        v_given ->> 'layer',
        array(select known.layer from experiment.layer as known order by known.layer limit 1000),
        'Create it with experiment.define_layer.'
      );
    end if;
    if (v_given ->> 'layer_from')::float8 >= (v_given ->> 'layer_until')::float8 then
      perform experiment._refuse_field('layer_until', v_given -> 'layer_until',
        'Give a number greater than layer_from.');
    end if;
    perform experiment._check_layer(
      v_given ->> 'key', v_given ->> 'layer', (v_given ->> 'layer_from')::float8, (v_given ->> 'layer_until')::float8
    );
  elsif v_given ?| '{layer_from,layer_until}' then
    perform common.refuse('CF001', 'a range is given without a layer', 'Name the layer, or leave the range out.');
  end if;
  if v_given ? 'holdout' then
    v_holdout := experiment._find_holdout(v_given ->> 'holdout');
    if v_holdout.ended_at is not null then
      perform common.refuse('CF003', format('the holdout "%s" has ended', v_holdout.holdout), 'Name another one.');
    end if;
  end if;

  -- Refuses an unknown set with the nearest name.
  perform track.is_in_person_set(v_given ->> 'population', 0);
  perform track.check_sets(array[v_given ->> 'population', substr(v_given ->> 'strata', 5)]);
  if v_given ? 'strata' then
    perform experiment._check_strata(v_given ->> 'strata');
  end if;
  if (v_given ->> 'min_bucket_version')::int > (v_given ->> 'bucket_version')::int then
    perform experiment._refuse_field('min_bucket_version', v_given -> 'min_bucket_version',
      'It is at most bucket_version.');
  elsif (v_given ->> 'maximum_duration')::interval < (v_given ->> 'minimum_duration')::interval then
    perform experiment._refuse_field('maximum_duration', v_given -> 'maximum_duration',
      'Give at least minimum_duration.');
  elsif v_given ? 'bandit' then
    perform experiment._check_bandit(v_given);
  end if;
end;
$$;

comment on function experiment._check_definition(jsonb) is $$
@behavior -*
Raises an error for a complete definition whose fields do not fit together, or to what else is defined and running.
Errors: CF001, CF002, CF003, CF008.
$$;
