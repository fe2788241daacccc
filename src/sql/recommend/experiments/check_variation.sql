create or replace function recommend._check_tiers(tiers jsonb)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant text[] := '{model,content,segment,trending,popularity,newest}';
  v_wrong text;
begin
  if jsonb_typeof(_check_tiers.tiers) <> 'array' or jsonb_array_length(_check_tiers.tiers) not between 1 and 6 then
    perform common.refuse('CF001', format('tiers is %s', left(_check_tiers.tiers::text, 100)),
      'Give a list of model, content, segment, trending, popularity and newest, in the order of the list.');
  end if;
  select tier.value #>> '{}' into v_wrong
  from jsonb_array_elements(_check_tiers.tiers) as tier
  where jsonb_typeof(tier.value) <> 'string'
    or tier.value #>> '{}' <> all (v_known)
  limit 1;
  if found then
    perform common.refuse('CF001', format('there is no tier %s', coalesce('"' || left(v_wrong, 100) || '"', 'null')),
      'Tiers are model, content, segment, trending, popularity and newest.');
  end if;
  if (select count(distinct tier.value) from jsonb_array_elements(_check_tiers.tiers) as tier)
    < jsonb_array_length(_check_tiers.tiers)
  then
    perform common.refuse('CF001', format('tiers has one twice: %s', left(_check_tiers.tiers::text, 100)),
      'Name each tier once.');
  end if;
end;
$$;

comment on function recommend._check_tiers(jsonb) is $$
@behavior -*
Checks the tiers of a variation. Error: CF001.
$$;

grant execute on function recommend._check_tiers(jsonb) to insights_reader;

create or replace function recommend._check_slots(slots jsonb)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(_check_slots.slots) <> 'array'
    or jsonb_array_length(_check_slots.slots) > 100
    or exists (
      select
      from jsonb_array_elements(_check_slots.slots) as slot
      where case when slot.value::text ~ '^[0-9]{1,4}$' then slot.value::int not between 1 and 1000 else true end
    )
  then
    perform common.refuse('CF001', format('explored_slots is %s', left(_check_slots.slots::text, 100)),
      'Give a list of at most 100 ranks from 1 to 1000.');
  end if;
end;
$$;

comment on function recommend._check_slots(jsonb) is $$
@behavior -*
Checks the marked slots of a variation. Error: CF001.
$$;

grant execute on function recommend._check_slots(jsonb) to insights_reader;

create or replace function recommend._check_version(kind text, version jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project constant text := 'recommend.' || _check_version.kind;
  v_model ml.model;
begin
  if _check_version.version::text !~ '^[0-9]{1,9}$' then
    perform common.refuse('CF001', format('model is %s', left(_check_version.version::text, 100)),
      'Give the number of a version, as in ml.model, or "deployed".');
  end if;
  select model.* into v_model
  from ml.project
  join ml.model using (project_id)
  where project.name = v_project
    and model.version = _check_version.version::int;
  if not found then
    perform common.refuse(
      'CF002', format('%s has no version %s', left(v_project, 100), _check_version.version),
      coalesce(
        (
          select 'Versions are ' || string_agg(model.version::text, ', ' order by model.version desc) || '.'
          from (
            select model.version
            from ml.project
            join ml.model using (project_id)
            where project.name = v_project
            order by model.version desc
            limit 20
          ) as model
        ),
        format('Train one: select * from recommend.train(%L).', _check_version.kind)
      )
    );
  elsif v_model.marked_at is not null then
    perform common.refuse(
      'CF006', format('version %s of %s must be trained again', v_model.version, left(v_project, 100)),
      'A person that it learned from was erased: use a version that was trained since.'
    );
  -- A version of lists by popularity has no parts.
  elsif v_model.parameters -> 'parts' is distinct from '[]' and not recommend._has_weights(v_model.model_id) then
    perform common.refuse(
      'CF006', format('the weights of version %s of %s were deleted', v_model.version, left(v_project, 100)),
      'The last versions keep theirs (recommend.setting.versions_kept): use one of them.'
    );
  end if;
end;
$$;

comment on function recommend._check_version(text, jsonb) is $$
@behavior -*
Checks the version of a recommender that a variation serves. Errors: CF001, CF002, CF006.
$$;

grant execute on function recommend._check_version(text, jsonb) to insights_reader;

/* A definer: no role may read the weights. */
create or replace function recommend._has_weights(model_id bigint)
returns boolean
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select exists (select from recommend.model_part where model_part.model_id = $1);
$$;

comment on function recommend._has_weights(bigint) is $$
@behavior -*
Returns whether the weights of a version are stored.
$$;

grant execute on function recommend._has_weights(bigint) to insights_reader;

/* A definer owned by insights_reader: analysts and workers may not read the tables of items and versions. */
create or replace function recommend.check_variation(placement text, value jsonb)
returns void
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_kind constant text := substr(check_variation.placement, length('recommend.') + 1);
  v_known constant text[] := '{model,tiers,diversity,explored_slots,explored_pool_size}';
  v_value constant jsonb := jsonb_strip_nulls(check_variation.value);
  v_wrong text;
begin
  if not coalesce(starts_with(check_variation.placement, 'recommend.'), false) then
    perform common.refuse(
      'CF001',
      format('the placement is %s', coalesce('"' || left(check_variation.placement, 100) || '"', 'null')),
      'Write "recommend." and the kind of the items, such as recommend.course.'
    );
  end if;
  perform recommend._check(1, v_kind);
  if jsonb_typeof(v_value) is distinct from 'object' then
    perform common.refuse(
      'CF001', format('the value is %s', coalesce(left(check_variation.value::text, 100), 'null')),
      'Give an object such as {"model": 3} or {"tiers": ["popularity"]}; {} changes nothing.'
    );
  end if;
  select field.name into v_wrong
  from jsonb_object_keys(v_value) as field (name)
  where field.name <> all (v_known)
  order by field.name
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('lists have no parameter "%s"', left(v_wrong, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_wrong, v_known) || '"? ', '')
        || 'Parameters are ' || array_to_string(v_known, ', ') || '.'
    );
  end if;

  if v_value ? 'tiers' then
    perform recommend._check_tiers(v_value -> 'tiers');
  end if;
  if v_value ? 'model' and v_value -> 'model' <> '"deployed"' then
    perform recommend._check_version(v_kind, v_value -> 'model');
  end if;
  if v_value ? 'model' and v_value ? 'tiers' and not v_value -> 'tiers' ? 'model' then
    perform common.refuse('CF001', format('tiers %s are without the model', left((v_value -> 'tiers')::text, 100)),
      'Add the tier "model", or leave out the parameter "model".');
  end if;
  if v_value ? 'diversity' and (
    jsonb_typeof(v_value -> 'diversity') <> 'number' or not (v_value ->> 'diversity')::numeric between 0 and 1
  ) then
    perform common.refuse('CF001', format('diversity is %s', left((v_value -> 'diversity')::text, 100)),
      'Give a number from 0 (by score alone) to 1.');
  end if;
  if v_value ? 'explored_slots' then
    perform recommend._check_slots(v_value -> 'explored_slots');
  end if;
  if v_value ? 'explored_pool_size' and (
    (v_value -> 'explored_pool_size')::text !~ '^[0-9]{1,4}$'
    or not (v_value ->> 'explored_pool_size')::numeric between 2 and 1000
  ) then
    perform common.refuse(
      'CF001', format('explored_pool_size is %s', left((v_value -> 'explored_pool_size')::text, 100)),
      'Give a number from 2 to 1000.'
    );
  end if;
end;
$$;

alter function recommend.check_variation(text, jsonb) owner to insights_reader;

comment on function recommend.check_variation(text, jsonb) is $$
@behavior -*
Checks the value of a variation of an experiment on lists for people; `experiment` calls it.
`placement` is `recommend.` and the kind of the items. `value` is an object; what it does not name, and null, is as
without an experiment:
`model`: version of the recommender, or `"deployed"`; `tiers`: what candidates come from, in their order, such as
`["popularity"]` or `["model", "content", "segment", "popularity"]` (without `model`, no model is used; `newest` always
follows); `diversity`, `explored_slots` and `explored_pool_size` as in `recommend.setting`.
Errors: CF001, CF002 for a kind that no item has and an unknown version, CF006 for a version without weights.
$$;

grant execute on function recommend.check_variation(text, jsonb)
to insights_analyst, insights_admin, insights_worker;
