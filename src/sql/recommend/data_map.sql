/* The data map of this room: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'deleted', 'Person that used the item.', null),
  (
    'recommend', 'interaction', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'person_id', 'person', 'personalization', 'deleted',
    'Person who dismissed the topic.', null
  ),
  (
    'recommend', 'dismissed_topic', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that named it first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'topic', 'behaviour', 'personalization', 'deleted',
    'Topic, as the event of the person names it.', null
  ),
  ('recommend', 'taken', 'person_id', 'person', 'personalization', 'deleted', 'Person that took the item.', null),
  (
    'recommend', 'taken', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'impression', 'person_id', 'person', 'personalization', 'deleted',
    'Person to whom the item was recommended.', null
  ),
  (
    'recommend', 'impression', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity for which the list was made.', null
  ),
  (
    'recommend', 'impression', 'serving_key', 'behaviour', 'personalization', 'deleted',
    'Signature of the list, which the client sends back.', null
  ),
  (
    'recommend', 'impression', 'basis', 'behaviour', 'personalization', 'deleted',
    'Reason for the recommendation.', null
  ),
  (
    'recommend', 'impression', 'score', 'behaviour', 'personalization', 'deleted',
    'Score of the recommendation for the person.', null
  ),
  (
    'recommend', 'impression', 'pool', 'behaviour', 'personalization', 'deleted',
    'Items from which the recommended one was drawn.', null
  ),
  (
    'recommend', 'serving_call', 'person_id', 'person', 'personalization', 'deleted',
    'Person to whom a list was served, until the next refresh.', null
  ),
  (
    'recommend', 'serving_call', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity for which a list was made, until the next refresh.', null
  ),
  (
    'recommend', 'serving_call', 'serving_ids', 'behaviour', 'personalization', 'deleted',
    'Rows of a list that was served, until the next refresh.', null
  ),
  (
    'recommend', 'serving_call', 'scores', 'behaviour', 'personalization', 'deleted',
    'Scores of the rows of a list that was served, until the next refresh.', null
  ),
  (
    'recommend', 'evaluation_person', 'person_id', 'person', 'personalization', 'deleted',
    'Person that an evaluation of recommenders is running on.', null
  ),
  (
    'recommend', 'evaluation_person', 'items', 'behaviour', 'personalization', 'deleted',
    'Items of the person before the split.', null
  ),
  (
    'recommend', 'evaluation_person', 'strengths', 'behaviour', 'personalization', 'deleted',
    'Strengths of these items.', null
  ),
  (
    'recommend', 'evaluation_person', 'left_out', 'behaviour', 'personalization', 'deleted',
    'Items that are not recommended to the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'relevant', 'behaviour', 'personalization', 'deleted',
    'Items that the person took afterwards.', null
  ),
  (
    'recommend', 'evaluation_person', 'candidates', 'derived', 'personalization', 'deleted',
    'Items that are ranked for the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'segments', 'derived', 'personalization', 'deleted',
    'Sets that contain the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'gains', 'derived', 'personalization', 'deleted',
    'Metrics of the lists of the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'lists', 'derived', 'personalization', 'deleted',
    'Lists of the person by the evaluated models.', null
  ),
  (
    'recommend', 'evaluation_item', 'people', 'derived', 'personalization', 'deleted',
    'People of a sample who used the item, one bit each, while an evaluation is running.', null
  ),
  (
    'recommend', 'evaluation_weight', 'weights', 'derived', 'personalization', 'deleted',
    'What an evaluated model learned, while the evaluation is running.', null
  ),
  (
    'recommend', 'neighbours', 'neighbour_ids', 'derived', 'personalization', 'unlearned',
    'Items that go with an item, learned from the items of people.', null
  ),
  ('recommend', 'neighbours', 'weights', 'derived', 'personalization', 'unlearned', 'Weights of these items.', null),
  (
    'recommend', 'item_vector', 'content', 'behaviour', 'personalization', 'recomputed',
    'Vector of the text of an item.', null
  ),
  (
    'recommend', 'best_parameters', 'parameters', 'derived', 'personalization', 'kept',
    'Parameters that a search found best.',
    'As ml.model.parameters.'
  ),
  ('recommend', 'rule_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the rule.', null),
  ('recommend', 'learned', 'person_id', 'person', 'personalization', 'deleted', 'Person of a learned row.', null),
  ('recommend', 'learned', 'item_ids', 'derived', 'personalization', 'deleted', 'Items of the person.', null),
  (
    'recommend', 'learned', 'strengths', 'derived', 'personalization', 'deleted',
    'Strength of each of these items.', null
  ),
  (
    'recommend', 'learned_item', 'target_ids', 'derived', 'personalization', 'unlearned',
    'Items that were used with an item.', null
  ),
  (
    'recommend', 'learned_item', 'totals', 'derived', 'personalization', 'unlearned',
    'Sums over the people who used both.', null
  ),
  (
    'recommend', 'learned_item', 'inverse', 'derived', 'personalization', 'unlearned',
    'Row of the inverse of the sums of all people.', null
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
    (
      'recommend', 'setting', '{lambdas,kept_kinds,topic_attribute,explored_slots}',
      'Settings of the installation.'
    ),
    ('recommend', 'list_parameters', '{kind,parameters}', 'Parameters of lists, by administrators.'),
    ('recommend', 'event_weight', '{event,value_property}', 'Settings of an event type, by administrators.'),
    ('recommend', 'secret', '{inner_key,outer_key}', 'Random keys of signatures.'),
    (
      'recommend', 'rule', '{name,kind,attribute,attribute_value,language,person_set}',
      'Rules for lists, by administrators: conditions on items, and sets of people by name.'
    ),
    ('recommend', 'rule_item', '{name}', 'Name of a rule.'),
    ('recommend', 'rule_log', '{log_id}', 'Random keys.'),
    ('recommend', 'serving_call', '{function_name,kind}', 'Names of functions, and kinds of items.'),
    ('recommend', 'serving_time', '{function_name,kind,counts}', 'Numbers of calls by function and kind of items.'),
    ('recommend', 'impression', '{function_name}', 'Name of a function.'),
    ('recommend', 'rule_log', '{name,settings}', 'Rules for lists, by administrators.'),
    ('recommend', 'model_part', '{algorithm}', 'Name of a method.'),
    ('recommend', 'ranked_list', '{kind,list}', 'Kinds of items, and names of lists.'),
    ('recommend', 'best_parameters', '{kind,algorithm}', 'Kinds of items, and names of methods.'),
    ('recommend', 'evaluation', '{kind,k,segments}', 'What was asked of an evaluation.'),
    ('recommend', 'evaluation_model', '{model,parts}', 'Models of an evaluation, by name and parameters.'),
    ('recommend', 'evaluation_result', '{model,segment,metric}', 'Names of models, sets and metrics.'),
    ('recommend', 'evaluation_comparison', '{model,other_model,metric}', 'Names of models and metrics.')
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
  'recommend', 10, 'recommend.export',
  'Interactions, impressions, evaluations in progress, and what models have learned.'
)
on conflict (room) do update set export_function = excluded.export_function;
