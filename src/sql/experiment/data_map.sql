/* The data map of this room: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'experiment', 'exposure', 'person_id', 'person', 'analytics', 'deleted',
    'Person who takes part in an experiment.', null
  ),
  (
    'experiment', 'event_value', 'person_id', 'person', 'analytics', 'deleted',
    'Person with values in a metric of an experiment.', null
  ),
  (
    'experiment', 'day_sum', 'stratum', 'derived', 'analytics', 'recomputed',
    'Trait that people had at the exposure: a row is deleted with its last person.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'experiment', 'exposure', 'outcomes', 'behaviour', 'analytics', 'deleted',
    'Outcomes of the person since the exposure.', null
  ),
  (
    'experiment', 'exposure', 'outcomes_before', 'behaviour', 'analytics', 'deleted',
    'The same, of a period before the exposure.', null
  ),
  (
    'experiment', 'event_value', 'event_values', 'behaviour', 'analytics', 'deleted',
    'Values of the events of the person in a metric.', null
  ),
  ('experiment', 'exposure', 'stratum', 'derived', 'analytics', 'deleted', 'Trait or set at the exposure.', null),
  (
    'experiment', 'change', 'actor', 'identity', 'service', 'cleared',
    'Administrator who changed an experiment, feature, metric, layer or holdout.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

/* Without data of people. */
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('experiment', 'layer', '{layer,description}', 'Settings by administrators.'),
    ('experiment', 'holdout', '{holdout,description}', 'Settings by administrators.'),
    (
      'experiment', 'feature', '{feature_key,description,default_value,rules}',
      'Features, by administrators; their rules cannot name people.'
    ),
    (
      'experiment', 'experiment',
      '{experiment_key,name,hypothesis,feature_key,placement,hash_attribute,fallback_attribute,seed,layer,holdout,'
        'condition,parent_conditions,population,strata}',
      'Plans of experiments, by administrators; their conditions cannot name people.'
    ),
    ('experiment', 'variation', '{variation_key,name,value}', 'Variations of experiments, by administrators.'),
    ('experiment', 'weighting', '{weights,details}', 'Weights of variations, and sums by variation.'),
    (
      'experiment', 'metric', '{metric_key,description,event_type_ids,property_filter,value_property}',
      'Definitions of metrics, by administrators.'
    ),
    (
      'experiment', 'handler', '{room,check_function,ship_function,exposure_function,description}',
      'Names of schemas and functions.'
    ),
    ('experiment', 'day_sum', '{sums}', 'Sums over people, by day.'),
    ('experiment', 'kept', '{quantiles}', 'Quantiles of the values of at least 5 people, without the people.'),
    ('experiment', 'kept', '{drawn}', 'Numbers of people of variations, of at least 5 each.'),
    ('experiment', 'kept_sum', '{stratum,sums}', 'Sums over at least 5 people, of a trait that all of them had.'),
    ('experiment', 'change', '{change_id}', 'Random keys.'),
    (
      'experiment', 'change', '{key,action,before,after}',
      'Changes of experiments, features, metrics, layers and holdouts, by administrators.'
    )
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

insert into privacy.handler (room, position, export_function, description)
values (
  'experiment', 15, 'experiment.export', 'Exposures and outcomes in experiments, and names of authors of changes.'
)
on conflict (room) do update set export_function = excluded.export_function;
