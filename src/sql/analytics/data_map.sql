/* The data map of this room: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'analytics', 'snapshot', 'person_id', 'person', 'analytics', 'deleted',
    'Learner in the data of a training in progress.', null
  ),
  ('analytics', 'snapshot', 'feature', 'derived', 'analytics', 'deleted', 'Features of the learner.', null),
  (
    'analytics', 'intervention', 'identity_id', 'identity', 'analytics', 'deleted',
    'Learner about whom a teacher did something.', null
  ),
  ('analytics', 'intervention', 'action', 'behaviour', 'analytics', 'deleted', 'Kind of what the teacher did.', null),
  ('analytics', 'intervention', 'note', 'behaviour', 'analytics', 'deleted', 'Note about the learner.', null),
  ('analytics', 'intervention', 'risk', 'derived', 'analytics', 'deleted', 'Prediction about the learner.', null),
  ('analytics', 'intervention', 'created_by', 'identity', 'service', 'cleared', 'Author of the note.', null),
  (
    'analytics', 'cluster_member', 'identity_id', 'identity', 'analytics', 'deleted',
    'Person whose behaviour was clustered.', null
  ),
  ('analytics', 'cluster_member', 'name', 'derived', 'analytics', 'deleted', 'Cluster of the person.', null),
  (
    'analytics', 'cluster', 'centroid', 'derived', 'analytics', 'kept', 'Means of the behaviour of people.',
    'Means over five people or more. They are computed again, without the person, in the night after an erasure.'
  ),
  (
    'analytics', 'cluster', 'means', 'derived', 'analytics', 'kept', 'Means of the behaviour of people.',
    'As analytics.cluster.centroid.'
  ),
  (
    'analytics', 'cluster', 'deviations', 'derived', 'analytics', 'kept', 'Means of the behaviour of people.',
    'As analytics.cluster.centroid.'
  ),
  ('analytics', 'annotation', 'created_by', 'identity', 'service', 'cleared', 'Author of the annotation.', null),
  ('analytics', 'saved_query', 'created_by', 'identity', 'service', 'cleared', 'Author of the query.', null),
  (
    'analytics', 'saved_view', 'created_by', 'identity', 'service', 'cleared',
    'Author of the view. Views that are not shared are deleted with the author.', null
  ),
  (
    'analytics', 'saved_query', 'arguments', 'identity', 'service', 'deleted',
    'Arguments; those of queries for administrators can name a person. A query that names one is deleted.', null
  ),
  (
    'analytics', 'cohort', 'rule', 'traits', 'analytics', 'kept',
    'Rule of a cohort, which can contain a value of a trait or property.',
    'An administrator wrote it about all people who have the value.'
  ),
  (
    'analytics', 'cohort', 'names', 'derived', 'analytics', 'kept',
    'Names in the rule.',
    'As analytics.cohort.rule.'
  ),
  (
    'analytics', 'cohort', 'defined_by', 'identity', 'service', 'cleared',
    'Administrator who defined the cohort.', null
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
      'analytics', 'annotation', '{title,description}',
      'Releases, terms and holidays; there is no field for a person.'
    ),
    ('analytics', 'saved_query', '{name,description,function_name}', 'Name and function of a query.'),
    ('analytics', 'saved_view', '{name,address,board}', 'Name and settings of a page; those of a person are refused.'),
    ('analytics', 'cohort', '{name}', 'Name of a cohort.'),
    (
      'analytics', 'trend_watch', '{name,event_name,zone,item,among}', 'Definition of a watched trend.'
    ),
    ('analytics', 'trend_anomaly', '{name}', 'Name of a watched trend.'),
    ('analytics', 'cluster', '{name}', 'Name of a cluster of people.'),
    ('analytics', 'cluster_move', '{from_cluster,to_cluster}', 'Names of clusters, with a number of people.'),
    ('analytics', 'cluster_fit', '{tried,silhouettes}', 'Figures of a fit.'),
    ('analytics', 'prediction_target', '{project,description}', 'Targets of predictions.'),
    ('analytics', 'snapshot', '{target}', 'Name of a target.'),
    (
      'analytics', 'training', '{target,moments,courses_left,algorithms_left}',
      'Work that a training has left.'
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
values ('analytics', 20, 'analytics.export', 'Training data of predictions, and names of authors.')
on conflict (room) do update set export_function = excluded.export_function;
