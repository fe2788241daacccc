create or replace function recommend._read_model(name text)
returns recommend.part
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parts constant text[] := regexp_match(name, '^\s*([a-zA-Z_]+)\s*(?:\((.*)\))?\s*$');
  v_candidate record;
  v_arguments text[];
  v_types text[];
  v_argument text[];
  v_key text;
  v_type text;
  v_text text;
  v_value jsonb;
  v_given text[] := '{}';
  v_part recommend.part;
begin
  select * into v_candidate from recommend._candidates() as candidate where candidate.model = lower(v_parts[1]);
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no model "%s"', left(coalesce(name, 'null'), 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          coalesce(v_parts[1], name),
          array(select candidate.model from recommend._candidates() as candidate) || 'default'::text
        ) || '"?',
        'The models are ' || (
          select string_agg(candidate.model, ', ') from recommend._candidates() as candidate
        ) || ' and default.'
      )
    );
  end if;
  v_part := (v_candidate.algorithm, v_candidate.parameters, v_candidate.history_decay, 1)::recommend.part;
  if v_candidate.algorithm in ('popularity', 'trending') then
    if btrim(v_parts[2]) <> '' then
      perform common.refuse('CF001', format('the model "%s" has parameters', left(name, 100)),
        format('Give %s alone.', v_candidate.model));
    end if;
    return v_part;
  end if;

  select
    array_agg(entry.name order by entry.n),
    array_agg(format_type(entry.type, null) order by entry.n)
  into v_arguments, v_types
  from pg_proc as procedure
  cross join lateral unnest(
    procedure.proargnames, procedure.proargtypes::oid[]
  ) with ordinality as entry (name, type, n)
  where procedure.pronamespace = 'ml'::regnamespace
    and procedure.proname = case v_candidate.algorithm when 'edlae' then 'ease' else v_candidate.algorithm end
      || '_neighbours'
    and entry.type is not null
    -- Coded interactions have no column of a time.
    and entry.name not in ('relation', 'time_column', 'half_life');
  v_arguments := v_arguments || 'history_decay'::text;
  v_types := v_types || 'double precision'::text;

  foreach v_text in array coalesce(string_to_array(nullif(btrim(v_parts[2]), ''), ','), '{}') loop
    v_argument := regexp_match(v_text, '^\s*(?:([a-zA-Z_]+)\s*(?:=>|:=|=)\s*)?([^=\s]+)\s*$');
    v_key := coalesce(
      lower(v_argument[1]), case when v_arguments[1] = 'lambda' and cardinality(v_given) = 0 then 'lambda' end
    );
    if v_argument is null or v_key is null then
      perform common.refuse('CF001', format('"%s" is not a parameter of the model %s', left(v_text, 100),
          v_candidate.model), format('Write it as in %s(history_decay => 0.9).', v_candidate.model));
    end if;
    v_type := v_types[array_position(v_arguments, v_key)];
    if v_type is null then
      perform common.refuse(
        'CF002',
        format('the model %s has no parameter "%s"', v_candidate.model, left(v_key, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_key, v_arguments) || '"?',
          format('It has %s.', array_to_string(v_arguments, ', ')))
      );
    end if;
    if v_key = any (v_given) then
      perform common.refuse('CF001', format('%s of the model %s is given twice', v_key, v_candidate.model),
        'Give each parameter once.');
    end if;
    v_given := v_given || v_key;
    begin
      v_value := case
        when v_type in ('text') then to_jsonb(btrim(v_argument[2], ''''))
        when v_type = 'integer' then to_jsonb(v_argument[2]::int)
        else to_jsonb(v_argument[2]::float8)
      end;
    exception when invalid_text_representation or numeric_value_out_of_range then
      v_value := null;
    end;
    if v_value is null or v_type = 'double precision' and jsonb_typeof(v_value) <> 'number' then
      perform common.refuse('CF001', format('%s is %s', v_key, left(v_argument[2], 100)), 'Give a finite number.');
    end if;
    if v_key = 'history_decay' then
      v_part.history_decay := v_value::float8;
      if not (v_part.history_decay > 0 and v_part.history_decay <= 1) then
        perform common.refuse('CF001', format('history_decay is %s', left(v_argument[2], 100)),
          'Give a number above 0, at most 1 (the order does not matter).');
      end if;
    else
      v_part.parameters := v_part.parameters || jsonb_build_object(v_key, v_value);
    end if;
  end loop;
  return v_part;
end;
$$;

comment on function recommend._read_model(text) is $$
@behavior -*
Reads the name of a model with parameters, such as `ease`, `ease(458)` or `sequence(history_decay => 0.7)`.
The parameters are the arguments of the function of the algorithm in `ml`, and `history_decay`; those that are not given
have the values of `_candidates`.
Errors: CF001 (a value), CF002 (an unknown model or parameter; names the nearest).
$$;

create or replace function recommend._model_name(part recommend.part)
returns text
language sql
stable
parallel safe
begin atomic
  select (part).algorithm || coalesce(
    '(' || (
      select string_agg(format('%s => %s', entry.key, entry.value), ', ' order by entry.key)
      from jsonb_each_text((part).parameters || case when (part).history_decay <> 1 then
        jsonb_build_object('history_decay', (part).history_decay) else '{}'::jsonb end) as entry
    ) || ')',
    ''
  );
end;

comment on function recommend._model_name(recommend.part) is $$
@behavior -*
Returns the name of a model of one part with its parameters, which `_read_model` reads.
$$;

create or replace function recommend.evaluate_relations(
  train regclass,
  test regclass,
  person_column name,
  item_column name,
  order_column name default null,
  models text[] default null,
  k int[] default '{10}'
)
returns setof recommend.metric
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_train constant regclass := common.relation(train::text);
  v_test constant regclass := common.relation(test::text);
  v_models text[];
  v_parts recommend.part[];
  v_part recommend.part;
  v_place int;
  v_item_count int;
  v_bad text;
begin
  perform recommend._check_session('evaluate models', array['\_recommend\_%']);
  v_bad := (select coalesce(value::text, 'null') from unnest(k) as value where value is null or value < 1 limit 1);
  if v_bad is not null or coalesce(cardinality(k), 0) not between 1 and 100 then
    perform common.refuse('CF001', format('k is %s', coalesce(v_bad, left(coalesce(k::text, 'null'), 100))),
      'Give 1 to 100 lengths of lists, each of them 1 or more.');
  end if;
  v_models := coalesce(array(select model from unnest(models) as model), '{}');
  if models is null then
    v_models := array(
      select candidate.model
      from recommend._candidates() as candidate
      where order_column is not null or not candidate.needs_order
    ) || 'default'::text;
  end if;
  if cardinality(v_models) not between 1 and 100 then
    perform common.refuse('CF001', format('%s models are given', cardinality(v_models)),
      'Give 1 to 100, or null for all.');
  end if;
  for v_place in 1 .. cardinality(v_models) loop
    if lower(btrim(v_models[v_place])) = 'default' then
      v_part := null;
    else
      v_part := recommend._read_model(v_models[v_place]);
    end if;
    if order_column is null and v_part.algorithm in (
      select candidate.algorithm from recommend._candidates() as candidate where candidate.needs_order
    ) then
      perform common.refuse('CF001', format('the model %s needs an order', left(v_models[v_place], 100)),
        'Give order_column: a number or a time that grows within each person.');
    end if;
    v_parts := v_parts || v_part;
  end loop;

  perform recommend._code_relations(v_train, v_test, person_column, item_column, order_column);
  v_item_count := (select count(*) from pg_temp._recommend_item);
  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person and an item', v_train),
      'There is nothing to learn from yet.');
  end if;
  if not exists (select from pg_temp._recommend_target) then
    perform common.refuse('CF004', format('%s has no row with a person and an item that is not in %s', v_test, v_train),
      'The test rows are those that the models must not see.');
  end if;
  if models is null and v_item_count > 16000 then
    raise info 'ease and edlae are left out: % has more than 16000 items', v_train;
  end if;

  for v_place in 1 .. cardinality(v_models) loop
    v_part := v_parts[v_place];
    continue when models is null and v_item_count > 16000 and v_part.algorithm in ('ease', 'edlae');
    if v_part.algorithm is null then
      v_part := recommend._choose_part('pg_temp._recommend_training', v_item_count);
      raise info '% is %', v_models[v_place], recommend._model_name(v_part);
    end if;
    perform recommend._fit_parts('pg_temp._recommend_training', array[v_part], v_item_count);
    perform recommend._rank_targets(
      'pg_temp._recommend_training', 'pg_temp._recommend_target', array[v_part], v_item_count,
      (select max(value) from unnest(k) as value)
    );
    return query
    select v_models[v_place], measured.metric, measured.k, measured.value
    from recommend._metrics(evaluate_relations.k, v_item_count) as measured;
  end loop;
  drop table if exists pg_temp._recommend_item, pg_temp._recommend_training, pg_temp._recommend_target,
    pg_temp._recommend_source, pg_temp._recommend_sums, pg_temp._recommend_gain, pg_temp._recommend_listed,
    pg_temp._recommend_trial;
end;
$$;

comment on function recommend.evaluate_relations(regclass, regclass, name, name, name, text[], int[]) is $$
@behavior -*
Measures recommenders on two relations: trained on `train`, they rank all its items for the people of `test`.
The columns of a person and an item have the same names in both relations and any type; a pair counts once, a null not
at all. `order_column` of `train` gives the order of the items of a person, such as a time (null: the order is unknown;
a row without a value comes first; the last row of a pair counts). What a person has in `train` is not ranked. The other
items of the person in `test` are relevant, also those that `train` does not have, which no list can contain.
People without rows in `train` get the items by popularity. Items of equal score are ranked by their number of people,
then by their text in byte order.

`models`: `popularity`; `trending` (people by how few items they took later); `item_knn`; `sequence`; `ease`; `edlae`;
with parameters as in `ease(458)` or `sequence(decay => 0.9, history_decay => 0.7)`, see `ml.ease_neighbours`,
`ml.item_knn_neighbours` and `ml.sequence_neighbours`; `default`: the model that the platform would deploy, chosen with
its parameters on the rows of `train` alone: the last fifth of each person's rows (without an order a random fifth) is
held out, and ranked by models of the rest; a message of level INFO names it. Null: all of them, without those that need
an order if there is none, and without those that cannot hold the items.

Metrics for each `k`, as means over the people, with h hits among the first k and n relevant items: `precision` h / k;
`recall` h / n; `recall_min` h / min(k, n); `ndcg` the sum of 1 / log2(1 + rank) of the hits, divided by that of
min(k, n) hits in the first places; `ndcg_uncut` the same divided by that of n hits; `map` the sum of the precision at
each hit, divided by min(k, n); `mrr` 1 / rank of the first hit; `hit_rate` 1 with a hit, else 0; `coverage` the share
of the items of `train` that are in a list.
The rows are numbered in temporary tables, which are dropped at the end. People are ranked in batches within a
`work_mem` of 64 MB; EASE holds at most 16,000 items.
Errors: CF001 (k, models, parameters, a column without order, a temporary table of the session whose name begins with
_recommend_), CF002 (no such column or model; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too many
items), 25006 in a read-only transaction.
$$;

grant execute on function
  recommend._read_model(text),
  recommend._model_name(recommend.part),
  recommend.evaluate_relations(regclass, regclass, name, name, name, text[], int[])
to insights_analyst, insights_admin, insights_worker;
