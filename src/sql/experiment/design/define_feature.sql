create or replace function experiment.define_feature(
  feature_key text,
  description text,
  value_type text default 'boolean',
  default_value jsonb default 'false',
  rules jsonb default '[]'
)
returns experiment.feature
language plpgsql
volatile
-- A definer: it writes the features and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_rules constant jsonb := coalesce(define_feature.rules, '[]');
  v_before experiment.feature;
  v_feature experiment.feature;
  v_conflict text;
begin
  if define_feature.feature_key is null or define_feature.feature_key !~ '^[A-Za-z0-9][A-Za-z0-9_.:|-]{0,99}$' then
    perform common.refuse(
      'CF001',
      format('"%s" cannot be the key of a feature', coalesce(left(define_feature.feature_key, 100), 'null')),
      'Use letters, digits and "_.:|-", at most 100 characters, beginning with a letter or digit.'
    );
  end if;
  perform experiment._check_description(define_feature.description);
  if define_feature.value_type is null or define_feature.value_type not in ('boolean', 'number', 'string', 'json') then
    perform common.refuse(
      'CF001', format('value_type is "%s"', coalesce(left(define_feature.value_type, 100), 'null')),
      'Use boolean, number, string or json.'
    );
  elsif octet_length(define_feature.default_value::text) + octet_length(v_rules::text) > 100000 then
    perform common.refuse('CF008', 'default value and rules have more than 100,000 bytes', 'Make them smaller.');
  end if;
  perform experiment._check_value(define_feature.default_value, define_feature.value_type, 'the default value');

  perform experiment._begin_change();
  perform experiment._check_rules(define_feature.feature_key, define_feature.value_type, v_rules);
  select * into v_before from experiment.feature as known where known.feature_key = define_feature.feature_key;
  if v_before.value_type <> define_feature.value_type then
    v_conflict := (
      select min(known.experiment_key) from experiment.experiment as known
      where known.feature_key = v_before.feature_key
    );
    if v_conflict is not null then
      perform common.refuse(
        'CF003',
        format('the values of the feature "%s" are of the type %s', v_before.feature_key, v_before.value_type),
        format('The experiment "%s" uses them: define another feature.', v_conflict)
      );
    end if;
  end if;

  insert into experiment.feature (feature_key, description, value_type, default_value, rules, updated_at)
  values (
    define_feature.feature_key, define_feature.description, define_feature.value_type, define_feature.default_value,
    v_rules, clock_timestamp()
  )
  on conflict on constraint feature_pkey do update
  set
    description = excluded.description,
    value_type = excluded.value_type,
    default_value = excluded.default_value,
    rules = excluded.rules,
    updated_at = excluded.updated_at
  where row(feature.description, feature.value_type, feature.default_value, feature.rules)
    is distinct from row(excluded.description, excluded.value_type, excluded.default_value, excluded.rules)
  returning feature.* into v_feature;
  if not found then
    return v_before;
  end if;
  perform experiment._log_change(
    'feature', v_feature.feature_key, 'defined',
    case when v_before.feature_key is not null then to_jsonb(v_before) end, to_jsonb(v_feature)
  );
  return v_feature;
end;
$$;

comment on function experiment.define_feature(text, text, text, jsonb, jsonb) is $$
Creates a feature, or changes it for all clients at once.
`value_type`: `boolean`, `number`, `string` or `json`. `rules`: a list in GrowthBook's form, each with `force` and
optionally `condition`, `parentConditions`, `coverage`, `hashAttribute`, `hashVersion`, `seed` and `id`; the first one
that applies decides, before the experiments. Features and rules are public.
Errors: CF001 for an invalid value or rule, CF002 for an unknown attribute or feature (names the nearest), CF003 for
another type while an experiment uses the feature, CF008 for more than 100,000 bytes.
$$;

grant execute on function experiment.define_feature(text, text, text, jsonb, jsonb) to insights_admin;
