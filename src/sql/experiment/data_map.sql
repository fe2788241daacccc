/* The data map of this room: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'experiment', 'exposure', 'person_id', 'person', 'analytics', 'deleted',
    'Person who takes part in an experiment.', null
  ),
  (
    'experiment', 'exposure', 'stratum', 'person', 'analytics', 'deleted',
    'Trait of the person at the exposure.', null
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

insert into privacy.handler (room, position, export_function, description)
values (
  'experiment', 15, 'experiment.export', 'Exposures and outcomes in experiments, and names of authors of changes.'
)
on conflict (room) do update set export_function = excluded.export_function;
