/* The data map of this room: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('track', 'person', 'person_id', 'person', 'service', 'deleted', 'The person.', null),
  ('track', 'identity', 'identity_id', 'identity', 'service', 'deleted', 'Key of a name of the person.', null),
  (
    'track', 'identity', 'external_id', 'identity', 'service', 'deleted',
    'Name of the person in the application or browser.', null
  ),
  ('track', 'identity', 'person_id', 'person', 'service', 'deleted', 'Person that the identity belongs to.', null),
  (
    'track', 'identity', 'user_identity_id', 'identity', 'service', 'deleted',
    'User who identified on the browser.', null
  ),
  ('track', 'identity', 'browser', 'identity', 'service', 'deleted', 'Hash of the cookie of the browser.', null),
  ('track', 'identity_link', 'identity_id', 'identity', 'service', 'deleted', 'Identity that was linked.', null),
  (
    'track', 'identity_link', 'linked_identity_id', 'identity', 'service', 'deleted',
    'Identity to which it was linked.', null
  ),
  ('track', 'trait', 'person_id', 'person', 'analytics', 'deleted', 'Person that has the trait.', null),
  ('track', 'trait', 'identity_id', 'identity', 'analytics', 'deleted', 'Identity for which the trait was sent.', null),
  ('track', 'trait', 'name', 'traits', 'analytics', 'deleted', 'Name of the trait, chosen by the application.', null),
  (
    'track', 'trait', 'value', 'traits', 'analytics', 'deleted',
    'Trait of the person, as sent by the application.', null
  ),
  ('track', 'trait_history', 'person_id', 'person', 'analytics', 'deleted', 'Person that had the trait.', null),
  (
    'track', 'trait_history', 'identity_id', 'identity', 'analytics', 'deleted',
    'Identity for which the trait was sent.', null
  ),
  (
    'track', 'trait_history', 'name', 'traits', 'analytics', 'deleted',
    'Name of the trait, chosen by the application.', null
  ),
  ('track', 'trait_history', 'set_at', 'traits', 'analytics', 'deleted', 'Times of the values.', null),
  (
    'track', 'trait_history', 'value', 'traits', 'analytics', 'deleted',
    'Former values of a trait of the person.', null
  ),
  ('track', 'trait_history', 'repeated_at', 'traits', 'analytics', 'deleted', 'Times of repeated values.', null),
  (
    'track', 'item', 'external_id', 'behaviour', 'analytics', 'recomputed',
    'Name of an item; a client can name one that nobody else names. Deleted when only the person named it.', null
  ),
  ('track', 'item', 'kind', 'behaviour', 'analytics', 'recomputed', 'Kind of the item, as for its name.', null),
  (
    'track', 'item', 'title', 'behaviour', 'analytics', 'recomputed',
    'Title of the item, by a message or the application. Taken from the messages of others.', null
  ),
  ('track', 'item', 'url', 'behaviour', 'analytics', 'recomputed', 'URL of the item, as for its title.', null),
  (
    'track', 'item', 'language', 'behaviour', 'analytics', 'recomputed',
    'Language of the item, as for its title.', null
  ),
  (
    'track', 'item', 'attributes', 'behaviour', 'analytics', 'recomputed',
    'Attributes of the item, as for its title.', null
  ),
  (
    'track', 'item_source', 'identity_id', 'identity', 'analytics', 'deleted',
    'Identity that named or described the item.', null
  ),
  (
    'track', 'named_item', 'kind', 'behaviour', 'analytics', 'recomputed',
    'Kind of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'title', 'behaviour', 'analytics', 'recomputed',
    'Title of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'url', 'behaviour', 'analytics', 'recomputed',
    'URL of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'language', 'behaviour', 'analytics', 'recomputed',
    'Language of a merged item, as in track.item.', null
  ),
  (
    'track', 'named_item', 'attributes', 'behaviour', 'analytics', 'recomputed',
    'Attributes of a merged item, as in track.item.', null
  ),
  (
    'track', 'name_log', 'name', 'behaviour', 'service', 'cleared',
    'Name of an event or item that an administrator changed.', null
  ),
  ('track', 'name_log', 'target', 'behaviour', 'service', 'cleared', 'New name of it.', null),
  ('track', 'name_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the name.', null),
  (
    'track', 'forgotten_import', 'actor', 'identity', 'service', 'cleared',
    'Administrator who removed the import.', null
  ),
  ('track', 'enrolment', 'person_id', 'person', 'service', 'deleted', 'Person that is enrolled.', null),
  (
    'track', 'enrolment', 'identity_id', 'identity', 'service', 'deleted',
    'Identity that the application enrolled.', null
  ),
  ('track', 'item_role', 'person_id', 'person', 'service', 'deleted', 'Person that teaches or wrote the item.', null),
  (
    'track', 'item_role', 'identity_id', 'identity', 'service', 'deleted',
    'Identity to which the application gave the role.', null
  ),
  (
    'track', 'event_type', 'name', 'behaviour', 'analytics', 'recomputed',
    'Name of an event, chosen by clients. Deleted when only the person sent such events.', null
  ),
  (
    'track', 'message', 'message_hash', 'behaviour', 'service', 'kept',
    'Hash of the id of a message that was stored.',
    'Without it a message that is sent again would be stored again. It is the hash of an id, and is with no person.'
  ),
  (
    'track', 'packed_message', 'tags', 'behaviour', 'service', 'kept',
    'Parts of the hashes of ids of messages.',
    'As track.message.message_hash.'
  ),
  (
    'track', 'packed_message', 'remainders', 'behaviour', 'service', 'kept',
    'Parts of the hashes of ids of messages.',
    'As track.message.message_hash.'
  ),
  (
    'track', 'found_data', 'property', 'behaviour', 'service', 'kept',
    'Name of a property in which contact data was found, or which was not stored.',
    'It is counted without a person and without a value, and deleted after 400 days. Contact data in it is masked.'
  ),
  ('track', 'event', 'person_id', 'person', 'analytics', 'deleted', 'Person of the event.', null),
  (
    'track', 'event', 'event_id', 'behaviour', 'analytics', 'deleted',
    'Time of the event and hash of the id of its message.', null
  ),
  (
    'track', 'event', 'identity_id', 'identity', 'analytics', 'deleted',
    'Identity with which the event was sent.', null
  ),
  ('track', 'event', 'properties', 'behaviour', 'analytics', 'deleted', 'Properties of the event.', null),
  (
    'track', 'statement', 'statement_id', 'behaviour', 'analytics', 'deleted', 'Id of an xAPI statement of the person.',
    null
  ),
  (
    'track', 'statement', 'statement', 'behaviour', 'analytics', 'deleted',
    'The xAPI statement as it was sent, with its names and addresses. In those of others, the person is replaced.',
    null
  ),
  (
    'track', 'statement', 'keys', 'identity', 'analytics', 'deleted',
    'Hashes of the agents of the statement, by which clients find it.', null
  ),
  (
    'track', 'statement', 'people', 'identity', 'analytics', 'deleted',
    'Hashes of the names of people in the statement.', null
  ),
  (
    'track', 'statement', 'reference_id', 'behaviour', 'analytics', 'deleted',
    'Id of a statement that this one refers to.', null
  ),
  ('track', 'statement', 'event_ids', 'behaviour', 'analytics', 'deleted', 'Events of the statement.', null),
  ('track', 'statement', 'identity_ids', 'identity', 'analytics', 'deleted', 'Identities of these events.', null),
  (
    'track', 'statement_attachment', 'hash', 'behaviour', 'analytics', 'deleted',
    'Hash of an attachment. Deleted when only statements of the person have it.', null
  ),
  (
    'track', 'statement_attachment', 'contents', 'behaviour', 'analytics', 'deleted',
    'Attachment of a statement. Deleted when only statements of the person have it.', null
  ),
  ('track', 'client_document', 'document_hash', 'identity', 'service', 'deleted', 'Hash of its place.', null),
  (
    'track', 'client_document', 'scope', 'identity', 'service', 'deleted',
    'Hash of the person and the activity of the document.', null
  ),
  ('track', 'client_document', 'person', 'identity', 'service', 'deleted', 'Hash of the name of the person.', null),
  (
    'track', 'client_document', 'registration', 'behaviour', 'service', 'deleted', 'Registration for an activity.', null
  ),
  (
    'track', 'client_document', 'place', 'identity', 'service', 'deleted',
    'Agent, activity and id of the document.', null
  ),
  (
    'track', 'client_document', 'contents', 'behaviour', 'service', 'deleted',
    'State of an activity, or a profile, as the client stored it.', null
  ),
  ('track', 'session', 'person_id', 'person', 'analytics', 'deleted', 'Person that was active.', null),
  ('track', 'session', 'session_id', 'behaviour', 'analytics', 'deleted', 'First event of the session.', null),
  ('track', 'session', 'view_event_ids', 'behaviour', 'analytics', 'deleted', 'Events of the page views.', null),
  ('track', 'session', 'view_item_ids', 'behaviour', 'analytics', 'deleted', 'Items that the person viewed.', null),
  ('track', 'session', 'view_starts', 'behaviour', 'analytics', 'deleted', 'Starts of the page views.', null),
  ('track', 'session', 'view_ends', 'behaviour', 'analytics', 'deleted', 'Ends of the page views.', null),
  ('track', 'session', 'view_engaged', 'behaviour', 'analytics', 'deleted', 'Engaged times of the page views.', null),
  (
    'track', 'session', 'view_heartbeats', 'behaviour', 'analytics', 'deleted',
    'Numbers of heartbeats of the page views.', null
  ),
  (
    'track', 'session', 'view_continued', 'behaviour', 'analytics', 'deleted',
    'Whether the page views are continued ones.', null
  ),
  (
    'track', 'session', 'view_keys', 'behaviour', 'analytics', 'deleted',
    'Hashes of the `viewId` of the page views.', null
  ),
  (
    'track', 'automatic_period', 'person_id', 'person', 'analytics', 'deleted',
    'Person that the events are about.', null
  ),
  ('track', 'step', 'person_id', 'person', 'analytics', 'deleted', 'Person of the events.', null),
  ('track', 'step', 'occurred_at', 'behaviour', 'analytics', 'deleted', 'Times of the events.', null),
  ('track', 'step', 'item_ids', 'behaviour', 'analytics', 'deleted', 'Items of the events.', null),
  ('track', 'step_value', 'person_id', 'person', 'analytics', 'deleted', 'Person of the events.', null),
  (
    'track', 'step_value', 'value_ids', 'behaviour', 'analytics', 'deleted',
    'Values of a property of the events.', null
  ),
  (
    'track', 'property_value', 'value', 'behaviour', 'analytics', 'recomputed',
    'Values of properties, while an event has them.', null
  ),
  (
    'track', 'presence', 'people', 'derived', 'analytics', 'recomputed',
    'People with events on a day, one bit per person.', null
  ),
  (
    'track', 'value_presence', 'people', 'derived', 'analytics', 'recomputed',
    'People with a value on a day, one bit per person.', null
  ),
  ('track', 'item_month', 'people', 'derived', 'analytics', 'recomputed', 'People who used an item in a month.', null),
  ('track', 'item_month', 'days', 'derived', 'analytics', 'recomputed', 'Days on which each of them used it.', null),
  (
    'track', 'course_presence', 'people', 'derived', 'analytics', 'recomputed',
    'People who used a course in a month, one bit each.', null
  ),
  ('track', 'course_presence', 'members', 'derived', 'analytics', 'recomputed', 'The same people as a list.', null),
  (
    'track', 'course_presence', 'days', 'derived', 'analytics', 'recomputed',
    'Days on which each of them used it.', null
  ),
  ('track', 'stale', 'person_id', 'person', 'analytics', 'deleted', 'Person whose sessions are out of date.', null),
  (
    'track', 'stale_property', 'person_id', 'person', 'analytics', 'deleted',
    'Person whose values are not stored yet.', null
  ),
  (
    'track', 'changed', 'person_id', 'person', 'analytics', 'deleted',
    'Person whose derived data is out of date.', null
  ),
  (
    'track', 'person_set_member', 'identity_id', 'identity', 'service', 'deleted',
    'Identity of a member of a listed set.', null
  ),
  (
    'track', 'person_set_block', 'people', 'derived', 'analytics', 'recomputed',
    'People of a set, one bit per person.', null
  ),
  (
    'track', 'exclusion', 'identity_id', 'identity', 'service', 'deleted',
    'Identity of a person who is not counted.', null
  ),
  ('track', 'exclusion', 'note', 'traits', 'service', 'deleted', 'Note about the person, by an administrator.', null),
  (
    'track', 'exclusion', 'excluded_by', 'identity', 'service', 'cleared',
    'Administrator who excluded the person.', null
  ),
  ('track', 'write_key_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the key.', null)
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
      'track', 'setting',
      '{path_rule,kept_parameters,allowed_properties,allowed_traits,personal_data,contact_traits}',
      'Settings of the installation.'
    ),
    ('track', 'setting', '{agent_properties,bots}', 'Settings of the installation.'),
    (
      'track', 'source', '{name,description,path_rule,kept_parameters}',
      'Applications, importers and write keys, named by administrators.'
    ),
    ('track', 'write_key', '{key_hash,preview,scopes,origins}', 'Keys of applications, not of people.'),
    ('track', 'write_key_log', '{log_id}', 'Random keys.'),
    ('track', 'write_key_log', '{details}', 'New settings of a key: scopes, origins, rate and times.'),
    ('track', 'found_data', '{kind}', 'Words of a fixed list.'),
    ('track', 'refusal', '{code}', 'Codes of errors; the messages are only counted.'),
    ('track', 'refusal_sample', '{sample_id}', 'Random keys.'),
    ('track', 'refusal_sample', '{code,hint}', 'Code of the error, and its rule.'),
    (
      'track', 'refusal_sample', '{fields}',
      'Types and lengths of the known fields of a message, without values.'
    ),
    ('track', 'placeholder_id', '{external_id,description}', 'Ids that name nobody.'),
    (
      'track', 'event_type', '{purpose,description,allowed_properties}',
      'Settings of an event type, by administrators.'
    ),
    ('track', 'declared_property', '{property}', 'Name of a property, declared by an administrator.'),
    ('track', 'rollup_check', '{rollup}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'rollup_check', '{example}',
      'Surrogate keys of a sum that was written again, kept for 10,000 checks.'
    ),
    ('track', 'name_log', '{log_id}', 'Random keys.'),
    (
      'track', 'imported_item', '{kind,title,url}',
      'Structure of courses, as the file of an import states it without a person.'
    ),
    ('track', 'forgotten_import', '{name,event_types}', 'Name of an importer, and keys of types of events.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer',
      '{consumer,refresh,inputs,description,reads_set,incomplete_sets,forget_function,collect_function}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'person_set', '{name,description,members,consumer}',
      'Name and definition of a set; its members are in other tables.'
    ),
    ('track', 'client_document', '{kind,content_type}', 'Kind and media type.'),
    ('track', 'person_set_member', '{name}', 'Name of the set.'),
    ('track', 'person_set_block', '{name}', 'Name of the set.'),
    (
      'track', 'distribution', '{schema_name,table_name,column_name,colocated_with,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'dropped_reference', '{table_name,constraint_name,definition}',
      'Names and definitions of foreign keys of the installation.'
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
values ('track', 40, 'track.export', 'People, identities, events and all data that is derived from them.')
on conflict (room) do update set export_function = excluded.export_function;
