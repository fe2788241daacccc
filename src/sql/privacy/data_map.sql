/*
 * The data map of this room and of the rooms above it: each column that holds data of people, and the reason for which
 * others of free content hold none. A column that is missing is found by test/sql/data_map.test.ts.
 */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('privacy', 'consent', 'person_id', 'person', 'service', 'deleted', 'Person that the decision applies to.', null),
  ('privacy', 'consent', 'identity_id', 'identity', 'service', 'deleted', 'Identity that made the decision.', null),
  (
    'privacy', 'consent', 'document_version', 'decision', 'service', 'deleted',
    'Version of the text that was shown.', null
  ),
  ('privacy', 'consent', 'basis', 'decision', 'service', 'deleted', 'Lawful basis when it was made.', null),
  (
    'privacy', 'consent', 'subject_name', 'identity', 'service', 'deleted',
    'Name under which the person decided.', null
  ),
  ('privacy', 'consent', 'salt', 'decision', 'service', 'deleted', 'Salt of the entry in the ledger.', null),
  ('privacy', 'person_age', 'person_id', 'person', 'service', 'deleted', 'Person that was born on the date.', null),
  ('privacy', 'person_age', 'identity_id', 'identity', 'service', 'deleted', 'Identity of the date of birth.', null),
  ('privacy', 'person_age', 'birth_date', 'traits', 'service', 'deleted', 'Date of birth.', null),
  (
    'privacy', 'ledger', 'commitment', 'decision', 'service', 'kept',
    'Hash of a salt and a record, such as a decision.',
    'The chain proves that no decision was changed. Without its deleted salt, it contains nothing of a person.'
  ),
  (
    'privacy', 'ledger', 'hash', 'decision', 'service', 'kept',
    'Hash of the entry and of the one before it.', 'As privacy.ledger.commitment.'
  ),
  ('privacy', 'consent', 'evidence', 'decision', 'service', 'deleted', 'Evidence of the decision.', null),
  ('privacy', 'request', 'person_id', 'person', 'service', 'cleared', 'Person who made an open request.', null),
  ('privacy', 'request', 'identity_id', 'identity', 'service', 'cleared', 'Identity that the request names.', null),
  ('privacy', 'restriction', 'person_id', 'person', 'service', 'deleted', 'Person whose data is restricted.', null),
  ('privacy', 'restriction', 'identity_id', 'identity', 'service', 'deleted', 'Identity of the restriction.', null),
  ('privacy', 'restriction', 'reason', 'decision', 'service', 'deleted', 'Reason of the restriction.', null),
  (
    'privacy', 'request', 'subject_hash', 'identity', 'service', 'kept',
    'Hash of the name in a request.',
    'Proof of the answer. The salt of the hash is not stored, so that no name can be tested against it.'
  ),
  (
    'privacy', 'request', 'outcome', 'decision', 'service', 'kept',
    'Answer to a request, without a name.',
    'Proof of the answer. It must not name the person.'
  ),
  (
    'privacy', 'suppression', 'name_hash', 'identity', 'service', 'kept',
    'Keyed hash of the name of an erased person.',
    'Without it, a message with the name would be stored again (GDPR article 17(3)(b)).'
  ),
  ('privacy', 'export_log', 'identity_id', 'identity', 'service', 'deleted', 'Person whose data was exported.', null),
  ('privacy', 'disclosure', 'identity_id', 'identity', 'service', 'deleted', 'Person whose record was read.', null),
  ('privacy', 'disclosure', 'subject_name', 'identity', 'service', 'deleted', 'Name of this person.', null),
  ('privacy', 'disclosure', 'reason', 'decision', 'service', 'deleted', 'Interest of the reader, in her words.', null),
  (
    'privacy', 'disclosure', 'read_by', 'identity', 'service', 'kept',
    'Reader, such as an instructor, of the record of another.',
    'The law requires the names of the readers as long as the record is kept (34 CFR 99.32; GDPR article 17(3)(b)).'
  ),
  ('privacy', 'disclosure', 'salt', 'decision', 'service', 'deleted', 'Salt of the entry in the ledger.', null),
  ('privacy', 'export_log', 'exported_by', 'identity', 'service', 'cleared', 'Administrator who exported it.', null),
  (
    'privacy', 'retention_log', 'actor', 'identity', 'service', 'cleared',
    'Administrator who changed a rule of retention.', null
  ),
  (
    'privacy', 'erasure', 'subject_hash', 'identity', 'service', 'kept',
    'Hash of the names of an erased person.',
    'Proof of the erasure. The salt of the hash is not stored, so that no name can be tested against it.'
  ),
  (
    'privacy', 'erasure', 'reason', 'decision', 'service', 'kept',
    'Reason of an erasure, by an administrator.',
    'Proof of the erasure. It must not name the person.'
  ),
  (
    'privacy', 'erasure', 'counts', 'derived', 'service', 'kept',
    'Numbers of rows that were erased.',
    'Proof of the erasure, without content.'
  ),
  (
    'ml', 'input_profile', 'edges', 'derived', 'analytics', 'marked',
    'Deciles of a feature in the training, which can be values of a person.', null
  ),
  (
    'ml', 'input_profile', 'categories', 'derived', 'analytics', 'marked',
    'Frequent values of a feature in the training.', null
  ),
  ('ml', 'input_profile', 'shares', 'derived', 'analytics', 'marked', 'Shares of these values.', null),
  ('ml', 'calibration', 'class', 'derived', 'analytics', 'marked', 'Name of a class, a value of the label.', null),
  (
    'ml', 'embedding', 'key', 'identity', 'personalization', 'deleted',
    'Name of what the vector is of, such as a person or an item.', null
  ),
  ('ml', 'embedding', 'embedding', 'derived', 'personalization', 'deleted', 'Vector of a person or an item.', null),
  ('ml', 'score', 'keys', 'identity', 'personalization', 'deleted', 'Keys of a stored score, such as a person.', null),
  ('ml', 'score', 'score', 'derived', 'personalization', 'deleted', 'Score of a person.', null),
  (
    'ml', 'model', 'coefficients', 'derived', 'analytics', 'marked',
    'What a model learned from the people in its training.', null
  ),
  (
    'ml', 'tree_node', 'categories', 'derived', 'analytics', 'marked',
    'Values of a feature by which a tree decides.', null
  ),
  (
    'ml', 'tree_node', 'class_values', 'derived', 'analytics', 'marked',
    'Contributions of a leaf to the scores of the classes.', null
  ),
  (
    'ml', 'tree_node', 'threshold', 'derived', 'analytics', 'marked',
    'Value of a feature by which a tree decides.', null
  ),
  (
    'ml', 'model', 'parameters', 'derived', 'analytics', 'kept',
    'Parameters that were chosen for a training.',
    'Figures about all people in a training, from which none of them can be recognized.'
  ),
  (
    'ml', 'model', 'metrics', 'derived', 'analytics', 'kept',
    'Measured quality of a model.',
    'Figures about all people in a training, from which none of them can be recognized.'
  ),
  (
    'ml', 'comparison', 'challenger_metrics', 'derived', 'analytics', 'kept',
    'Measured quality of a new version.',
    'As ml.model.metrics.'
  ),
  (
    'ml', 'comparison', 'champion_metrics', 'derived', 'analytics', 'kept',
    'Measured quality of the deployed version.',
    'As ml.model.metrics.'
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
    ('privacy', 'consent', '{consent_id}', 'Random keys.'),
    ('privacy', 'export_log', '{export_id}', 'Random keys.'),
    ('privacy', 'disclosure', '{disclosure_id}', 'Random keys.'),
    ('privacy', 'disclosure', '{role,function_name}', 'Names of roles, logins and functions of the installation.'),
    ('privacy', 'erasure', '{erasure_id,salt}', 'Random keys.'),
    (
      'privacy', 'setting',
      '{subject_function,lock_function,names_function,held_names_function,unshared_function,hold_function,'
        'returned_function}',
      'Names of functions.'
    ),
    ('privacy', 'request', '{request_id,salt,answer_salt}', 'Random keys.'),
    ('privacy', 'request', '{regime}', 'Name of a law.'),
    ('privacy', 'regime', '{regime,description}', 'Laws with times to answer.'),
    ('privacy', 'secret', '{purpose,secret}', 'Random keys of hashes.'),
    ('privacy', 'consent', '{purpose}', 'Name of a purpose.'),
    ('privacy', 'consent_text', '{text_id,salt}', 'Random keys.'),
    ('privacy', 'consent_text', '{purpose,version,language,body,url}', 'Texts for all people.'),
    ('privacy', 'ledger', '{kind}', 'Kinds of records.'),
    ('privacy', 'removal', '{removal_id,salt}', 'Random keys.'),
    (
      'privacy', 'retention_class',
      '{data_class,table_name,time_column,person_column,condition,sealed_columns,plan_function,apply_function}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'privacy', 'retention_class', '{description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('privacy', 'retention', '{rule,data_class,purpose}', 'Rules of retention.'),
    ('privacy', 'retention_log', '{log_id}', 'Random keys.'),
    ('privacy', 'retention_log', '{rule,details}', 'Rules of retention.'),
    ('privacy', 'retention_total', '{rule,table_name,method,partitions}', 'Rules of retention.'),
    ('privacy', 'removal', '{positions,reason}', 'Entries of the ledger without records.'),
    (
      'privacy', 'sealed_table',
      '{kind,table_name,key_column,recorded_column,contents,salt_column,position_column,ready_column,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('privacy', 'purpose', '{purpose,description}', 'Purposes of processing.'),
    (
      'privacy', 'listener', '{function_name,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'privacy', 'handler', '{room,erase_function,export_function,rectify_function,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('privacy', 'data_map', '{schema_name,table_name,column_name,purpose,description,basis}', 'Content of this map.'),
    ('ml', 'project', '{name,metric,description}', 'Names of models.'),
    ('ml', 'model', '{algorithm,marked_reason}', 'Name of a method, and why a version is not used.'),
    ('ml', 'comparison', '{metric}', 'Name of a metric.'),
    ('ml', 'drift', '{feature}', 'Name of a feature.'),
    ('ml', 'input_profile', '{feature}', 'Name of a feature.'),
    ('ml', 'tree_node', '{feature}', 'Name of a feature.')
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
values ('privacy', 60, 'privacy.export', 'Decisions, and the log of exports.')
on conflict (room) do update set export_function = excluded.export_function;
