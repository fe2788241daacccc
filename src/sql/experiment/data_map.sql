/* The data map of this room: see privacy/data_map.sql. */

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'experiment', 'exposure', 'person_id', 'person', 'analytics', 'deleted',
    'Person who takes part in an experiment.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
