--! Previous: sha1:ec732708f55b817afdbd7dc9bd00a68ae10abb0c
--! Hash: sha1:2329fa6d0aa7d1afdd16e64edc04e96a2e8b8f04
--! Message: Imports that are removed, classes of models

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

create type ml.class_probability as (
  class text,
  probability float8
);

comment on type ml.class_probability is $$A class and its probability, as `ml.predict_classes` returns them.$$;
comment on column ml.class_probability.class is $$Name of the class.$$;
comment on column ml.class_probability.probability is $$Probability of the class, between 0 and 1.$$;

drop function if exists ml._tree_score(bigint, jsonb, jsonb);
drop function if exists ml._gbm_document(text, text[], text);
drop function if exists ml._linear_document(text, text[], text, text, jsonb);

/* ------------------------------------------------------------------------------- imports that were removed -- */

create table track.forgotten_import (
  source_id smallint primary key,
  name text not null,
  started_at timestamptz not null default clock_timestamp(),
  completed_at timestamptz,
  done_until timestamptz not null default '-infinity',
  event_count bigint not null default 0,
  person_count bigint not null default 0,
  item_count bigint not null default 0,
  event_type_count bigint not null default 0,
  kept_event_count bigint not null default 0,
  event_types int[] not null default '{}',
  actor text not null
);

comment on table track.forgotten_import is $$
Imports that were removed, or are being removed, by `track.forget_import`; one row per import, kept as history.
$$;
comment on column track.forgotten_import.source_id is $$Key that the source of the import had.$$;
comment on column track.forgotten_import.name is $$Name that the source had.$$;
comment on column track.forgotten_import.started_at is $$Time of the first step.$$;
comment on column track.forgotten_import.completed_at is $$Time of the last step; null while there are more.$$;
comment on column track.forgotten_import.done_until is $$
Time until which the events of the import are deleted, exclusive; `-infinity` before the first month is done.
$$;
comment on column track.forgotten_import.event_count is $$Number of events that were deleted.$$;
comment on column track.forgotten_import.person_count is $$
Number of people that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.item_count is $$
Number of items that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.event_type_count is $$
Number of event types that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.kept_event_count is $$
Number of events that stay, because the data of their people is restricted.
$$;
comment on column track.forgotten_import.event_types is $$
Types of the deleted events, until the last step has deleted those that nothing else uses.
$$;
comment on column track.forgotten_import.actor is $$
Administrator who removed the import: the signed-in person, or else the login of the database.
$$;

create table track.forgotten_item (
  source_id smallint not null,
  item_id bigint not null,
  primary key (source_id, item_id)
);

comment on table track.forgotten_item is $$
@behavior -*
Items of imports that are being removed, which the last steps delete when nothing else uses them.
$$;
comment on column track.forgotten_item.source_id is $$Key of the import in `track.forgotten_import`.$$;
comment on column track.forgotten_item.item_id is $$Item.$$;

create type track.source_contents as (
  source text,
  events bigint,
  first_at timestamptz,
  last_at timestamptz,
  people bigint,
  people_alone bigint,
  items bigint,
  items_alone bigint
);

comment on type track.source_contents is $$
@behavior -*
What the events of an import are about.
$$;
comment on column track.source_contents.source is $$Name of the import.$$;
comment on column track.source_contents.events is $$Number of its events.$$;
comment on column track.source_contents.first_at is $$Time of its first event; null without events.$$;
comment on column track.source_contents.last_at is $$Time of its last event; null without events.$$;
comment on column track.source_contents.people is $$Number of people with such events.$$;
comment on column track.source_contents.people_alone is $$Number of these people who have no other events.$$;
comment on column track.source_contents.items is $$Number of items with such events.$$;
comment on column track.source_contents.items_alone is $$Number of these items that have no other events.$$;

alter table track.forgotten_import enable row level security;
alter table track.forgotten_item enable row level security;

alter table track.consumer add column forget_function text check (forget_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.forget_function is $$
Name of a function of `people bigint[], times timestamptz[]`; null: it needs none.
`track.forget_import` calls it before it deletes events of these people and times, so that the refresh does not keep
what outlives events that a rule of retention deletes.
$$;
update track.consumer set forget_function = 'recommend.forget_events' where consumer = 'recommend.interaction';

drop function track._erase_descriptions(bigint[]);

--! Included common/functions/column_names.sql
create or replace function common.column_names(
  relation regclass,
  names text,
  role text
)
returns text[]
language plpgsql
stable
as $$
declare
  v_names constant text[] := array(
    select common.column_name(relation, part.name, role)
    from unnest(common.split_expressions(nullif(btrim(names), ''))) with ordinality as part (name, position)
    order by part.position
  );
  v_twice text;
begin
  select listed.name into v_twice from unnest(v_names) as listed (name) group by listed.name having count(*) > 1
  order by 1 limit 1;
  if v_twice is not null then
    perform common.refuse('CF001', format('%s: %s is listed twice', left(role, 100), left(v_twice, 100)),
      'Give each column once.');
  end if;
  return v_names;
end;
$$;

comment on function common.column_names(regclass, text, text) is $$
Returns the quoted names of a comma-separated list of columns, an empty array for null or an empty list.
`role` is for messages. Errors: CF001 (a column is listed twice), CF002 (no such column; names the nearest).
$$;

grant execute on function common.column_names(regclass, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/column_names.sql

--! Included ml/linear_algebra/_create_table.sql
create or replace function ml._create_table(statement text)
returns bigint
language plpgsql
as $$
declare
  v_rows bigint;
begin
  if statement !~ '^\s*create ' then
    perform common.refuse('CF001', 'the statement does not create a table', 'Give the text of a create table … as.');
  end if;
  execute statement;
  get diagnostics v_rows = row_count;
  return v_rows;
exception when duplicate_column or ambiguous_column then
  perform common.refuse(
    'CF001',
    format('the column "%s" has the name of an output column', left(substring(sqlerrm from '"(.*)"'), 100)),
    'Rename it in a view of the table.'
  );
end;
$$;

comment on function ml._create_table(text) is $$
Executes a `create table … as` whose columns have names from the caller's data, and returns the number of rows.
Error CF001: a column that is kept (an id, a group) has the name of one that is written.
$$;

grant execute on function ml._create_table(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/_create_table.sql

--! Included ml/linear_algebra/_less_multiples.sql
create or replace function ml._less_multiples(matrix vector[], step vector, factors float8[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_length constant float8 := vector_norm(ml._without_traces(step));
  -- A power of two near the length: the step by it, and the factors times it, have the same digits.
  v_unit float8;
  v_step vector;
begin
  if v_length = 0 then
    return matrix;
  end if;
  v_unit := 2 ^ round(ln(v_length) / ln(2::float8));
  v_step := ml._without_traces(step) * array_fill(1 / v_unit, array[vector_dims(step)])::vector;
  if (select max(vector_norm(v)) from unnest(matrix) as v)
    + (select max(abs(factor)) from unnest(factors) as factor) * v_unit * 2 > 3e38
  then
    perform common.refuse('CF007', 'the result is too large for single precision',
      'Use other units, so that its entries are below 1e38.');
  end if;
  -- A product of entries that is too small for single precision fails, so such entries of the step become zero: adding
  -- and subtracting a number removes what is below 2^-24 of it.
  return array(
    select case
      when pair.factor = 0 or abs(pair.factor) > 1e-31
        then pair.v - v_step * array_fill(pair.factor, array[vector_dims(v_step)])::vector
      when abs(pair.factor) < 1e-44 then pair.v
      else pair.v
        - ((v_step + array_fill(2.5e-38 / abs(pair.factor), array[vector_dims(v_step)])::vector)
          - array_fill(2.5e-38 / abs(pair.factor), array[vector_dims(v_step)])::vector)
        * array_fill(pair.factor, array[vector_dims(v_step)])::vector
    end
    from (select unnest(matrix) as v, unnest(factors) * v_unit as factor offset 0) as pair
  );
end;
$$;

comment on function ml._less_multiples(vector[], vector, float8[]) is $$
Returns a matrix less a multiple of one vector in each row: A - f sᵀ, with f the factors and s the step.
Entries of the step below about 1e-13 of its length count as zero. Error CF007: the result is too large.
$$;

grant execute on function ml._less_multiples(vector[], vector, float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/_less_multiples.sql

--! Included ml/linear_algebra/inverse.sql
create or replace function ml._inverse_factor_leaf(
  matrix vector[],
  first_row int,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant float8[] := array(select unnest(row_.v::real[]) from (select unnest(matrix) as v offset 0) as row_);
  v_lower float8[] := array_fill(0::float8, array[v_size * v_size]);
  v_factor float8[] := v_lower;
  v_sum float8;
begin
  -- L by Cholesky's method, and its inverse, row by row: entry (i, j) is at (i - 1) n + j.
  for v_i in 1..v_size loop
    for v_j in 1..v_i loop
      v_sum := v_matrix[(v_i - 1) * v_size + v_j];
      for v_k in 1..v_j - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_lower[(v_j - 1) * v_size + v_k];
      end loop;
      if v_j < v_i then
        v_lower[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_j - 1) * v_size + v_j];
      elsif v_sum < 1e-6 then
        perform common.refuse(
          'CF007',
          format(
            'the matrix is %s: pivot %s of row %s',
            case
              when v_sum < -1e-6 then 'not positive definite'
              else 'singular, or nearly singular in single precision'
            end,
            v_sum::real,
            first_row + v_i - 1
          ),
          'The row depends on the rows before it. Remove it, or add a positive number to the diagonal (a ridge).'
        );
      else
        v_lower[(v_i - 1) * v_size + v_i] := sqrt(v_sum);
      end if;
    end loop;

    v_factor[(v_i - 1) * v_size + v_i] := 1 / v_lower[(v_i - 1) * v_size + v_i];
    for v_j in 1..v_i - 1 loop
      v_sum := 0;
      for v_k in v_j..v_i - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_factor[(v_k - 1) * v_size + v_j];
      end loop;
      v_factor[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_i - 1) * v_size + v_i];
    end loop;
  end loop;

  factor := array(
    select v_factor[(i - 1) * v_size + 1:i * v_size]::vector
    from generate_series(1, v_size) as i
  );
  transposed := array(
    select array(select v_factor[(i - 1) * v_size + j] from generate_series(1, v_size) as i)::vector
    from generate_series(1, v_size) as j
  );
end;
$$;

comment on function ml._inverse_factor_leaf(vector[], int) is $$
Returns the inverse K of the Cholesky factor of a small block, and its transpose, in double precision.
Error CF007 names the row, counted from `first_row`.
$$;

create or replace function ml._part_of_rows(
  matrix vector[],
  first_column int,
  columns int
)
returns vector[]
language sql
immutable
parallel safe
begin atomic
  select array(
    select subvector(row_.v, _part_of_rows.first_column, _part_of_rows.columns)
    from (select unnest(_part_of_rows.matrix) as v offset 0) as row_
  );
end;

comment on function ml._part_of_rows(vector[], int, int) is $$
Returns some neighbouring columns of a matrix.
$$;

create or replace function ml._product_by_lower(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(
          ml._part_of_rows(a, 1, v_half), ml._part_of_rows(triangle[:v_half], 1, v_half)
        )) as x,
        unnest(ml._product(a, triangle[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_lower(vector[], vector[]) is $$
Returns A times the transpose of a lower triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._product_by_upper(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(a, triangle[:v_half])) as x,
        unnest(ml._product(
          ml._part_of_rows(a, v_half + 1, v_size - v_half),
          ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half)
        )) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_upper(vector[], vector[]) is $$
Returns A times the transpose of an upper triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(ml._part_of_rows(triangle[:v_half], 1, v_half), ml._part_of_rows(b, 1, v_half))
    || ml._product(triangle[v_half + 1:], b);
end;
$$;

comment on function ml._lower_by_product(vector[], vector[]) is $$
Returns a lower triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._upper_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(triangle[:v_half], b)
    || ml._product(
      ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half),
      ml._part_of_rows(b, v_half + 1, v_size - v_half)
    );
end;
$$;

comment on function ml._upper_by_product(vector[], vector[]) is $$
Returns an upper triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_gram(a vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(a);
  v_half constant int := v_size / 2;
  v_zero constant vector := array_fill(0, array[greatest(v_size - v_half, 1)])::vector;
begin
  if v_size <= 96 then
    return ml._product(a, a);
  end if;
  return array(
    select part.x || v_zero from (select unnest(ml._lower_gram(a[:v_half])) as x offset 0) as part
  ) || array(
    select part.x || part.y
    from (
      select unnest(ml._product(a[v_half + 1:], a[:v_half])) as x, unnest(ml._lower_gram(a[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._lower_gram(vector[]) is $$
Returns the lower triangle of A times its transpose; entries above the diagonal are undefined.
$$;

create or replace function ml._inverse_factor(
  matrix vector[],
  first_row int,
  needs_factor boolean,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_half constant int := v_size / 2;
  v_upper_zero constant vector := array_fill(0, array[greatest(v_half, 1)])::vector;
  v_lower_zero constant vector := array_fill(0, array[v_size - v_half])::vector;
  v_upper record;
  v_lower record;
  v_link vector[];
  v_scaled vector[];
begin
  if v_size <= 48 then
    select leaf.factor, leaf.transposed into factor, transposed
    from ml._inverse_factor_leaf(matrix, first_row) as leaf;
    return;
  end if;

  /*
   * M = [[A, Cᵀ], [C, D]], K = [[K₁, 0], [E, K₂]] with K₁ of A, K₂ of the Schur complement S = D - W Wᵀ, W = C K₁ᵀ, and
   * E = -K₂ W K₁. S is the difference of D and a matrix that is not larger, so rounding errors do not grow; with
   * C A⁻¹ Cᵀ they would. Only the lower triangles of M and S are read.
   */
  select * into v_upper
  from ml._inverse_factor(ml._part_of_rows(matrix[:v_half], 1, v_half), first_row, true);
  v_link := array(
    select v_upper_zero - subvector(row_.v, 1, v_half)
    from (select unnest(matrix[v_half + 1:]) as v offset 0) as row_
  );
  v_scaled := ml._product_by_lower(v_link, v_upper.factor); -- -W
  select * into v_lower
  from ml._inverse_factor(
    array(
      select subvector(pair.v, v_half + 1, v_size - v_half) - pair.w
      from (select unnest(matrix[v_half + 1:]) as v, unnest(ml._lower_gram(v_scaled)) as w offset 0) as pair
    ),
    first_row + v_half,
    true
  );
  v_scaled := ml._upper_by_product(v_upper.transposed, v_scaled); -- -(W K₁)ᵀ

  if needs_factor then
    factor := array(
      select row_.v || v_lower_zero from (select unnest(v_upper.factor) as v offset 0) as row_
    ) || array(
      select pair.e || pair.k
      from (
        select unnest(ml._lower_by_product(v_lower.factor, v_scaled)) as e, unnest(v_lower.factor) as k
        offset 0
      ) as pair
    );
  end if;
  transposed := array(
    select pair.k || pair.e
    from (
      select unnest(v_upper.transposed) as k, unnest(ml._product_by_lower(v_scaled, v_lower.factor)) as e
      offset 0
    ) as pair
  ) || array(
    select v_upper_zero || row_.v from (select unnest(v_lower.transposed) as v offset 0) as row_
  );
end;
$$;

comment on function ml._inverse_factor(vector[], int, boolean) is $$
Returns the inverse K of the Cholesky factor of a symmetric positive definite matrix, and its transpose.
The diagonal of the matrix M must be ones; only its lower triangle is read. By recursive halves; M⁻¹ = KᵀK.
K itself is null unless `needs_factor`.
$$;

create or replace function ml._triangular_gram(transposed vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(transposed);
  v_half constant int := v_size / 2;
  v_link vector[];
  v_lower vector[];
begin
  if v_size <= 96 then
    return ml._product(transposed, transposed);
  end if;
  v_link := ml._part_of_rows(transposed[:v_half], v_half + 1, v_size - v_half);
  v_lower := ml._part_of_rows(transposed[v_half + 1:], v_half + 1, v_size - v_half);
  return array(
    select (part.k + part.e) || part.c
    from (
      select
        unnest(ml._triangular_gram(ml._part_of_rows(transposed[:v_half], 1, v_half))) as k,
        unnest(ml._product(v_link, v_link)) as e,
        unnest(ml._product_by_upper(v_link, v_lower)) as c
      offset 0
    ) as part
  ) || array(
    select part.c || part.k
    from (
      select unnest(ml._upper_by_product(v_lower, v_link)) as c, unnest(ml._triangular_gram(v_lower)) as k
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._triangular_gram(vector[]) is $$
Returns KᵀK of a lower triangular matrix K, given as Kᵀ, without multiplying most of the half that is zero.
$$;

create or replace function ml.inverse(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant vector[] := matrix || '{}';
  v_diagonal float8[];
  v_root vector;
  v_least real[];
  v_scale vector;
  v_probe vector;
  -- 2^-40. The diagonal of the inverse of the scaled matrix is at least 1.
  v_trace constant vector := array_fill(9.094947e-13::real, array[least(greatest(v_size, 1), 16000)])::vector;
  v_by_rows vector;
  v_by_columns vector;
  v_inverse vector[];
  v_error float8;
begin
  if ml._matrix_columns(matrix, 'matrix') <> v_size then
    perform common.refuse('CF001', format('the matrix has %s rows and %s columns', v_size, vector_dims(matrix[1])),
      'Only a square matrix has an inverse.');
  end if;

  v_diagonal := array(
    select (row_.v::real[])[row_.n]
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );
  if exists (select from unnest(v_diagonal) as entry where entry <= 0) then
    perform common.refuse(
      'CF007',
      format(
        'the matrix is not positive definite: %s on the diagonal of row %s',
        (select entry::real from unnest(v_diagonal) as entry where entry <= 0 limit 1),
        (select n from unnest(v_diagonal) with ordinality as entry (value, n) where value <= 0 order by n limit 1)
      ),
      'Covariance, Gram and kernel matrices have a positive diagonal; a ridge on it makes them invertible.'
    );
  end if;

  -- The diagonal of the inverse is at least 1 / entry.
  if exists (select from unnest(v_diagonal) as entry where entry not between 1e-36 and 1e36) then
    perform common.refuse(
      'CF007',
      format(
        'the diagonal holds %s, too %s to be inverted in single precision',
        (select entry::real from unnest(v_diagonal) as entry where entry not between 1e-36 and 1e36 limit 1),
        case when exists (select from unnest(v_diagonal) as entry where entry > 1e36) then 'large' else 'small' end
      ),
      'Use other units, so that the entries are between 1e-36 and 1e36.'
    );
  end if;
  -- |m_ij| < sqrt(m_ii m_jj) in a positive definite matrix; rows far beyond it could not be scaled.
  if (
    select max(vector_norm(row_.v) / sqrt(v_diagonal[row_.n]))
    from unnest(v_matrix) with ordinality as row_ (v, n)
  ) > 2 * sqrt((select sum(entry) from unnest(v_diagonal) as entry))
    or (
      (select max(vector_norm(v)) from unnest(v_matrix) as v)
        > 1e38 * sqrt((select min(entry) from unnest(v_diagonal) as entry))
      and exists (
        select
        from unnest(v_matrix) with ordinality as row_ (v, n)
        cross join unnest(row_.v::real[], v_diagonal) as entry (value, diagonal)
        where abs(entry.value) > 2 * sqrt(v_diagonal[row_.n]) * sqrt(entry.diagonal)
      )
    )
  then
    perform common.refuse(
      'CF007',
      'the matrix is not positive definite: an entry is larger than the diagonal allows',
      'Covariance, Gram and kernel matrices have a positive diagonal; a ridge on it makes them invertible.'
    );
  end if;

  -- Scaled to ones on the diagonal, so that the size of a pivot does not depend on the units of the rows.
  -- An entry whose product with the scales would be too small for single precision, which fails, becomes zero: v_root
  -- times v_least is 2^24 times the least entry of a row that remains.
  v_root := array(select sqrt(entry) from unnest(v_diagonal) as entry)::vector;
  v_least := array(select greatest(2.4e-38 * greatest(sqrt(entry), 1), 1.5e-27) from unnest(v_diagonal) as entry);
  v_scale := array(select 1 / sqrt(entry) from unnest(v_diagonal) as entry)::vector;
  v_inverse := array(
    select ((row_.v + row_.least) - row_.least) * v_scale
      * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from (
      select v, n, v_root * array_fill(v_least[n], array[v_size])::vector as least
      from unnest(v_matrix) with ordinality as entry (v, n)
      offset 0
    ) as row_
    order by row_.n
  );

  -- The algorithm reads one triangle only. M x = Mᵀ x for an irregular vector x shows that the matrix is symmetric.
  v_probe := array(select 0.5 + (n * 0.6180339887498949) % 1 from generate_series(1, v_size) as n)::vector;
  v_by_rows := (ml.transpose(ml._product(v_inverse, array[v_probe])))[1];
  v_by_columns := (
    select sum(row_.v * array_fill((v_probe::real[])[row_.n], array[v_size])::vector)
    from unnest(v_inverse) with ordinality as row_ (v, n)
  );
  if v_by_rows <-> v_by_columns > 1e-4 * vector_norm(v_by_rows) then
    perform common.refuse('CF001', 'the matrix is not symmetric',
      'Only symmetric positive definite matrices, such as AᵀA plus a ridge, are inverted here.');
  end if;

  select ml._triangular_gram(factored.transposed) into v_inverse
  from ml._inverse_factor(v_inverse, 1, false) as factored;

  v_error := l2_distance(
    (ml.transpose(ml._product(v_inverse, array[v_by_rows])))[1], v_probe
  ) / vector_norm(v_probe);
  if v_error > 1e-2 then
    perform common.refuse(
      'CF007',
      format('the matrix is nearly singular in single precision: M⁻¹ M x is off x by %s', v_error::real),
      'Add a positive number to the diagonal (a ridge), or use double precision.'
    );
  end if;

  if (
    select max((row_.v::real[])[row_.n] / v_diagonal[row_.n]) from unnest(v_inverse) with ordinality as row_ (v, n)
  ) > 1e38 then
    perform common.refuse('CF007', 'the inverse has entries too large for single precision',
      'Use other units, or add a positive number to the diagonal (a ridge).');
  end if;
  -- Traces of links over many rows are removed: their products could be too small for single precision, which fails.
  return array(
    select ((row_.v + row_.least) - row_.least) * v_scale
      * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from (
      select v, n, v_trace + v_root * array_fill(v_least[n], array[v_size])::vector as least
      from unnest(v_inverse) with ordinality as entry (v, n)
      offset 0
    ) as row_
    order by row_.n
  );
end;
$$;

comment on function ml.inverse(vector[]) is $$
Returns the inverse of a symmetric positive definite matrix, such as AᵀA plus a ridge.
Cholesky's method by recursive halves: blocks of up to 48 rows in double precision, all other products as inner products
in single precision. With a condition number of 50, `A·A⁻¹` differs from the identity by about 1e-6; the error grows in
proportion.
Shapes: n × n, n at most 16,000; time grows with the third power, 1.5 s for n = 1,700, 9 s for n = 3,300.
Errors: CF001 (not square, not symmetric), CF004 (no rows), CF007 (not positive definite, singular or nearly so; names
the row).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, chapters 10, 13 and 14.
$$;

grant execute on function
  ml._inverse_factor_leaf(vector[], int),
  ml._part_of_rows(vector[], int, int),
  ml._product_by_lower(vector[], vector[]),
  ml._product_by_upper(vector[], vector[]),
  ml._lower_by_product(vector[], vector[]),
  ml._upper_by_product(vector[], vector[]),
  ml._lower_gram(vector[]),
  ml._inverse_factor(vector[], int, boolean),
  ml._triangular_gram(vector[]),
  ml.inverse(vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/inverse.sql

--! Included ml/linear_algebra/rank_one_update.sql
create or replace function ml.rank_one_update(
  inverse vector[],
  x vector,
  weight float8 default 1
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(inverse);
  v_product vector;
  v_quadratic float8;
begin
  if ml._matrix_columns(inverse, 'inverse') <> v_size or vector_dims(x) is distinct from v_size then
    perform common.refuse(
      'CF001',
      format(
        'the inverse has %s rows and %s columns, x has %s entries',
        v_size,
        vector_dims(inverse[1]),
        coalesce(vector_dims(x)::text, 'no')
      ),
      'Give the inverse of an n × n matrix and a vector of n entries.'
    );
  end if;
  if weight is null or not abs(weight) < 'infinity' then
    perform common.refuse('CF001', format('the weight is %s', coalesce(weight::text, 'null')),
      'Give 1 to add x xᵀ, -1 to subtract it.');
  elsif weight <> 0 and abs(weight) not between 1e-36 and 1e36 then
    perform common.refuse('CF001', format('the weight is %s, not between 1e-36 and 1e36 in absolute value', weight),
      'The matrices are of single precision: use other units.');
  end if;

  perform ml._check_product(inverse, array[x]);

  -- (A + w x xᵀ)⁻¹ = P - w P x xᵀ P / (1 + w xᵀ P x)
  v_product := (ml.transpose(ml._product(inverse, array[x])))[1];
  perform ml._check_product(array[v_product], array[x]);
  v_quadratic := 1 - weight * (x <#> v_product);
  if v_quadratic < 1e-6 then
    perform common.refuse(
      'CF007',
      format('the matrix would no longer be positive definite: 1 + w xᵀA⁻¹x is %s', v_quadratic::real),
      'Subtract only what was added before.'
    );
  end if;
  return ml._less_multiples(
    inverse, v_product,
    array(
      select weight / v_quadratic * entry
      from unnest(v_product::real[]) with ordinality as list (entry, n)
      order by n
    )
  );
end;
$$;

comment on function ml.rank_one_update(vector[], vector, float8) is $$
Returns the inverse of A + weight · x xᵀ from the inverse of A, in n² steps where a new inversion takes n³.
With `inverse` = (XᵀX + λI)⁻¹ and `x` the row of a learner, weight 1 is exact learning and weight -1 exact unlearning.
Shapes: n × n and n give n × n. Single precision: after some thousands of updates, invert the matrix again.
Errors: CF001 (shapes, weight), CF004 (no rows), CF007 (the result would not be positive
definite, or is too large).
Source: Sherman and Morrison, Adjustment of an inverse matrix corresponding to a change in one element of a given
matrix,
Annals of Mathematical Statistics 21, 1950.
$$;

grant execute on function ml.rank_one_update(vector[], vector, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/rank_one_update.sql

--! Included ml/linear_algebra/low_rank_update.sql
create or replace function ml.low_rank_update(
  inverse vector[],
  columns vector[],
  factors float8[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_size constant int := cardinality(inverse);
  v_rank constant int := cardinality(columns);
  v_products vector[];
  v_inner float8[];
  v_middle float8[];
  v_weights vector[];
  v_solved vector[];
  v_pivot int;
  v_value float8;
  v_factor float8;
begin
  if columns is null or factors is null or cardinality(factors) <> v_rank then
    perform common.refuse(
      'CF001',
      format('%s columns and %s factors', coalesce(v_rank::text, 'null'),
        coalesce(cardinality(factors)::text, 'null')),
      'Give one factor per column.'
    );
  end if;
  if v_rank > 256 then
    perform common.refuse('CF008', format('%s columns are too many', v_rank),
      'At most 256 at once: call it for some after the others, or invert the new matrix.');
  end if;
  if exists (select from unnest(factors) as factor where (factor <> 0 and abs(factor) < 'infinity') is not true) then
    perform common.refuse('CF001', 'a factor is 0, null or not finite', 'Leave out columns with a factor of 0.');
  elsif exists (select from unnest(factors) as factor where abs(factor) not between 1e-36 and 1e36) then
    perform common.refuse('CF001', 'a factor is not between 1e-36 and 1e36 in absolute value',
      'The matrices are of single precision: use other units.');
  end if;
  if v_rank = 0 then
    return inverse;
  end if;
  if ml._matrix_columns(inverse, 'inverse') <> v_size or ml._matrix_columns(columns, 'columns') <> v_size then
    perform common.refuse(
      'CF001',
      format('the inverse has %s rows and %s columns, a column has %s entries', v_size, vector_dims(inverse[1]),
        vector_dims(columns[1])),
      'Give the inverse of an n × n matrix and columns of n entries.'
    );
  end if;

  -- (A + U C Uᵀ)⁻¹ = P - P U (C⁻¹ + Uᵀ P U)⁻¹ Uᵀ P. First UᵀP, one row per column of U: P is symmetric.
  perform ml._check_product(columns, inverse);
  v_products := ml._product(columns, inverse);
  perform ml._check_product(v_products, columns);
  v_inner := array(
    select unnest(row_.v::real[])::float8 from unnest(ml._product(v_products, columns)) with ordinality as row_ (v, n)
  );
  -- The inverse of the small matrix in double precision, by Gauss and Jordan: an array of rows of it and of the unit.
  v_middle := array_fill(0::float8, array[v_rank, 2 * v_rank]);
  for i in 1..v_rank loop
    for j in 1..v_rank loop
      v_middle[i][j] := (v_inner[(i - 1) * v_rank + j] + v_inner[(j - 1) * v_rank + i]) / 2;
    end loop;
    v_middle[i][i] := v_middle[i][i] + 1 / factors[i];
    v_middle[i][v_rank + i] := 1;
  end loop;
  for k in 1..v_rank loop
    v_pivot := k;
    for i in k + 1..v_rank loop
      if abs(v_middle[i][k]) > abs(v_middle[v_pivot][k]) then
        v_pivot := i;
      end if;
    end loop;
    -- Relative to 1 / factor, as the quotient of determinants of ml.rank_one_update.
    if not abs(v_middle[v_pivot][k]) > 1e-6 / (select max(abs(factor)) from unnest(factors) as factor) then
      perform common.refuse(
        'CF007',
        format('the matrix would be singular: pivot %s of column %s', v_middle[v_pivot][k]::real, k),
        'Subtract only what was added before.'
      );
    end if;
    if v_pivot <> k then
      for j in 1..2 * v_rank loop
        v_value := v_middle[k][j];
        v_middle[k][j] := v_middle[v_pivot][j];
        v_middle[v_pivot][j] := v_value;
      end loop;
    end if;
    v_value := v_middle[k][k];
    for j in k..2 * v_rank loop
      v_middle[k][j] := v_middle[k][j] / v_value;
    end loop;
    for i in 1..v_rank loop
      v_factor := v_middle[i][k];
      if i <> k and v_factor <> 0 then
        for j in k..2 * v_rank loop
          v_middle[i][j] := v_middle[i][j] - v_factor * v_middle[k][j];
        end loop;
      end if;
    end loop;
  end loop;

  -- (C⁻¹ + UᵀPU)⁻¹ UᵀP, then each row of P less its part.
  v_weights := array(
    select array(
      select case when abs(v_middle[i][v_rank + j]) > 1.2e-38 then v_middle[i][v_rank + j] else 0 end
      from generate_series(1, v_rank) as j
      order by j
    )::vector
    from generate_series(1, v_rank) as i
    order by i
  );
  perform ml._check_product(v_weights, ml.transpose(v_products));
  v_solved := ml._product(v_weights, ml.transpose(v_products));
  if v_rank <= 6 then
    for k in 1..v_rank loop
      inverse := ml._less_multiples(
        inverse, v_solved[k],
        array(select entry from unnest(v_products[k]::real[]) with ordinality as list (entry, n) order by n)
      );
    end loop;
    return inverse;
  end if;
  return array(
    select pair.v - pair.part
    from (
      select unnest(inverse) as v, unnest(ml._product(ml.transpose(v_products), ml.transpose(v_solved))) as part
      offset 0
    ) as pair
  );
end;
$$;

comment on function ml.low_rank_update(vector[], vector[], float8[]) is $$
@behavior -*
Returns the inverse of A + Σ factor · u uᵀ, over columns u, from the inverse of the symmetric matrix A.
One pass for several changes where `ml.rank_one_update` makes one for each: rows of people that arrive, change or leave,
and elements of the diagonal. At most 256 columns. With more than 6 the time hardly depends on their number.
Shapes: n × n, m columns of n entries and m factors give n × n. Single precision, as `ml.rank_one_update`.
Errors: CF001 (shapes, factors), CF004 (no rows), CF007 (not invertible, too large), CF008 (columns).
Source: Woodbury, Inverting modified matrices, Princeton Statistical Research Group, Memorandum 42, 1950.
$$;

grant execute on function ml.low_rank_update(vector[], vector[], float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/low_rank_update.sql

--! Included ml/regression/_model_of_group.sql
create or replace function ml._model_of_group(design jsonb, keys text[], beta float8[], variables integer[])
returns text
language sql
stable
begin atomic
  -- The coefficients are literals in the statement, since a join with a temporary table could not run in parallel.
  select case
    when design -> 'groups' = '[]' then format('cross join (select 1 as nth%s) as fit', listed.scalars)
    else format(
      'join unnest(%L::text[], %L::int[]%s) as fit (key, nth%s) on fit.key = row.key',
      keys, numbers.nth, listed.arrays, listed.names
    )
  end
  from (
    select
      coalesce(string_agg(
        case when design ? 'prepared' then format(', $%s as b%s', place, variable)
          else format(', %L::float8 as b%s', beta[place], variable) end,
        '' order by place
      ), '') as scalars,
      coalesce(string_agg(format(', %L::float8[]', (
        select array_agg(beta[(key_nth - 1) * cardinality(variables) + place] order by key_nth)
        from generate_series(1, cardinality(keys)) as key_nth
      )), '' order by place), '') as arrays,
      coalesce(string_agg(format(', b%s', variable), '' order by place), '') as names
    from unnest(variables) with ordinality as list (variable, place)
    where beta is not null
  ) as listed
  cross join (select array_agg(nth order by nth) as nth from generate_series(1, cardinality(keys)) as nth) as numbers;
end;

comment on function ml._model_of_group(jsonb, text[], float8[], integer[]) is $$
Returns the text of the join that adds to each row (`row`) the number and the coefficients of its group.
The coefficients are `fit.b0` for the intercept and `fit.b2` … by position.
`beta` contains the coefficients of the groups, one group after another. When the design has the key `prepared` and no
groups, they are the parameters of a prepared statement.
$$;

grant execute on function ml._model_of_group(jsonb, text[], float8[], integer[])
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_model_of_group.sql

--! Included ml/regression/_glm_fits.sql
/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups that have not converged. In the
 * statement eta, mu and the weights are computed layer by layer, so that each is computed once per row.
 */
create or replace function ml._glm_failures(
  design jsonb,
  family text,
  link text,
  row_counts bigint[],
  sums float8[],
  failure text
)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_y constant text := left(design ->> 'y', 100);
  v_failures text[] := array_fill(failure, array[cardinality(row_counts)]);
  v_mean float8;
  v_least float8;
  v_largest float8;
begin
  for g in 1..cardinality(row_counts) loop
    v_least := sums[4 * g - 2];
    v_largest := sums[4 * g - 1];
    if row_counts[g] = 0 then
      v_failures[g] := ml._no_rows(design);
    elsif family = 'binomial' and sums[4 * g] > 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          v_y,
          case when v_least <> 0 then v_least else v_largest end
        ),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_least = v_largest then
      v_failures[g] := format('it holds one class only, %s', v_largest);
    elsif family = 'poisson' and v_least < 0 or family in ('gamma', 'inverse_gaussian') and v_least <= 0 then
      perform common.refuse(
        'CF001',
        format('the dependent variable "%s" holds %s, which family %s cannot have', v_y, v_least, left(family, 100)),
        case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end
      );
    elsif family = 'poisson' and v_largest = 0 then
      v_failures[g] := 'every count is 0, so it holds one class only';
    elsif row_counts[g] < v_width then
      v_failures[g] := format('%s complete rows for %s columns', row_counts[g], v_width);
    end if;
  end loop;
  v_mean := (select sum(sums[4 * g - 3]) from generate_series(1, cardinality(row_counts)) as g)
    / nullif((select sum(n) from unnest(row_counts) as n), 0);
  if family = 'gaussian' and link = 'log' and not v_mean > 0 then
    perform common.refuse(
      'CF001',
      format('the mean of "%s" is %s, which is outside the range of the log link', v_y, v_mean),
      'Use link=identity.'
    );
  end if;
  return v_failures;
end;
$$;

comment on function ml._glm_failures(jsonb, text, text, bigint[], float8[], text) is $$
Returns for each group the reason why it cannot be fitted, null for groups that can.
`row_counts`, `sums` and `failure` are those of ml._settled. Error CF001 for values of y that the family cannot have.
$$;

create or replace function ml._glm_linked(family text, link text, value float8, mean float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case link
    when 'identity' then value
    when 'log' then ln(greatest(value, 1e-10 * abs(mean)))
    when 'logit' then ln(value / (1 - value))
    when 'probit' then ml.normal_quantile(case when family = 'binomial' then value else 0.5 end)
    when 'inverse' then 1 / value
    when 'sqr_inverse' then 1 / (value * value)
    when 'sqrt' then sqrt(value)
  end;
end;
$$;

comment on function ml._glm_linked(text, text, float8, float8) is $$
Returns the link function at the mean `value` of a group; `mean` is that of all groups.
$$;

create or replace function ml._glm_estimate(
  settled jsonb,
  unknowns float8[],
  covariance float8[],
  out beta float8[],
  out coef float8[],
  out inverse float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (settled ->> 'width')::int;
  v_intercept constant integer := (settled ->> 'intercept')::int;
  v_place constant integer[] := array(
    select case when variable = 0 then v_intercept else variable end
    from unnest(ml._variables(settled)) with ordinality as list (variable, nth)
    order by nth
  );
  v_full float8[] := array_fill(0::float8, array[v_width, v_width]);
begin
  beta := array_fill(0::float8, array[v_width]);
  for i in 1..cardinality(v_place) loop
    beta[v_place[i]] := unknowns[i];
    for j in 1..cardinality(v_place) loop
      v_full[v_place[i]][v_place[j]] := covariance[i][j];
    end loop;
  end loop;
  select unscaled.coef, unscaled.vcov
  into coef, inverse
  from ml._unscaled(
    beta, v_full, settled, v_intercept, (settled ->> 'intercept_value')::float8
  ) as unscaled;
end;
$$;

comment on function ml._glm_estimate(jsonb, float8[], float8[]) is $$
Returns the coefficients and the inverse of the information for all columns of a settled design.
`beta` is for the columns as they are summed, `coef` and `inverse` are in the caller's units.
$$;

create or replace function ml._prepare_step(statement text, size integer)
returns void
language plpgsql
as $$
begin
  if statement !~ '^\s*(select|with) ' then
    perform common.refuse('CF001', 'the statement is not a query', 'Give the text of a select.');
  end if;
  -- One that an interrupted fit left, since prepared statements outlive a transaction.
  if exists (select from pg_catalog.pg_prepared_statements where name = '_ml_glm_step') then
    deallocate _ml_glm_step;
  end if;
  execute format(
    'prepare _ml_glm_step (%s) as %s',
    (select string_agg('float8', ', ') from generate_series(1, size)),
    statement
  );
end;
$$;

comment on function ml._prepare_step(text, integer) is $$
Prepares the statement of a step of Fisher scoring, whose parameters are the coefficients.
$$;

create or replace function ml._glm_fits(
  design jsonb,
  family text,
  link text,
  max_iter integer,
  tolerance float8,
  out settled jsonb,
  out key text,
  out row_count bigint,
  out total_weight float8,
  out skipped bigint,
  out beta float8[],
  out coef float8[],
  out inverse float8[],
  out information float8[],
  out deviance float8,
  out pearson float8,
  out iterations integer,
  out converged boolean,
  out failure text
)
returns setof record
language plpgsql
set plan_cache_mode to force_generic_plan
as $$
declare
  v_first record := ml._settled(design);
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_size constant integer := cardinality(v_variables);
  v_own constant boolean := v_intercept is null or design ? 'offsets';
  v_groups constant integer := cardinality(v_first.keys);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_mean float8;
  v_beta float8[] := array_fill(0::float8, array[v_groups * v_size]);
  v_before float8[] := v_beta;
  v_step float8[] := v_beta;
  v_deviance float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_pearson float8[] := array_fill(null::float8, array[v_groups]);
  v_reach float8[] := array_fill('Infinity'::float8, array[v_groups]);
  v_steady integer[] := array_fill(0, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[];
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[];
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_part record;
  v_living integer[];
  v_statement text;
  v_prepared boolean := false;
  v_g integer;
  v_at integer;
  v_unit float8;
  v_value float8;
  v_gain float8;
  v_length float8;
  v_farthest float8;
  v_column integer;
begin
  v_mean := (select sum(v_first.sums[4 * g - 3]) from generate_series(1, v_groups) as g)
    / nullif((select sum(n) from unnest(v_first.row_counts) as n), 0);
  v_failure := ml._glm_failures(
    v_first.settled, family, link, v_first.row_counts, v_first.sums, v_first.failure
  );
  v_done := array(select reason is not null from unnest(v_failure) with ordinality as list (reason, nth) order by nth);

  -- With an intercept, step 1 evaluates the model of the mean. Without one, or with offsets, step 0 starts from each
  -- row's own value.
  -- Each further step evaluates the model of the step before and improves it.
  if not v_own then
    for g in 1..v_groups loop
      if v_failure[g] is null then
        v_beta[(g - 1) * v_size + 1] := ml._glm_linked(
          family, link, v_first.sums[4 * g - 3] / nullif(v_first.row_counts[g], 0), v_mean
        );
      end if;
    end loop;
  end if;
  for iteration in case when v_own then 0 else 1 end..max_iter loop
    v_living := array(select g from generate_series(1, v_groups) as g where not v_done[g]);
    exit when v_living = '{}';
    if iteration = 0 or design -> 'groups' <> '[]' then
      v_statement := ml._glm_statement(
        v_first.settled, family, link, v_mean,
        array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
        case when iteration > 0 then array(
          select v_beta[(g - 1) * v_size + j]
          from unnest(v_living) with ordinality as living (g, nth)
          cross join generate_series(1, v_size) as j
          order by nth, j
        ) end,
        v_variables
      );
    else
      -- Planning a thousand sums takes as long as summing a thousand rows: it is done once.
      if not v_prepared then
        perform ml._prepare_step(
          ml._glm_statement(v_first.settled || '{"prepared": true}', family, link, v_mean, v_first.keys, v_beta,
            v_variables),
          v_size
        );
        v_prepared := true;
      end if;
      v_statement := (
        select format('execute _ml_glm_step (%s)', string_agg(format('%L', value), ', ' order by nth))
        from unnest(v_beta) with ordinality as list (value, nth)
      );
    end if;
    for v_part in
      select v_living[part.key::int] as g, part.sums from ml._sums(v_statement, v_relation, true) as part
    loop
      v_g := v_part.g;
      -- gains and deviances are compared as if the weights had the mean 1
      v_unit := v_first.mean_weights[v_g];
      if iteration > 0 then
        v_iterations[v_g] := iteration;
        -- outside the range of the link, or a larger deviance: the step is halved
        if v_part.sums[2] > 0 or v_part.sums[1] > v_deviance[v_g] * (1 + 1e-8) + 1e-12 * v_unit then
          v_halvings[v_g] := v_halvings[v_g] + 1;
          if v_halvings[v_g] > 30 then
            v_done[v_g] := true;
            v_failure[v_g] := case
              when v_deviance[v_g] = 'Infinity' then 'no starting point is inside the range of the link'
            end;
            continue;
          end if;
          for j in 1..v_size loop
            v_at := (v_g - 1) * v_size + j;
            v_step[v_at] := v_step[v_at] / 2;
            v_beta[v_at] := v_before[v_at] + v_step[v_at];
          end loop;
          continue;
        end if;
        v_deviance[v_g] := v_part.sums[1];
        v_pearson[v_g] := v_part.sums[3 + v_size + v_size * (v_size + 1) / 2];
        v_halvings[v_g] := 0;
      end if;

      v_matrix := ml._symmetric_matrix(v_part.sums[3 + v_size:], v_size);
      v_solved := ml._scaled_inverse(v_matrix, case when v_iterations[v_g] <= 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_done[v_g] := true;
        v_column := v_variables[v_solved.dependent];
        v_failure[v_g] := case
          when v_iterations[v_g] <= 1
            then format(
              'column %s is a linear combination of the columns before it',
              ml._label(design, coalesce(nullif(v_column, 0), v_intercept))
            )
          else ml._separation(design, case when v_column = 0 then v_variables[least(2, v_size)] else v_column end)
        end;
        continue;
      end if;

      v_gain := 0;
      v_length := 0;
      v_farthest := 0;
      v_column := null;
      for i in 1..v_size loop
        v_value := 0;
        for j in 1..v_size loop
          v_value := v_value + v_solved.inverse[i][j] * v_part.sums[2 + j];
          v_length := v_length + v_matrix[i][j] * v_beta[(v_g - 1) * v_size + i] * v_beta[(v_g - 1) * v_size + j];
        end loop;
        v_at := (v_g - 1) * v_size + i;
        v_before[v_at] := v_beta[v_at];
        v_step[v_at] := v_value;
        v_beta[v_at] := v_beta[v_at] + v_value;
        v_gain := v_gain + v_value / v_unit * v_part.sums[2 + i];
        if v_variables[i] > 0 and abs(v_value) * v_spread[v_variables[i]] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_variables[i]];
          v_column := v_variables[i];
        end if;
      end loop;

      if iteration > 0 then
        v_inverse[v_g] := to_jsonb(v_solved.inverse);
        -- Towards a finite optimum the steps shrink faster and faster. Where the classes are separated they stay as
        -- long as they are while the likelihood hardly increases: the coefficient would grow without bound.
        v_steady[v_g] := case when v_gain < 0.1 and v_farthest > 0.5 * v_reach[v_g] then v_steady[v_g] + 1 else 0 end;
        v_reach[v_g] := v_farthest;
        if family in ('binomial', 'poisson')
          and v_steady[v_g] >= 3
          and v_farthest > 1e-3
          and (
            v_gain <= (tolerance / 100) ^ 2
            -- With probit the steps shrink as 1 / eta.
            or v_steady[v_g] >= 8 and v_gain < 1e-6 and v_farthest > 0.01
            or v_farthest > 0.3 and (v_gain < 1e-5 or iteration = max_iter and iteration >= 15)
          )
        then
          v_done[v_g] := true;
          v_failure[v_g] := ml._separation(design, v_column);
        -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just
        -- made squares the distance, and changes the information by the distance over the root of n: with many rows the
        -- iteration ends one step earlier.
        elsif v_gain <= (case
            when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then
              least(v_first.row_counts[v_g] * (tolerance / 100) ^ 2, tolerance / 100)
            when family = 'binomial' then (tolerance / 100) ^ 2
            else (tolerance / 100) ^ 2 * v_part.sums[1] / v_unit / v_first.row_counts[v_g]
          end)
          or v_gain <= 1e-24 * v_length / v_unit
        then
          v_done[v_g] := true;
          v_good[v_g] := true;
        end if;
      end if;
    end loop;
  end loop;
  if v_prepared then
    deallocate _ml_glm_step;
  end if;

  for g in 1..v_groups loop
    settled := v_first.settled;
    key := v_first.keys[g];
    row_count := v_first.row_counts[g];
    total_weight := v_first.mean_weights[g] * row_count;
    skipped := v_first.skipped[g];
    failure := v_failure[g];
    deviance := nullif(v_deviance[g], 'Infinity');
    pearson := v_pearson[g];
    iterations := v_iterations[g];
    converged := v_good[g];
    if failure is null and v_inverse[g] is null then
      failure := 'it did not converge';
    end if;
    beta := null;
    coef := null;
    inverse := null;
    information := null;
    if failure is null then
      select estimate.beta, estimate.coef, estimate.inverse
      into beta, coef, inverse
      from ml._glm_estimate(
        v_first.settled,
        v_beta[(g - 1) * v_size + 1:g * v_size],
        translate(v_inverse[g]::text, '[]', '{}')::float8[]
      ) as estimate;
      information := (ml._scaled_inverse(inverse, 1e-15)).inverse;
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._glm_fits(jsonb, text, text, integer, float8) is $$
Fits a generalized linear model to each group and returns one row per group.
`beta` is for the columns as they are summed; `coef`, `inverse` (of the information, with dispersion 1) and
`information` are in the caller's units. The iteration ends when the distance to the optimum is below tolerance / 100
standard errors.
`failure` names a collinear or separating column; null otherwise.
$$;

grant execute on function
  ml._glm_failures(jsonb, text, text, bigint[], float8[], text),
  ml._glm_linked(text, text, float8, float8),
  ml._glm_estimate(jsonb, float8[], float8[]),
  ml._prepare_step(text, integer),
  ml._glm_fits(jsonb, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_fits.sql

--! Included ml/regression/_elastic_net_design.sql
create or replace function ml._elastic_net_design(
  tbl_source text,
  col_dep_var text,
  col_ind_var text,
  grouping_col text,
  excluded text,
  out design jsonb,
  out features text[]
)
language plpgsql
as $$
declare
  v_relation constant regclass := common.relation(tbl_source);
  v_excluded constant text[] := common.column_names(v_relation, excluded, 'excluded columns');
  v_groups constant text[] := common.column_names(v_relation, grouping_col, 'grouping columns');
  v_x text := common.expression(col_ind_var, v_relation);
  v_type regtype;
  v_inside text;
begin
  if btrim(col_ind_var) = '*' then
    features := array(
      select quote_ident(name)
      from unnest(common.columns(v_relation)) with ordinality as list (name, nth)
      where quote_ident(name) <> all (v_excluded || v_groups)
        and name <> all (common.expression_columns(col_dep_var, v_relation))
      order by nth
    );
    if features = '{}' then
      perform common.refuse('CF001', format('"%s" has no other column', left(tbl_source, 100)),
        'Name the independent variables.');
    end if;
  else
    v_type := common.base_type(common.expression_type(col_ind_var, v_relation, 'independent variable'));
    if v_type = any ('{boolean, smallint, integer, bigint, real, double precision, numeric}'::regtype[]) then
      v_x := format('array[%s]', v_x);
    elsif not exists (
      select from pg_catalog.pg_type as type
      where type.oid = v_type and (type.typcategory = 'A' or type.typname in ('vector', 'halfvec'))
    ) then
      perform common.refuse('CF001',
        format('the independent variable "%s" is of type %s', left(col_ind_var, 100), v_type),
        'Give an array of numbers, such as array[tax, bath, size].');
    end if;
    v_inside := substring(
      btrim(v_x, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$'
    );
    begin
      features := common.split_expressions(v_inside);
    exception when sqlstate 'CF001' then
      features := null;
    end;
  end if;
  design := ml._design(
    tbl_source,
    col_dep_var,
    case
      when features is null then format('array[1::float8] || (%s)::float8[]', v_x)
      else format('array[1, %s]', array_to_string(features, ', '))
    end,
    grouping_col
  );
  features := coalesce(features, array(
    select format('(%s)[%s]', v_x, place)
    from generate_series(1, (design ->> 'width')::int - 1) as place
    order by place
  ));
end;
$$;

comment on function ml._elastic_net_design(text, text, text, text, text) is $$
Returns a design with an intercept as its first column; `*` stands for all other columns of the table.
$$;

grant execute on function ml._elastic_net_design(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_elastic_net_design.sql

--! Included ml/regression/ridge_train.sql
create or replace function ml.ridge_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  lambda float8,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_collinear constant text := 'the columns are collinear, and lambda is too small for a unique solution';
  v_output text := common.output_table(out_table, array['_summary']);
  v_design jsonb;
  v_first record;
  v_intercept integer;
  v_variables integer[];
  v_place integer[];
  v_size integer;
  v_width integer;
  v_keys text[];
  v_beta float8[];
  v_part record;
  v_matrix float8[];
  v_penalized float8[];
  v_inverse float8[];
  v_full float8[];
  v_value float8;
  v_unit float8;
  v_rss float8;
  v_total float8;
  v_degrees float8;
  v_failed bigint := 0;
  v_result jsonb[] := '{}';
begin
  if lambda is null or not lambda >= 0 or lambda = 'Infinity' then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda::text, 'null')), 'Give 0 or more.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_first := ml._settled(v_design);
  v_width := (v_design ->> 'width')::int;
  v_intercept := (v_first.settled ->> 'intercept')::int;
  v_variables := ml._variables(v_first.settled);
  v_size := cardinality(v_variables);
  v_place := array(
    select case when variable = 0 then v_intercept else variable end
    from unnest(v_variables) with ordinality as list (variable, nth)
    order by nth
  );
  if v_first.failure is not null and v_first.failure ~ 'constant, and so' then
    perform ml._fit_failed(v_first.failure, v_design ->> 'relation');
  end if;

  v_keys := array(
    select key
    from unnest(v_first.keys, v_first.row_counts) with ordinality as list (key, row_count, nth)
    where row_count > 0
    order by nth
  );
  if v_keys = '{}' then
    perform ml._fit_failed('no row without a null', v_design ->> 'relation');
  end if;
  -- starting from the mean of y, so that a large mean does not cost digits
  v_beta := array(
    select case
      when j = 1 and v_intercept is not null then v_first.sums[4 * nth - 3] / v_first.row_counts[nth]
      else 0
    end
    from unnest(v_first.row_counts) with ordinality as list (row_count, nth)
    cross join generate_series(1, v_size) as j
    where row_count > 0
    order by nth, j
  );
  for v_part in
    select part.key::int as g, part.row_count, part.sums
    from ml._sums(
      ml._glm_statement(v_first.settled, 'gaussian', 'identity', null, v_keys, v_beta, v_variables),
      (v_design ->> 'relation')::regclass
    ) as part
  loop
    v_matrix := ml._symmetric_matrix(v_part.sums[3 + v_size:], v_size);
    v_penalized := v_matrix;
    for i in 1..v_size loop
      if v_variables[i] > 0 then
        v_unit := (v_first.settled -> 'scale' ->> v_variables[i] - 1)::float8;
        if lambda > 0 and 2 * ln(v_unit) + ln(lambda) > ln(1e140::float8) then
          perform common.refuse(
            'CF007',
            format('column %s is too small beside the penalty lambda %s', v_variables[i], lambda),
            'Use other units, so that the values are near 1.'
          );
        end if;
        v_penalized[i][i] := v_penalized[i][i] + ml._times(ml._times(lambda, v_unit), v_unit);
      end if;
    end loop;
    v_inverse := (ml._scaled_inverse(v_penalized, 1e-13)).inverse;
    if v_inverse is null then
      if v_design -> 'groups' = '[]' then
        perform ml._fit_failed(v_collinear, v_design ->> 'relation');
      end if;
      v_failed := v_failed + 1;
      v_result := v_result || jsonb_build_object(
        'key', v_keys[v_part.g],
        'num_rows_processed', v_part.row_count,
        'failure', v_collinear
      );
      continue;
    end if;
    v_full := array_fill(0::float8, array[v_width]);
    v_degrees := 0;
    for i in 1..v_size loop
      v_value := 0;
      for j in 1..v_size loop
        v_value := v_value + v_inverse[i][j] * v_part.sums[2 + j];
        v_degrees := v_degrees + v_inverse[i][j] * v_matrix[j][i];
      end loop;
      v_full[v_place[i]] := v_value;
    end loop;
    v_total := v_part.sums[1];
    v_rss := v_total;
    for i in 1..v_size loop
      v_rss := v_rss - 2 * v_full[v_place[i]] * v_part.sums[2 + i];
      for j in 1..v_size loop
        v_rss := v_rss + v_full[v_place[i]] * v_matrix[i][j] * v_full[v_place[j]];
      end loop;
    end loop;
    if v_intercept is not null then
      v_full[v_intercept] := v_full[v_intercept] + v_beta[(v_part.g - 1) * v_size + 1];
    end if;
    v_result := v_result || jsonb_build_object(
      'key', v_keys[v_part.g],
      'coef', to_jsonb((
        ml._unscaled(v_full, null, v_first.settled, v_intercept, (v_first.settled ->> 'intercept_value')::float8)
      ).coef),
      'lambda', lambda,
      'r2', case when v_total > 0 then 1 - v_rss / v_total end,
      'effective_df', v_degrees,
      'num_rows_processed', v_part.row_count,
      'num_missing_rows_skipped', v_first.skipped[array_position(v_first.keys, v_keys[v_part.g])]
    );
  end loop;
  perform ml._publish(
    v_output, v_design,
    'coef float8[], lambda float8, r2 float8, effective_df float8, num_rows_processed bigint, '
      || 'num_missing_rows_skipped bigint, failure text',
    to_jsonb(v_result),
    jsonb_build_object(
      'method', 'ridge',
      'source_table', source_table,
      'out_table', out_table,
      'dependent_varname', dependent_varname,
      'independent_varname', independent_varname,
      'lambda', lambda,
      'grouping_cols', grouping_cols,
      'num_rows_processed', (select sum(n) from unnest(v_first.row_counts) as n),
      'num_missing_rows_skipped', (select sum(n) from unnest(v_first.skipped) as n),
      'num_all_groups', cardinality(v_first.keys),
      'num_failed_groups', v_failed
    ),
    'method text, source_table text, out_table text, dependent_varname text, independent_varname text, '
      || 'lambda float8, grouping_cols text, num_rows_processed bigint, num_missing_rows_skipped bigint, '
      || 'num_all_groups bigint, num_failed_groups bigint'
  );
end;
$$;

comment on function ml.ridge_train(text, text, text, text, float8, text) is $$
@behavior -*
Trains a ridge regression: minimises the squared residuals plus lambda times the squared coefficients.
In closed form, with two scans. A constant column among the independent variables is the intercept and is not penalised;
none is added. Columns may be collinear, and more than the rows. Predict with ml.linregr_predict.
Writes `out_table`: the grouping columns, coef, lambda, r2, effective_df (trace of the hat matrix), num_rows_processed,
num_missing_rows_skipped, failure; and `<out_table>_summary`.
Errors: CF001 (lambda < 0, not a number), CF002, CF003, CF004, CF005, CF007 (collinear with lambda 0), CF008.
Source: Hoerl and Kennard, Technometrics 12, 1970.
$$;

grant execute on function ml.ridge_train(text, text, text, text, float8, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/ridge_train.sql

--! Included ml/regression/_softmax.sql
create or replace function ml._softmax(logits float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_top float8;
  v_total float8 := 0;
  v_result float8[] := logits;
begin
  if logits is null or array_position(logits, null) is not null then
    return null;
  end if;
  v_top := (select max(value) from unnest(logits) as value);
  for i in 1..cardinality(logits) loop
    v_result[i] := exp(greatest(logits[i] - v_top, -700));
    v_total := v_total + v_result[i];
  end loop;
  for i in 1..cardinality(logits) loop
    v_result[i] := v_result[i] / v_total;
  end loop;
  return v_result;
end;
$$;

comment on function ml._softmax(float8[]) is $$
Returns probabilities proportional to exp of the values; null when one is null.
$$;

grant execute on function ml._softmax(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_softmax.sql

--! Included ml/regression/mlogregr_predict.sql
create or replace function ml.mlogregr_predict(
  model_table text,
  new_data_table text,
  id_col_name text,
  output_table text,
  type text default 'response'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_data constant regclass := common.relation(new_data_table);
  v_id constant text := common.column_name(v_data, id_col_name, 'id column');
  v_output constant text := common.output_table(output_table);
  v_kind constant text := lower(coalesce(type, 'response'));
  v_x text;
  v_categories integer[];
  v_coefs jsonb;
  v_logits text;
begin
  if v_kind not in ('response', 'prob') then
    perform common.refuse('CF001', format('there is no type "%s"', left(type, 100)),
      'Give response for the category, or prob for the probability of each category.');
  end if;
  begin
    execute format(
      $statement$
      select
        (select independent_varname from %s limit 1),
        min(ref_category) || array_agg(category order by category),
        jsonb_agg(coef order by category)
      from %s
      where coef is not null
      $statement$,
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_x, v_categories, v_coefs;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.mlogregr_train', left(model_table, 100)),
      'Give the output table of ml.mlogregr_train.');
  end;
  if cardinality(v_categories) > 1 + (select count(distinct category) from unnest(v_categories[2:]) as category) then
    perform common.refuse('CF001', format('"%s" contains one model per group', left(model_table, 100)),
      'Select the rows of one group in a view, and predict with the view.');
  end if;
  v_x := common.expression(v_x, v_data);
  perform common.expression_type(v_x, v_data, 'independent variable');
  v_logits := format('ml._softmax(array[0%s])', (
    select string_agg(
      format(', ml.linregr_predict(%L::float8[], x)', translate(coef::text, '[]', '{}')),
      '' order by nth
    )
    from jsonb_array_elements(v_coefs) with ordinality as list (coef, nth)
  ));
  perform ml._create_table(format(
    $statement$
    create table %s as
    select %s, %s
    from (
      select %s, %s as p
      from (select source.%s, (%s)::float8[] as x from %s as source) as evaluated
      offset 0
    ) as scored
    $statement$,
    v_output,
    v_id,
    case v_kind
      when 'prob' then (
        select string_agg(format('p[%s] as %I', nth, 'estimated_prob_' || category), ', ' order by category)
        from unnest(v_categories) with ordinality as list (category, nth)
      )
      else format(
        '(%L::int[])[array_position(p, (select max(value) from unnest(p) as value))] as category',
        v_categories
      )
    end,
    v_id,
    v_logits,
    v_id,
    v_x,
    v_data
  ));
end;
$$;

comment on function ml.mlogregr_predict(text, text, text, text, text) is $$
@behavior -*
Writes the predictions of a multinomial model, as MADlib.
The independent variables of the training are evaluated over `new_data_table`.
Writes `output_table`: the id column and `category`, the most probable one (`response`), or `estimated_prob_<category>`
for each category (`prob`). Null where an independent variable is null.
Errors: CF001 (not a model of ml.mlogregr_train, a model with groups, unknown type), CF002 (unknown table or column),
CF003 (output exists), CF005.
$$;

grant execute on function ml.mlogregr_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/mlogregr_predict.sql

--! Included ml/regression/coxph_predict.sql
create or replace function ml.coxph_predict(
  model_table text,
  source_table text,
  id_col_name text,
  output_table text,
  pred_type text default 'linear_predictors',
  reference text default 'overall'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_data constant regclass := common.relation(source_table);
  v_id constant text := common.column_name(v_data, id_col_name, 'id column');
  v_output constant text := common.output_table(output_table);
  v_kind constant text := lower(coalesce(pred_type, 'linear_predictors'));
  v_x text;
  v_means float8[];
  v_coef float8[];
begin
  if v_kind not in ('linear_predictors', 'risk', 'terms') then
    perform common.refuse('CF001', format('there is no type "%s"', left(pred_type, 100)),
      'Give linear_predictors, risk or terms.');
  elsif lower(coalesce(reference, 'overall')) <> 'overall' then
    perform common.refuse('CF001', format('there is no reference "%s"', left(reference, 100)),
      'Give overall: predictions are centred on the mean of all rows of the training.');
  end if;
  begin
    execute format(
      'select summary.independent_variable, summary.means, model.coef from %s as summary, %s as model',
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_x, v_means, v_coef;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.coxph_train', left(model_table, 100)),
      'Give the output table of ml.coxph_train.');
  end;
  v_x := common.expression(v_x, v_data);
  perform common.expression_type(v_x, v_data, 'independent variable');
  perform ml._create_table(format(
    $statement$
    create table %s as
    select %s, %s as predicted_value
    from (select source.%s, (%s)::float8[] as x from %s as source) as evaluated
    $statement$,
    v_output,
    v_id,
    case v_kind
      when 'terms' then format(
        $expression$(
          select array_agg(coef * (value - mean) order by nth)
          from unnest(%L::float8[], x, %L::float8[]) with ordinality as term (coef, value, mean, nth)
        )$expression$,
        v_coef,
        v_means
      )
      -- greatest() and least() ignore a null.
      when 'risk' then format(
        'case when array_position(x, null) is null then '
          || 'exp(least(greatest(ml.linregr_predict(%L::float8[], x) - %L::float8, -700), 700)) end',
        v_coef,
        ml.linregr_predict(v_coef, v_means)
      )
      else format(
        'ml.linregr_predict(%L::float8[], x) - %L::float8',
        v_coef,
        ml.linregr_predict(v_coef, v_means)
      )
    end,
    v_id,
    v_x,
    v_data
  ));
end;
$$;

comment on function ml.coxph_predict(text, text, text, text, text, text) is $$
@behavior -*
Writes the predictions of a proportional hazards model, as MADlib: the hazard of each row relative to an average row.
Evaluates the independent variables of the training over `source_table` and writes `output_table`: the id column and
`predicted_value`, which is the log relative hazard (`linear_predictors`), the relative hazard (`risk`), or the terms of
the log relative hazard by column (`terms`, float8[]). The average is that of all rows of the training (`reference` is
`overall`).
Errors: CF001 (not a model of ml.coxph_train, unknown type or reference), CF002, CF003 (output exists), CF005.
$$;

grant execute on function ml.coxph_predict(text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/coxph_predict.sql

--! Included ml/trees/gbm_predict.sql
create or replace function ml._gbm_answers(model ml.tree_model, nodes text, type text, source text)
returns text
language plpgsql
stable
as $$
declare
  v_classes constant text[] := model.dependent_var_levels;
  v_scores text[] := '{}';
  v_names constant text := ml._each(cardinality(v_classes), 'score#');
  v_shares constant text := ml._each(
    cardinality(v_classes), format('exp(greatest(score# - greatest(%s), -700))', v_names), ' + '
  );
begin
  if model.objective <> 'softmax' then
    return format(
      'select id as %s, %s as prediction from (select id, %s as score from %s offset 0) as scored',
      model.id_col_name,
      case
        when type = 'prob' then '1 / (1 + exp(-least(greatest(score, -700), 700)))'
        when type = 'response' and model.objective = 'logistic' then '(score > 0)::int'
        else 'score'
      end,
      format('%L::float8', model.base_score)
        || coalesce(' + ' || ml._tree_sum(nodes, model, 'format(''%L::float8'', value)'), ''),
      source
    );
  end if;
  for v_class in 1..cardinality(v_classes) loop
    v_scores := v_scores || format(
      '%L::float8 %s as score%s',
      model.base_scores[v_class],
      coalesce(' + ' || ml._tree_sum(
        format('(select * from %s as grown where class = %L) as grown', nodes, v_classes[v_class]), model,
        'format(''%L::float8'', value)'
      ), ''),
      v_class
    );
  end loop;
  return format(
    'select id as %s, %s from (select id, %s from %s offset 0) as scored',
    model.id_col_name,
    case type
      when 'raw' then format('array[%s] as prediction', v_names)
      when 'response' then format(
        '((%L::text[])[array_position(array[%2$s], greatest(%2$s))])::%3$s as prediction',
        v_classes, v_names, model.dependent_var_type
      )
      else (
        select string_agg(
          format('exp(greatest(score%s - greatest(%s), -700)) / (%s) as %I', place, v_names, v_shares, name), ', '
            order by place
        )
        from unnest(ml._class_columns(v_classes)) with ordinality as level (name, place)
      )
    end,
    array_to_string(v_scores, ', '),
    source
  );
end;
$$;

comment on function ml._gbm_answers(ml.tree_model, text, text, text) is $$
The statement that predicts the rows of `source`, which has id and the features x1, x2, …, by a boosted model.
`type` is `response`, `prob` or `raw`; `nodes` is the table of the model.
$$;

create or replace function ml.gbm_predict(
  model_table text,
  new_data_table text,
  output_table text,
  type text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_type text := coalesce(type, case v_model.objective when 'logistic' then 'prob' else 'response' end);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
begin
  if v_type not in ('response', 'prob', 'raw') or (v_type = 'prob' and v_model.objective = 'squared_error') then
    perform common.refuse(
      'CF001',
      format('type "%s" does not go with objective %s', left(v_type, 100), left(v_model.objective, 100)),
      'Choose response, raw, or for classes prob.'
    );
  end if;
  perform ml._create_table(format('create table %s as ', v_output) || ml._gbm_answers(
    v_model, common.relation(model_table)::text, v_type,
    format('(select %s as id, %s from %s offset 0) as input', v_id,
      ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation)
  ));
end;
$$;

comment on function ml.gbm_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.gbm_train for every row of a table, in one statement.
`type` is `prob` (the probability of class 1, the default for a logistic model; for softmax the columns
`estimated_prob_<class>`), `response` (the value, or the class) or `raw` (the sum of the trees: log odds for a
logistic model, for softmax an array in the order of `dependent_var_levels`). The new table needs the id column and
the columns of the features; a dependent variable is not read.
Writes `output_table`: the id column and `prediction`, or a column for each class.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml._gbm_answers(ml.tree_model, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.gbm_predict(text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/gbm_predict.sql

--! Included ml/trees/gbm_explain.sql
create or replace function ml.gbm_explain(
  model_table text,
  new_data_table text,
  output_table text,
  id_value text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set work_mem to '64MB'
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes constant text := common.relation(model_table)::text;
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
  v_inputs constant text := ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation);
  v_kept constant text := case when id_value is null then 'true' else format('(%s)::text = %L', v_id, id_value) end;
  v_class constant text := case when v_model.objective = 'softmax' then 'class,' end;
  v_explained text;
  v_rows bigint;
begin
  if v_model.objective = 'softmax' then
    -- The score of each class has trees of its own.
    select string_agg(
      format('select %L::text as class, explained.* from (', level.class) || ml._explanation(
        format('(select * from %s as grown where class = %L) as grown', v_nodes, level.class), level.base,
        v_model.independent_varnames, v_model.independent_vartypes, v_model.categories, v_relation::text, v_id,
        v_inputs, v_kept
      ) || ') as explained', ' union all ' order by level.place
    )
    into v_explained
    from unnest(v_model.dependent_var_levels, v_model.base_scores) with ordinality as level (class, base, place);
  else
    v_explained := ml._explanation(v_nodes, v_model.base_score, v_model.independent_varnames,
      v_model.independent_vartypes, v_model.categories, v_relation::text, v_id, v_inputs, v_kept);
  end if;
  v_rows := ml._create_table(format(
    'create table %s (%s, %s feature, feature_value, contribution) as
     select id, %s ml._unquoted(feature), feature_value, contribution from (%s) as explained',
    v_output, v_id,
    v_class, v_class, v_explained
  ));
  if v_rows = 0 then
    perform common.refuse(
      'CF002',
      format('"%s" has no row with %s = %s', v_relation, left(v_id, 100), coalesce(id_value, 'anything')),
      'Give the id of a row of the new data.'
    );
  end if;
end;
$$;

comment on function ml.gbm_explain(text, text, text, text) is $$
@behavior -*
What moved each prediction: exact Shapley values of the features, path-dependent as TreeSHAP's.
Explains the row whose id is `id_value`, or all rows. Writes `output_table`: the id column, `feature` (`(base)` is the
mean prediction over the training rows), `feature_value` as text, and `contribution`, in the unit of the raw score:
log odds for a logistic model. A softmax model has a column `class` after the id, and explains the score of each class;
their differences are log odds. The contributions of a row sum to its raw prediction (`ml.gbm_predict(…, 'raw')`).
Errors: CF002 (not a model, a missing column, no such row), CF003 (`output_table` exists), CF005.
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.gbm_explain(text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/gbm_explain.sql

--! Included ml/trees/_forest_predict.sql
create or replace function ml._forest_answers(
  model ml.tree_model,
  nodes text,
  source text,
  type text,
  name text,
  levels text[]
)
returns text
language plpgsql
stable
as $$
declare
  v_classes constant int := coalesce(cardinality(model.dependent_var_levels), 0);
  v_names constant text := ml._each(v_classes - 1, 'p#');
  v_last constant text := format('1 - (%s)', ml._each(v_classes - 1, 'p#', ' + '));
  v_sums text[] := '{}';
begin
  -- One mean a class, but the last, which is what the others leave.
  for v_class in 1..greatest(v_classes - 1, 1) loop
    v_sums := v_sums || format('(%s) / %s as p%s',
      ml._tree_sum(nodes, model, case when v_classes = 0 then 'format(''%L::float8'', value)'
        else format('format(''%%L::float8'', distribution[%s])', v_class) end),
      model.num_trees, v_class);
  end loop;
  return format(
    'select id as %s, %s from (select id, %s from %s offset 0) as scored',
    model.id_col_name,
    case
      when v_classes = 0 then format('p1 as %I', left('estimated_' || name, 63))
      when type = 'response' then format(
        '((%L::text[])[array_position(array[%2$s, %3$s], greatest(%2$s, %3$s))])::%4$s as %5$I',
        model.dependent_var_levels, v_names, v_last, model.dependent_var_type, left('estimated_' || name, 63)
      )
      else (
        select string_agg(
          format('%s as %I',
            case
              when place = v_classes then format('greatest(%s, 0)', v_last)
              else coalesce('p' || place, '0::float8')
            end,
            column_name
          ), ', ' order by position
        )
        from unnest(levels, ml._class_columns(levels)) with ordinality as level (class, column_name, position)
        cross join lateral array_position(model.dependent_var_levels, class) as place
      )
    end,
    array_to_string(v_sums, ', '),
    source
  );
end;
$$;

comment on function ml._forest_answers(ml.tree_model, text, text, text, text, text[]) is $$
The statement that predicts the rows of `source`, which has id and the features x1, x2, …, by a tree or forest.
`name` is that of the dependent variable; `levels` are the classes of all groups, those that a group lacks have
probability 0.
$$;

create or replace function ml._forest_predict(
  method text,
  model_table text,
  new_data_table text,
  output_table text,
  type text
)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_models constant ml.tree_model[] := array(select model from ml._tree_model(model_table, array[method]) as model);
  v_model ml.tree_model := v_models[1];
  v_nodes constant text := common.relation(model_table)::text;
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
  v_groups text[] := common.column_names(v_relation, v_model.grouping_cols, 'grouping columns');
  v_levels text[] := (
    select array_agg(distinct level)
    from unnest(v_models) as model
    cross join unnest(model.dependent_var_levels) as level
  );
  v_name text := v_model.dependent_varname;
  v_answers text;
  v_source text := format('(select %s as id, %s from %s offset 0) as input', v_id,
    ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation);
begin
  if type is null or type not in ('response', 'prob') or (type = 'prob' and v_levels is null) then
    perform common.refuse('CF001', format('type "%s" does not go with this model', coalesce(left(type, 100), 'null')),
      'Choose response, or prob for classes.');
  end if;
  begin
    v_name := (parse_ident(v_name))[1];
  exception when invalid_parameter_value then
    null;
  end;
  if v_model.grouping_cols is null then
    perform ml._create_table(format('create table %s as ', v_output)
      || ml._forest_answers(v_model, v_nodes, v_source, type, v_name, v_model.dependent_var_levels));
    return;
  end if;

  -- The new rows are read once, each with the number of its group, which is null when the group has no model.
  drop table if exists pg_temp._ml_tree_new;
  execute format(
    $query$
    create temp table _ml_tree_new on commit drop as
    select trained.gid, input.*
    from (select jsonb_build_array(%1$s) as place, %2$s as id, %3$s from %4$s offset 0) as input
    left join (
      select gid, jsonb_build_array(%1$s) as place
      from %5$s
      where failure is null
    ) as trained on trained.place = input.place
    $query$,
    v_model.grouping_cols, v_id,
    ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation,
    ml._tree_summary(common.relation(model_table))
  );
  create index on pg_temp._ml_tree_new (gid);
  analyze pg_temp._ml_tree_new;
  v_levels := array(
    select level
    from unnest(v_levels) as level
    order by case when v_model.dependent_var_type in ('smallint', 'integer', 'bigint') then level::bigint end, level
  );
  foreach v_model in array v_models loop
    continue when v_model.failure is not null;
    v_answers := ml._forest_answers(
      v_model, format('(select * from %s as grown where gid = %s) as grown', v_nodes, v_model.gid),
      format('pg_temp._ml_tree_new where gid = %s', v_model.gid), type, v_name, v_levels
    );
    if to_regclass(v_output) is null then
      perform ml._create_table(format('create table %s as ', v_output) || v_answers);
    else
      execute format('insert into %s ', v_output) || v_answers;
    end if;
  end loop;
  execute format('insert into %s select id from pg_temp._ml_tree_new where gid is null', v_output);
  drop table pg_temp._ml_tree_new;
end;
$$;

comment on function ml._forest_predict(text, text, text, text, text) is $$
Predictions of a tree or a forest, for each group by its own model; see ml.tree_predict and ml.forest_predict.
$$;

grant execute on function
  ml._forest_answers(ml.tree_model, text, text, text, text, text[]),
  ml._forest_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/trees/_forest_predict.sql

--! Included ml/preparation/_pairs.sql
create or replace function ml._pairs(
  source_table text,
  output_table text,
  target_cols text,
  grouping_cols text,
  aggregate text
)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_summary']);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_columns text[];
  v_numbers text[];
  v_rows bigint;
begin
  if coalesce(btrim(target_cols), '*') = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and common.base_type(attribute.atttypid::regtype) = any (
          array['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'boolean']::regtype[])
        and not quote_ident(attribute.attname) = any (v_groups)
      order by attribute.attnum
    );
  else
    v_columns := common.column_names(v_relation, target_cols, 'target columns');
  end if;
  if cardinality(v_columns) < 2 then
    perform common.refuse('CF004', format('"%s" has %s columns to compare', v_relation, cardinality(v_columns)),
      'Name at least two columns of numbers.');
  elsif cardinality(v_columns) > 500 then
    perform common.refuse('CF008', format('%s columns', cardinality(v_columns)), 'Name up to 500 columns.');
  end if;
  v_numbers := array(select common.numeric_expression(name, v_relation, 'target column')
    from unnest(v_columns) with ordinality as part (name, position) order by position);
  drop table if exists pg_temp._ml_pair;
  execute format(
    'create temp table _ml_pair on commit drop as
      select %s count(*) as _row_count, array[%s]::float8[] as _below from %s
      where %s %s having count(*) > 0',
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    -- The lower triangle, row by row, as one list of built-in aggregates.
    (
      select string_agg(format('%s(%s, %s)', aggregate, left_side.number, right_side.number), ', '
        order by left_side.position, right_side.position)
      from unnest(v_numbers) with ordinality as left_side (number, position)
      join unnest(v_numbers) with ordinality as right_side (number,
        position) on right_side.position <= left_side.position
    ),
    v_relation,
    (select string_agg(name || ' is not null', ' and ') from unnest(v_columns) as name),
    case when v_groups = '{}' then '' else 'group by ' || array_to_string(v_groups, ', ') end
  );
  select sum(_row_count) into v_rows from pg_temp._ml_pair;
  if coalesce(v_rows, 0) = 0 then
    perform common.refuse(
      'CF004',
      format('"%s" has no row without a null in %s', v_relation, array_to_string(v_columns, ', ')),
      'Rows with a null in any of the columns are left out.'
    );
  end if;
  perform ml._create_table(format(
    'create table %s as select %s column_position::int, variable, %s from pg_temp._ml_pair cross
      join unnest(%L::text[]) with ordinality as line (variable, column_position) order by %s column_position',
    v_output,
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    (
      select string_agg(
        format('case when column_position >= %1$s then _below[column_position * (column_position - 1) / 2 + %1$s]
            end as %2$s', position, name), ', ' order by position)
      from unnest(v_columns) with ordinality as part (name, position)
    ),
    array(select (parse_ident(name))[1] from unnest(v_columns) with ordinality as part (name, position)
      order by position),
    (select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position))
  ));
  execute format(
    'create table %s as select %L::text as method, %L::text as source, %L::text as output_table,
      %L::text[] as column_names, %s::bigint as total_rows_processed, (select count(*)
        from %s) - %s as total_rows_skipped',
    common.companion_table(v_output, '_summary'), case aggregate when 'corr' then 'Correlation' else 'Covariance' end,
    v_relation, v_output, v_columns, v_rows, v_relation, v_rows
  );
  drop table pg_temp._ml_pair;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml._pairs(text, text, text, text, text) is $$
Writes the lower triangle of a two-argument aggregate over all pairs of columns, in one scan.
$$;

grant execute on function ml._pairs(text, text, text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/_pairs.sql

--! Included ml/preparation/encode_categorical_variables.sql
create or replace function ml.encode_categorical_variables(
  source_table text,
  output_table text,
  categorical_cols text,
  categorical_cols_to_exclude text default null,
  row_id text default null,
  top text default null,
  value_to_drop text default null,
  encode_null boolean default false,
  output_type text default 'column',
  output_dictionary boolean default false,
  distributed_by text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_dictionary']);
  v_excluded text[] := common.column_names(v_relation, categorical_cols_to_exclude, 'columns to exclude');
  v_ids text[] := common.column_names(v_relation, row_id, 'row id');
  v_columns text[];
  v_column text;
  v_name text;
  v_top float8;
  v_drop text;
  v_item text;
  v_values text[];
  v_frequent text[];
  v_value text;
  v_names text[] := '{}';
  v_expressions text[] := '{}';
  v_of text[] := '{}';
  v_shown text[] := '{}';
  v_rows bigint;
  v_kept text;
  v_keep_names boolean;
begin
  if btrim(categorical_cols) = '*' then
    v_columns := array(
      select quote_ident(attribute.attname)
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = v_relation
        and attribute.attnum > 0
        and not attribute.attisdropped
        and common.base_type(attribute.atttypid::regtype) = any (
          array['text', 'character varying', 'character', 'boolean', 'smallint', 'integer', 'bigint']::regtype[])
        and not quote_ident(attribute.attname) = any (v_excluded || v_ids)
      order by attribute.attnum
    );
  else
    v_columns := array(
      select name
      from unnest(common.column_names(v_relation, categorical_cols, 'categorical columns')) with ordinality
        as part (name, position)
      where not name = any (v_excluded)
      order by position
    );
  end if;
  if v_columns = '{}' then
    perform common.refuse('CF004', 'no categorical column is left',
      'Name at least one column, or * for all of text, boolean and integer.');
  elsif output_type is null or output_type not in ('column', 'array') then
    perform common.refuse('CF001', format('output_type "%s"', coalesce(left(output_type, 100), 'null')),
      'Choose column or array.');
  end if;
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    perform common.refuse('CF004', format('"%s" is empty', v_relation), 'There is nothing to encode.');
  end if;

  foreach v_column in array v_columns loop
    v_name := (parse_ident(v_column))[1];
    v_top := null;
    v_drop := null;
    foreach v_item in array coalesce(common.split_expressions(nullif(btrim(top), '')), '{}') loop
      begin
        if v_item !~ '=' then
          v_top := v_item::float8;
        elsif common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'top') = v_column then
          v_top := btrim(split_part(v_item, '=', 2))::float8;
        end if;
      exception when invalid_text_representation then
        perform common.refuse('CF001', format('top "%s"', left(top, 100)),
          'Give a number of values, a share below 1, or a list such as sex=2, rings=0.5.');
      end;
    end loop;
    foreach v_item in array coalesce(common.split_expressions(nullif(btrim(value_to_drop), '')), '{}') loop
      if common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'value_to_drop') = v_column then
        v_drop := btrim(substr(v_item, strpos(v_item, '=') + 1));
      end if;
    end loop;
    if v_top <= 0 then
      perform common.refuse('CF001', format('top %s', v_top), 'Give a number of values, or a share below 1.');
    end if;
    execute format('select array_agg(value order by ordering), array_agg(value order by times desc, value)
        from (select %1$s::text as value, min(%1$s::text) as ordering, count(*) as times from %2$s
          where %1$s is not null group by 1) as counted', v_column, v_relation)
    into v_values, v_frequent;
    v_values := coalesce(v_values, '{}');
    if v_top < 1 then
      -- The most frequent values that together make up this share of the rows.
      execute format(
        'select array_agg(value)
          from (select value, sum(times) over (order by times desc, value) - times as before,
            sum(times) over () as total
           from (select %1$s::text as value, count(*) as times from %2$s where %1$s is not null group by 1) as counted)
             as running where before < %3$L::float8 * total',
        v_column, v_relation, v_top
      ) into v_frequent;
    elsif v_top is not null then
      v_frequent := v_frequent[1:floor(v_top)::int];
    end if;
    if cardinality(v_names) + cardinality(v_values) > 1500 and v_top is null then
      perform common.refuse('CF008', format('"%s" has %s values', left(v_column, 100), cardinality(v_values)),
        'Encode the most frequent with top, or exclude the column.');
    end if;
    if v_drop is not null and not v_drop = any (v_values) then
      perform common.refuse('CF002', format('"%s" never holds "%s"', left(v_column, 100), left(v_drop, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_drop, v_values) || '"?', 'Drop a value that occurs.'));
    end if;
    foreach v_value in array v_values loop
      continue when v_value = v_drop or (v_top is not null and not v_value = any (v_frequent));
      v_names := v_names || (v_name || '_' || v_value);
      v_of := v_of || v_name;
      v_shown := v_shown || v_value;
      v_expressions := v_expressions || format('coalesce(%s::text = %L, false)::int', v_column, v_value);
    end loop;
    if v_top is not null and cardinality(v_frequent) < cardinality(v_values) then
      v_names := v_names || (v_name || '__misc__');
      v_of := v_of || v_name;
      v_shown := v_shown || '__misc__'::text;
      v_expressions := v_expressions
        || format('coalesce(%1$s::text <> all (%2$L::text[]), false)::int', v_column, v_frequent
          || coalesce(v_drop, v_frequent[1]));
    end if;
    if encode_null then
      v_names := v_names || (v_name || '_null');
      v_of := v_of || v_name;
      v_shown := v_shown || null::text;
      v_expressions := v_expressions || format('(%s is null)::int', v_column);
    end if;
  end loop;
  if v_names = '{}' then
    perform common.refuse('CF004', 'no value is left to encode',
      'The columns are null, or their only values are dropped.');
  end if;
  -- Names that PostgreSQL would cut, or that two values share, are replaced by numbers; the dictionary has
  -- their meaning.
  v_keep_names := not output_dictionary
    and not exists (select from unnest(v_names) as name where octet_length(name) > 63)
    and (select count(distinct name) = count(*) from unnest(v_names) as name);
  if not v_keep_names then
    v_names := array(select v_of[position] || '_' || row_number() over (partition by v_of[position] order by position)
      from generate_series(1, cardinality(v_of)) as position order by position);
  end if;
  v_kept := case
    when v_ids <> '{}' then array_to_string(v_ids, ', ')
    else coalesce((
      select string_agg(quote_ident(name), ', ' order by position)
      from unnest(common.columns(v_relation)) with ordinality as stored (name, position)
      where not quote_ident(name) = any (v_columns)
    ), '')
  end;
  perform ml._create_table(format(
    'create table %s as select %s %s from %s',
    v_output, v_kept || case when v_kept = '' then '' else ',' end,
    case when output_type = 'array' then format('array[%s] as encoded', array_to_string(v_expressions, ', '))
    else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position)
      from generate_series(1, cardinality(v_names)) as position) end,
    v_relation
  ));
  if not v_keep_names or output_type = 'array' then
    execute format(
      'create table %s as select encoded_column_name, index::int, variable, value
        from unnest(%L::text[], %L::text[], %L::text[]) with ordinality as entry (encoded_column_name, variable, value,
          index)',
      common.companion_table(v_output, '_dictionary'), v_names, v_of, v_shown
    );
  end if;
end;
$$;

comment on function ml.encode_categorical_variables(
  text, text, text, text, text, text, text, boolean, text, boolean, text
) is $$
@behavior -*
Encodes categories as columns of 0 and 1, in MADlib's arguments.
There is one column per value (one-hot), or one for all values but one (`value_to_drop`, such as `sex=M, rings=10`).
`categorical_cols`: a list, or `*` for all of text, boolean and integer. `row_id`: the columns to keep (null: all that
are not encoded). `top`: encode the most frequent values only (a number, or a share of the rows below 1; one for all
or a list such as `sex=2, rings=0.5`), the rest together as `<column>__misc__`.
`encode_null` adds `<column>_null`. Names are `<column>_<value>`; where one is too long, or with `output_dictionary`,
they are numbered and `<output_table>_dictionary` (`encoded_column_name`, `index`, `variable`, `value`) explains what
they
mean. `output_type` `array` gives one int[] `encoded`. `distributed_by` is MADlib's and changes nothing.
Errors: CF001, CF002 (unknown column or value), CF003 (a table exists), CF004 (empty), CF005, CF008 (over 1,500
columns).
$$;

grant execute on function ml.encode_categorical_variables(text, text, text, text, text, text, text, boolean, text,
  boolean, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/encode_categorical_variables.sql

--! Included ml/preparation/pivot.sql
create or replace function ml.pivot(
  source_table text,
  output_table text,
  index text,
  pivot_cols text,
  pivot_values text,
  aggregate_func text default 'avg',
  fill_value text default null,
  keep_null boolean default false,
  output_col_dictionary boolean default false,
  output_type text default 'column'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_dictionary']);
  v_index text[] := common.column_names(v_relation, index, 'index');
  v_pivots text[] := common.column_names(v_relation, pivot_cols, 'pivot columns');
  v_values text[] := common.column_names(v_relation, pivot_values, 'pivot values');
  v_item text;
  v_aggregates text[] := '{}';
  v_aggregated text[] := '{}';
  v_value text;
  v_aggregate text;
  v_combination jsonb;
  v_combinations jsonb;
  v_names text[] := '{}';
  v_expressions text[] := '{}';
  v_dictionary jsonb[] := '{}';
  v_filter text;
  v_label text;
begin
  if v_index = '{}' or v_pivots = '{}' or v_values = '{}' then
    perform common.refuse('CF001', 'index, pivot columns or pivot values are missing',
      'Name at least one column of each.');
  elsif output_type is null or output_type not in ('column', 'array') then
    perform common.refuse('CF001', format('output_type "%s"', coalesce(left(output_type, 100), 'null')),
      'Choose column or array.');
  end if;
  -- `avg`, `avg, sum` for every value, or `val=avg, val2=[avg, sum]`.
  foreach v_item in array coalesce(common.split_expressions(nullif(btrim(aggregate_func), '')), array['avg']) loop
    v_value := case
      when v_item ~ '=' then common.column_name(v_relation, btrim(split_part(v_item, '=', 1)), 'aggregate_func') end;
    foreach v_aggregate in array common.split_expressions(btrim(substr(v_item, strpos(v_item, '=') + 1), ' []')) loop
      if to_regproc(v_aggregate) is null and not exists (
        select from pg_catalog.pg_proc where proname = lower(v_aggregate) and prokind = 'a'
      ) or v_aggregate !~* '^[a-z_][a-z0-9_.]*$' then
        perform common.refuse('CF002', format('there is no aggregate "%s"', left(v_aggregate, 100)),
          'Name an aggregate of one argument, such as avg, sum, count, min or max.');
      end if;
      v_aggregates := v_aggregates || lower(v_aggregate);
      v_aggregated := v_aggregated || v_value;
    end loop;
  end loop;
  execute format(
    'select jsonb_agg(combination order by %1$s)
      from (select distinct %1$s, jsonb_build_array(%2$s) as combination from %3$s %4$s) as seen',
    array_to_string(v_pivots, ', '),
    (select string_agg(name || '::text', ', ' order by position)
      from unnest(v_pivots) with ordinality as part (name, position)),
    v_relation,
    case when keep_null then '' else 'where ' || (select string_agg(name || ' is not null', ' and ')
      from unnest(v_pivots) as name) end
  ) into v_combinations;
  if v_combinations is null then
    perform common.refuse('CF004', format('"%s" has no value in %s', v_relation, left(pivot_cols, 100)),
      'Pivoting needs rows; keep_null makes a column for null.');
  elsif jsonb_array_length(v_combinations) * cardinality(v_values) * cardinality(v_aggregates) > 1500 then
    perform common.refuse(
      'CF008',
      format('%s combinations of %s', jsonb_array_length(v_combinations), left(pivot_cols, 100)),
      'A table has room for 1,500 of them.'
    );
  end if;
  foreach v_value in array v_values loop
    for v_position in 1..cardinality(v_aggregates) loop
      continue when v_aggregated[v_position] is not null and v_aggregated[v_position] <> v_value;
      for v_combination in select value from jsonb_array_elements(v_combinations) loop
        select
          string_agg(format('%s::text is not distinct from %L', v_pivots[position], part), ' and ' order by position),
          string_agg((parse_ident(v_pivots[position]))[1] || '_' || coalesce(part, 'null'), '_' order by position)
        into v_filter, v_label
        from jsonb_array_elements_text(v_combination) with ordinality as entry (part, position);
        v_names := v_names || format('%s_%s_%s', (parse_ident(v_value))[1], v_aggregates[v_position], v_label);
        v_expressions := v_expressions || case
          when fill_value is null then format('%s(%s) filter (where %s)', v_aggregates[v_position], v_value, v_filter)
          else format('coalesce(%s(%s) filter (where %s), %L)', v_aggregates[v_position], v_value, v_filter, fill_value)
        end;
        v_dictionary := v_dictionary
          || jsonb_build_object('value', v_value, 'aggregate', v_aggregates[v_position], 'pivot', v_combination);
      end loop;
    end loop;
  end loop;
  if output_col_dictionary or output_type = 'array'
    or exists (select from unnest(v_names) as name where octet_length(name) > 63)
      or (select count(distinct name) < count(*) from unnest(v_names) as name) then
    v_names := array(select '__p_' || position || '__' from generate_series(1, cardinality(v_names)) as position
      order by position);
    perform ml._create_table(format(
      'create table %s as
       select column_name, entry ->> ''value'' as pval, entry ->> ''aggregate'' as agg, %s
       from unnest(%L::text[], %L::jsonb[]) with ordinality as listed (column_name, entry, position) order by position',
      common.companion_table(v_output, '_dictionary'),
      (select string_agg(format('entry -> ''pivot'' ->> %s as %s', position - 1, name), ', ' order by position)
        from unnest(v_pivots) with ordinality as part (name, position)),
      v_names, v_dictionary
    ));
  end if;
  begin
    perform ml._create_table(format(
      'create table %1$s as select %2$s, %3$s from %4$s group by %2$s order by %2$s',
      v_output, array_to_string(v_index, ', '),
      case when output_type = 'array' then format('array[%s] as pivoted', array_to_string(v_expressions, ', '))
      else (select string_agg(format('%s as %I', v_expressions[position], v_names[position]), ', ' order by position)
        from generate_series(1, cardinality(v_names)) as position) end,
      v_relation
    ));
  exception when undefined_function or datatype_mismatch or invalid_text_representation then
    perform common.refuse(
      'CF001',
      format('%s of %s: %s', array_to_string(v_aggregates, ', '), left(pivot_values, 100), left(sqlerrm, 100)),
      'Choose aggregates and a fill value of the values'' type.'
    );
  end;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.pivot(text, text, text, text, text, text, text, boolean, boolean, text) is $$
@behavior -*
Values of columns as columns:
one row per `index`, one column per combination of `pivot_cols`, filled by an aggregate of `pivot_values`; in one scan.
`aggregate_func`: `avg`, a list for every value (`avg, sum`), or by value (`price=[avg, sum], size=max`). `fill_value`
is used where a combination has no row; `keep_null` makes columns for null. Columns are `<value>_<aggregate>_<pivot
column>_<its value>`; where one is too long, or with `output_col_dictionary`, they are numbered and
`<output_table>_dictionary` explains the names. `output_type` `array` gives one array `pivoted`.
Errors: CF001, CF002 (unknown column or aggregate), CF003 (a table exists), CF004 (no rows), CF005, CF008 (over 1,500
columns).
$$;

grant execute on function ml.pivot(text, text, text, text, text, text, text, boolean, boolean, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/preparation/pivot.sql

--! Included ml/forecasts/ets_train.sql
create or replace function ml.ets_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  optimizer_params text default null,
  holdout int default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_fixed float8[] := ml._ets_fixed(seasonal_period, trend, seasonal, optimizer_params, holdout);
  v_row record;
  v_fit record;
begin
  perform ml._check_output_columns(v_groups, array[
    'model', 'method', 'seasonal_period', 'alpha', 'beta', 'gamma', 'phi', 'residual_variance', 'aicc',
    'num_rows_processed', 'num_missing_rows_skipped', 'last_time', 'mae', 'mase', 'holdout_rows', 'holdout_mae',
    'holdout_naive_mae', 'last_cycle', 'failure', 'step_ahead', 'forecast_value', 'lower', 'upper', 'naive_value'
  ]);
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  perform ml._create_table(format(
    $query$
    create table %s as
    select
      %s null::jsonb as model, null::text as method, null::int as seasonal_period,
      null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
      null::float8 as residual_variance, null::float8 as aicc,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
      null::float8 as mae, null::float8 as mase,
      null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae,
      null::float8[] as last_cycle, null::text as failure
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  ));
  for v_row in
    select source._place as place, source._series as series, source._failure as failure
    from pg_temp._ml_series as source
    order by source._place
  loop
    v_fit := ml._ets_model(
      case when v_row.failure is null then v_row.series else '{}' end,
      seasonal_period, trend, seasonal, v_fixed, holdout
    );
    v_row.failure := coalesce(v_row.failure, v_fit.failure);
    if v_row.failure is not null and v_groups = '{}' then
      perform ml._refuse_series(v_row.failure, v_relation::text);
    end if;
    execute format(
      $query$
      insert into %s
      select
        %s $1, $2, $3,
        ($1 ->> 'alpha')::float8, ($1 ->> 'beta')::float8, ($1 ->> 'gamma')::float8, ($1 ->> 'phi')::float8,
        ($1 ->> 'residual_variance')::float8, ($1 ->> 'aicc')::float8,
        $4, $5, _times[cardinality(_times)],
        $6, $7,
        $8, $9, $10,
        $11, $12
      from pg_temp._ml_series
      where _place = $13
      $query$,
      v_output, v_group_list
    ) using
      v_fit.model,
      v_fit.method,
      seasonal_period,
      (select count(value) from unnest(v_row.series) as value),
      (select count(*) from unnest(v_row.series) as value where value is null),
      v_fit.mae,
      v_fit.mase,
      v_fit.holdout_rows,
      v_fit.holdout_mae,
      v_fit.holdout_naive_mae,
      v_fit.cycle,
      v_row.failure,
      v_row.place;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Trains exponential smoothing with error, trend and season (Holt and Winters), one model per group, as ets() of R.
Parameters and initial state have the greatest likelihood. `seasonal_period` is the number of rows in a cycle (7 for
days with a weekly cycle; the seasons of a cycle longer than 24 are those of the first cycles). `trend`: `none`,
`additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative`; `auto` chooses the shape with the least
corrected Akaike criterion. Multiplicative errors and seasons are considered where all values are above 0.
`optimizer_params` fixes parameters and the state before the first row: `alpha=0.3, level=99`. Rows are in the order of
time, one per step; a null is a gap.
Every model is compared with the seasonal-naive forecast, the last known value of each position in the cycle. `mase` is
the mean absolute one-step error over that of the naive forecast (below 1 is better). `holdout_mae` and
`holdout_naive_mae` are the mean absolute errors of both on the last `holdout` rows (by default a cycle or a tenth of
the rows), with the chosen shape fitted to the rows before; null without a holdout. Where trend and season are `auto`
and the naive forecast is the better one there, it becomes the model; `method` is then `naive` or `seasonal naive`.
Forecasts of series of whole numbers from 0 on are not below 0.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)` (error,
trend, season), `seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance` (of relative errors if these are
multiplicative), `aicc`, `num_rows_processed`, `num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`,
`holdout_mae`, `holdout_naive_mae`, `last_cycle`, `failure`. A group without a model has its reason in `failure`;
without groups it is an error.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another
look at measures of forecast accuracy, 2006. Compared with ets() of R 4.2.2 in `src/sql/ml/forecasts/README.md`.
$$;

grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/ets_train.sql

--! Included ml/forecasts/ets_forecast.sql
create or replace function ml.ets_forecast(
  model_table text,
  output_table text,
  steps_ahead int,
  confidence float8 default 0.95
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model regclass := common.relation(model_table);
  v_output text := common.output_table(output_table);
  v_groups text[];
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  elsif not common.columns(v_model) @> array['model', 'last_cycle', 'seasonal_period', 'mase', 'failure'] then
    perform common.refuse('CF002', format('"%s" is not a model of ml.ets_train', left(model_table, 100)),
      'Give the output table of ml.ets_train; a model of an earlier release is trained again.');
  end if;
  -- The columns before the model are the grouping columns.
  v_groups := array(
    select quote_ident(name)
    from unnest(common.columns(v_model)) with ordinality as stored (name, position)
    where position < array_position(common.columns(v_model), 'model')
    order by position
  );
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s ahead.step as step_ahead, ahead.forecast as forecast_value, ahead.lower, ahead.upper,
      last_cycle[(ahead.step - 1) %% seasonal_period + 1] as naive_value
    from %4$s as trained
    cross join lateral ml._ets_interval(model, %5$s, %3$L) as ahead
    where model is not null
    order by %2$s ahead.step
    $query$,
    v_output,
    (
      select coalesce(string_agg('trained.' || name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    confidence,
    v_model,
    steps_ahead
  ));
end;
$$;

comment on function ml.ets_forecast(text, text, int, float8) is $$
@behavior -*
Writes the forecasts of a model of ml.ets_train, with prediction intervals and the seasonal-naive forecast.
Writes `output_table`: the grouping columns, `step_ahead` (1 is the row after the last), `forecast_value`, `lower` and
`upper` (an interval that contains the value with probability `confidence` if errors are normal), and `naive_value`, the
last known value of this position in the cycle. A group without a model has no rows.
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.ets_forecast(text, text, int, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/ets_forecast.sql

--! Included ml/forecasts/arima_train.sql
create or replace function ml.arima_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  include_mean boolean default false,
  non_seasonal_orders int[] default array[1, 1, 1],
  optimizer_params text default null,
  method text default 'css'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started timestamptz := clock_timestamp();
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table, array['_summary', '_residual']);
  v_summary constant text := common.companion_table(v_output, '_summary');
  v_residual constant text := common.companion_table(v_output, '_residual');
  v_time text := common.column_name(v_relation, timestamp_column, 'timestamp column');
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_p int;
  v_q int;
  v_max_iter int := 500;
  v_row record;
  v_fit record;
begin
  if include_mean is null
    or coalesce(array_length(non_seasonal_orders, 1), 0) <> 3
    or array_ndims(non_seasonal_orders) <> 1
    or array_position(non_seasonal_orders, null) is not null
    or 0 > any (non_seasonal_orders)
    or 10 < any (non_seasonal_orders)
    or non_seasonal_orders[1] + non_seasonal_orders[3] + include_mean::int = 0
  then
    perform common.refuse(
      'CF001',
      format('non_seasonal_orders is %s', coalesce(left(non_seasonal_orders::text, 100), 'null')),
      'Give p, d and q from 0 to 10, such as array[1,1,1]; p, q or the mean must be estimated.'
    );
  elsif method is null or method not in ('css', 'ml') then
    perform common.refuse('CF001', format('method is %s', coalesce(left(method, 100), 'null')),
      'Choose css (conditional sum of squares) or ml (exact maximum likelihood).');
  end if;
  if nullif(btrim(optimizer_params), '') is not null then
    v_max_iter := substring(optimizer_params from '^\s*max_iter\s*=\s*([0-9]{1,6})\s*$')::int;
    if v_max_iter is null then
      perform common.refuse('CF001', format('optimizer_params is "%s"', left(optimizer_params, 100)),
        'Give the number of iterations, such as max_iter=200.');
    end if;
  end if;
  perform ml._check_output_columns(v_groups, array[
    'mean', 'mean_std_error', 'ar_params', 'ar_std_errors', 'ma_params', 'ma_std_errors', 'input_table', 'method',
    'timestamp_col', 'timeseries_col', 'non_seasonal_orders', 'include_mean', 'residual_variance', 'log_likelihood',
    'iter_num', 'converged', 'unit_root', 'exec_time', 'num_rows_processed', 'num_missing_rows_skipped', 'failure',
    'state', 'state_covariance', 'residual', v_time
  ]);
  v_p := non_seasonal_orders[1];
  v_q := non_seasonal_orders[3];
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s null::float8 as mean, null::float8 as mean_std_error, null::float8[] as ar_params,
      null::float8[] as ar_std_errors, null::float8[] as ma_params, null::float8[] as ma_std_errors
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  ));
  execute format(
    $query$
    create table %1$s as
    select
      %2$s null::text as input_table, null::text as timestamp_col, null::text as timeseries_col,
      null::int[] as non_seasonal_orders, null::boolean as include_mean, null::text as method,
      null::float8 as residual_variance, null::float8 as log_likelihood, null::int as iter_num,
      null::boolean as converged, null::text as unit_root, null::interval as exec_time,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as failure,
      null::float8[] as state, null::float8[] as state_covariance
    from pg_temp._ml_series
    where false
    $query$,
    v_summary, v_group_list
  );
  perform ml._create_table(format(
    'create table %1$s as select %2$s %3$s, null::float8 as residual from %4$s where false',
    v_residual, v_group_list, v_time, v_relation
  ));

  for v_row in
    select
      source._place as place, source._series as series, source._failure as failure,
      (select count(value) from unnest(source._series) as value) as known
    from pg_temp._ml_series as source
    order by source._place
  loop
    if v_row.failure is null then
      v_fit := ml._arima_model(v_row.series, non_seasonal_orders || include_mean::int, method, v_max_iter);
      v_row.failure := v_fit.failure;
    end if;
    if v_row.failure is not null then
      if v_groups = '{}' then
        perform ml._refuse_series(v_row.failure, v_relation::text);
      end if;
      v_fit := null;
    end if;
    execute format(
      $query$
      insert into %1$s
      select %2$s $1, $2, $3, $4, $5, $6
      from pg_temp._ml_series
      where _place = $7
      $query$,
      v_output, v_group_list
    ) using
      case when include_mean and v_row.failure is null then v_fit.parameters[v_p + v_q + 1] end,
      case when include_mean and v_row.failure is null then v_fit.standard_errors[v_p + v_q + 1] end,
      case when v_row.failure is null then v_fit.parameters[1:v_p] end,
      case when v_row.failure is null then v_fit.standard_errors[1:v_p] end,
      case when v_row.failure is null then v_fit.parameters[v_p + 1:v_p + v_q] end,
      case when v_row.failure is null then v_fit.standard_errors[v_p + 1:v_p + v_q] end,
      v_row.place;
    execute format(
      $query$
      insert into %1$s
      select %2$s $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
      from pg_temp._ml_series
      where _place = $18
      $query$,
      v_summary, v_group_list
    ) using
      v_relation::text,
      v_time,
      timeseries_column,
      non_seasonal_orders,
      include_mean,
      method,
      case when v_row.failure is null then v_fit.residual_variance end,
      case when v_row.failure is null then v_fit.log_likelihood end,
      case when v_row.failure is null then v_fit.iterations end,
      case when v_row.failure is null then v_fit.converged end,
      case when v_row.failure is null then v_fit.unit_root end,
      clock_timestamp() - v_started,
      v_row.known,
      cardinality(v_row.series) - v_row.known,
      v_row.failure,
      case when v_row.failure is null then v_fit.state end,
      case when v_row.failure is null then v_fit.covariance end,
      v_row.place;
    if v_row.failure is null then
      execute format(
        $query$
        insert into %1$s
        select %2$s entry.time::%3$s, entry.residual
        from pg_temp._ml_series
        cross join lateral unnest(_times[cardinality(_times) - $1 + 1:], $2) with ordinality
          as entry (time, residual, position)
        where _place = $3
        order by entry.position
        $query$,
        v_residual, v_group_list,
        (
          select format_type(atttypid, atttypmod)
          from pg_catalog.pg_attribute
          where attrelid = v_relation
            and quote_ident(attname) = v_time
        )
      ) using cardinality(v_fit.residuals), v_fit.residuals, v_row.place;
    end if;
    v_started := clock_timestamp();
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.arima_train(text, text, text, text, text, boolean, int[], text, text) is $$
@behavior -*
Trains an ARIMA(p, d, q) model, with MADlib's arguments: one, or one for each value of the grouping columns.
A series is differenced d times and explained by its p last values and q last errors.
`non_seasonal_orders` is array[p, d, q]; `include_mean` adds the mean of the differenced series. `method`: `css`, the
conditional sum of squares (as MADlib; the first p errors are not counted), or `ml`, the exact likelihood of a Kalman
filter, which accepts gaps (nulls). `optimizer_params` is `max_iter=…`. Rows are in the order of time, one per step.
The autoregression is kept stationary and the moving average invertible, and the best of nine starts is taken. An
estimate at the edge has no standard errors and is named in `unit_root`: with `ar`, difference once more; with `ma`,
once less. Standard errors are from the curvature of the likelihood.
Writes `output_table`: `mean`, `mean_std_error`, `ar_params`, `ar_std_errors`, `ma_params`, `ma_std_errors`;
`<output_table>_summary`: `input_table`, `timestamp_col`, `timeseries_col`, `non_seasonal_orders`, `include_mean`,
`method`, `residual_variance`, `log_likelihood` (of all values but d), `iter_num`, `converged`, `unit_root`,
`exec_time`, `num_rows_processed`, `num_missing_rows_skipped`, `failure`, and `state` and `state_covariance`, from which
forecasts start; `<output_table>_residual`: the timestamp and `residual`, null for a gap and for values that are not
counted. Each begins with the grouping columns. A group without a model has its reason in `failure`; without groups it
is an error.
Errors: CF001 (arguments, a gap with `css`, not finite), CF002, CF003 (a table exists), CF004 (too few values), CF005,
CF007 (constant).
Source: Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970; Gardner, Harvey and Phillips, Applied
Statistics 29, 1980. Compared with arima() of R 4.2.2 in `src/sql/ml/forecasts/README.md`.
$$;

grant execute on function ml.arima_train(text, text, text, text, text, boolean, int[], text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/arima_train.sql

--! Included ml/forecasts/arima_forecast.sql
create or replace function ml.arima_forecast(
  model_table text,
  output_table text,
  steps_ahead int,
  confidence float8 default 0.95
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model regclass := common.relation(model_table);
  v_output text := common.output_table(output_table);
  v_summary text;
  v_groups text[];
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  end if;
  select format('%I.%I', namespace.nspname, class.relname || '_summary')
  into v_summary
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if not 'ar_params' = any (common.columns(v_model))
    or to_regclass(v_summary) is null
    or not coalesce('state_covariance' = any (common.columns(to_regclass(v_summary))), false)
  then
    perform common.refuse('CF002', format('"%s" is not a model of ml.arima_train', left(model_table, 100)),
      'Give the output table of ml.arima_train with its summary table; train models of earlier releases again.');
  end if;
  -- The columns before the mean are the grouping columns.
  v_groups := array(
    select quote_ident(name)
    from unnest(common.columns(v_model)) with ordinality as stored (name, position)
    where position < array_position(common.columns(v_model), 'mean')
    order by position
  );
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s ahead.step as step_ahead,
      ahead.forecast as forecast_value,
      ahead.forecast - %3$L::float8 * ahead.deviation * sqrt(summary.residual_variance) as lower,
      ahead.forecast + %3$L::float8 * ahead.deviation * sqrt(summary.residual_variance) as upper
    from %4$s as model
    join %5$s as summary on %6$s
    cross join lateral ml._arima_ahead(
      model.ar_params, model.ma_params, coalesce(model.mean, 0), summary.non_seasonal_orders[2], summary.state,
      summary.state_covariance, %7$s
    ) as ahead
    where summary.state is not null
    order by %2$s ahead.step
    $query$,
    v_output,
    (
      select coalesce(string_agg('model.' || name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    ml.normal_quantile((1 + confidence) / 2),
    v_model,
    v_summary,
    (
      select coalesce(string_agg(format('model.%1$s is not distinct from summary.%1$s', name), ' and '), 'true')
      from unnest(v_groups) as name
    ),
    steps_ahead
  ));
end;
$$;

comment on function ml.arima_forecast(text, text, int, float8) is $$
@behavior -*
Writes the forecasts of a model of ml.arima_train, with prediction intervals.
Writes `output_table`: the grouping columns, `step_ahead` (1 is the row after the last), `forecast_value`, `lower` and
`upper` (an interval that contains the value with probability `confidence` if errors are normal and the parameters
exact). A group without a model has no rows.
Errors: CF001, CF002 (not a model), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.arima_forecast(text, text, int, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/arima_forecast.sql

--! Included ml/forecasts/seasonal_naive_forecast.sql
create or replace function ml.seasonal_naive_forecast(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  steps_ahead int,
  seasonal_period int default 1,
  grouping_columns text default null,
  confidence float8 default 0.95
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_z float8;
  v_failure text;
begin
  perform common.check_count('steps_ahead', steps_ahead, 1, 10000);
  perform common.check_count('seasonal_period', seasonal_period, 1, 1000);
  if confidence is null or not (confidence > 0 and confidence < 1) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.');
  end if;
  v_z := ml.normal_quantile((1 + confidence) / 2);
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  if v_groups = '{}' then
    select coalesce(source._failure, case
      when cardinality(source._series) <= seasonal_period then
        format('%s rows are too few for a cycle of %s', cardinality(source._series), seasonal_period)
    end)
    into v_failure
    from pg_temp._ml_series as source;
    if v_failure is not null then
      perform ml._refuse_series(v_failure, v_relation::text);
    end if;
  end if;
  perform ml._create_table(format(
    $query$
    create table %1$s as
    select
      %2$s step_ahead, forecast_value,
      forecast_value - %3$L::float8 * spread as lower,
      forecast_value + %3$L::float8 * spread as upper
    from pg_temp._ml_series
    cross join lateral ml._naive_cycle(_series, %4$s) as naive
    cross join generate_series(1, %5$s) as step_ahead
    cross join lateral (
      select
        naive.cycle[(step_ahead - 1) %% %4$s + 1] as forecast_value,
        naive.deviation * sqrt(naive.ages[(step_ahead - 1) %% %4$s + 1] + (step_ahead - 1) / %4$s) as spread
    ) as ahead
    where _failure is null
      and cardinality(_series) > %4$s
      and forecast_value is not null
    order by %2$s step_ahead
    $query$,
    v_output,
    (
      select coalesce(string_agg(name || ', ', '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)
    ),
    v_z,
    seasonal_period,
    steps_ahead
  ));
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8) is $$
@behavior -*
Writes the seasonal-naive forecast, the baseline of all other methods: the last known value of each position in a cycle.
`seasonal_period` is the length of a cycle in rows; with 1 the forecast is the last known value. Writes `output_table`:
the grouping columns, `step_ahead`, `forecast_value`, `lower`, `upper`. The variance is that of the changes from cycle
to cycle, multiplied by the number of cycles since the value; null when no position is known twice. A group that is not
longer than a cycle, has two rows with the same time or no value has no rows.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (not longer than a period), CF005.
Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 2021, sections 5.2 and 5.5.
$$;

grant execute on function ml.seasonal_naive_forecast(text, text, text, text, int, int, text, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/seasonal_naive_forecast.sql

--! Included ml/assessment/_assess.sql
/*
 * One shape for every measure of predictions: read the names, look at the data once, then one generated statement. In
 * the statement `data` holds the rows with both values (_prediction, _observed) and the grouping columns; {groups}
 * stands for the grouping columns each followed by a comma, {by} for `group by` them, {partition} for `partition by`.
 */
create or replace function ml._assess(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text,
  kind text,
  statement text
)
returns void
language plpgsql
as $$
declare
  v_relation regclass := common.relation(table_in);
  v_output text := common.output_table(table_out);
  v_prediction text := common.numeric_expression(prediction_col, v_relation, 'prediction column');
  v_observed text := common.numeric_expression(observed_col, v_relation, 'observed column');
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_group_list text;
  v_seen record;
begin
  v_group_list := array_to_string(v_groups, ', ');
  execute format(
    $query$
    select
      count(*) as row_count,
      count(*) filter (where prediction = 'NaN' or abs(prediction) = 'Infinity' or observed = 'NaN'
        or abs(observed) = 'Infinity') as non_finite,
      min(prediction) as least_prediction, max(prediction) as greatest_prediction,
      min(observed) as least_observed, max(observed) as greatest_observed,
      min(observed) filter (where observed not in (0, 1)) as no_class
    from (select %s as prediction, %s as observed from %s) as pair
    where prediction is not null
      and observed is not null
    $query$,
    v_prediction, v_observed, v_relation
  ) into v_seen;
  if v_seen.row_count = 0 then
    perform common.refuse(
      'CF004',
      format(
        '"%s" has no row with both "%s" and "%s"',
        v_relation,
        left(prediction_col, 100),
        left(observed_col, 100)
      ),
      'A measure needs at least one prediction with its observed value.'
    );
  end if;
  if v_seen.non_finite > 0 then
    perform common.refuse(
      'CF001',
      format(
        '%s rows of "%s" have NaN or infinity in "%s" or "%s"',
        v_seen.non_finite,
        v_relation,
        left(prediction_col, 100),
        left(observed_col, 100)
      ),
      'Only finite numbers can be compared; make the others null to leave them out.'
    );
  end if;
  if kind in ('score', 'probability') then
    if v_seen.no_class is not null then
      perform common.refuse(
        'CF001',
        format('"%s" holds %s, a class is 0 or 1', left(observed_col, 100), v_seen.no_class),
        'Give the observed class as boolean or as 0 and 1.'
      );
    end if;
  end if;
  if kind = 'score' and v_groups = '{}' and v_seen.least_observed = v_seen.greatest_observed then
    perform common.refuse(
      'CF004',
      format('"%s" holds one class only, %s', left(observed_col, 100), v_seen.least_observed),
      'This measure compares positive with negative rows and needs both.'
    );
  end if;
  if kind = 'probability' and (v_seen.least_prediction < 0 or v_seen.greatest_prediction > 1) then
    perform common.refuse(
      'CF001',
      format(
        '"%s" holds %s, a probability is in 0..1',
        left(prediction_col, 100),
        case when v_seen.least_prediction < 0 then v_seen.least_prediction else v_seen.greatest_prediction end
      ),
      'Give predicted probabilities of class 1.'
    );
  end if;
  perform ml._create_table(format(
    'create table %s as with data as not materialized (select %s%s as _prediction, %s as _observed from %s
        where %s is not null and %s is not null) ',
    v_output, case when v_groups = '{}' then '' else v_group_list || ', ' end, v_prediction, v_observed, v_relation,
    v_prediction, v_observed)
  || replace(replace(replace(statement,
    '{groups}', case when v_groups = '{}' then '' else v_group_list || ', ' end),
    '{by}', case when v_groups = '{}' then '' else 'group by ' || v_group_list end),
    '{partition}', case when v_groups = '{}' then '' else 'partition by ' || v_group_list end));
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml._assess(text, text, text, text, text, text, text) is $$
Checks the input of a measure and writes its output table.
`kind` is `number`, `score` (classes 0 and 1) or `probability`.
Errors: CF001 (not a number, class or probability; non-finite), CF002, CF003, CF004 (no rows, one class), CF005.
$$;

grant execute on function ml._assess(text, text, text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/assessment/_assess.sql

--! Included ml/assessment/confusion_matrix.sql
create or replace function ml.confusion_matrix(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(table_in);
  v_output text := common.output_table(table_out);
  v_prediction text := common.expression(prediction_col, v_relation);
  v_observed text := common.expression(observed_col, v_relation);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ');
  v_classes bigint;
begin
  perform common.expression_type(prediction_col, v_relation, 'prediction column');
  perform common.expression_type(observed_col, v_relation, 'observed column');
  execute format(
    'select count(distinct class) from (select (%s)::text from %s union all select (%s)::text from %s) as seen (class)',
    v_prediction, v_relation, v_observed, v_relation
  ) into v_classes;
  if v_classes = 0 then
    perform common.refuse(
      'CF004',
      format('"%s" has no class in "%s" or "%s"', v_relation, left(prediction_col, 100), left(observed_col, 100)),
      'A confusion matrix needs rows.'
    );
  elsif v_classes > 1000 then
    perform common.refuse('CF008', format('%s classes', v_classes),
      'A confusion matrix of more than 1000 classes is not made; is a column continuous?');
  end if;
  perform ml._create_table(format(
    $query$
    create table %1$s as
    with tally as (
      select %2$s (%3$s)::text as _predicted, (%4$s)::text as _observed, count(*) as _row_count
      from %5$s
      where (%3$s) is not null
        and (%4$s) is not null
      group by %2$s (%3$s)::text, (%4$s)::text
    ), class as (
      -- Numbers in the order of numbers, names in that of names.
      select class,
        row_number() over (order by case when class ~ '^-?[0-9]{1,18}$' then class::bigint end, class collate "C")
          as row_id
      from (select _predicted from tally union select _observed from tally) as seen (class)
    ), place as (
      select distinct %6$s
      from tally
    )
    select %7$s observed.row_id, observed.class,
      array_agg(coalesce(tally._row_count, 0) order by predicted.row_id) as confusion_arr
    from place
    cross join class as observed
    cross join class as predicted
    left join tally on tally._observed = observed.class and tally._predicted = predicted.class %8$s
    group by %7$s observed.row_id, observed.class
    order by %7$s observed.row_id
    $query$,
    v_output,
    v_group_list || case when v_groups = '{}' then '' else ',' end,
    v_prediction, v_observed, v_relation,
    case when v_groups = '{}' then 'true as everything' else v_group_list end,
    (select coalesce(string_agg(format('place.%s, ', name), '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    (select coalesce(string_agg(format(' and tally.%1$s is not distinct from place.%1$s', name), ''
          order by position), '') from unnest(v_groups) with ordinality as part (name, position))
  ));
end;
$$;

comment on function ml.confusion_matrix(text, text, text, text, text) is $$
@behavior -*
How often each observed class was predicted as each class.
Writes `table_out`, one row per class (and group): the grouping columns, `row_id`, `class` (text; the observed one) and
`confusion_arr` (bigint[]: rows predicted as class 1, 2, … in the order of `row_id`, which is that of numbers or
names).
Errors: CF001, CF002, CF003 (`table_out` exists), CF004 (no rows), CF008 (more than 1000 classes).
$$;

grant execute on function ml.confusion_matrix(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/assessment/confusion_matrix.sql

--! Included ml/unsupervised/kmeans_predict.sql
create or replace function ml.kmeans_predict(
  rel_source text,
  output_table text,
  id_col_name text,
  expr_point text,
  centroids float8[],
  fn_dist text default 'squared_dist_norm2'
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation regclass := common.relation(rel_source);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, id_col_name, 'id column');
  v_expression constant text := common.expression(expr_point, v_relation);
  v_type regtype := common.expression_type(expr_point, v_relation, 'point');
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_distances text;
  v_mean float8[];
  v_point text := case
    when v_type = to_regtype(v_schema || '.vector') then format('(%s)::real[]::float8[]', v_expression)
      else format('(%s)::float8[]', v_expression) end;
begin
  if coalesce(array_ndims(centroids), 0) <> 2 then
    perform common.refuse('CF001', 'centroids are not a matrix',
      'Give the centroids that ml.kmeanspp returns: one row per cluster.');
  elsif exists (select from unnest(centroids) as value where (abs(value) < 1e150) is not true) then
    perform common.refuse('CF001', 'a centroid is null, not finite or above 1e150',
      'Give the centroids that ml.kmeanspp returns, of finite numbers.');
  end if;
  -- Moved to the mean of the centroids, for the sake of single precision; angles are measured from the origin.
  v_mean := array(
    select case when fn_dist ~ 'angle' then 0 else avg(centroids[cluster][place]) end
    from generate_series(1, array_length(centroids, 2)) as place
    cross join generate_series(1, array_length(centroids, 1)) as cluster
    group by place
    order by place
  );
  v_distances := ml._kmeans_distances(fn_dist, array(
    select '[' || string_agg((centroids[cluster][place] - v_mean[place])::text, ',' order by place) || ']'
    from generate_series(1, array_length(centroids, 1)) as cluster
    cross join generate_series(1, array_length(centroids, 2)) as place
    group by cluster
    order by cluster
  ));
  begin
    perform ml._create_table(format(
      'create table %1$s as
       select id as %2$s, array_position(distances, nearest) as cluster_id, nearest as distance
       from (
         select id, array[%3$s] as distances, least(%3$s) as nearest
         from (
           select %2$s as id, (select array_agg(value - mean order by place)
             from unnest(%4$s, %5$L::float8[]) with ordinality as entry (value, mean, place))::%6$s.vector as v
           from %7$s
           where (%8$s) is not null
           offset 0
         ) as point
         offset 0
       ) as measured',
      v_output, v_id, v_distances, v_point, v_mean, v_schema, v_relation, v_expression
    ));
  exception when data_exception or null_value_not_allowed or cannot_coerce then
    perform common.refuse('CF001', format('point "%s": %s', left(expr_point, 100), left(sqlerrm, 100)),
      format('Points are finite and have %s dimensions, as the centroids.', array_length(centroids, 2)));
  end;
end;
$$;

comment on function ml.kmeans_predict(text, text, text, text, float8[], text) is $$
@behavior -*
The nearest centroid of each point.
`centroids` are those that ml.kmeanspp returns (k × dimension), `expr_point` an array or a vector.
Writes `output_table`: the id column, `cluster_id` (1..k, the row in `centroids`) and `distance` (by `fn_dist`). Rows
without a point are left out.
Errors: CF001 (centroids, distance, dimensions, non-finite), CF002, CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.kmeans_predict(text, text, text, text, float8[], text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/kmeans_predict.sql

--! Included ml/unsupervised/knn.sql
create or replace function ml.knn(
  point_source text,
  point_column_name text,
  point_id text,
  label_column_name text,
  test_source text,
  test_column_name text,
  test_id text,
  output_table text,
  k int default 1,
  output_neighbors boolean default true,
  fn_dist text default 'squared_dist_norm2',
  weighted_avg boolean default false,
  algorithm text default 'brute_force',
  algorithm_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_points constant regclass := common.relation(point_source);
  v_tests constant regclass := common.relation(test_source);
  v_output constant text := common.output_table(output_table);
  v_schema constant text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_name constant text := regexp_replace(lower(coalesce(fn_dist, 'null')), '^(madlib|ml)\.', '');
  v_label constant text := nullif(btrim(label_column_name), '');
  v_numbers constant regtype[] := '{real, double precision, numeric}';
  v_classes constant boolean := v_label is not null
    and common.expression_type(v_label, v_points, 'label') <> all (v_numbers);
  v_list constant boolean := coalesce(output_neighbors, true) or v_label is null;
  v_id text;
  v_test_name text;
  v_dimensions int;
  v_test_dimensions int;
  v_mean text;
begin
  perform common.check_count('k', knn.k, 1, 1000);
  if v_name not in ('squared_dist_norm2', 'dist_norm2', 'dist_norm1', 'dist_angle') then
    perform common.refuse('CF001', format('there is no distance "%s"', left(v_name, 100)),
      'Choose squared_dist_norm2, dist_norm2, dist_norm1 or dist_angle.');
  elsif lower(coalesce(algorithm, 'brute_force')) !~ '^(b|k)' then
    perform common.refuse('CF001', format('there is no algorithm "%s"', left(algorithm, 100)),
      'Use brute_force; kd_tree is accepted, and exact too.');
  elsif v_list and nullif(btrim(point_id), '') is null then
    perform common.refuse('CF001', 'the id column of the points is not given',
      'Name it: neighbours are listed by id. Otherwise set output_neighbors to false, and give a label column.');
  end if;
  v_id := case when nullif(btrim(point_id), '') is not null then common.column_name(v_points, point_id, 'point id') end;
  v_dimensions := ml._knn_points('_ml_knn_point', v_points, v_id, point_column_name, v_label);
  v_test_dimensions := ml._knn_points('_ml_knn_test', v_tests, common.column_name(v_tests, test_id, 'test id'),
    test_column_name, null);
  if v_dimensions <> v_test_dimensions then
    perform common.refuse('CF001', format('the points have %s dimensions, the test points %s', v_dimensions,
      v_test_dimensions), 'Both have the same columns, in the same order.');
  end if;
  begin
    v_test_name := common.column_name(v_tests, test_column_name, 'test column');
  exception when sqlstate 'CF002' then
    v_test_name := 'test_point';
  end;
  if v_test_name in ('id', 'prediction', 'k_nearest_neighbours', 'distance') then
    v_test_name := 'test_point';
  end if;

  begin
    -- Moved to the mean of the points, for the sake of single precision; angles are measured from the origin.
    select format('array[%s]', string_agg(
      format('%L::float8', case when v_name = 'dist_angle' then 0 else mean end), ', ' order by place
    ))
    into v_mean
    from (
      select place, avg(value) as mean
      from pg_temp._ml_knn_point
      cross join lateral unnest(point) with ordinality as entry (value, place)
      group by place
    ) as centre;
    perform ml._create_table(format(
      $statement$
      create table %1$s as
      with point as materialized (
        select id, label, point, (
          select array_agg(value - mean order by place)
          from unnest(point, %2$s) with ordinality as entry (value, mean, place)
        )::%3$s.vector as v
        from pg_temp._ml_knn_point
      ),
      test as materialized (
        select id, given, point, (
          select array_agg(value - mean order by place)
          from unnest(point, %2$s) with ordinality as entry (value, mean, place)
        )::%3$s.vector as v
        from pg_temp._ml_knn_test
      )
      select test.id as id, test.given as %4$s%5$s%6$s
      from test
      cross join lateral (
        -- the distances of the nearest in double precision
        select array_agg(id order by distance, id) as ids, array_agg(distance order by distance, id) as distances
          %7$s
        from (
          select near.id, near.label, %8$s as distance
          from (
            select point.id, point.label, point.point
            from point
            order by point.v operator(%3$s.%9$s) test.v, point.id
            limit %10$s
          ) as near
        ) as measured
      ) as nearest
      %11$s
      $statement$,
      v_output,
      v_mean,
      v_schema,
      v_test_name,
      case when v_label is null then '' else ', prediction' end,
      case when v_list then ', nearest.ids as k_nearest_neighbours, nearest.distances as distance' else '' end,
      case
        when v_label is null or v_classes then ', array_agg(label order by distance, id) as labels'
        when weighted_avg then ', case when min(distance) = 0 then avg(label) filter (where distance = 0)
          else sum(label / nullif(distance, 0)) / sum(1 / nullif(distance, 0)) end as prediction'
        else ', avg(label) as prediction'
      end,
      case v_name
        when 'dist_angle' then '(
          select acos(greatest(-1, least(1, sum(a * b) / sqrt(sum(a * a)) / sqrt(sum(b * b)))))
          from unnest(near.point, test.point) as entry (a, b))'
        else format(
          '(select %s from unnest(near.point, test.point) as entry (a, b))',
          case v_name
            when 'dist_norm1' then 'sum(abs(a - b))'
            when 'dist_norm2' then 'sqrt(sum((a - b) * (a - b)))'
            else 'sum((a - b) * (a - b))'
          end
        )
      end,
      case v_name when 'dist_angle' then '<=>' when 'dist_norm1' then '<+>' else '<->' end,
      knn.k,
      case when v_classes then format(
        $votes$
        cross join lateral (
          select label as prediction
          from unnest(nearest.labels, nearest.distances) with ordinality as vote (label, distance, place)
          group by label
          -- A distance of 0 decides alone, and the nearest where votes are equal.
          order by %s desc, min(place)
          limit 1
        ) as elected
        $votes$,
        case when weighted_avg
          then 'count(*) filter (where distance = 0) desc, coalesce(sum(1 / nullif(distance, 0)), 0)'
          else 'count(*)' end
      ) else '' end
    ));
  exception when data_exception then
    perform common.refuse('CF001', format('points: %s', left(sqlerrm, 100)),
      'Coordinates and labels are finite numbers whose squares are in the range of single precision, up to 1e19.');
  end;
  drop table pg_temp._ml_knn_point, pg_temp._ml_knn_test;
end;
$$;

comment on function ml.knn(
  text, text, text, text, text, text, text, text, int, boolean, text, boolean, text, text
) is $$
@behavior -*
The k nearest neighbours of each test point, and what they predict, in MADlib's arguments.
Points are arrays of numbers or vectors, by column or expression. A label of type real, double precision or numeric is
averaged (regression), any other is elected by majority, the class of the nearest where votes are equal
(classification); null lists the neighbours only. `weighted_avg` weights by the inverse of the distance; a neighbour
at distance 0 then decides alone. `fn_dist`: squared_dist_norm2, dist_norm2, dist_norm1 or dist_angle.
Writes `output_table`: `id`, the test point under the name of its column (`test_point` for an expression),
`prediction`, and with `output_neighbors` the arrays `k_nearest_neighbours` (values of `point_id`) and `distance`,
nearest first. Equal distances are ordered by id. Rows without a point or label are left out. The neighbours are found
by pgvector's distances in single precision from the mean of the points; the distances written are in double
precision. The search is exact: `algorithm` kd_tree is accepted, and `algorithm_params` has no effect.
Errors: CF001 (types, dimensions, k, distance, algorithm, values), CF002, CF003 (`output_table` exists), CF004 (no
points), CF005, CF008 (over 16,000 dimensions).
$$;

grant execute on function ml.knn(
  text, text, text, text, text, text, text, text, int, boolean, text, boolean, text, text
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/knn.sql

--! Included ml/unsupervised/pca_project.sql
create or replace function ml.pca_project(
  source_table text,
  pc_table text,
  out_table text,
  row_id text,
  residual_table text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_model regclass := common.relation(pc_table);
  v_mean_table text;
  v_output text := common.output_table(out_table);
  v_residual text := case when residual_table is not null then common.output_table(residual_table) end;
  v_id text := common.column_name(v_relation, row_id, 'row id');
  v_components float8[];
  v_mean float8[];
  v_scale float8[];
  v_wrong bigint;
  v_input text;
begin
  select format('%I.%I', namespace.nspname, class.relname || '_mean')
  into v_mean_table
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where class.oid = v_model;
  if to_regclass(v_mean_table) is null or not 'principal_components' = any (common.columns(v_model)) then
    perform common.refuse('CF002', format('"%s" is not a table of principal components', left(pc_table, 100)),
      'Give the output table of ml.pca_train, which has a table of means.');
  end if;
  execute format('select array_agg(principal_components order by row_id) from %s', v_model) into v_components;
  execute format('select column_mean, coalesce(column_scale, array_fill(1::float8, array[cardinality(column_mean)]))
      from %s', v_mean_table) into v_mean, v_scale;
  v_input := ml._pca_input(v_relation, v_id);
  execute format('select count(*) from (select %s as x from %s) as source where cardinality(x) <> %s', v_input,
    v_relation, cardinality(v_mean)) into v_wrong;
  if v_wrong > 0 then
    perform common.refuse(
      'CF001',
      format('%s rows of "%s" have not %s dimensions', v_wrong, v_relation, cardinality(v_mean)),
      'Project rows of the kind that the components were trained on.'
    );
  end if;
  perform ml._create_table(format(
    'create table %s as
     select %s, array[%s] as row_vec
     from (select %s, %s as x from %s offset 0) as source
     where x is not null',
    v_output, v_id,
    (
      select string_agg(dot, ', ' order by component)
      from (
        select component,
          string_agg(format('(x[%s] - %L::float8) * %L::float8', i, v_mean[i],
              v_components[component][i] / v_scale[i]), ' + ' order by i) as dot
        from generate_series(1, array_length(v_components, 1)) as component
        cross join generate_series(1, cardinality(v_mean)) as i
        group by component
      ) as product
    ),
    v_id, v_input, v_relation
  ));
  if v_residual is not null then
    perform ml._create_table(format(
      'create table %s as
       select %s, array[%s] as row_vec
       from (select %s, %s as x from %s offset 0) as source
       join %s as projected using (%s)',
      v_residual, v_id,
      (
        select string_agg(format('x[%s] - %L::float8 - %L::float8 * (%s)', i, v_mean[i], v_scale[i], (
          select string_agg(format('projected.row_vec[%s] * %L::float8', component, v_components[component][i]), ' + '
            order by component)
          from generate_series(1, array_length(v_components, 1)) as component
        )), ', ' order by i)
        from generate_series(1, cardinality(v_mean)) as i
      ),
      v_id, v_input, v_relation, v_output, v_id
    ));
  end if;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.pca_project(text, text, text, text, text) is $$
@behavior -*
Rows in the coordinates of the principal components of ml.pca_train.
Writes `out_table`: the row id and `row_vec` (float8[], one entry a component); and `residual_table`, if named: what
the components leave of each row.
Errors: CF001 (other dimensions), CF002 (not components), CF003 (a table exists), CF005.
$$;

grant execute on function ml.pca_project(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/pca_project.sql

--! Included ml/registry/_document.sql
create or replace function ml._document(model ml.model)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if coalesce(model.coefficients ->> 'kind', '') not in ('linear', 'trees', 'embeddings', 'scores', 'ensemble') then
    perform common.refuse(
      'CF001',
      format('version %s is a model of its own kind (%s) that answers elsewhere', model.version, model.algorithm),
      'ml.predict serves what ml.train, ml.register_model or ml.import_model made.'
    );
  end if;
  return model.coefficients;
end;
$$;

comment on function ml._document(ml.model) is $$
The document of a version that ml.predict can serve.
Error CF001 for models with functions of their own, such as recommenders.
$$;

grant execute on function ml._document(ml.model) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_document.sql

--! Included ml/registry/_classes.sql
create or replace function ml._classes(document jsonb)
returns text[]
language sql
immutable
parallel safe
begin atomic
  select case when document ? 'classes' then array(
    select name
    from jsonb_array_elements_text(document -> 'classes') with ordinality as listed (name, position)
    order by position
  ) end;
end;

comment on function ml._classes(jsonb) is $$
The classes of a model of several, in the order of its scores; null for a model with one answer.
$$;

grant execute on function ml._classes(jsonb) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_classes.sql

--! Included ml/registry/_one_answer.sql
create or replace function ml._one_answer(model ml.model)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
begin
  if v_document ? 'classes' then
    perform common.refuse('CF001', format('version %s answers with a probability for each class', model.version),
      'Use ml.predict_classes, or ml.predict_table for the rows of a table.');
  end if;
  return v_document;
end;
$$;

comment on function ml._one_answer(ml.model) is $$
The document of a version that has one answer. Error CF001 for a model of several classes.
$$;

grant execute on function ml._one_answer(ml.model)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_one_answer.sql

--! Included ml/registry/_answer_expression.sql
create or replace function ml._answer_expression(document jsonb, score text)
returns text
language sql
stable
parallel safe
begin atomic
  select case
    when document ? 'classes' then case document ->> 'link'
      when 'softmax' then format('ml._softmax(%s)', score)
      else score
    end
    when document ->> 'kind' = 'ensemble' then format(
      '(select case when odds is not null then 1 / (1 + exp(-least(greatest(odds, -700), 700))) end
        from (select %s as odds offset 0) as given)',
      score
    )
    when document #>> '{calibration,method}' = 'isotonic' then format(
      'ml._interpolate(%s, %L::float8[], %L::float8[])', score,
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,scores}') as value),
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,answers}') as value)
    )
    else format(
      -- greatest() and least() ignore a null: a key without an embedding or a score has no answer, whatever the link.
      case when document ->> 'kind' in ('embeddings', 'scores') then 'case when %1$s is not null then %2$s end'
        else '%2$s' end,
      calibrated.score,
      case document ->> 'link'
        when 'logit' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', calibrated.score)
        when 'log' then format('exp(least(greatest(%s, -700), 700))', calibrated.score)
        else calibrated.score
      end
    )
  end
  from (
    select case
      when document #>> '{calibration,method}' = 'platt' then format(
        '(%L::float8 * %s + %L::float8)', (document #>> '{calibration,slope}')::float8,
          _answer_expression.score, (document #>> '{calibration,intercept}')::float8
      )
      else _answer_expression.score
    end as score
  ) as calibrated;
end;

comment on function ml._answer_expression(jsonb, text) is $$
SQL that makes the answer of a model from the SQL of its raw score: calibration, then the inverse of the link.
With several classes it is an array of their probabilities.
$$;

grant execute on function ml._answer_expression(jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_answer_expression.sql

--! Included ml/registry/_members.sql
create or replace function ml._members(document jsonb)
returns table (model ml.model, weight float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_member record;
begin
  for v_member in
    select (listed.member ->> 'model_id')::bigint as model_id, listed.member ->> 'version' as version,
      (listed.member ->> 'weight')::float8 as weight
    from jsonb_array_elements(document -> 'members') with ordinality as listed (member, position)
    order by listed.position
  loop
    select known.* into model from ml.model as known where known.model_id = v_member.model_id;
    if model.model_id is null then
      perform common.refuse('CF006', format('version %s, a member of the ensemble, does not exist', v_member.version),
        'Register an ensemble of the versions that exist.');
    elsif model.marked_at is not null then
      perform common.refuse('CF006', format('version %s, a member of the ensemble, is marked for training',
        v_member.version), 'It is not used, because it was trained on data that may not be used any more. Train a new '
        || 'version, and register an ensemble with it.');
    end if;
    weight := v_member.weight;
    return next;
  end loop;
end;
$$;

comment on function ml._members(jsonb) is $$
The members of an ensemble and their weights, which sum to 1.
Error CF006: a member does not exist any more, or is marked for training.
$$;

grant execute on function ml._members(jsonb) to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_members.sql

--! Included ml/registry/_log_odds_expression.sql
create or replace function ml._log_odds_expression(document jsonb, score text)
returns text
language sql
stable
parallel safe
begin atomic
  select format(
    '(select case when odds is not null then least(greatest(odds, -700), 700) end
      from (select %s as odds offset 0) as given)',
    case
      when document #>> '{calibration,method}' = 'platt' then format('%L::float8 * %s + %L::float8',
        (document #>> '{calibration,slope}')::float8, score, (document #>> '{calibration,intercept}')::float8)
      when document ->> 'link' = 'logit' and not document ? 'calibration' then score
      -- A probability, kept 1e-15 away from 0 and 1.
      else format(
        '(select ln(share / (1 - share))
          from (
            select least(greatest(answer, 1e-15), 1 - 1e-15) as share
            from (select %s as answer offset 0) as answered
            where answer is not null
            offset 0
          ) as bounded)',
        ml._answer_expression(document, score)
      )
    end
  );
end;

comment on function ml._log_odds_expression(jsonb, text) is $$
SQL that makes the log odds of a model's answer, a probability, from the SQL of its raw score, between -700 and 700.
$$;

grant execute on function ml._log_odds_expression(jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_log_odds_expression.sql

--! Included ml/registry/_score_expression.sql
create or replace function ml._linear_expression(document jsonb)
returns text
language sql
stable
parallel safe
begin atomic
  select format('%L::float8', (document ->> 'intercept')::float8) || coalesce(string_agg(
    case
      when feature ->> 'type' = 'category' then format(
        ' + coalesce((%L::float8[])[array_position(%L::text[], x%s)], 0)',
        array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
        array(select jsonb_array_elements_text(feature -> 'categories')),
        position
      )
      -- Within what a product can hold.
      else format(' + %1$L::float8 * least(greatest(coalesce(x%2$s, %3$L::float8), -%4$L::float8), %4$L::float8)',
        case when abs((feature ->> 'coefficient')::float8) > 1e-200 then (feature ->> 'coefficient')::float8
          else 0 end,
        position, (feature ->> 'mean')::float8,
        1e290 / greatest(abs((feature ->> 'coefficient')::float8), 1))
    end, '' order by position
  ), '')
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position);
end;

comment on function ml._linear_expression(jsonb) is $$
The sum of a linear document as SQL over its features x1, x2, ….
$$;

create or replace function ml._sum_expression(intercept float8, terms text[])
returns text
language sql
stable
parallel safe
begin atomic
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  select format('%L::float8', intercept) || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
  from (
    select (position - 1) / greatest(1, ceil(sqrt(cardinality(terms)))::int) as place,
      string_agg(term, ' + ' order by position) as part
    from unnest(terms) with ordinality as listed (term, position)
    group by 1
  ) as chunk;
end;

comment on function ml._sum_expression(float8, text[]) is $$The sum of an intercept and of SQL expressions, as SQL.$$;

create or replace function ml._score_expression(model ml.model)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_classes constant text[] := ml._classes(v_document);
  v_trees text[] := '{}';
  v_numbers int[] := '{}';
  v_tree int;
  v_score text;
begin
  case v_document ->> 'kind'
    when 'linear' then
      if v_classes is null then
        v_score := ml._linear_expression(v_document);
      else
        select format('array[%s]', string_agg(ml._linear_expression(output), ', ' order by position))
        into v_score
        from jsonb_array_elements(v_document -> 'outputs') with ordinality as listed (output, position);
      end if;
    when 'trees' then
      for v_tree in select distinct node.tree from ml.tree_node as node where node.model_id = model.model_id
        order by node.tree loop
        v_numbers := v_numbers || v_tree;
        v_trees := v_trees || ml._tree_expression(
          format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
          v_tree,
          (select jsonb_object_agg(feature ->> 'name', position)
            from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)),
          (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
            from jsonb_array_elements(v_document -> 'features') as feature),
          'format(''%L::float8'', value)'
        );
      end loop;
      if v_classes is null then
        v_score := ml._sum_expression((v_document ->> 'intercept')::float8, v_trees);
      else
        -- Each class has trees of its own.
        select format('array[%s]', string_agg(ml._sum_expression(intercept::float8, array(
          select grown.expression
          from unnest(v_trees, v_numbers) as grown (expression, tree)
          where (v_document -> 'tree_classes' ->> grown.tree - 1)::int = place
          order by grown.tree
        )), ', ' order by place))
        into v_score
        from jsonb_array_elements_text(v_document -> 'intercepts') with ordinality as listed (intercept, place);
      end if;
    when 'embeddings' then
      v_score := format(
        '(select ml._similarity(one.embedding, other.embedding, %L) from ml.embedding as one, ml.embedding as other
          where one.model_id = %2$s and one.side = 1 and one.key = x1 and other.model_id = %2$s and other.side = %3$s
            and other.key = x2)',
        v_document ->> 'similarity', model.model_id, (v_document ->> 'sides')::int
      );
    when 'scores' then
      v_score := format(
        'coalesce((select listed.score from ml.score as listed where listed.model_id = %s and listed.keys = array[%s]),
            %L::float8)',
        model.model_id,
        (select string_agg('x' || position, ', ' order by position)
          from generate_series(1, jsonb_array_length(v_document -> 'features')) as position),
        (v_document ->> 'default')::float8
      );
    when 'ensemble' then
      -- Each member reads its features by its own numbers.
      select string_agg(format(
        '%L::float8 * (select %s from (select %s offset 0) as member)',
        member.weight,
        ml._log_odds_expression((member.model).coefficients, ml._score_expression(member.model)),
        coalesce((
          select string_agg(
            format(
              case when feature ->> 'type' = 'number'
                and ((member.model).coefficients -> 'single_precision')::boolean then 'ml._single_precision(x%s) as x%s'
                else 'x%s as x%s' end,
              (
                select place
                from jsonb_array_elements(v_document -> 'features') with ordinality as whole (known, place)
                where known -> 'name' = feature -> 'name'
              ),
              position
            ), ', ' order by position
          )
          from jsonb_array_elements((member.model).coefficients -> 'features') with ordinality
            as listed (feature, position)
        ), '1 as one')
      ), ' + ' order by member.position)
      into v_score
      from ml._members(v_document) with ordinality as member (model, weight, position);
  end case;
  return '(' || v_score || ')';
end;
$$;

comment on function ml._score_expression(ml.model) is $$
The raw score of a model as one SQL expression over its features x1, x2, … (see ml._feature_list).
With several classes it is an array of one score for each.
$$;

grant execute on function ml._linear_expression(jsonb), ml._sum_expression(float8, text[]),
  ml._score_expression(ml.model)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_score_expression.sql

--! Included ml/registry/_tree_values.sql
create or replace function ml._tree_values(model_id bigint, inputs jsonb)
returns table (tree int, value float8)
language sql
stable
parallel safe
begin atomic
  with recursive walk as (
    select node.*
    from ml.tree_node as node
    where node.model_id = _tree_values.model_id
      and node.node = 0

    union all

    select node.*
    from walk
    cross join lateral (
      select
        case
          when inputs -> walk.feature is null or inputs -> walk.feature = 'null' then walk.missing_left
          when walk.categories is not null then inputs ->> walk.feature = any (walk.categories)
          else walk.threshold = 'Infinity' or (inputs ->> walk.feature)::float8 < walk.threshold
        end as goes_left
    ) as decided
    join ml.tree_node as node
      on node.model_id = _tree_values.model_id
      and node.tree = walk.tree
      and node.node = case when decided.goes_left then walk.left_node else walk.right_node end
    where walk.feature is not null
  )

  select walk.tree, walk.value
  from walk
  where walk.feature is null;
end;

comment on function ml._tree_values(bigint, jsonb) is $$
The value of the leaf that one row reaches, for each tree of a model.
All trees are walked at once, by key. Batches use ml._score_expression.
$$;

grant execute on function ml._tree_values(bigint, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_tree_values.sql

--! Included ml/registry/_tree_inputs_of.sql
create or replace function ml._tree_inputs_of(document jsonb, features jsonb)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select coalesce(jsonb_object_agg(
    input.name,
    -- A category that the training never saw counts as missing.
    case when input.type = 'category' and listed.feature ? 'categories'
      and not listed.feature -> 'categories' ? coalesce(input.value, '') then null
      else input.value end
  ), '{}')
  from ml._feature_values(document, features) as input
  join jsonb_array_elements(document -> 'features') as listed (feature) on listed.feature ->> 'name' = input.name;
end;

comment on function ml._tree_inputs_of(jsonb, jsonb) is $$
The features of a tree model as given in an object, as text by name; unknown categories are null.
$$;

grant execute on function ml._tree_inputs_of(jsonb, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_tree_inputs_of.sql

--! Included ml/registry/_constants.sql
create or replace function ml._constants(document jsonb, features jsonb)
returns text
language sql
stable
parallel safe
begin atomic
  select coalesce(string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text'
    else 'float8' end, input.place), ', ' order by input.place), '1 as one')
  from ml._feature_values(document, features) as input;
end;

comment on function ml._constants(jsonb, jsonb) is $$
The select list that gives a model's features as constants x1, x2, … from an object.
$$;

grant execute on function ml._constants(jsonb, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_constants.sql

--! Included ml/registry/_score.sql
create or replace function ml._score(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._one_answer(model);
  v_member record;
  v_odds float8;
  v_score float8;
begin
  if v_document ->> 'kind' = 'trees' then
    return (v_document ->> 'intercept')::float8 + coalesce((
      select sum(leaf.value)
      from ml._tree_values(model.model_id, ml._tree_inputs_of(v_document, features)) as leaf
    ), 0);
  elsif v_document ->> 'kind' = 'ensemble' then
    v_score := 0;
    for v_member in select member.model, member.weight from ml._members(v_document) as member loop
      execute format('select %s', ml._log_odds_expression((v_member.model).coefficients, '$1'))
        into v_odds using ml._score(v_member.model, features);
      v_score := v_score + v_member.weight * v_odds;
    end loop;
    return v_score;
  end if;
  execute format('select %s from (select %s) as input', ml._score_expression(model),
    ml._constants(v_document, features)) into v_score;
  return v_score;
end;
$$;

comment on function ml._score(ml.model, jsonb) is $$
The raw score of a model for one object of features: log odds, the logarithm or the value itself, before calibration.
$$;

grant execute on function
  ml._score(ml.model, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_score.sql

--! Included ml/registry/_predict.sql
create or replace function ml._predict(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_answer float8;
begin
  execute format('select %s', ml._answer_expression(ml._one_answer(model), '$1'))
    into v_answer using ml._score(model, features);
  return v_answer;
end;
$$;

comment on function ml._predict(ml.model, jsonb) is $$The answer of a model for one object of features.$$;

grant execute on function ml._predict(ml.model, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_predict.sql

--! Included ml/registry/_class_probabilities.sql
create or replace function ml._class_probabilities(model ml.model, features jsonb)
returns float8[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_scores float8[];
  v_answer float8[];
begin
  if v_document ->> 'kind' = 'trees' then
    v_scores := array(
      select output.intercept::float8 + coalesce(sum(leaf.value), 0)
      from jsonb_array_elements_text(v_document -> 'intercepts') with ordinality as output (intercept, place)
      left join ml._tree_values(model.model_id, ml._tree_inputs_of(v_document, features)) as leaf
        on (v_document -> 'tree_classes' ->> leaf.tree - 1)::int = output.place
      group by output.place, output.intercept
      order by output.place
    );
  else
    execute format('select %s from (select %s) as input', ml._score_expression(model),
      ml._constants(v_document, features)) into v_scores;
  end if;
  execute format('select %s', ml._answer_expression(v_document, '$1')) into v_answer using v_scores;
  return v_answer;
end;
$$;

comment on function ml._class_probabilities(ml.model, jsonb) is $$
The probabilities of the classes of a model for one object of features, in the order of ml._classes.
$$;

grant execute on function ml._class_probabilities(ml.model, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_class_probabilities.sql

--! Included ml/registry/_predict_into.sql
create or replace function ml._predict_into(
  model ml.model,
  relation regclass,
  output text,
  expression text,
  name text,
  kept text default 'true'
)
returns bigint
language plpgsql
set jit to off
as $$
declare
  v_document constant jsonb := ml._document(model);
begin
  return ml._create_table(format(
    'create table %s as select _kept as %s, %s as prediction from (select %s from %s where %s offset 0) as input',
    output, name, ml._answer_expression(v_document, ml._score_expression(model)),
    concat_ws(', ', expression || ' as _kept', nullif(ml._feature_list(v_document, relation), '')), relation, kept
  ));
end;
$$;

comment on function ml._predict_into(ml.model, regclass, text, text, text, text) is $$
Writes the predictions for the rows that are `kept` into a table, in one statement.
The table has an expression over the relation, under a name, and `prediction`. Returns the number of rows.
All texts are SQL that the caller has checked.
$$;


grant execute on function ml._predict_into(ml.model, regclass, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_predict_into.sql

--! Included ml/registry/_evaluate_classes.sql
create or replace function ml._evaluate_classes(predicted text, classes text[])
returns jsonb
language plpgsql
volatile
as $$
declare
  v_metrics jsonb;
begin
  execute format(
    $query$
    with answer as materialized (
      select observed, prediction,
        $1[array_position(prediction, (select max(share) from unnest(prediction) as share))] as predicted
      from %s
      where prediction is not null
        and observed is not null
    ), by_class as (
      select class, count(*) filter (where observed = class and predicted = class) as hits,
        count(*) filter (where observed = class) + count(*) filter (where predicted = class) as named
      from answer
      cross join lateral (select observed union select predicted) as listed (class)
      group by class
    )
    select jsonb_build_object(
      'log_loss', avg(-ln(greatest(coalesce(prediction[array_position($1, observed)], 0), 1e-15))),
      'accuracy', avg((observed = predicted)::int::float8),
      'macro_f1', (select avg(2 * hits::float8 / named) from by_class),
      'row_count', count(*)
    )
    from answer
    having count(*) > 0
    $query$,
    predicted
  ) into v_metrics using classes;
  if v_metrics is null then
    perform common.refuse('CF004', 'no row has both a prediction and a label',
      'A model is judged by rows whose label is known.');
  end if;
  return v_metrics;
end;
$$;

comment on function ml._evaluate_classes(text, text[]) is $$
The metrics of a table of `prediction`, probabilities in the order of the classes, and `observed`, a class.
`log_loss` keeps probabilities 1e-15 away from 0, which is also that of a class that the model does not know;
`macro_f1` is the mean of F1 over the classes that are observed or predicted. Error CF004 (no rows).
$$;

grant execute on function ml._evaluate_classes(text, text[]) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_evaluate_classes.sql

--! Included ml/registry/_challenge.sql
create or replace function ml._challenge(
  model ml.model,
  relation regclass,
  label text,
  kept text,
  profile jsonb,
  started_at timestamptz
)
returns ml.training
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_project ml.project;
  v_champion ml.model;
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_metrics jsonb;
  v_champion_metrics jsonb;
begin
  select * into v_project from ml.project where project.project_id = model.project_id;
  execute format('drop table if exists %s', v_predicted);
  perform ml._predict_into(model, relation, v_predicted, label, 'observed', kept);
  v_metrics := case when model.coefficients ? 'classes'
    then ml._evaluate_classes(v_predicted, ml._classes(model.coefficients))
    else ml._evaluate(v_predicted, v_project.task) end;
  execute format('drop table %s', v_predicted);

  select * into v_champion from ml.model as version
  where version.model_id = ml._deployed_model_id(v_project.project_id)
    and version.model_id <> (_challenge.model).model_id;
  if v_champion.model_id is not null then
    begin
      perform ml._predict_into(v_champion, relation, v_predicted, label, 'observed', kept);
      v_champion_metrics := case when v_champion.coefficients ? 'classes'
        then ml._evaluate_classes(v_predicted, ml._classes(v_champion.coefficients))
        else ml._evaluate(v_predicted, v_project.task) end;
      execute format('drop table %s', v_predicted);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- It needs features that are no longer there.
      v_champion_metrics := null;
    end;
  end if;
  return ml._conclude((_challenge.model).model_id, v_metrics, v_champion.model_id, v_champion_metrics, profile,
    clock_timestamp() - started_at);
end;
$$;

comment on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz) is $$
Scores a version and the deployed one on the same rows, those that are `kept`, and deploys the better.
The label is a number, or for models of several classes the name of a class.
All texts are SQL that the caller has checked.
$$;

grant execute on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz)
  to insights_admin, insights_worker;
--! EndIncluded ml/registry/_challenge.sql

--! Included ml/registry/_is_double.sql
create or replace function ml._is_double(value jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(jsonb_typeof(value) = 'number'
    and (value::numeric = 0 or abs(value::numeric) between 1e-300 and 1e300), false);
end;

comment on function ml._is_double(jsonb) is $$Whether a JSON value is a number that a double can hold.$$;

grant execute on function ml._is_double(jsonb)
  to insights_admin, insights_worker;
--! EndIncluded ml/registry/_is_double.sql

--! Included ml/registry/_check_ensemble.sql
create or replace function ml._check_ensemble(project_id int, document jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if jsonb_typeof(document -> 'members') is distinct from 'array'
    or jsonb_array_length(document -> 'members') not between 2 and 20
    or exists (select from jsonb_array_elements(document -> 'members') as member
      where not (ml._is_double(member -> 'model_id') and ml._is_double(member -> 'weight')))
    or abs((select sum((member -> 'weight')::float8) from jsonb_array_elements(document -> 'members') as member) - 1)
      > 1e-9
  then
    perform common.refuse('CF009', 'the members of the ensemble are not 2 to 20 models with weights that sum to 1',
      'Use ml.register_ensemble.');
  end if;
  select case
    when (member.model).project_id <> _check_ensemble.project_id
      then format('version %s belongs to another project', (member.model).version)
    when (member.model).coefficients ->> 'kind' = 'ensemble'
      then format('version %s is an ensemble itself', (member.model).version)
    when (member.model).coefficients ? 'classes'
      then format('version %s has several classes', (member.model).version)
    when coalesce((member.model).coefficients ->> 'link', '') not in ('logit', 'identity')
      or ((member.model).coefficients ->> 'link' = 'identity' and not (
        (member.model).coefficients ->> 'kind' = 'trees' and (member.model).algorithm in ('tree', 'forest')
      ))
      then format('version %s does not answer with probabilities', (member.model).version)
  end
  into v_wrong
  from ml._members(document) as member
  order by 1
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', v_wrong, 'The members are classifiers of 0 and 1 of the same project.');
  end if;
end;
$$;

comment on function ml._check_ensemble(int, jsonb) is $$
Refuses an ensemble whose members are not classifiers of 0 and 1 of the project. Errors: CF001, CF006, CF009.
$$;

grant execute on function ml._check_ensemble(int, jsonb) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_check_ensemble.sql

--! Included ml/registry/register_model.sql
create or replace function ml._check_document(document jsonb)
returns void
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := document ->> 'kind';
  v_classes int;
  v_output jsonb;
  v_wrong text;
begin
  if document is null or jsonb_typeof(document) <> 'object'
    or coalesce(v_kind, '') not in ('linear', 'trees', 'embeddings', 'scores', 'ensemble') then
    perform common.refuse('CF009', format('a model document of kind "%s"', coalesce(left(v_kind, 100), 'null')),
      'The kind is linear, trees, embeddings, scores or ensemble; src/sql/ml/README.md shows each.');
  end if;
  if document ? 'classes' then
    v_classes := case when jsonb_typeof(document -> 'classes') = 'array' and v_kind in ('linear', 'trees') then (
      select count(distinct name)
      from jsonb_array_elements(document -> 'classes') as class (name)
      where jsonb_typeof(name) = 'string' and length(name #>> '{}') between 1 and 1000
    ) end;
    v_wrong := case
      when v_classes is distinct from jsonb_array_length(document -> 'classes') or v_classes not between 2 and 100
        then '2 to 100 names of classes, all different, for linear or trees'
      when coalesce(document ->> 'link', '') not in ('softmax', 'identity') then 'the link softmax or identity'
      when document ? 'calibration' then 'no calibration'
      when jsonb_typeof(document -> 'features') is distinct from 'array' then 'a list of features'
      when v_kind = 'linear' and (jsonb_typeof(document -> 'outputs') is distinct from 'array'
        or jsonb_array_length(document -> 'outputs') <> v_classes) then 'one of the outputs for each class'
      when v_kind = 'trees' and (jsonb_typeof(document -> 'intercepts') is distinct from 'array'
        or jsonb_array_length(document -> 'intercepts') <> v_classes
        or exists (select from jsonb_array_elements(document -> 'intercepts') as number
          where not ml._is_double(number))) then 'a number in "intercepts" for each class'
      when v_kind = 'trees' and (jsonb_typeof(document -> 'tree_classes') is distinct from 'array'
        or exists (select from jsonb_array_elements(document -> 'tree_classes') as place
          where jsonb_typeof(place) <> 'number' or place::numeric not in (select generate_series(1, v_classes))))
        then '"tree_classes", the number of a class for each tree'
    end;
    if v_wrong is not null then
      perform common.refuse('CF009', format('the document of several classes lacks %s', v_wrong),
        'src/sql/ml/registry/README.md shows what each kind of model needs.');
    end if;
    if v_kind = 'linear' then
      for v_output in select output from jsonb_array_elements(document -> 'outputs') as output loop
        perform ml._check_document(v_output);
        if v_output ->> 'kind' <> 'linear' or (
          select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by position)
          from jsonb_array_elements(v_output -> 'features') with ordinality as listed (feature, position)
        ) is distinct from (
          select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by position)
          from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
        ) then
          perform common.refuse('CF009', 'the outputs of the classes have other features than the document',
            'Each output is a linear document with the features of all, in their order.');
        end if;
      end loop;
      -- Its features are those of the outputs, which are checked.
      return;
    end if;
  elsif coalesce(document ->> 'link', '') not in ('identity', 'logit', 'log') then
    perform common.refuse('CF009', format('the link of the model is "%s"', coalesce(document ->> 'link', 'null')),
      'Give identity (the score is the answer), logit (a probability) or log.');
  end if;
  if jsonb_typeof(document -> 'features') is distinct from 'array' then
    perform common.refuse('CF009', 'the document has no list of features',
      'Give [{"name": "tax", "type": "number"}, …].');
  end if;
  select format('feature %s: %s', position, feature)
  into v_wrong
  from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
  where jsonb_typeof(feature) <> 'object'
    or coalesce(feature ->> 'name', '') = ''
    or coalesce(feature ->> 'type', '') not in ('number', 'category')
    or (v_kind = 'linear' and feature ->> 'type' = 'number'
      and not (ml._is_double(feature -> 'coefficient') and ml._is_double(feature -> 'mean')))
    or (
      v_kind = 'linear' and feature ->> 'type' = 'category'
      and not coalesce(
        jsonb_typeof(feature -> 'categories') = 'array'
        and jsonb_array_length(feature -> 'categories') = jsonb_array_length(feature -> 'coefficients')
        and (select bool_and(ml._is_double(coefficient))
          from jsonb_array_elements(feature -> 'coefficients') as coefficient) is not false,
        false
      )
    )
    or (v_kind = 'trees' and feature ->> 'type' = 'category' and feature ? 'categories'
      and jsonb_typeof(feature -> 'categories') <> 'array')
  limit 1;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      left(v_wrong, 300),
      'A feature has name and type; in a linear model a number has coefficient and mean, a category has '
        || 'categories and coefficients; in trees a category may have categories.'
    );
  end if;
  select feature ->> 'name' into v_wrong from jsonb_array_elements(document -> 'features') as feature group by 1
  having count(*) > 1 limit 1;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the feature "%s" is listed twice', left(v_wrong, 100)),
      'Names of features are unique.');
  end if;
  v_wrong := case
    when v_classes is null and v_kind in ('linear', 'trees')
      and not ml._is_double(document -> 'intercept') then 'a number "intercept"'
    when v_kind = 'trees' and coalesce(jsonb_typeof(document -> 'nodes'), '') <> 'array' then 'a list "nodes"'
    when v_kind = 'embeddings'
      and (coalesce(document ->> 'similarity', '') not in ('inner_product', 'cosine')
        or coalesce(document ->> 'sides', '') not in ('1', '2'))
          then '"similarity" (inner_product or cosine) and "sides" (1 or 2)'
    when v_kind = 'embeddings'
      and coalesce(jsonb_typeof(document -> 'embeddings'), '') <> 'array' then 'a list "embeddings"'
    when v_kind = 'embeddings' and jsonb_array_length(document -> 'features') <> 2 then 'two features, the keys'
    when v_kind = 'scores' and coalesce(jsonb_typeof(document -> 'scores'), '') <> 'array' then 'a list "scores"'
    when v_kind = 'scores' and jsonb_array_length(document -> 'features') = 0 then 'a key'
    when v_kind = 'scores' and document ? 'default'
      and not ml._is_double(document -> 'default') then 'a number as default'
    when document ? 'calibration' and not coalesce(
      case document #>> '{calibration,method}'
        when 'platt' then ml._is_double(document #> '{calibration,slope}')
          and ml._is_double(document #> '{calibration,intercept}')
        when 'isotonic' then jsonb_array_length(document #> '{calibration,scores}') = jsonb_array_length(
          document #> '{calibration,answers}')
          and jsonb_array_length(document #> '{calibration,scores}') > 0
          and (select bool_and(ml._is_double(number))
            from jsonb_array_elements((document #> '{calibration,scores}') || (document #> '{calibration,answers}'))
              as number)
      end, false
    ) then 'a sound calibration'
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the document lacks %s', left(v_wrong, 100)),
      'src/sql/ml/README.md shows what each kind of model needs.');
  end if;
end;
$$;

comment on function ml._check_document(jsonb) is $$
Refuses a model document that ml.predict could not serve. Error CF009.
$$;

/*
 * A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a
 * relation.
 */
create or replace function ml.register_model(
  project text,
  task text,
  algorithm text,
  document jsonb,
  metrics jsonb default '{}',
  parameters jsonb default '{}',
  metric text default null,
  seed bigint default null,
  data_watermark timestamptz default null,
  row_count bigint default null,
  duration interval default null,
  description text default null
)
returns int
language plpgsql
volatile
-- A definer: it checks the document and writes the registry, which no role may write.
security definer
set search_path from current
set client_min_messages to notice
as $$
declare
  v_project ml.project;
  v_metric text;
  v_higher boolean;
  v_model_id bigint;
  v_version int;
  v_wrong text;
begin
  if project is null or project !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' or length(project) > 200 then
    perform common.refuse('CF001', format('"%s" is not a name for a project', coalesce(left(project, 100), 'null')),
      'Use lower case letters, digits and underscores, with dots between the parts, such as analytics.dropout.');
  end if;
  if task is null or task not in ('regression', 'classification', 'recommendation') then
    perform common.refuse('CF001', format('there is no task "%s"', coalesce(left(task, 100), 'null')),
      'Choose regression, classification or recommendation.');
  end if;
  if algorithm is null or btrim(algorithm) = '' or length(algorithm) > 200 then
    perform common.refuse('CF001', 'the algorithm has no name', 'Say by what method the model was made, such as gbm.');
  end if;
  v_metric := coalesce(metric, case task
    when 'classification' then case when document ? 'classes' then 'log_loss' else 'area_under_roc' end
    when 'recommendation' then 'ndcg_at_10'
    else 'root_mean_squared_error'
  end);
  v_higher := case v_metric
    when 'ndcg_at_10' then true when 'recall_at_10' then true
    when 'area_under_roc' then true when 'average_precision' then true when 'r2_score' then true
    when 'accuracy' then true when 'macro_f1' then true
    when 'log_loss' then false when 'brier_score' then false when 'calibration_error' then false
    when 'root_mean_squared_error' then false when 'mean_abs_error' then false
  end;
  if v_higher is null then
    perform common.refuse(
      'CF001',
      format('there is no metric "%s"', left(v_metric, 100)),
      'Choose area_under_roc, average_precision, log_loss, brier_score or calibration_error; for several classes '
        || 'log_loss, accuracy or macro_f1; for a regression '
        || 'root_mean_squared_error, mean_abs_error or r2_score; for a recommendation ndcg_at_10 or recall_at_10.'
    );
  end if;
  if v_metric <> 'log_loss' and (document ? 'classes') <> (v_metric in ('accuracy', 'macro_f1')) then
    perform common.refuse('CF001',
      format('the metric %s is not one of a model %s', v_metric,
        case when document ? 'classes' then 'of several classes' else 'with one answer' end),
      'Several classes are measured by log_loss, accuracy or macro_f1, one answer by the other metrics.');
  end if;
  if task <> 'recommendation' then
    perform ml._check_document(document);
  elsif document is not null then
    perform common.refuse('CF009', 'a recommender has no document',
      'Give null, and keep the model in a table of its own by its model_id.');
  end if;

  insert into ml.project (name, task, metric, higher_is_better, description)
  values (register_model.project, register_model.task, v_metric, v_higher, register_model.description)
  on conflict (name) do nothing;
  -- One version after the other.
  select * into v_project from ml.project where project.name = register_model.project for update;
  if v_project.task <> task then
    perform common.refuse(
      'CF010',
      format('project "%s" is a %s, not a %s', left(project, 100), v_project.task, left(task, 100)),
      'Give the model a project of its own.'
    );
  elsif metric is not null and v_project.metric <> metric then
    perform common.refuse(
      'CF010',
      format('project "%s" is judged by %s, not by %s', left(project, 100), v_project.metric, left(metric, 100)),
      'Leave the metric out, or give the model a project of its own.'
    );
  elsif exists (
    select from ml.model as version
    where version.project_id = v_project.project_id and version.coefficients ? 'kind'
      and (version.coefficients ? 'classes') <> (document ? 'classes')
  ) then
    perform common.refuse(
      'CF010',
      format('the versions of project "%s" answer with %s', left(project, 100),
        case when document ? 'classes' then 'one number' else 'a probability for each class' end),
      'Give the model a project of its own.'
    );
  end if;

  if document ->> 'kind' = 'ensemble' then
    perform ml._check_ensemble(v_project.project_id, document);
  end if;

  insert into ml.model (project_id, version, algorithm, parameters, metrics, coefficients, seed, data_watermark,
    row_count, duration)
  values (
    v_project.project_id,
    (select coalesce(max(model.version), 0) + 1 from ml.model where model.project_id = v_project.project_id),
    algorithm, coalesce(parameters, '{}'), coalesce(metrics, '{}'),
    document - 'nodes' - 'embeddings' - 'scores', seed, data_watermark, row_count, duration
  )
  returning model_id, version into v_model_id, v_version;

  case document ->> 'kind'
    when 'trees' then
      begin
        insert into ml.tree_node (model_id, tree, node, parent, feature, threshold, categories, missing_left,
          left_node, right_node, value, gain, cover)
        select v_model_id, node.tree, node.node, node.parent, node.feature, node.threshold, node.categories,
          node.missing_left, node.left_node, node.right_node, node.value, node.gain, coalesce(node.cover, 0)
        from jsonb_to_recordset(document -> 'nodes') as node (
          tree int, node int, parent int, feature text, threshold float8, categories text[], missing_left boolean,
            left_node int, right_node int, value float8, gain float8, cover float8
        );
      exception when check_violation or not_null_violation or unique_violation or invalid_text_representation
        or numeric_value_out_of_range then
        perform common.refuse(
          'CF009',
          format('a node of the trees is not sound: %s', left(sqlerrm, 100)),
          'Every node has tree, node and, but for the root, parent; a leaf has value, any other node feature, '
            || 'threshold or categories, missing_left, left_node and right_node.'
        );
      end;
      select format('tree %s, node %s', node.tree, node.node)
      into v_wrong
      from ml.tree_node as node
      where node.model_id = v_model_id
        and (
          (node.feature is not null
            and not document -> 'features' @> jsonb_build_array(jsonb_build_object('name', node.feature)))
          or (node.node > 0 and not exists (
            select
            from ml.tree_node as parent
            where parent.model_id = v_model_id and parent.tree = node.tree and parent.node = node.parent
              and node.node in (parent.left_node, parent.right_node)
          ))
          or (node.feature is not null and 2 <> (
            select count(*)
            from ml.tree_node as child
            where child.model_id = v_model_id and child.tree = node.tree
              and child.node in (node.left_node, node.right_node) and child.parent = node.node
          ))
        )
      order by node.tree, node.node
      limit 1;
      v_wrong := coalesce(v_wrong, (
        select format('tree %s, which belongs to no class', node.tree) from ml.tree_node as node
        where node.model_id = v_model_id and node.tree > jsonb_array_length(document -> 'tree_classes')
        order by node.tree limit 1
      ), (
        select format('tree %s, which has no root', node.tree) from ml.tree_node as node
        where node.model_id = v_model_id group by node.tree having min(node.node) > 0 limit 1
      ));
      if v_wrong is not null then
        perform common.refuse('CF009', format('the trees do not hang together at %s', left(v_wrong, 100)),
          'Node 0 is the root, every other node is child of one node of a lower number, and all features are listed.');
      end if;
    when 'embeddings' then
      begin
        insert into ml.embedding (model_id, side, key, embedding)
        select v_model_id, listed.side, listed.key, (listed.embedding #>> '{}')::vector
        from jsonb_to_recordset(document -> 'embeddings') as listed (side smallint, key text, embedding jsonb);
      exception
        when check_violation or not_null_violation or invalid_text_representation or data_exception
          or program_limit_exceeded then
          perform common.refuse('CF009', format('an embedding is not sound: %s', left(sqlerrm, 100)),
            'An embedding has side, key and embedding, a list of numbers.');
        when unique_violation then
          perform common.refuse('CF009', 'an embedding is listed twice', 'Keys are unique on each side.');
      end;
      select format('vectors of %s and of %s numbers', min(vector_dims(embedding)), max(vector_dims(embedding)))
      into v_wrong
      from ml.embedding
      where model_id = v_model_id
      having min(vector_dims(embedding)) <> max(vector_dims(embedding));
      if v_wrong is not null then
        perform common.refuse('CF009', v_wrong, 'All vectors of a model have the same length.');
      end if;
    when 'scores' then
      begin
        insert into ml.score (model_id, keys, score)
        select v_model_id, array(select jsonb_array_elements_text(listed.keys)), listed.score
        from jsonb_to_recordset(document -> 'scores') as listed (keys jsonb, score float8);
      exception
        when not_null_violation or invalid_text_representation or invalid_parameter_value then
          perform common.refuse('CF009', format('a score is not sound: %s', left(sqlerrm, 100)),
            'A score has keys, a list of strings, and score, a number.');
        when unique_violation then
          perform common.refuse('CF009', 'a key has two scores', 'Keys are unique.');
      end;
      if exists (select from ml.score
        where model_id = v_model_id and cardinality(keys) <> jsonb_array_length(document -> 'features')) then
        perform common.refuse('CF009', 'a score has another number of keys than the model',
          'Give one value for each of the features.');
      end if;
    else
      null;
  end case;
  return v_version;
end;
$$;

comment on function ml.register_model(
  text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint, interval, text
) is $$
Adds a version to a project, creates the project if necessary, and returns the number of the version.
Does not deploy the version.
`document` is the model itself, in the form that src/sql/ml/README.md describes (kinds linear, trees, embeddings,
scores, ensemble); ml.train, ml.import_model and ml.register_ensemble write it for you.
`task` is regression, classification or recommendation;
`metric` judges the versions of a new project.
A recommender has no document: it is in tables of the room that serves it.
Errors: CF001 (name, task, metric), CF009 (the document), CF010 (the project has another task or metric).
$$;

grant execute on function ml._check_document(jsonb) to insights_admin, insights_worker;
grant execute on function ml.register_model(text, text, text, jsonb, jsonb, jsonb, text, bigint, timestamptz, bigint,
  interval, text)
  to insights_admin, insights_worker;
--! EndIncluded ml/registry/register_model.sql

--! Included ml/registry/register_ensemble.sql
create or replace function ml.register_ensemble(
  project text,
  versions int[],
  weights float8[] default null,
  description text default null
)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_project constant ml.project := ml._project(project);
  v_weights constant float8[] := coalesce(weights, array_fill(1::float8, array[coalesce(cardinality(versions), 0)]));
  v_total float8;
  v_models ml.model[] := '{}';
  v_features jsonb;
  v_mixed text;
begin
  if v_project.task <> 'classification' then
    perform common.refuse('CF001', format('project "%s" is a %s', left(project, 100), v_project.task),
      'Log odds are those of a classification of 0 and 1.');
  elsif versions is null or cardinality(versions) not between 2 and 20 or array_position(versions, null) is not null
    or (select count(distinct member) from unnest(versions) as member) <> cardinality(versions) then
    perform common.refuse('CF001', format('the versions are %s', left(coalesce(versions::text, 'null'), 100)),
      'Give 2 to 20 versions of the project, each once.');
  elsif cardinality(v_weights) <> cardinality(versions)
    or exists (select from unnest(v_weights) as weight where (weight between 1e-6 and 1e6) is not true) then
    perform common.refuse('CF001', format('the weights are %s', left(weights::text, 100)),
      'Give a weight between 1e-6 and 1e6 for each version, or null for equal ones.');
  end if;
  v_total := (select sum(weight) from unnest(v_weights) as weight);
  for v_place in 1..cardinality(versions) loop
    v_models := v_models || ml._version(project, versions[v_place]);
  end loop;
  select jsonb_agg(jsonb_build_object('name', name, 'type', types[1]) order by place),
    min(name) filter (where cardinality(types) > 1)
  into v_features, v_mixed
  from (
    select feature ->> 'name' as name, array_agg(distinct feature ->> 'type') as types,
      min(array[member.position, listed.position]) as place
    from generate_subscripts(versions, 1) as member (position)
    cross join lateral jsonb_array_elements((v_models[member.position]).coefficients -> 'features') with ordinality
      as listed (feature, position)
    group by 1
  ) as used;
  if v_mixed is not null then
    perform common.refuse('CF001', format('the feature "%s" is a number in one version and a category in another',
      left(v_mixed, 100)), 'The members of an ensemble read the same columns.');
  end if;
  return ml.register_model(
    project, v_project.task, 'ensemble',
    jsonb_build_object(
      'kind', 'ensemble', 'link', 'logit', 'features', coalesce(v_features, '[]'),
      'members', (
        select jsonb_agg(jsonb_build_object('model_id', (v_models[place]).model_id, 'version', versions[place],
          'weight', v_weights[place] / v_total) order by place)
        from generate_subscripts(versions, 1) as place
      )
    ),
    '{}', jsonb_build_object('versions', versions, 'weights', weights), null, null,
    (select max((model).data_watermark) from unnest(v_models) as model), null, null, description
  );
end;
$$;

comment on function ml.register_ensemble(text, int[], float8[], text) is $$
@behavior -*
Adds an ensemble of versions of a project as a version of its own, and returns its number.
Its log odds are the mean of those of the members after their calibration, by weight where `weights` are given; its
features are those of all members. ml.challenge measures it and deploys it when it is better, ml.deploy and ml.rollback
treat it as any other version. It reads the members when it answers: when one of them is marked for training, so is the
ensemble (CF006).
Errors: CF001 (not a classification, versions, weights, a member that is an ensemble, has several classes or answers
with other numbers than probabilities), CF002 (no such project or version), CF006 (a member is marked for training).
$$;

grant execute on function ml.register_ensemble(text, int[], float8[], text) to insights_admin, insights_worker;
--! EndIncluded ml/registry/register_ensemble.sql

--! Included ml/registry/predict_table.sql
create or replace function ml.predict_table(
  project text,
  source_table text,
  output_table text,
  id_col_name text,
  version int default null
)
returns bigint
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, id_col_name, 'id column');
  v_document constant jsonb := ml._document(v_model);
  v_classes constant text[] := ml._classes(v_document);
begin
  if v_classes is not null then
    return ml._create_table(format(
      'create table %s as
       select _kept as %s, (%L::text[])[array_position(answer, (select max(share) from unnest(answer) as share))]
         as prediction, %s
       from (select _kept, %s as answer from (select %s from %s offset 0) as input offset 0) as answered',
      v_output, v_id, v_classes,
      (
        select string_agg(format('answer[%s] as %I', place, name), ', ' order by place)
        from unnest(ml._class_columns(v_classes)) with ordinality as listed (name, place)
      ),
      ml._answer_expression(v_document, ml._score_expression(v_model)),
      concat_ws(', ', v_id || ' as _kept', nullif(ml._feature_list(v_document, v_relation), '')), v_relation
    ));
  end if;
  return ml._predict_into(v_model, v_relation, v_output, v_id, v_id);
end;
$$;

comment on function ml.predict_table(text, text, text, text, int) is $$
@behavior -*
Predicts every row of a table with a version of a project, in one statement.
Without `version` it is the deployed one. Returns the number of rows.
The table has a column for each feature of the model. Writes `output_table`: the id column and `prediction`;
for a model of several classes the most probable class, and `estimated_prob_<class>` for each.
Errors: CF001 (not a number), CF002 (no such project, version, table or column), CF003 (`output_table` exists), CF005,
CF006 (none is deployed).
$$;

grant execute on function ml.predict_table(text, text, text, text, int)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/predict_table.sql

--! Included ml/registry/predict_classes.sql
create or replace function ml.predict_classes(project text, features jsonb, version int default null)
returns setof ml.class_probability
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant ml.model := ml._version(project, version);
  v_classes constant text[] := ml._classes(ml._document(v_model));
begin
  if v_classes is null then
    perform common.refuse('CF001', format('version %s answers with one number', v_model.version), 'Use ml.predict.');
  end if;
  return query
  select answer.class, answer.probability
  from unnest(v_classes, ml._class_probabilities(v_model, features)) with ordinality
    as answer (class, probability, place)
  order by answer.probability desc, answer.place;
end;
$$;

comment on function ml.predict_classes(text, jsonb, int) is $$
Returns the probability of each class by the deployed version of a project, the most probable class first.
For models of several classes (`ml.train` with a label of more than two, `multi:softprob` of XGBoost, `multiclass` of
LightGBM); ml.predict answers for the others. `features` is as in ml.predict. The probabilities sum to 1.
Errors: CF001 (a feature is not given or not a number; a model with one answer), CF002 (no such project or version),
CF006 (none is deployed).
$$;

grant execute on function ml.predict_classes(text, jsonb, int) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
--! EndIncluded ml/registry/predict_classes.sql

--! Included ml/registry/predict_each.sql
create or replace function ml.predict_each(project text, inputs anyarray, version int default null)
returns float8[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model constant ml.model := ml._version(project, version);
  v_document constant jsonb := ml._one_answer(v_model);
  v_input record;
  v_answers float8[];
begin
  select * into v_input from ml._row_features(v_document, pg_typeof(inputs)) as input;
  execute format(
    'select array_agg(%s order by row_no)
     from (select row_no, %s from unnest($1) with ordinality as input (%s) offset 0) as input',
    ml._answer_expression(v_document, ml._score_expression(v_model)), v_input.features, v_input.columns
  )
  into v_answers
  using inputs;
  return coalesce(v_answers, '{}');
end;
$$;

comment on function ml.predict_each(text, anyarray, int) is $$
@behavior -*
What the deployed version of a project, or the given one, answers for each of an array of rows, in their order.
The rows are of a table or a composite type with a column for each feature of the model, for instance
`ml.predict_each('demo.dropped', array(select learner from learner))`. As one statement that writes nothing.
Errors: CF001 (not an array of rows), CF002 (no such project or version, a feature is missing), CF006 (none is
deployed).
$$;

grant execute on function ml.predict_each(text, anyarray, int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/predict_each.sql

--! Included ml/registry/_explain.sql
create or replace function ml._explain(model ml.model, relation text, id_expression text, inputs text, kept text)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._one_answer(model);
begin
  if v_document ->> 'kind' = 'trees' and exists (
    select from ml.tree_node as node where node.model_id = model.model_id and node.node = 0
      and node.feature is not null and node.cover <= 0
  ) then
    perform common.refuse('CF001', format('the trees of version %s do not say how many rows came by', model.version),
      'Import them with cover: get_dump(with_stats=True, dump_format="json").');
  elsif v_document ->> 'kind' = 'trees' then
    return ml._explanation(
      format('(select * from ml.tree_node where model_id = %s) as registered', model.model_id),
      (v_document ->> 'intercept')::float8,
      array(select feature ->> 'name'
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
          order by position),
      array(select feature ->> 'type'
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
          order by position),
      (select jsonb_object_agg(feature ->> 'name', feature -> 'categories')
        from jsonb_array_elements(v_document -> 'features') as feature),
      relation, id_expression, inputs, kept
    );
  elsif v_document ->> 'kind' = 'linear' then
    return format(
      $query$
      select input.id, explained.feature, explained.feature_value, explained.contribution
      from (select row_number() over () as line, %s as id, %s from %s where %s) as input
      cross join lateral (
        values ('(base)', null::text, %L::float8) %s
      ) as explained (feature, feature_value, contribution)
      order by input.line, abs(explained.contribution) desc
      $query$,
      id_expression, coalesce(nullif(inputs, ''), '1 as one'), relation, kept,
      (
        select (v_document ->> 'intercept')::float8 + coalesce(
          sum((feature ->> 'coefficient')::float8 * (feature ->> 'mean')::float8)
            filter (where feature ->> 'type' = 'number'), 0)
        from jsonb_array_elements(v_document -> 'features') as feature
      ),
      (
        select string_agg(
          case when feature ->> 'type' = 'category' then format(
            ', (%L, x%2$s, coalesce((%3$L::float8[])[array_position(%4$L::text[], x%2$s)], 0))', feature ->> 'name',
            position,
            array(select value::float8 from jsonb_array_elements_text(feature -> 'coefficients') as value),
            array(select jsonb_array_elements_text(feature -> 'categories'))
          )
          else format(
            ', (%L, x%2$s::text, coalesce(ml._times(%3$L::float8, x%2$s - %4$L::float8), 0))', feature ->> 'name',
            position,
            (feature ->> 'coefficient')::float8, (feature ->> 'mean')::float8
          ) end,
          '' order by position
        )
        from jsonb_array_elements(v_document -> 'features') with ordinality as listed (feature, position)
      )
    );
  end if;
  perform common.refuse(
    'CF001',
    format('a model of kind "%s" is not a sum of its features', left(v_document ->> 'kind', 100)),
    'Linear models and trees can be explained.'
  );
end;
$$;

comment on function ml._explain(ml.model, text, text, text, text) is $$
The statement that explains the raw scores of a model for the rows of a relation that are `kept`:
id, feature, feature_value and contribution.
All texts are SQL that the caller has checked. Error CF001: the model has no exact explanation.
$$;

grant execute on function ml._explain(ml.model, text, text, text, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_explain.sql

--! Included ml/registry/challenge.sql
create or replace function ml.challenge(
  project text,
  version int,
  source_table text,
  label text,
  holdout text default null
)
returns ml.training
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_model ml.model;
  v_relation regclass := common.relation(source_table);
  v_label text;
begin
  if version is null then
    perform common.refuse('CF001', 'the version is null',
      'Give the number of the version that challenges the deployed one.');
  end if;
  v_model := ml._version(project, version);
  v_label := case when v_model.coefficients ? 'classes' then ml._class_label(label, v_relation)
    else common.numeric_expression(label, v_relation, 'label') end;
  if holdout is not null and common.expression_type(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('holdout "%s" is not boolean', left(holdout, 100)),
      'Give a condition that is true for the rows to score.');
  end if;
  return ml._challenge(
    v_model, v_relation, v_label,
    coalesce('coalesce((' || common.expression(holdout, v_relation) || '), false)', 'true'),
    ml._profile(
      format('(select %s from %s)',
        coalesce(nullif(ml._feature_list(ml._document(v_model), v_relation), ''), '1 as one'), v_relation),
          v_model.coefficients),
    v_started_at
  );
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.challenge(text, int, text, text, text) is $$
@behavior -*
Compares a version of a project with the deployed version on the same rows.
Both results are recorded; the version is deployed if it is the first, or better by the project's metric. A version
that is deployed already stays so, and ml.rollback goes back to the one before it; one whose metric is null (labels of
one class, for instance) is not deployed.
For models that were imported or made long ago; ml.train does it by itself. The rows (those for which `holdout` is
true, or all) should be known to neither model. The distribution of the features is kept as what later inputs are
compared with, where the version has none yet.
Errors: CF001, CF002 (project, version, table, a feature), CF004 (no row with a label), CF005.
$$;

grant execute on function ml.challenge(text, int, text, text, text) to insights_admin, insights_worker;
--! EndIncluded ml/registry/challenge.sql

--! Included ml/registry/_class_label.sql
create or replace function ml._class_label(label text, relation regclass)
returns text
language plpgsql
stable
as $$
declare
  v_type constant regtype := common.base_type(common.expression_type(label, relation, 'label'));
begin
  if (select typcategory from pg_catalog.pg_type where oid = v_type) in ('S', 'E') then
    return format('(%s)::text', common.expression(label, relation));
  end if;
  -- An integer is written without decimals, whatever its type.
  return format(
    '(select case when value = round(value) and abs(value) < 1e15 then value::bigint::text else value::text end
      from (select %s as value) as given)',
    common.numeric_expression(label, relation, 'label')
  );
end;
$$;

comment on function ml._class_label(text, regclass) is $$
SQL of a label as the name of a class: text as it is, a number as text. Errors: CF001, CF002.
$$;

grant execute on function ml._class_label(text, regclass) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_class_label.sql

--! Included ml/registry/_divide.sql
/* The rows that are held out are determined in one place for ml.train and ml.export_training_set. */
create or replace function ml._divide(
  source_table text,
  id_col_name text,
  label text,
  features text,
  features_to_exclude text,
  predicted_at text,
  label_known_at text,
  feature_known_at text,
  group_column text,
  holdout text,
  holdout_share float8,
  seed bigint
)
returns text[]
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_split constant text := ml._temporary('_ml_train_split');
  v_id text;
  v_label text;
  v_group text;
  v_source text;
  v_part text;
  v_listed text[];
  v_leak text;
begin
  if holdout_share is null or not (holdout_share > 0 and holdout_share < 1) then
    perform common.refuse('CF001', format('holdout_share %s', coalesce(holdout_share::text, 'null')),
      'Hold out a share between 0 and 1, such as 0.25.');
  elsif seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  elsif num_nonnulls(predicted_at, holdout) = 2 then
    perform common.refuse('CF001', 'both predicted_at and holdout say what is held out', 'Give one of them.');
  elsif predicted_at is null and num_nonnulls(label_known_at, feature_known_at) > 0 then
    perform common.refuse('CF001', 'label_known_at and feature_known_at need predicted_at',
      'Give the time of each row''s prediction.');
  end if;
  perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
  v_id := common.column_name(v_relation, id_col_name, 'id column');
  -- A label that is text names classes.
  v_label := case
    when (
      select typcategory from pg_catalog.pg_type
      where oid = common.base_type(common.expression_type(label, v_relation, 'label'))
    ) in ('S', 'E') then ml._class_label(label, v_relation)
    else common.numeric_expression(label, v_relation, 'label')
  end;
  v_group := case when group_column is null then v_id else common.column_name(v_relation, group_column, 'group column')
    end;
  if holdout is not null and common.expression_type(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('holdout "%s" is not boolean', left(holdout, 100)),
      'Give a condition that is true for the rows to hold out, such as ''course_id in (4, 7)''.');
  end if;
  v_listed := ml._tree_features(v_relation, features, features_to_exclude,
    array[id_col_name, v_id, group_column, predicted_at, label_known_at, feature_known_at], label);
  -- Features are columns, so that a model can be asked by their names.
  v_listed := array(select common.column_name(v_relation, name, 'feature')
    from unnest(v_listed) with ordinality as feature (name, position) order by position);
  v_leak := (
    select left(name, 100)
    from unnest(common.expression_columns(label, v_relation)) as name
    where quote_ident(name) = any (v_listed)
    limit 1
  );
  if v_leak is not null then
    perform common.refuse('CF001', format('the feature "%s" is a part of the label "%s"', v_leak, left(label, 100)),
      'Leave it out: what is predicted is not known when it is predicted.');
  end if;

  execute format('drop table if exists %s, %s cascade', ml._temporary('_ml_train_row'), v_split);
  v_source := v_relation::text;
  if predicted_at is not null then
    perform ml.time_split(source_table, v_split, predicted_at, coalesce(label_known_at, predicted_at),
      feature_known_at, null, holdout_share);
    v_source := v_split;
    v_part := 'split = ''test''';
  elsif holdout is not null then
    v_part := format('coalesce((%s), false)', common.expression(holdout, v_relation));
  else
    v_part := format('ml.in_holdout((%s)::text, %L::float8)', v_group, holdout_share);
  end if;
  perform ml._create_table(format(
    'create temporary table _ml_train_row on commit drop as
     select source.*, %s as _ml_label, %s as _ml_known_at,
       case when %s then 2 when hashtextextended((%s)::text, %s) & 1048575 < 209715 then 1 else 0 end as _ml_part
     from %s as source',
    v_label, case when predicted_at is null then 'now()'
      else format('(%s)::timestamptz', common.expression(coalesce(label_known_at, predicted_at), v_relation)) end,
    v_part, v_group, seed + 21, v_source
  ));
  execute format('drop table if exists %s', v_split);
  return v_listed;
end;
$$;

comment on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8, bigint) is $$
Writes the temporary table `_ml_train_row`:
the columns of the source, `_ml_label`, `_ml_known_at` (when the label was known) and `_ml_part` (0 to train on, 1 to
validate on, 2 held out).
Returns the quoted names of the features. Errors: see ml.train.
$$;

grant execute on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8,
  bigint) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_divide.sql

--! Included ml/registry/train.sql
create or replace function ml._named_arguments(parameters jsonb, allowed text[])
returns text
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  if parameters is null or jsonb_typeof(parameters) <> 'object' then
    perform common.refuse('CF001', 'the parameters are not a JSON object', 'Give {"num_trees": 300} or {}.');
  end if;
  select option.name into v_unknown from jsonb_object_keys(parameters) as option (name)
  where not option.name = any (allowed) order by 1 limit 1;
  if v_unknown is not null then
    perform common.refuse(
      'CF001',
      format('there is no parameter "%s"', left(v_unknown, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_unknown, allowed) || '"?',
        (select format('There are %s.', string_agg(left(option.name, 100), ', '))
          from unnest(allowed[:100]) as option (name))
      )
    );
  end if;
  return (select coalesce(string_agg(format(', %I => %L', option.name, option.value), '' order by option.name), '')
    from jsonb_each_text(parameters) as option (name, value));
end;
$$;

comment on function ml._named_arguments(jsonb, text[]) is $$
Parameters of a training as named arguments of a call. Error CF001 names the nearest to one that is unknown.
$$;

create or replace function ml._tree_features_document(model ml.tree_model, names text[])
returns jsonb
language sql
stable
begin atomic
  select jsonb_agg(
    jsonb_build_object('name', feature.name, 'type', feature.type)
    || case when feature.type = 'category' then jsonb_build_object('categories',
      (model).categories -> feature.quoted) else '{}' end
    order by feature.position
  )
  from rows from (
    unnest(names),
    unnest((model).independent_varnames),
    unnest((model).independent_vartypes)
  ) with ordinality as feature (name, quoted, type, position);
end;

comment on function ml._tree_features_document(ml.tree_model, text[]) is $$
The features of a model of trees as a document for the registry has them; `names` are the names without quotes.
$$;

create or replace function ml._gbm_document(model_table text, names text[], link text, classes text[])
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes jsonb;
begin
  -- The trees of a round follow each other in the order of the classes.
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature' - 'class'
      || jsonb_build_object('tree', %s, 'feature', (select feature.name
          from unnest(%L::text[], %L::text[]) as feature (name, quoted) where feature.quoted = grown.feature))
    ))
    from %s as grown
    $query$,
    case when classes is null then 'grown.tree'
      else format('(grown.tree - 1) * %s + array_position(%L::text[], grown.class)', cardinality(classes), classes) end,
    names, v_model.independent_varnames, model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', link, 'nodes', coalesce(v_nodes, '[]'),
    'features', ml._tree_features_document(v_model, names)
  ) || case
    when classes is null then jsonb_build_object('intercept', v_model.base_score)
    else jsonb_build_object(
      'classes', classes,
      'intercepts', (
        select jsonb_agg(v_model.base_scores[array_position(v_model.dependent_var_levels, class)] order by place)
        from unnest(classes) with ordinality as listed (class, place)
      ),
      'tree_classes', (
        select coalesce(jsonb_agg(1 + (tree - 1) % cardinality(classes) order by tree), '[]')
        from generate_series(1, (select max((node ->> 'tree')::int) from jsonb_array_elements(v_nodes) as node)) as tree
      )
    )
  end;
end;
$$;

comment on function ml._gbm_document(text, text[], text, text[]) is $$
A model of ml.gbm_train as a document for the registry; `names` are its features without quotes, in order.
`classes` are those of a model of several, null for one answer.
$$;

create or replace function ml._forest_document(model_table text, names text[], classes text[])
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['tree_train', 'forest_train']);
  v_outputs constant int := coalesce(cardinality(classes), 1);
  v_nodes jsonb;
begin
  -- The answer is the mean of the trees: each tree once for each class, with the share of the class in its leaves.
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature' - 'distribution' - 'value'
      || jsonb_build_object(
        'tree', (grown.tree - 1) * %1$s + place,
        'feature', (select feature.name
          from unnest(%2$L::text[], %3$L::text[]) as feature (name, quoted) where feature.quoted = grown.feature),
        'value', case when grown.feature is null then %4$s / %5$s::float8 end
      )
    ))
    from %6$s as grown
    cross join generate_series(1, %1$s) as place
    $query$,
    v_outputs, names, v_model.independent_varnames,
    case
      when v_model.dependent_var_levels is null then 'grown.value'
      when classes is null then format('grown.distribution[%s]', array_position(v_model.dependent_var_levels, '1'))
      else format('grown.distribution[array_position(%L::text[], (%L::text[])[place])]', v_model.dependent_var_levels,
        classes)
    end,
    v_model.num_trees, model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', 'identity', 'nodes', v_nodes, 'features', ml._tree_features_document(v_model, names)
  ) || case
    when classes is null then '{"intercept": 0}'
    else jsonb_build_object(
      'classes', classes, 'intercepts', array_fill(0, array[v_outputs]),
      'tree_classes', (
        select jsonb_agg(1 + (tree - 1) % v_outputs order by tree)
        from generate_series(1, v_model.num_trees * v_outputs) as tree
      )
    )
  end;
end;
$$;

comment on function ml._forest_document(text, text[], text[]) is $$
A model of ml.tree_train or ml.forest_train as a document for the registry, whose score is its answer.
`names` are its features without quotes, in order; `classes` are those of a model of several, null for one answer: a
number, or the probability of class 1.
$$;

create or replace function ml._linear_document(
  source_table text,
  names text[],
  task text,
  algorithm text,
  parameters jsonb,
  classes text[]
)
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
set extra_float_digits to 1
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_output constant text := ml._temporary('_ml_linear');
  v_dependent constant text := case task when 'classification' then '_ml_label = 1' else '_ml_label' end;
  v_options text;
  -- A feature that is text is one input for each category, which is compared with the rows where it is missing (or
  -- rare), and where none is missing with the most frequent category.
  v_inputs text[] := '{}';
  v_of int[] := '{}';
  v_category text[] := '{}';
  v_categories text[];
  v_categorical boolean[] := '{}';
  v_means float8[];
  v_deviations float8[];
  v_used int[];
  v_design text;
  -- A row for each output: the intercept and the coefficients of the inputs used.
  v_fitted float8[];
  v_coefficients float8[];
  v_outputs jsonb := '[]';
begin
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  for v_place in 1..cardinality(names) loop
    v_categorical := v_categorical || ml._is_category(common.expression_type(quote_ident(names[v_place]), v_relation,
      'feature'));
    if v_categorical[v_place] then
      execute format(
        'select array(select category from (select (%1$I)::text as category, count(*) as times from %2$s
           where %1$I is not null group by 1 order by times desc, category
           offset (select bool_and(%1$I is not null)::int from %2$s) limit 49) as listed
         order by category)',
        names[v_place], v_relation
      ) into v_categories;
      v_inputs := v_inputs || array(
        select format('(coalesce((%I)::text = %L, false)::int::float8)', names[v_place], category)
        from unnest(v_categories) with ordinality as listed (category, position)
        order by position
      );
    else
      v_categories := array[null::text];
      v_inputs := v_inputs || common.numeric_expression(quote_ident(names[v_place]), v_relation, 'feature');
    end if;
    v_category := v_category || v_categories;
    v_of := v_of || array_fill(v_place, array[cardinality(v_categories)]);
  end loop;
  execute format(
    'select array[%s]::float8[], array[%s]::float8[] from %s',
    (select string_agg(format('coalesce(avg(nullif(%s, ''NaN'')), 0)', input), ', ' order by position)
      from unnest(v_inputs) with ordinality as feature (input, position)),
    (select string_agg(format('coalesce(stddev_pop(nullif(%s, ''NaN'')), 0)', input), ', ' order by position)
      from unnest(v_inputs) with ordinality as feature (input, position)),
    v_relation
  ) into v_means, v_deviations;
  -- A missing value counts as the mean; a constant feature has no coefficient.
  v_used := array(select place from generate_series(1, cardinality(v_inputs)) as place
    where v_deviations[place] > 1e-12 * abs(v_means[place]) order by place);
  if v_used = '{}' then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(names, ', ')));
  end if;
  select string_agg(format('(coalesce(nullif(%s, ''NaN''), %L::float8) - %L::float8) / %L::float8', v_inputs[place],
      v_means[place], v_means[place], v_deviations[place]), ', ' order by place)
  into v_design
  from unnest(v_used) as place;
  if algorithm = 'elastic_net' then
    v_options := ml._named_arguments(parameters, array['alpha', 'lambda_value', 'max_iter', 'tolerance']);
    v_options := case when parameters ? 'alpha' then '' else ', alpha => 0' end || case
      when parameters ? 'lambda_value' then '' else ', lambda_value => 0.01' end || v_options;
    execute format(
      'select ml.elastic_net_train(%L, %L, %L, %L, %L %s)',
      source_table, v_output, v_dependent, format('array[%s]', v_design), case task
        when 'classification' then 'binomial' else 'gaussian' end, v_options
    );
    execute format('select array[array[intercept] || coef_all] from %s', v_output) into v_fitted;
  elsif algorithm = 'mlogregr' then
    -- The first class is the reference: its coefficients are 0.
    v_options := ml._named_arguments(parameters, array['max_iter', 'tolerance']);
    execute format(
      'select ml.mlogregr_train(%L, %L, %L, %L, 0, %L)', source_table, v_output,
      format('array_position(%L::text[], _ml_label) - 1', classes), format('array[1, %s]', v_design),
      format('max_iter=%s, tolerance=%s', coalesce(parameters ->> 'max_iter', '20'),
        coalesce(parameters ->> 'tolerance', '1e-6'))
    );
    execute format(
      'select array[array_fill(0::float8, array[%s])] || array_agg(coef order by category) from %s',
      cardinality(v_used) + 1, v_output
    ) into v_fitted;
  else
    v_options := ml._named_arguments(parameters, case algorithm when 'logregr' then array['max_iter', 'tolerance']
      else '{}' end);
    execute format('select ml.%I(%L, %L, %L, %L %s)', algorithm || '_train', source_table, v_output, v_dependent,
      format('array[1, %s]', v_design), v_options);
    execute format('select array[coef] from %s', v_output) into v_fitted;
  end if;
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  foreach v_coefficients slice 1 in array v_fitted loop
    v_outputs := v_outputs || jsonb_build_object(
      'kind', 'linear',
      'link', case when classes is null and task = 'classification' then 'logit' else 'identity' end,
      'intercept', v_coefficients[1] - (select sum(v_coefficients[position + 1] * v_means[place] / v_deviations[place])
        from unnest(v_used) with ordinality as used (place, position)),
      'features', (
        select jsonb_agg(
          case when v_categorical[feature.place] then (
            select jsonb_build_object('name', names[feature.place], 'type', 'category',
              'categories', coalesce(jsonb_agg(v_category[input] order by input), '[]'),
              'coefficients', coalesce(jsonb_agg(fitted.coefficient order by input), '[]'))
            from generate_subscripts(v_of, 1) as input
            cross join lateral (
              select coalesce(v_coefficients[array_position(v_used, input) + 1] / nullif(v_deviations[input], 0), 0)
            ) as fitted (coefficient)
            where v_of[input] = feature.place
          )
          else (
            select jsonb_build_object('name', names[feature.place], 'type', 'number', 'mean', v_means[input],
              'coefficient',
              coalesce(v_coefficients[array_position(v_used, input) + 1] / nullif(v_deviations[input], 0), 0))
            from array_position(v_of, feature.place) as input
          ) end
          order by feature.place
        )
        from generate_series(1, cardinality(names)) as feature (place)
      )
    );
  end loop;
  if classes is null then
    return v_outputs -> 0;
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', 'softmax', 'classes', classes, 'outputs', v_outputs,
    'features', (
      select jsonb_agg(jsonb_build_object('name', feature -> 'name', 'type', feature -> 'type') order by position)
      from jsonb_array_elements(v_outputs -> 0 -> 'features') with ordinality as listed (feature, position)
    )
  );
end;
$$;

comment on function ml._linear_document(text, text[], text, text, jsonb, text[]) is $$
A linear or logistic model of the column `_ml_label` of a table, as a document for the registry.
For several `classes` it is multinomial, null otherwise.
It is trained on standardised features, those that are missing being the mean, and its coefficients are in the
features' own units. Text has a coefficient for each of up to 49 categories, compared with
missing values, or without any with the most frequent category.
$$;

create or replace function ml._label_classes(rows_table text, label text)
returns text[]
language plpgsql
volatile
as $$
declare
  v_wrong float8;
  v_several boolean := true;
  v_classes text[];
begin
  if common.expression_type('_ml_label', rows_table::regclass, 'label') <> 'text'::regtype then
    execute format(
      'select min(_ml_label) filter (where _ml_label <> round(_ml_label) or abs(_ml_label) >= 1e15),
         coalesce(bool_or(_ml_label not in (0, 1)), false)
       from %s',
      rows_table
    ) into v_wrong, v_several;
    if v_wrong is not null then
      perform common.refuse('CF001', format('"%s" holds %s, a class is 0 or 1, or an integer', label, v_wrong),
        'Give a boolean or 0 and 1, text or integers for several classes, or choose regression.');
    elsif not v_several then
      return null;
    end if;
    execute format('alter table %s alter column _ml_label type text using _ml_label::bigint::text', rows_table);
  end if;
  execute format(
    $query$
    select array(
      select _ml_label from %s where _ml_part < 2 and _ml_label is not null
      group by 1
      -- Numbers in the order of numbers, names in that of names.
      order by case when _ml_label ~ '^-?[0-9]{1,18}$' then _ml_label::bigint end, _ml_label collate "C"
      limit 101
    )
    $query$,
    rows_table
  ) into v_classes;
  if cardinality(v_classes) > 100 then
    perform common.refuse('CF008', format('"%s" has more than 100 classes', label),
      'Group the rare ones, or choose regression for a number.');
  elsif cardinality(v_classes) = 1 then
    perform common.refuse('CF004', format('"%s" holds one class only, %s', label, left(v_classes[1], 100)),
      'A model needs at least two classes.');
  end if;
  return v_classes;
end;
$$;

comment on function ml._label_classes(text, text) is $$
The classes of `_ml_label` in the rows to train on, after it became text; null where it is 0 and 1.
`rows_table` is written by ml._divide. Errors: CF001 (not integers), CF004 (one class), CF008 (over 100).
$$;

create or replace function ml.train(
  project text,
  task text,
  source_table text,
  id_col_name text,
  label text,
  features text default '*',
  features_to_exclude text default null,
  algorithm text default 'gbm',
  parameters jsonb default '{}',
  predicted_at text default null,
  label_known_at text default null,
  feature_known_at text default null,
  group_column text default null,
  holdout text default null,
  holdout_share float8 default 0.25,
  calibration text default null,
  metric text default null,
  seed bigint default 0,
  description text default null
)
returns ml.training
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_rows constant text := ml._temporary('_ml_train_row');
  v_seen constant text := ml._temporary('_ml_train_seen');
  v_model_table constant text := ml._temporary('_ml_train_model');
  v_scored constant text := ml._temporary('_ml_train_scored');
  v_listed text[];
  v_names text[];
  v_calibration text := coalesce(calibration, case when task = 'classification' and algorithm = 'gbm' then 'platt'
    else 'none' end);
  v_classes text[];
  v_link constant text := case task when 'classification' then 'logit' else 'identity' end;
  v_document jsonb;
  v_version int;
  v_model ml.model;
  v_result ml.training;
  v_counts record;
begin
  if task is null or task not in ('regression', 'classification') then
    perform common.refuse('CF001', format('there is no task "%s"', coalesce(left(task, 100), 'null')),
      'Choose regression or classification.');
  elsif algorithm is null or algorithm not in ('gbm', 'tree', 'forest', 'elastic_net', 'linregr', 'logregr', 'mlogregr')
    or (algorithm = 'linregr' and task <> 'regression')
    or (algorithm in ('logregr', 'mlogregr') and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no algorithm "%s" for a %s', coalesce(left(algorithm, 100), 'null'), left(task, 100)),
      format(
        'Choose gbm (boosted trees), forest, tree, elastic_net or %s.',
        case task when 'regression' then 'linregr' else 'logregr; for several classes mlogregr' end
      )
    );
  elsif v_calibration not in ('none', 'platt', 'isotonic')
    or (v_calibration <> 'none' and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no calibration "%s" for a %s', left(v_calibration, 100), left(task, 100)),
      'Choose none, platt or isotonic; the last two make probabilities.'
    );
  end if;
  execute format('drop table if exists %s, %s, %s cascade', v_model_table, v_model_table || '_summary', v_scored);
  v_listed := ml._divide(
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at,
    group_column, holdout, holdout_share, seed
  );
  v_names := array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position)
    order by position);
  if task = 'classification' then
    v_classes := ml._label_classes(v_rows, left(label, 100));
  elsif common.expression_type('_ml_label', v_rows::regclass, 'label') = 'text'::regtype then
    perform common.refuse('CF001', format('label: "%s" is text', left(label, 100)),
      'Give a column or an expression of numbers, or choose classification.');
  end if;
  execute format(
    'select count(*) filter (where _ml_part < 2) as seen, count(*) filter (where _ml_part = 1) as validating,
      count(*) filter (where _ml_part = 2) as held, max(_ml_known_at) filter (where _ml_part < 2) as watermark
     from %s where _ml_label is not null',
    v_rows
  ) into v_counts;
  if v_counts.seen = 0 or v_counts.held = 0 then
    perform common.refuse('CF004', format('%s rows to train on and %s held out', v_counts.seen, v_counts.held),
      'Both parts need rows with a label.');
  end if;
  if v_classes is not null then
    if algorithm not in ('gbm', 'tree', 'forest', 'mlogregr') or coalesce(calibration, 'none') <> 'none' then
      perform common.refuse(
        'CF001',
        format('"%s" has %s classes, and %s answers for two', left(label, 100), cardinality(v_classes),
          case when coalesce(calibration, 'none') <> 'none' then 'a calibration' else left(algorithm, 100) end),
        'Choose gbm, forest, tree or mlogregr without a calibration, or give a boolean or 0 and 1.'
      );
    end if;
    v_calibration := 'none';
  elsif algorithm = 'mlogregr' then
    perform common.refuse('CF001', format('"%s" has two classes, 0 and 1', left(label, 100)), 'Choose logregr.');
  end if;

  if algorithm = 'gbm' then
    -- A fifth of the rows stops the boosting and fits the calibration, where there are enough rows.
    execute format('create temporary view _ml_train_seen as select * from %s where _ml_part < 2', v_rows);
    execute format(
      'select ml.gbm_train(%L, %L, %L, ''_ml_label'', %L, objective => %L, validation => %L, seed => %L %s)',
      v_seen, v_model_table, id_col_name, array_to_string(v_listed, ', '),
      case when v_classes is not null then 'softmax' when task = 'classification' then 'logistic'
        else 'squared_error' end,
      case when v_counts.validating >= 50 then '_ml_part = 1' end, seed,
      ml._named_arguments(parameters, array[
        'num_trees', 'learning_rate', 'max_depth', 'min_rows', 'min_child_weight', 'lambda', 'gamma', 'row_sample',
        'feature_sample', 'max_bins', 'early_stopping_rounds'
      ])
    );
    v_document := ml._gbm_document(v_model_table, v_names, case when v_classes is null then v_link else 'softmax' end,
      v_classes);
  else
    execute format(
      'create temporary view _ml_train_seen as select * from %s where _ml_label is not null and _ml_part < %s',
      v_rows, case when v_calibration = 'none' then 2 else 1 end
    );
    if algorithm in ('tree', 'forest') then
      execute format(
        'select ml.%I(%L, %L, %L, %L, %L %s %s)',
        algorithm || '_train', v_seen, v_model_table, id_col_name,
        case when v_classes is null and task = 'classification' then '_ml_label::int' else '_ml_label' end,
        array_to_string(v_listed, ', '), case when algorithm = 'forest' then format(', seed => %L', seed) end,
        ml._named_arguments(parameters, case algorithm
          when 'tree' then array['split_criterion', 'max_depth', 'min_split', 'min_bucket', 'num_splits',
            'pruning_params']
          else array['num_trees', 'num_random_features', 'max_tree_depth', 'min_split', 'min_bucket', 'num_splits',
            'sample_ratio']
        end)
      );
      v_document := ml._forest_document(v_model_table, v_names, v_classes);
    else
      v_document := ml._linear_document(v_seen, v_names, task, algorithm, parameters, v_classes);
    end if;
  end if;
  execute format('drop view %s', v_seen);

  v_version := ml.register_model(
    project, task, algorithm, v_document, '{}',
    parameters || jsonb_strip_nulls(jsonb_build_object(
      -- With its schema, so that it means the same to any role that watches the model.
      'source_table', (
        select format('%I.%I', namespace.nspname, class.relname)
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = common.relation(train.source_table)
      ),
      'id_col_name', id_col_name, 'label', label, 'features', v_names, 'predicted_at', predicted_at,
      'label_known_at', label_known_at, 'feature_known_at', feature_known_at, 'group_column', group_column, 'holdout',
      holdout,
      'holdout_share', case when holdout is null then holdout_share end, 'calibration', v_calibration
    )),
    metric, seed, v_counts.watermark, v_counts.seen, null, description
  );
  v_model := ml._version(project, v_version);

  if v_calibration <> 'none' and v_counts.validating >= 50 then
    execute format(
      'create temporary table _ml_train_scored on commit drop as select observed, %s as score
        from (select _ml_label as observed, %s from %s where _ml_part = 1 and _ml_label is not null offset 0) as input',
      ml._score_expression(v_model), ml._feature_list(v_model.coefficients, v_rows::regclass), v_rows
    );
    v_model := ml._calibrate(v_model.model_id, ml._fit_calibration(v_scored, v_calibration));
  end if;
  v_result := ml._challenge(
    v_model, v_rows::regclass, '_ml_label', '_ml_part = 2',
    ml._profile(
      format('(select %s from %s where _ml_part < 2)', ml._feature_list(v_model.coefficients, v_rows::regclass),
        v_rows), v_model.coefficients),
    v_started_at
  );
  execute format('drop table if exists %s, %s, %s, %s cascade', v_rows, v_model_table, v_model_table || '_summary',
    v_scored);
  return v_result;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, common.relation(source_table));
end;
$$;

comment on function ml.train(
  text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text, bigint,
  text
) is $$
@behavior -*
Trains a version of a project on a table or view and deploys it if it is better.
It is measured on rows held out, and compared with the deployed version on the same rows.
`task` is classification (label boolean, or 0 and 1; text or integers for 2 to 100 classes) or regression; `algorithm`
is gbm, forest or tree (with missing values and categories), elastic_net, linregr, logregr or, for several classes,
mlogregr (text has a coefficient for each category); `parameters` are those of ml.gbm_train and so on, by name.
`features` are columns, `*` all others; columns of the label are not features.
What is held out: with `predicted_at` the latest rows, by ml.time_split, which refuses features that use anything
later (`feature_known_at`) and leaves out rows whose label was not known by then (`label_known_at`); or the rows for
which `holdout` is true; or a share by a hash of the id, or of `group_column`, so that no group is in two parts.
A fifth of the rest, where that is 50 rows or more, stops the boosting and fits the calibration (`platt`, `isotonic`
or `none`; by default Platt's for boosted classifiers).
Metrics: area_under_roc, average_precision, log_loss, brier_score, calibration_error; for several classes log_loss,
accuracy, macro_f1; root_mean_squared_error, mean_abs_error, r2_score. `metric` judges the versions of a new project.
The same seed and data give the same model. Errors: CF001 (an argument, a leak), CF002, CF004 (no rows, one class),
CF005, CF007 (collinear, separated), CF010 (the project has another task).
$$;

grant execute on function
  ml._named_arguments(jsonb, text[]), ml._tree_features_document(ml.tree_model, text[]),
  ml._gbm_document(text, text[], text, text[]), ml._forest_document(text, text[], text[]),
  ml._linear_document(text, text[], text, text, jsonb, text[]), ml._label_classes(text, text),
  ml.train(text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text,
    bigint, text)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/train.sql

--! Included ml/registry/export_training_set.sql
create or replace function ml._csv(value text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when value is null then ''
    -- An empty string is quoted, an unknown value is nothing.
    when value = '' or value ~ '[",\n\r]' or value ~ '^\s|\s$' then '"' || replace(value, '"', '""') || '"'
    else value
  end;
end;

comment on function ml._csv(text) is $$A field of CSV (RFC 4180): null is nothing, what needs quotes has them.$$;

create or replace function ml.export_training_set(
  source_table text,
  id_col_name text,
  label text,
  features text default '*',
  features_to_exclude text default null,
  predicted_at text default null,
  label_known_at text default null,
  feature_known_at text default null,
  group_column text default null,
  holdout text default null,
  holdout_share float8 default 0.25,
  seed bigint default 0
)
returns setof text
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set client_min_messages to warning
as $$
declare
  v_rows constant text := ml._temporary('_ml_train_row');
  v_listed text[];
  v_id text;
begin
  v_listed := ml._divide(
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at,
    group_column, holdout, holdout_share, seed
  );
  v_id := common.column_name(v_rows::regclass, id_col_name, 'id column');
  return next (
    select string_agg(ml._csv(name), ',' order by position)
    from unnest(array['part', 'id', 'label']
      || array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position)
        order by position))
      with ordinality as head (name, position)
  );
  return query execute format(
    'select concat((array[''train'', ''validation'', ''holdout''])[_ml_part + 1], '','', ml._csv((%1$s)::text), '','',
        ml._csv(_ml_label::text), %2$s) from %3$s where _ml_label is not null order by %1$s',
    v_id,
    (
      select string_agg(
        format(''','', %s', case
          when common.expression_type(name, v_rows::regclass, 'feature') = 'boolean'::regtype then format('(%s)::int',
            name)
          else format('ml._csv((%s)::text)', name)
        end),
        ', ' order by position
      )
      from unnest(v_listed) with ordinality as feature (name, position)
    ),
    v_rows
  );
  execute format('drop table if exists %s', v_rows);
end;
$$;

comment on function ml.export_training_set(
  text, text, text, text, text, text, text, text, text, text, float8, bigint
) is $$
@behavior -*
The rows that ml.train would train on, as lines of CSV, the head first:
`part` (train, validation or holdout), `id`, `label` and the features, in the order of the ids.
For models that are made elsewhere: the same arguments divide the rows as ml.train does, with the same guard against
leaks. Booleans are 0 and 1, a label that is text stays text, unknown values empty, times as ISO 8601. Rows without a
label are left out. Errors: as ml.train's.
$$;

grant execute on function ml._csv(text),
  ml.export_training_set(text, text, text, text, text, text, text, text, text, text, float8, bigint)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/export_training_set.sql

--! Included ml/registry/_xgboost_link.sql
create or replace function ml._xgboost_link(objective text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if objective in ('binary:logistic', 'reg:logistic') then
    return 'logit';
  elsif objective in ('count:poisson', 'reg:gamma', 'reg:tweedie') then
    return 'log';
  elsif objective in ('multi:softprob', 'multi:softmax') then
    return 'softmax';
  elsif objective in (
    'reg:squarederror', 'reg:linear', 'reg:pseudohubererror', 'reg:absoluteerror', 'reg:squaredlogerror',
    'reg:quantileerror', 'binary:logitraw'
  ) or objective like 'rank:%' then
    return 'identity';
  end if;
  perform common.refuse(
    'CF009',
    format('the objective "%s" is not known here', coalesce(left(objective, 100), 'null')),
    'There are reg:squarederror, reg:absoluteerror, reg:pseudohubererror, reg:squaredlogerror, '
      || 'reg:quantileerror, reg:logistic, binary:logistic, binary:logitraw, multi:softprob, multi:softmax, '
      || 'count:poisson, reg:gamma, reg:tweedie and rank:….'
  );
end;
$$;

comment on function ml._xgboost_link(text) is $$
The link of an objective of XGBoost: logit, log, softmax or identity. Error CF009.
$$;

grant execute on function ml._xgboost_link(text) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_xgboost_link.sql

--! Included ml/registry/_imported_classes.sql
create or replace function ml._imported_classes(
  document jsonb,
  class_count int,
  intercepts float8[],
  tree_classes int[]
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if class_count not between 2 and 100 then
    perform common.refuse('CF009', format('the model has %s classes', class_count), 'There are 2 to 100 classes.');
  elsif document ? 'classes' and (
    jsonb_typeof(document -> 'classes') is distinct from 'array'
    or jsonb_array_length(document -> 'classes') <> class_count
    or exists (select from jsonb_array_elements(document -> 'classes') as class (name)
      where jsonb_typeof(name) <> 'string')
  ) then
    perform common.refuse(
      'CF009',
      format('the classes are %s, and the model has %s', left((document -> 'classes')::text, 100), class_count),
      'Give the name of each class as a string, in the order of the library; without names they are 0, 1, 2, ….'
    );
  end if;
  return jsonb_build_object(
    'classes', coalesce(document -> 'classes', (
      select jsonb_agg(place::text order by place) from generate_series(0, class_count - 1) as place
    )),
    'intercepts', intercepts, 'tree_classes', tree_classes
  );
end;
$$;

comment on function ml._imported_classes(jsonb, int, float8[], int[]) is $$
The part of the document of trees that only models of several classes have.
The names of the classes are taken from `classes` of the given document. Error CF009.
$$;

grant execute on function ml._imported_classes(jsonb, int, float8[], int[]) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_imported_classes.sql

--! Included ml/registry/_xgboost_bases.sql
create or replace function ml._xgboost_bases(base_score jsonb, class_count int)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- 0.5 for all classes, and from version 3.1 on "[2E-1,-1E-1,0E0]": one for each.
  v_parts constant text[] := string_to_array(btrim(base_score #>> '{}', E'[]" \t\n'), ',');
begin
  if cardinality(v_parts) > 1 and cardinality(v_parts) <> class_count then
    perform common.refuse(
      'CF009',
      format('there are %s base scores for %s classes', cardinality(v_parts), class_count),
      'There is one base score for all classes or one for each.'
    );
  elsif cardinality(v_parts) > 1 then
    return array(
      select ml._xgboost_base(to_jsonb(part), 'identity')
      from unnest(v_parts) with ordinality as listed (part, place)
      order by place
    );
  end if;
  return array_fill(ml._xgboost_base(base_score, 'identity'), array[class_count]);
end;
$$;

comment on function ml._xgboost_bases(jsonb, int) is $$
The base score of each class of a model of XGBoost. Error CF009: absent, or of another number of classes.
$$;

grant execute on function ml._xgboost_bases(jsonb, int) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_xgboost_bases.sql

--! Included ml/registry/_import_xgboost.sql
create or replace function ml._import_xgboost(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := case when jsonb_typeof(document) = 'array' then jsonb_build_object('trees', document)
    else document end;
  v_booster constant text := coalesce(v_given ->> 'booster', case when v_given ? 'weight_drop' then 'dart' end);
  v_link text;
  v_base float8;
  v_classes int;
  v_weights float8[];
  v_trees jsonb[];
  v_nodes jsonb;
  v_wrong text;
begin
  if jsonb_typeof(v_given -> 'trees') is distinct from 'array' or jsonb_array_length(v_given -> 'trees') = 0 then
    perform common.refuse(
      'CF009',
      'the document has no list of trees',
      'Give what get_dump(dump_format="json") gives, or {"trees": that, "objective": "binary:logistic", '
        || '"base_score": 0.5}.'
    );
  end if;
  v_link := ml._xgboost_link(coalesce(v_given ->> 'objective', 'reg:squarederror'));
  if v_link = 'softmax' then
    v_classes := case when v_given ->> 'num_class' ~ '^\d{1,5}$' then (v_given ->> 'num_class')::int
      when jsonb_typeof(v_given -> 'classes') = 'array' then jsonb_array_length(v_given -> 'classes') end;
    if v_classes is null then
      perform common.refuse('CF009', 'the number of classes is not given, and a dump does not contain it',
        'Give "num_class": 3, or prefer what save_model("model.json") writes.');
    end if;
  else
    v_base := ml._xgboost_base(v_given -> 'base_score', v_link);
  end if;
  v_weights := ml._tree_weights(v_booster, v_given -> 'weight_drop', jsonb_array_length(v_given -> 'trees'));
  begin
    -- get_dump gives a list of strings.
    v_trees := array(
      select case when jsonb_typeof(element) = 'string' then (element #>> '{}')::jsonb else element end
      from jsonb_array_elements(v_given -> 'trees') with ordinality as listed (element, position)
      order by position
    );
  exception when invalid_text_representation or untranslatable_character then
    perform common.refuse('CF009', format('the trees cannot be read: %s', left(sqlerrm, 100)),
      'A tree is a JSON object or its text.');
  end;

  begin
    with recursive dumped as (
      select position::int as tree, element as node, null::int as parent, 0 as depth
      from unnest(v_trees) with ordinality as listed (element, position)

      union all

      select dumped.tree, child.node, case
        when dumped.node ->> 'nodeid' ~ '^\d{1,9}$' then (dumped.node ->> 'nodeid')::int end, dumped.depth + 1
      from dumped
      cross join lateral jsonb_array_elements(case
        when jsonb_typeof(dumped.node -> 'children') = 'array' then dumped.node -> 'children' else '[]' end)
          as child (node)
    ), checked as (
      select
        *,
        case
          when jsonb_typeof(node) <> 'object' or coalesce(node ->> 'nodeid', '') !~ '^\d{1,9}$' then 'has no nodeid'
          when count(*) over (partition by tree, node ->> 'nodeid') > 1 then 'occurs twice'
          when node ? 'leaf' and jsonb_typeof(node -> 'leaf') <> 'number' then 'has a leaf that is not a number'
          when node ? 'leaf' then null
          when coalesce(jsonb_typeof(node -> 'split'), '') <> 'string' then 'has neither leaf nor split'
          when not node ? 'split_condition'
            then 'splits a yes-or-no column, and a dump does not say which of its children is which'
          when jsonb_typeof(node -> 'children') is distinct from 'array' or jsonb_array_length(node -> 'children') <> 2
            or not (node -> 'children' -> 0 -> 'nodeid' in (node -> 'yes', node -> 'no')
              and node -> 'children' -> 1 -> 'nodeid' in (node -> 'yes', node -> 'no')
                and node -> 'yes' <> node -> 'no')
            then 'does not have yes and no as its two children'
          when node ? 'missing'
            and node -> 'missing' not in (node -> 'yes', node -> 'no')
              then 'sends missing values neither to yes nor to no'
          when jsonb_typeof(node -> 'split_condition') not in ('number', 'array')
              then 'has a split_condition that is neither a number nor a list of categories'
          when jsonb_typeof(node -> 'split_condition') = 'array'
            and jsonb_typeof(v_given -> 'categories' -> (node ->> 'split')) is distinct from 'array'
            then format('splits the category "%s", whose values are not listed', node ->> 'split')
        end as wrong
      from dumped
    ), numbered as (
      select *, row_number() over (partition by tree order by depth, lpad(node ->> 'nodeid', 9, '0')) - 1 as number
      from checked
    ), converted as (
      select
        one.tree, one.number as node, parent.number as parent, one.node ->> 'split' as feature,
        -- As XGBoost holds it: in four bytes.
        case when not one.node ? 'leaf' and jsonb_typeof(one.node -> 'split_condition') = 'number'
          then ml._single_precision((one.node ->> 'split_condition')::float8) end as threshold,
        case when jsonb_typeof(one.node -> 'split_condition') = 'array' then one.node -> 'split_condition'
          end as categories,
        case when not one.node ? 'leaf' then coalesce(one.node -> 'missing' = one.node -> 'yes', true)
          end as missing_left,
        one.node -> 'yes' as left_id, one.node -> 'no' as right_id,
        case when jsonb_typeof(one.node -> 'leaf') = 'number' then (one.node ->> 'leaf')::float8 * v_weights[one.tree]
          end as value, one.node -> 'gain' as gain, one.node -> 'cover' as cover, one.wrong,
          one.node ->> 'nodeid' as nodeid
      from numbered as one
      left join numbered as parent on parent.tree = one.tree and parent.node ->> 'nodeid' = one.parent::text
    )
    select
      min(format('tree %s: node %s %s', converted.tree, coalesce(converted.nodeid, '?'), converted.wrong))
        filter (where converted.wrong is not null),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', converted.tree, 'node', converted.node, 'parent', converted.parent, 'feature',
        converted.feature, 'threshold', converted.threshold,
        'categories', converted.categories, 'missing_left', converted.missing_left, 'left_node',
        left_child.node, 'right_node', right_child.node,
        'value', converted.value, 'gain', converted.gain, 'cover', coalesce(converted.cover, '0')
      )) order by converted.tree, converted.node)
    into v_wrong, v_nodes
    from converted
    left join converted as left_child on left_child.tree = converted.tree
      and left_child.nodeid = converted.left_id #>> '{}'
    left join converted as right_child on right_child.tree = converted.tree
      and right_child.nodeid = converted.right_id #>> '{}';
  exception when numeric_value_out_of_range then
    perform common.refuse('CF009', format('a number of the trees cannot be stored: %s', left(sqlerrm, 100)),
      'Numbers lie between 1e-307 and 1e308.');
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      left(v_wrong, 300),
      'Give what save_model("model.json") writes, which contains everything, or get_dump(with_stats=True, '
        || 'dump_format="json") with the values of categories: "categories": {"country": ["at", "de"]}.'
    );
  elsif v_booster is null and v_link = 'logit' and not ml._plain_boosting(v_nodes, v_base) then
    perform common.refuse(
      'CF009',
      'a dump does not say whether the trees are weighted, and one of these trees did not follow those before it',
      'Add "booster": "gbtree" if rows were sampled (subsample) or trees grown side by side; for "dart" add its '
        || '"weight_drop", or give what save_model("model.json") writes.'
    );
  end if;
  if v_link = 'softmax' then
    -- A dump lists the trees of a round in the order of the classes.
    return ml._tree_document(v_nodes, v_link, 0, v_given -> 'categories', true) - 'intercept'
      || ml._imported_classes(v_given, v_classes, ml._xgboost_bases(v_given -> 'base_score', v_classes), array(
        select 1 + (tree - 1) % v_classes from generate_series(1, cardinality(v_trees)) as tree order by tree
      ));
  end if;
  return ml._tree_document(v_nodes, v_link, v_base, v_given -> 'categories', true);
end;
$$;

comment on function ml._import_xgboost(jsonb) is $$
A model document of trees in XGBoost's JSON dump.
Numbers are compared in single precision, as XGBoost does. Error CF009 names the tree and the node.
$$;

grant execute on function ml._import_xgboost(jsonb) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_import_xgboost.sql

--! Included ml/registry/_xgboost_tree_count.sql
create or replace function ml._xgboost_tree_count(document jsonb, tree_count int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_booster constant jsonb := document #> '{model,learner,gradient_booster}';
  v_model constant jsonb := coalesce(v_booster #> '{gbtree,model}', v_booster -> 'model');
  v_range constant jsonb := document -> 'iteration_range';
  v_best constant text := document #>> '{model,learner,attributes,best_iteration}';
  v_parallel constant text := coalesce(v_model #>> '{gbtree_model_param,num_parallel_tree}', '1');
  v_classes constant text := coalesce(document #>> '{model,learner,learner_model_param,num_class}', '1');
  v_iterations numeric;
  v_count numeric;
begin
  if v_range is not null and not coalesce(jsonb_typeof(v_range) = 'array' and jsonb_array_length(v_range) = 2
    and v_range ->> 0 = '0' and v_range ->> 1 ~ '^\d{1,9}$', false) then
    perform common.refuse('CF009', format('the iteration_range is %s', left(v_range::text, 100)),
      'Give [0, 50] for the first 50 iterations, or [0, 0] for all.');
  end if;
  v_iterations := case
    when v_range is not null then nullif((v_range ->> 1)::numeric, 0)
    when v_best ~ '^\d{1,9}$' then v_best::numeric + 1
  end;
  v_count := coalesce(
    case when jsonb_typeof(v_model -> 'iteration_indptr') = 'array'
      then (v_model -> 'iteration_indptr' ->> trunc(least(v_iterations, 1000000000))::int)::numeric end,
    v_iterations * case when v_parallel ~ '^\d{1,6}$' then greatest(v_parallel::int, 1) else 1 end
      * case when v_classes ~ '^\d{1,5}$' then greatest(v_classes::int, 1) else 1 end,
    tree_count
  );
  return least(v_count, tree_count);
exception when invalid_text_representation then
  perform common.refuse('CF009', 'the iterations of the model cannot be read',
    'Give what save_model("model.json") writes, unchanged.');
end;
$$;

comment on function ml._xgboost_tree_count(jsonb, int) is $$
The number of trees that answer: those up to the best iteration, as in scikit-learn's interface of XGBoost.
`iteration_range` of the document takes precedence. Error CF009.
$$;

grant execute on function ml._xgboost_tree_count(jsonb, int) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_xgboost_tree_count.sql

--! Included ml/registry/_import_xgboost_model.sql
/*
 * A saved model is made of arrays, one entry for each node of a tree. They become rows, are checked as rows, and the
 * nodes that can be reached from a root are numbered from the top, so that parents come before their children.
 */
create or replace function ml._import_xgboost_model(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_learner constant jsonb := document #> '{model,learner}';
  v_booster constant jsonb := v_learner -> 'gradient_booster';
  v_parameters constant jsonb := v_learner -> 'learner_model_param';
  v_model constant jsonb := coalesce(v_booster #> '{gbtree,model}', v_booster -> 'model');
  v_categories constant jsonb := document -> 'categories';
  v_link text;
  v_base float8;
  v_classes int;
  v_tree_classes int[];
  v_weights float8[];
  v_trees int;
  v_nodes jsonb;
  v_wrong text;
begin
  if jsonb_typeof(v_model -> 'trees') is distinct from 'array' or jsonb_typeof(v_parameters) is distinct from 'object'
  then
    perform ml._tree_weights(v_booster ->> 'name', null, 1);
    perform common.refuse('CF009', 'the model has no list of trees',
      'Give what save_model("model.json") writes: {"learner": {"gradient_booster": …, "learner_model_param": …}}.');
  end if;
  v_link := ml._xgboost_link(v_learner #>> '{objective,name}');
  v_classes := case when v_link = 'softmax' and v_parameters ->> 'num_class' ~ '^\d{1,5}$'
    then (v_parameters ->> 'num_class')::int end;
  if v_link <> 'softmax' then
    v_base := ml._xgboost_base(v_parameters -> 'base_score', v_link);
  end if;
  v_trees := jsonb_array_length(v_model -> 'trees');
  v_weights := ml._tree_weights(v_booster ->> 'name', v_booster -> 'weight_drop', v_trees);
  v_wrong := case
    when v_link <> 'softmax' and coalesce(v_parameters ->> 'num_class', '0') not in ('0', '1')
      then format('%s classes', v_parameters ->> 'num_class')
    when coalesce(v_parameters ->> 'num_target', '1') not in ('0', '1')
      then format('%s targets', v_parameters ->> 'num_target')
    when exists (select from jsonb_array_elements(v_model -> 'trees') as tree
      where coalesce(tree #>> '{tree_param,size_leaf_vector}', '1') not in ('0', '1')) then 'leaves of several numbers'
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the model has %s', left(v_wrong, 100)),
      'A model has one answer, or with multi:softprob one for each class: train one model for each target.');
  elsif v_categories is not null and jsonb_typeof(v_categories) <> 'object' then
    perform common.refuse('CF009', format('the categories are %s', left(v_categories::text, 100)),
      'Give an object of lists by the code of XGBoost: {"country": ["at", "de"]} for 0 and 1.');
  elsif jsonb_array_length(coalesce(nullif(v_booster #> '{cats,enc}', 'null'), nullif(v_model #> '{cats,enc}', 'null'),
    '[]')) > 0 and v_categories is null then
    perform common.refuse('CF009', 'the model contains its categories in a form of its own',
      'Give their values by code: {"model": …, "categories": {"country": ["at", "de"]}} for 0 and 1.');
  end if;
  v_trees := ml._xgboost_tree_count(document, v_trees);
  if v_link = 'softmax' then
    v_tree_classes := array(
      select case when info ~ '^\d{1,4}$' then info::int + 1 end
      from jsonb_array_elements_text(case when jsonb_typeof(v_model -> 'tree_info') = 'array'
        then v_model -> 'tree_info' else '[]' end) with ordinality as listed (info, position)
      where position <= v_trees
      order by position
    );
    if v_classes is null or cardinality(v_tree_classes) <> v_trees
      or exists (select from unnest(v_tree_classes) as place where (place between 1 and v_classes) is not true) then
      perform common.refuse('CF009', 'the model does not give the class of each tree',
        'Give what save_model("model.json") writes, unchanged: num_class, and tree_info with a number for each tree.');
    end if;
  end if;

  begin
    with recursive tree as materialized (
      select (position - 1)::int as tree, stored
      from jsonb_array_elements(v_model -> 'trees') with ordinality as listed (stored, position)
      where position <= v_trees
    ), categorical as materialized (
      select tree.tree, part.node::int as node, array(
        select code::int
        from jsonb_array_elements_text(tree.stored -> 'categories') with ordinality as listed (code, position)
        where position > part.segment::int and position <= part.segment::int + part.size::int
      ) as codes
      from tree
      cross join lateral rows from (
        jsonb_array_elements_text(tree.stored -> 'categories_nodes'),
        jsonb_array_elements_text(tree.stored -> 'categories_segments'),
        jsonb_array_elements_text(tree.stored -> 'categories_sizes')
      ) as part (node, segment, size)
      where jsonb_typeof(tree.stored -> 'categories_nodes') = 'array'
    ), stored as materialized (
      select
        tree.tree, (part.position - 1)::int as node, part.left_child::int as left_child,
        part.right_child::int as right_child, part.default_left in ('1', 'true') as default_left,
        part.condition::float8 as condition, coalesce(part.split_type, '0') as split_type,
        part.gain::float8 as gain, part.cover::float8 as cover,
        coalesce(v_learner -> 'feature_names' ->> part.feature::int, 'f' || part.feature) as feature,
        categorical.codes
      from tree
      cross join lateral rows from (
        jsonb_array_elements_text(tree.stored -> 'left_children'),
        jsonb_array_elements_text(tree.stored -> 'right_children'),
        jsonb_array_elements_text(tree.stored -> 'default_left'),
        jsonb_array_elements_text(tree.stored -> 'split_indices'),
        jsonb_array_elements_text(tree.stored -> 'split_conditions'),
        jsonb_array_elements_text(coalesce(tree.stored -> 'split_type', '[]')),
        jsonb_array_elements_text(tree.stored -> 'loss_changes'),
        jsonb_array_elements_text(tree.stored -> 'sum_hessian')
      ) with ordinality as part (left_child, right_child, default_left, feature, condition, split_type, gain, cover,
        position)
      left join categorical on categorical.tree = tree.tree and categorical.node = part.position - 1
    ), child as materialized (
      select stored.tree, stored.node as parent, listed.node
      from stored
      cross join lateral (values (stored.left_child), (stored.right_child)) as listed (node)
      where stored.left_child <> -1
    ), walk as (
      select tree.tree, 0 as node, null::int as parent, 0 as depth
      from tree
      -- No loop: each node is the child of one node at most, and a root of none.
      where not exists (
        select from child group by child.tree, child.node having count(*) > 1 or child.node <= 0
      )
      union all
      select child.tree, child.node, child.parent, walk.depth + 1
      from walk
      join child on child.tree = walk.tree and child.parent = walk.node
    ), numbered as (
      select
        walk.tree, walk.node, walk.parent, stored.left_child, stored.right_child, stored.default_left,
        stored.condition, stored.split_type, stored.gain, stored.cover, stored.feature, stored.codes,
        row_number() over (partition by walk.tree order by walk.depth, walk.node) - 1 as number
      from walk
      left join stored using (tree, node)
    ), named as (
      select
        numbered.*,
        case when numbered.split_type = '1' and numbered.left_child <> -1 then array(
          select case when jsonb_typeof(v_categories -> numbered.feature) = 'array'
            then v_categories -> numbered.feature ->> code else code::text end
          from unnest(numbered.codes) with ordinality as listed (code, position)
          order by position
        ) end as categories
      from numbered
    )
    select
      coalesce(
        min(format('tree %s: node %s is incomplete', named.tree, named.node)) filter (where
          num_nulls(named.left_child, named.right_child, named.default_left, named.feature) > 0
          or (named.condition is null and not (named.split_type = '1' and named.left_child <> -1))
          or (named.split_type = '1' and named.left_child <> -1 and named.codes is null)
          or named.condition in ('NaN', 'Infinity', '-Infinity')),
        min(format('tree %s: node %s splits a category of "%s" that is not listed', named.tree, named.node,
          left(named.feature, 60))) filter (where array_position(named.categories, null) is not null),
        case when count(*) filter (where named.number = 0) < v_trees or count(*) = 0
          then 'the children of the trees make no trees' end
      ),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', named.tree + 1, 'node', named.number, 'parent', parent.number,
        'feature', case when named.left_child <> -1 then named.feature end,
        'threshold', case when named.left_child <> -1 and named.categories is null
          then ml._single_precision(named.condition) end,
        -- Those that are listed go right.
        'categories', named.categories,
        'missing_left', case when named.left_child <> -1
          then named.default_left = (named.categories is null) end,
        'left_node', case when named.categories is null then left_child.number else right_child.number end,
        'right_node', case when named.categories is null then right_child.number else left_child.number end,
        'value', case when named.left_child = -1
          then ml._single_precision(named.condition) * v_weights[named.tree + 1] end,
        'gain', case when named.left_child <> -1 then named.gain end, 'cover', coalesce(named.cover, 0)
      )) order by named.tree, named.number)
    into v_wrong, v_nodes
    from named
    left join numbered as parent on parent.tree = named.tree and parent.node = named.parent
    left join numbered as left_child on left_child.tree = named.tree and left_child.node = named.left_child
    left join numbered as right_child on right_child.tree = named.tree and right_child.node = named.right_child;
  exception when invalid_text_representation or numeric_value_out_of_range or invalid_parameter_value
    or datatype_mismatch then
    v_wrong := format('the trees cannot be read: %s', left(sqlerrm, 100));
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', left(v_wrong, 300),
      'Give what save_model("model.json") writes, unchanged, and all values of the categories of a feature.');
  end if;
  if v_link = 'softmax' then
    return ml._tree_document(v_nodes, v_link, 0, v_categories, true) - 'intercept'
      || ml._imported_classes(document, v_classes, ml._xgboost_bases(v_parameters -> 'base_score', v_classes),
        v_tree_classes);
  end if;
  return ml._tree_document(v_nodes, v_link, v_base, v_categories, true);
end;
$$;

comment on function ml._import_xgboost_model(jsonb) is $$
A model document of what XGBoost's save_model writes as JSON:
{"model": that, "categories", "classes", "iteration_range"}.
Thresholds, default directions, categories, weights of the trees, base score and the best iteration are taken from it.
Error CF009 names the tree and the node.
$$;

grant execute on function ml._import_xgboost_model(jsonb) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_import_xgboost_model.sql

--! Included ml/registry/_import_lightgbm.sql
/*
 * LightGBM compares doubles by <=, treats a missing value as 0 unless the split specifies a side, and sends categories
 * that a split does not list, and missing ones, to the right.
 */
create or replace function ml._import_lightgbm(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_model constant jsonb := document -> 'model';
  v_objective constant text[] := string_to_array(coalesce(v_model ->> 'objective', 'regression'), ' ');
  v_names constant jsonb := v_model -> 'feature_names';
  v_categories jsonb := document -> 'categories';
  v_categorical text[];
  v_link text;
  v_classes int := 1;
  v_scale float8 := 1;
  v_nodes jsonb;
  v_wrong text;
begin
  v_link := case
    when v_objective[1] = 'multiclass' then 'softmax'
    when v_objective[1] in ('binary', 'cross_entropy') then 'logit'
    when v_objective[1] in ('poisson', 'gamma', 'tweedie') then 'log'
    when v_objective[1] in ('regression', 'regression_l1', 'huber', 'fair', 'quantile', 'mape', 'lambdarank',
      'rank_xendcg', 'custom') and not 'sqrt' = any (v_objective) then 'identity'
  end;
  v_wrong := case
    when jsonb_typeof(v_model -> 'tree_info') is distinct from 'array'
      or jsonb_array_length(v_model -> 'tree_info') = 0 then 'no list "tree_info"'
    when jsonb_typeof(v_names) is distinct from 'array' then 'no list "feature_names"'
    when v_link is distinct from 'softmax' and v_objective[1] <> 'multiclassova'
      and (coalesce(v_model ->> 'num_class', '1') <> '1' or coalesce(v_model ->> 'num_tree_per_iteration', '1') <> '1')
      then 'several classes'
    when v_link = 'softmax' and (v_model ->> 'num_class' ~ '^\d{1,5}$') is not true then 'no num_class'
    when v_link = 'softmax' and (
      v_model ->> 'num_tree_per_iteration' is distinct from v_model ->> 'num_class'
      or jsonb_array_length(v_model -> 'tree_info') % greatest((v_model ->> 'num_class')::int, 1) <> 0
    ) then 'another number of trees than one for each class and round'
    when v_link is null then format('the objective "%s"', v_model ->> 'objective')
    when v_categories is not null and jsonb_typeof(v_categories) <> 'object' then 'categories that are not an object'
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      format('the model of LightGBM has %s', left(v_wrong, 100)),
      'Give what booster.dump_model() returns, with the objective regression (l1, l2, huber, fair, quantile, mape), '
        || 'binary, multiclass, cross_entropy, poisson, gamma, tweedie, lambdarank or rank_xendcg.'
    );
  end if;
  if v_link = 'softmax' then
    v_classes := (v_model ->> 'num_class')::int;
  end if;
  -- The names that pandas gave to the codes, in the order of its categorical columns.
  if v_categories is null and jsonb_typeof(v_model -> 'pandas_categorical') = 'array'
    and jsonb_array_length(v_model -> 'pandas_categorical') > 0 then
    v_categorical := array(
      select listed.name
      from jsonb_array_elements_text(v_names) with ordinality as listed (name, position)
      where jsonb_typeof(v_model -> 'feature_infos' -> listed.name -> 'values') = 'array'
        and jsonb_array_length(v_model -> 'feature_infos' -> listed.name -> 'values') > 0
      order by listed.position
    );
    if cardinality(v_categorical) <> jsonb_array_length(v_model -> 'pandas_categorical') then
      perform common.refuse(
        'CF009',
        format('the model has %s categorical features and %s lists in pandas_categorical', cardinality(v_categorical),
          jsonb_array_length(v_model -> 'pandas_categorical')),
        'Give the values by code: {"model": …, "categories": {"country": ["at", "de"]}}; {} leaves the codes.'
      );
    end if;
    v_categories := (
      select jsonb_object_agg(listed.name, v_model -> 'pandas_categorical' -> (listed.position - 1)::int)
      from unnest(v_categorical) with ordinality as listed (name, position)
    );
  end if;

  begin
    -- A random forest answers the mean of its trees; a binary objective may steepen its curve.
    v_scale := case when (v_model ->> 'average_output')::boolean
      then 1.0::float8 * v_classes / jsonb_array_length(v_model -> 'tree_info') else 1 end
      * coalesce((select substring(part from '^sigmoid:(.+)$')::float8 from unnest(v_objective) as part
        where part like 'sigmoid:%'), 1);
    with recursive dumped as (
      select position::int as tree, info -> 'tree_structure' as node, '{}'::int[] as path, null::boolean as is_left
      from jsonb_array_elements(v_model -> 'tree_info') with ordinality as listed (info, position)
      union all
      select dumped.tree, child.node, dumped.path || child.side, child.side = 0
      from dumped
      cross join lateral (values (0, dumped.node -> 'left_child'), (1, dumped.node -> 'right_child'))
        as child (side, node)
      where dumped.node ? 'split_feature' and cardinality(dumped.path) < 5000
    ), numbered as (
      select *, row_number() over (partition by tree order by cardinality(path), path) - 1 as number
      from dumped
    ), checked as (
      select
        numbered.*,
        v_names ->> (node ->> 'split_feature')::int as feature,
        node ->> 'decision_type' = '==' as categorical,
        case
          when jsonb_typeof(node) is distinct from 'object' then 'is not an object'
          when not node ? 'split_feature' and jsonb_typeof(node -> 'leaf_value') is distinct from 'number'
            then 'has neither split_feature nor a number leaf_value'
          when node ? 'leaf_coeff' and node -> 'leaf_coeff' <> '[]' then 'is a linear model, which is not known here'
          when not node ? 'split_feature' then null
          when v_names ->> (node ->> 'split_feature')::int is null then 'splits a feature without a name'
          when coalesce(node ->> 'decision_type', '') not in ('<=', '==')
            then format('decides by "%s"', node ->> 'decision_type')
          when node ->> 'decision_type' = '==' and node ->> 'threshold' !~ '^\d{1,9}(\|\|\d{1,9})*$'
            then 'has a threshold that is not a list of categories'
          when node ->> 'decision_type' = '==' then null
          when jsonb_typeof(node -> 'threshold') is distinct from 'number' then 'has a threshold that is not a number'
          when jsonb_typeof(node -> 'default_left') is distinct from 'boolean' then 'has no default_left'
          when coalesce(node ->> 'missing_type', '') not in ('None', 'NaN', 'Zero')
            then format('has the missing_type "%s"', node ->> 'missing_type')
          when node ->> 'missing_type' = 'Zero'
            and (node ->> 'default_left')::boolean <> ((node ->> 'threshold')::float8 >= 0)
            then 'sends zeros where they do not belong by their size (zero_as_missing)'
        end as wrong
      from numbered
    ), converted as (
      select
        checked.tree, checked.number, checked.path, checked.feature, checked.wrong, checked.categorical,
        case when not checked.categorical then ml._next_double((checked.node ->> 'threshold')::float8) end as threshold,
        case when checked.categorical then array(
          select case when jsonb_typeof(v_categories -> checked.feature) = 'array'
            then v_categories -> checked.feature ->> code::int else code end
          from unnest(string_to_array(checked.node ->> 'threshold', '||')) with ordinality as listed (code, position)
          order by position
        ) end as categories,
        case
          when checked.feature is null then null
          when checked.categorical then false
          when checked.node ->> 'missing_type' = 'None' then (checked.node ->> 'threshold')::float8 >= 0
          else (checked.node ->> 'default_left')::boolean
        end as missing_left,
        case when checked.feature is null then (checked.node ->> 'leaf_value')::float8 * v_scale end as value,
        checked.node -> 'split_gain' as gain,
        coalesce(checked.node -> 'internal_count', checked.node -> 'leaf_count', '1') as cover
      from checked
      where checked.wrong is null
      union all
      select checked.tree, checked.number, checked.path, null, checked.wrong, null, null, null, null, null, null, null
      from checked
      where checked.wrong is not null
    )
    select
      coalesce(
        min(format('tree %s: node %s %s', converted.tree - 1, converted.number, converted.wrong))
          filter (where converted.wrong is not null),
        min(format('tree %s: node %s splits a category of "%s" that is not listed', converted.tree - 1,
          converted.number, left(converted.feature, 60)))
          filter (where array_position(converted.categories, null) is not null)
      ),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', converted.tree, 'node', converted.number, 'parent', parent.number, 'feature', converted.feature,
        'threshold', converted.threshold, 'categories', converted.categories, 'missing_left', converted.missing_left,
        'left_node', left_child.number, 'right_node', right_child.number, 'value', converted.value,
        'gain', converted.gain, 'cover', converted.cover
      )) order by converted.tree, converted.number)
    into v_wrong, v_nodes
    from converted
    left join converted as parent on parent.tree = converted.tree and cardinality(converted.path) > 0
      and parent.path = converted.path[:cardinality(converted.path) - 1]
    left join converted as left_child on left_child.tree = converted.tree and left_child.path = converted.path || 0
    left join converted as right_child on right_child.tree = converted.tree and right_child.path = converted.path || 1;
  exception when invalid_text_representation or numeric_value_out_of_range or invalid_parameter_value then
    v_wrong := format('the trees cannot be read: %s', left(sqlerrm, 100));
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', left(v_wrong, 300),
      'Give what booster.dump_model() returns, unchanged; linear trees and zero_as_missing have no form here.');
  end if;
  if v_link = 'softmax' then
    return ml._tree_document(v_nodes, v_link, 0, v_categories, false) - 'intercept'
      || ml._imported_classes(document, v_classes, array_fill(0::float8, array[v_classes]), array(
        select 1 + (tree - 1) % v_classes
        from generate_series(1, jsonb_array_length(v_model -> 'tree_info')) as tree
        order by tree
      ));
  end if;
  return ml._tree_document(v_nodes, v_link, 0, v_categories, false);
end;
$$;

comment on function ml._import_lightgbm(jsonb) is $$
A model document of what LightGBM's dump_model returns: {"model": that, "categories", "classes"}.
Error CF009 names the tree and the node.
$$;

grant execute on function ml._import_lightgbm(jsonb) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_import_lightgbm.sql

--! Included ml/registry/_check_expected.sql
create or replace function ml._check_expected(model ml.model, expected jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_classes constant text[] := ml._classes(ml._document(model));
  v_entry record;
  v_answer float8;
  v_probabilities float8[];
begin
  if jsonb_typeof(expected) is distinct from 'array' or jsonb_array_length(expected) not between 1 and 1000 then
    perform common.refuse('CF009', format('the expected answers are %s', left(expected::text, 100)),
      'Give a list of 1 to 1000: [{"features": {"tax": 590}, "prediction": 0.7}].');
  end if;
  for v_entry in select entry, position from jsonb_array_elements(expected) with ordinality as listed (entry, position)
    order by position
  loop
    if jsonb_typeof(v_entry.entry -> 'features') is distinct from 'object'
      or (v_classes is null and coalesce(jsonb_typeof(v_entry.entry -> 'prediction'), '') not in ('number', 'null'))
      or (v_classes is not null and not coalesce(
        jsonb_typeof(v_entry.entry -> 'prediction') = 'array'
        and jsonb_array_length(v_entry.entry -> 'prediction') = cardinality(v_classes)
        and (select bool_and(jsonb_typeof(share) = 'number')
          from jsonb_array_elements(v_entry.entry -> 'prediction') as share),
        false
      )) then
      perform common.refuse('CF009',
        format('expected answer %s is %s', v_entry.position, left(v_entry.entry::text, 100)),
        case when v_classes is null then 'Give {"features": {"tax": 590}, "prediction": 0.7}.'
          else 'Give {"features": {"tax": 590}, "prediction": [0.1, 0.2, 0.7]}, the probability of each class.' end);
    end if;
    if v_classes is not null then
      v_probabilities := ml._class_probabilities(model, v_entry.entry -> 'features');
      if exists (
        select
        from jsonb_array_elements_text(v_entry.entry -> 'prediction') with ordinality as listed (share, place)
        where abs(share::numeric - v_probabilities[place]::numeric) > 1e-5
      ) then
        perform common.refuse(
          'CF009',
          format('expected answer %s is %s, and the model answers %s', v_entry.position,
            left((v_entry.entry -> 'prediction')::text, 100), left(to_jsonb(v_probabilities)::text, 100)),
          'Compare the order of the classes, the order and the types of the features, the objective and the base score.'
        );
      end if;
      continue;
    end if;
    v_answer := ml._predict(model, v_entry.entry -> 'features');
    -- Libraries add up in four bytes.
    if not coalesce(
      abs(v_answer::numeric - (v_entry.entry ->> 'prediction')::numeric)
        <= 1e-5 * greatest(1, abs((v_entry.entry ->> 'prediction')::numeric)),
      v_answer is null and v_entry.entry ->> 'prediction' is null
    ) then
      perform common.refuse(
        'CF009',
        format('expected answer %s is %s, and the model answers %s', v_entry.position,
          left(v_entry.entry ->> 'prediction', 40), coalesce(v_answer::text, 'null')),
        'Compare the order and the types of the features, the objective, the base score and the booster.'
      );
    end if;
  end loop;
end;
$$;

comment on function ml._check_expected(ml.model, jsonb) is $$
Refuses a model whose answers are not those that its document expects, within 1e-5.
Error CF009 names the first that differs; CF001 a feature that is not given.
$$;

grant execute on function ml._check_expected(ml.model, jsonb) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_check_expected.sql

--! Included ml/registry/import_model.sql
create or replace function ml._import_linear(document jsonb, link text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if coalesce(jsonb_typeof(document -> 'coefficients'), '') <> 'object' then
    perform common.refuse('CF009', 'the document has no object "coefficients"',
      'Give {"intercept": 1, "coefficients": {"tax": 0.2, "country": {"at": 0.1, "de": 0.3}}}.');
  elsif document ? 'intercept' and jsonb_typeof(document -> 'intercept') <> 'number' then
    perform common.refuse('CF009', format('the intercept is %s', left((document -> 'intercept')::text, 100)),
      'Give a number; without it the intercept is 0.');
  elsif document ? 'means' and jsonb_typeof(document -> 'means') <> 'object' then
    perform common.refuse('CF009', format('the means are %s', left((document -> 'means')::text, 100)),
      'Give an object of names and numbers; what is missing counts as the mean.');
  end if;
  select format('"%s" is %s', coefficient.name, coefficient.value)
  into v_wrong
  from jsonb_each(document -> 'coefficients') as coefficient (name, value)
  where jsonb_typeof(coefficient.value) not in ('number', 'object')
    or (jsonb_typeof(coefficient.value) = 'object'
      and exists (select from jsonb_each(coefficient.value) as category (name, value)
        where jsonb_typeof(category.value) <> 'number'))
  limit 1;
  v_wrong := coalesce(v_wrong, (
    select format('the mean of "%s" is %s', mean.name, mean.value)
    from jsonb_each(coalesce(document -> 'means', '{}')) as mean (name, value)
    where jsonb_typeof(mean.value) <> 'number' or jsonb_typeof(document -> 'coefficients' -> mean.name) is distinct
      from 'number'
    limit 1
  ));
  if v_wrong is not null then
    perform common.refuse('CF009', left(v_wrong, 300),
      'A number has one coefficient and may have a mean, a category an object of coefficients.');
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', link, 'intercept', coalesce(document -> 'intercept', '0'),
    'features', (
      select coalesce(jsonb_agg(
        case when jsonb_typeof(coefficient.value) = 'number' then jsonb_build_object(
          'name', coefficient.name, 'type', 'number', 'coefficient', coefficient.value, 'mean',
          coalesce(document -> 'means' -> coefficient.name, '0')
        )
        else jsonb_build_object(
          'name', coefficient.name, 'type', 'category',
          'categories', (select coalesce(jsonb_agg(category.name order by category.name), '[]')
            from jsonb_each(coefficient.value) as category (name, value)),
          'coefficients', (select coalesce(jsonb_agg(category.value order by category.name), '[]')
            from jsonb_each(coefficient.value) as category (name, value))
        ) end
        order by coefficient.name
      ), '[]')
      from jsonb_each(document -> 'coefficients') as coefficient (name, value)
    )
  );
end;
$$;

comment on function ml._import_linear(jsonb, text) is $$
A model document of coefficients by name: {"intercept", "coefficients", "means"}. Error CF009.
$$;

create or replace function ml._import_multinomial(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_classes text[];
  v_names text[];
  v_outputs jsonb[];
  v_other text;
begin
  if jsonb_typeof(document -> 'classes') <> 'object'
    or exists (select from jsonb_each(document -> 'classes') as class (name, value)
      where jsonb_typeof(value) <> 'object') then
    perform common.refuse('CF009', 'the classes are not an object of models',
      'Give {"classes": {"low": {"intercept": 1, "coefficients": {"tax": 0.2}}, "high": {…}}, "means": {"tax": 590}}.');
  end if;
  select array_agg(name order by name), array_agg(
    ml._import_linear(value || jsonb_strip_nulls(jsonb_build_object('means', document -> 'means')), 'identity')
    order by name
  )
  into v_classes, v_outputs
  from jsonb_each(document -> 'classes') as class (name, value);
  select class.name
  into v_other
  from unnest(v_classes, v_outputs) as class (name, output)
  where (select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by feature ->> 'name')
      from jsonb_array_elements(class.output -> 'features') as feature)
    is distinct from
    (select jsonb_agg(jsonb_build_array(feature -> 'name', feature -> 'type') order by feature ->> 'name')
      from jsonb_array_elements(v_outputs[1] -> 'features') as feature)
  limit 1;
  if v_other is not null then
    perform common.refuse('CF009', format('the class "%s" has other coefficients than the first', left(v_other, 100)),
      'Give a coefficient for each feature in each class, 0 where it has no effect.');
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', 'softmax', 'classes', v_classes, 'outputs', to_jsonb(v_outputs),
    'features', (
      select coalesce(jsonb_agg(jsonb_build_object('name', feature -> 'name', 'type', feature -> 'type')
        order by position), '[]')
      from jsonb_array_elements(v_outputs[1] -> 'features') with ordinality as listed (feature, position)
    )
  );
end;
$$;

comment on function ml._import_multinomial(jsonb) is $$
A model document of coefficients by name for each class: {"classes": {"low": {"intercept", "coefficients"}}, "means"}.
Error CF009.
$$;

create or replace function ml._import_keyed(document jsonb, format text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_keys text[];
  v_sides int;
  v_wrong text;
begin
  if jsonb_typeof(document) <> 'object' or jsonb_typeof(document -> 'keys') is distinct from 'array'
    or exists (select from jsonb_array_elements(document -> 'keys') as key where jsonb_typeof(key) <> 'string') then
    perform common.refuse('CF009', 'the document has no list of keys',
      'Name the features that a thing is looked up by: {"keys": ["person", "item"], …}.');
  end if;
  v_keys := array(select key
    from jsonb_array_elements_text(document -> 'keys') with ordinality as listed (key, position) order by position);
  if format = 'scores' then
    if jsonb_typeof(document -> 'scores') is distinct from 'array' then
      perform common.refuse('CF009', 'the document has no list of scores',
        'Give {"keys": ["item"], "scores": [{"item": "sql", "score": 0.7}], "default": 0}.');
    end if;
    select left(format('score %s: %s', position, entry), 300)
    into v_wrong
    from jsonb_array_elements(document -> 'scores') with ordinality as listed (entry, position)
    where jsonb_typeof(entry) <> 'object'
      or jsonb_typeof(entry -> 'score') is distinct from 'number'
      or exists (select from unnest(v_keys) as key
        where coalesce(jsonb_typeof(entry -> key), 'null') in ('null', 'object', 'array'))
    limit 1;
    if v_wrong is not null or jsonb_typeof(coalesce(document -> 'default', '0')) not in ('number', 'null') then
      perform common.refuse('CF009', coalesce(v_wrong, format('the default is %s', document -> 'default')),
        'Each score is an object with a value for every key and a number "score".');
    end if;
    return jsonb_build_object(
      'kind', 'scores', 'link', coalesce(document ->> 'link', 'identity'),
      'features', (select jsonb_agg(jsonb_build_object('name', key, 'type', 'category') order by position)
        from unnest(v_keys) with ordinality as listed (key, position)),
      'scores', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object('keys', (select jsonb_agg(entry ->> key order by position)
                from unnest(v_keys) with ordinality as listed (key, position)), 'score', entry -> 'score')), '[]')
        from jsonb_array_elements(document -> 'scores') as entry
      )
    ) || case
      when jsonb_typeof(document -> 'default') = 'number' then jsonb_build_object('default', document -> 'default')
        else '{}' end;
  end if;

  select count(*) into v_sides
  from jsonb_object_keys(case when jsonb_typeof(document -> 'embeddings') = 'object' then document -> 'embeddings'
    else '{}' end) as side (name) where side.name = any (v_keys);
  v_wrong := case
    when cardinality(v_keys) <> 2 then format('%s keys', cardinality(v_keys))
    when jsonb_typeof(document -> 'embeddings') is distinct from 'object' then 'no object "embeddings"'
    when v_sides = 0 or not document -> 'embeddings' ? v_keys[1] then format('no embeddings of "%s"', v_keys[1])
    when exists (select from jsonb_each(document -> 'embeddings') as side (name, value)
      where not side.name = any (v_keys) or jsonb_typeof(side.value) <> 'object')
        then 'embeddings that belong to no key'
    when coalesce(document ->> 'similarity', 'inner_product') not in ('inner_product', 'cosine')
      then format('similarity "%s"', document ->> 'similarity')
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      format('the document has %s', left(v_wrong, 100)),
      'Give two keys and vectors for both, {"keys": ["person", "item"], "embeddings": {"person": {"ada": [0.1, '
        || '0.2]}, "item": {"sql": [0.3, 0.4]}}}; things of one kind are listed under the first key alone.'
    );
  end if;
  return jsonb_build_object(
    'kind', 'embeddings', 'link', coalesce(document ->> 'link', 'identity'), 'sides', v_sides, 'similarity',
    coalesce(document ->> 'similarity', 'inner_product'),
    'features', (select jsonb_agg(jsonb_build_object('name', key, 'type', 'category') order by position)
      from unnest(v_keys) with ordinality as listed (key, position)),
    'embeddings', (
      select coalesce(
        jsonb_agg(jsonb_build_object('side', array_position(v_keys, side.name), 'key', entry.key, 'embedding',
            entry.embedding)), '[]')
      from jsonb_each(document -> 'embeddings') as side (name, value)
      cross join lateral jsonb_each(side.value) as entry (key, embedding)
    )
  );
end;
$$;

comment on function ml._import_keyed(jsonb, text) is $$
A model document of embeddings or scores, looked up by keys. Error CF009.
$$;

create or replace function ml.import_model(
  project text,
  task text,
  format text,
  document jsonb,
  algorithm text default null,
  metrics jsonb default '{}',
  metric text default null,
  data_watermark timestamptz default null,
  description text default null
)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given jsonb := document;
  v_document jsonb;
  v_version int;
  v_model ml.model;
begin
  if format is null or format not in ('linear', 'logistic', 'xgboost', 'lightgbm', 'embeddings', 'scores') then
    perform common.refuse('CF001', pg_catalog.format('there is no format "%s"', coalesce(left(format, 100), 'null')),
      'Choose linear, logistic, xgboost, lightgbm, embeddings or scores.');
  end if;
  if format in ('xgboost', 'lightgbm') then
    v_given := ml._parsed_model(document);
  end if;
  if v_given is null or jsonb_typeof(v_given) not in ('object', 'array') then
    perform common.refuse(
      'CF009',
      pg_catalog.format('the document is %s', coalesce('a JSON ' || jsonb_typeof(v_given), 'null')),
      'src/sql/ml/registry/README.md shows the form of each format.'
    );
  elsif jsonb_typeof(v_given) = 'array' and format <> 'xgboost' then
    perform common.refuse('CF009', 'the document is a list',
      'Give an object; only the trees of xgboost may be a bare list.');
  end if;
  v_document := case
    when format = 'linear' then ml._import_linear(v_given, 'identity')
    when format = 'logistic' and v_given ? 'classes' then ml._import_multinomial(v_given)
    when format = 'logistic' then ml._import_linear(v_given, 'logit')
    when format = 'xgboost' and v_given ? 'learner' then ml._import_xgboost_model(jsonb_build_object('model', v_given))
    when format = 'xgboost' and v_given ? 'model' then ml._import_xgboost_model(v_given)
    when format = 'xgboost' then ml._import_xgboost(v_given)
    when format = 'lightgbm' and v_given ? 'model' then ml._import_lightgbm(v_given)
    when format = 'lightgbm' then ml._import_lightgbm(jsonb_build_object('model', v_given))
    else ml._import_keyed(v_given, format)
  end;
  v_version := ml.register_model(
    project, task, coalesce(algorithm, 'imported ' || format), v_document, metrics,
      jsonb_build_object('imported', format), metric, null, data_watermark, null, null, description
  );
  v_model := ml._version(project, v_version);
  if v_given ? 'expected' then
    perform ml._check_expected(v_model, v_given -> 'expected');
  end if;
  if ml._deployed_model_id(v_model.project_id) is null then
    perform ml._deploy(v_model.model_id, 'first');
  end if;
  return v_version;
end;
$$;

comment on function ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text) is $$
Adds a model that was made elsewhere as a version of a project, and returns its number.
The first of a project is deployed; later ones by ml.challenge or ml.deploy.
`format`: `linear` and `logistic` take {"intercept": 1, "coefficients": {"tax": 0.2, "country": {"at": 0.1}}, "means":
{"tax": 590}}, and `logistic` for several classes {"classes": {"low": {"intercept": 1, "coefficients": {…}}, "high":
{…}}, "means": {"tax": 590}};
`xgboost` takes what save_model writes as JSON, as text or parsed, also as {"model": that, "categories":
{…}, "iteration_range": [0, 50]}, or, with the base score that a dump lacks, what get_dump(dump_format="json") gives:
{"trees": …, "objective": "binary:logistic", "base_score": 0.5, "categories": {…}}; `lightgbm` takes what dump_model
gives; `embeddings` takes {"keys": ["person", "item"], "embeddings": {"person": {"ada": […]}, "item": {…}},
"similarity": "inner_product" or "cosine"}; `scores` takes {"keys": ["item"], "scores": [{"item": "sql", "score":
0.7}], "default": 0}. src/sql/ml/README.md shows each. Keys that name people are not erased with them: use others.
Models of several classes (multi:softprob of XGBoost, multiclass of LightGBM) may have "classes": ["low", "high", …],
their names in the order of the library; otherwise they are 0, 1, 2, ….
A document may have "expected": [{"features": {"tax": 590}, "prediction": 0.7}, …], answers of the library itself, for
several classes the list of their probabilities: the model is refused when it answers anything else.
`algorithm` is the method that made it, such as `scikit-learn LogisticRegression`. Errors: CF001 (format, name, task),
CF009 (the document; names the node), CF010.
$$;

grant execute on function
  ml._import_linear(jsonb, text), ml._import_multinomial(jsonb), ml._import_keyed(jsonb, text),
  ml.import_model(text, text, text, jsonb, text, jsonb, text, timestamptz, text)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/import_model.sql

--! Included ml/registry/measure_drift.sql
/*
 * A definer: it writes the registry, and is granted to those who watch. It reads its arguments only, never a
 * relation.
 */
create or replace function ml._record_drift(measured jsonb)
returns setof ml.drift
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  insert into ml.drift (model_id, statistic, feature, value, reference, verdict, row_count)
  select model_id, statistic, feature, value, reference, verdict, row_count
  from jsonb_populate_recordset(null::ml.drift, measured)
  returning drift.*;
$$;

comment on function ml._record_drift(jsonb) is $$Records measurements of drift.$$;

create or replace function ml.measure_drift(
  project text,
  source_table text,
  label text default null,
  version int default null
)
returns setof ml.drift
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_project ml.project := ml._project(project);
  v_relation regclass := common.relation(source_table);
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_label text;
  v_list text;
  v_rows bigint;
  v_measured jsonb;
  v_metrics jsonb;
  v_value float8;
  v_reference float8;
begin
  v_list := ml._feature_list(ml._document(v_model), v_relation);
  execute format('select count(*) from %s', v_relation) into v_rows;
  if v_rows = 0 then
    perform common.refuse('CF004', format('"%s" is empty', v_relation),
      'Drift is measured on the rows that the model is asked about now.');
  end if;
  select jsonb_agg(jsonb_build_object(
    'model_id', v_model.model_id, 'statistic', 'population_stability_index', 'feature', profile.feature, 'value',
    moved.value,
    'verdict', case when moved.value < 0.1 then 'stable' when moved.value < 0.25 then 'shifting' else 'drifted'
      end, 'row_count', v_rows
  ) order by profile.feature)
  into v_measured
  from ml._bin_counts(
    format('(select %s from %s)', v_list, v_relation),
    (
      select coalesce(
        jsonb_agg(jsonb_build_object('feature', entry.feature, 'place', listed.place, 'edges',
            entry.edges, 'categories', entry.categories)), '[]')
      from ml.input_profile as entry
      join jsonb_array_elements(v_model.coefficients -> 'features') with ordinality as listed (feature,
        place) on listed.feature ->> 'name' = entry.feature
      where entry.model_id = v_model.model_id
    )
  ) as counted
  join ml.input_profile as profile on profile.model_id = v_model.model_id and profile.feature = counted.feature
  cross join lateral (select ml.population_stability_index(profile.shares, counted.counts) as value) as moved;
  v_measured := coalesce(v_measured, '[]');

  if label is not null then
    v_label := case when v_model.coefficients ? 'classes' then ml._class_label(label, v_relation)
      else common.numeric_expression(label, v_relation, 'label') end;
    execute format('drop table if exists %s', v_predicted);
    perform ml._predict_into(v_model, v_relation, v_predicted, v_label, 'observed');
    v_metrics := case when v_model.coefficients ? 'classes'
      then ml._evaluate_classes(v_predicted, ml._classes(v_model.coefficients))
      else ml._evaluate(v_predicted, v_project.task) end;
    if v_project.task = 'regression' then
      execute format('select abs(avg(prediction) - avg(observed)) / nullif(stddev_samp(observed), 0) from %s
          where prediction is not null and observed is not null', v_predicted) into v_value;
      v_reference := 0;
    else
      v_value := v_metrics ->> 'calibration_error';
      v_reference := v_model.metrics ->> 'calibration_error';
    end if;
    execute format('drop table %s', v_predicted);
    if v_value is not null then
      v_measured := v_measured || jsonb_build_object(
        'model_id', v_model.model_id, 'statistic', 'calibration', 'value', v_value, 'reference',
        v_reference, 'row_count', v_metrics -> 'row_count',
        'verdict', case when v_value <= coalesce(v_reference, 0) + 0.05 then 'stable'
          when v_value <= coalesce(v_reference, 0) + 0.1 then 'shifting' else 'drifted' end
      );
    end if;
    v_value := v_metrics ->> v_project.metric;
    v_reference := v_model.metrics ->> v_project.metric;
    if v_value is not null then
      v_measured := v_measured || jsonb_build_object(
        'model_id', v_model.model_id, 'statistic', 'metric', 'value', v_value, 'reference', v_reference, 'row_count',
        v_metrics -> 'row_count',
        -- By how much the loss has grown.
        'verdict', case
          when v_reference is null or (v_project.higher_is_better and v_value >= v_reference - 0.02)
            or (case when v_project.higher_is_better then 1 - v_value else v_value end) <= 1.1 * (case
              when v_project.higher_is_better then 1 - v_reference else v_reference end) then 'stable'
          when (case when v_project.higher_is_better then 1 - v_value else v_value end) <= 1.25 * (case
            when v_project.higher_is_better then 1 - v_reference else v_reference end) then 'shifting'
          else 'drifted'
        end
      );
    end if;
  end if;
  return query select * from ml._record_drift(v_measured);
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.measure_drift(text, text, text, int) is $$
@behavior -*
How far the rows that a model is asked about now have moved from those it was trained on; noted in `ml.drift`.
For each feature its population stability index (stable below 0.1, drifted from 0.25 on). With `label`, the outcome
where it is known already, also the calibration (a classifier's calibration_error, a regression's mean error in
standard deviations: stable up to 0.05 above training, drifted from 0.1 on) and the metric of the project (drifted
when the loss, which is 1 − metric where higher is better, has grown by more than a quarter; up to 0.02 less of such a
metric is stable).
Errors: CF001, CF002 (project, version, table, a feature), CF004 (no rows), CF005, CF006 (none is deployed).
$$;

grant execute on function ml._record_drift(jsonb), ml.measure_drift(text, text, text, int) to insights_admin,
  insights_worker;
--! EndIncluded ml/registry/measure_drift.sql

--! Included track/ingest/verify_browsers.sql
create or replace function track._verify_browsers(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_found record;
  -- Browsers that are known, that have the cookie of the caller, that belong to a user, that the caller has claimed.
  v_known text[];
  v_proved text[];
  v_linked text[];
  v_claimed text[] := '{}';
begin
  if sender.is_trusted then
    return v_messages;
  end if;

  select
    coalesce(array_agg(name.anonymous_id), '{}'),
    coalesce(array_agg(name.anonymous_id) filter (where browser.browser = sender.browser), '{}'),
    coalesce(array_agg(name.anonymous_id) filter (where person.identity_id is not null), '{}')
  into v_known, v_proved, v_linked
  from (
    select distinct message.anonymous_id
    from unnest(messages) as message
    where message.anonymous_id is not null
  ) as name
  join track.identity as browser on browser.external_id = name.anonymous_id and browser.kind = 'anonymous'
  left join track.identity as person on person.identity_id = browser.person_id and person.kind = 'user';

  -- Browsers of visitors, as a rule.
  if sender.person is null and v_linked = '{}' then
    return v_messages;
  end if;
  if sender.person is not null then
    v_claimed := array(
      select browser.external_id
      from track.identity as person
      join track.identity_link as link on link.linked_identity_id = person.identity_id
      join track.identity as browser on browser.identity_id = link.identity_id
      where person.external_id = sender.person
        and person.kind = 'user'
        and link.kind = 'claim'
        and link.unlinked_at is null
    );
  end if;
  -- A client may state any time: an earlier one would take events of the user who has identified since.
  for v_found in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.type = 'identify'
      and message.identity_kind = 'user'
      and message.anonymous_id = any (v_proved)
      and message.anonymous_id = any (v_linked)
      and exists (
        select
        from track.identity as browser
        join track.identity_link as link on link.identity_id = browser.identity_id
        join track.identity as person on person.identity_id = link.linked_identity_id
        where browser.external_id = message.anonymous_id
          and browser.kind = 'anonymous'
          and link.kind <> 'claim'
          and link.unlinked_at is null
          and link.linked_at >= message.occurred_at
          and person.external_id <> message.external_id
      )
  loop
    v_message := v_messages[v_found.ordinality];
    v_message.occurred_at := v_message.received_at;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  for v_found in
    select
      message.ordinality,
      case
        when message.identity_kind = 'user' then 'claim'
        when sender.person is not null and exists (
          select
          from track.identity as browser
          join track.identity as own on own.person_id = browser.person_id
          where browser.identity_id = track._browser_identity(message.external_id, message.occurred_at)
            and own.external_id = sender.person
            and own.kind = 'user'
        ) then 'own'
        when message.anonymous_id = any (v_claimed) then 'claimed'
        else 'unverified'
      end as verdict
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.anonymous_id is not null
      and message.anonymous_id <> all (v_proved)
      and case message.identity_kind
        when 'anonymous' then message.anonymous_id = any (v_linked || v_claimed)
        -- A browser that is new to us is that of the caller when the caller has the cookie.
        else message.type = 'identify' and (sender.browser is null or message.anonymous_id = any (v_known))
      end
  loop
    v_message := v_messages[v_found.ordinality];
    case v_found.verdict
      when 'claim' then
        v_message.is_claim := true;
      when 'claimed' then
        v_message.identity_kind := 'user';
        v_message.external_id := sender.person;
        v_message.anonymous_id := null;
      when 'unverified' then
        v_message.identity_kind := 'unverified';
        v_message.anonymous_id := null;
      else
        continue;
    end case;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._verify_browsers(track.parsed_message[], track.message_sender) is $$
Returns the messages after the check of each `anonymousId` that a client sent: an id is a name, and not a proof.
The proof is the cookie with which the browser sent the id first. Without it, a message for a browser that belongs to a
person is stored as `unverified`, and `identify` is a claim: it counts for messages that its sender sends herself.
It is decided at arrival, because clients choose the times of their messages.
$$;
--! EndIncluded track/ingest/verify_browsers.sql

--! Included track/ingest/withheld_messages.sql
create or replace function track._may_withhold(messages track.parsed_message[], opt_out text[])
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _may_withhold.opt_out <> '{}' or exists (
    select
    from unnest(messages) as message
    where message.problem is null
      and (
        message.preferences is not null
        or message.opts_out
        or message.birth_date is not null
        or message.type in ('identify', 'alias')
        or message.event_name = 'Segment Consent Preference Updated'
      )
  ) then
    return true;
  end if;

  -- Of all event types and not of those of the batch: without an argument, the statement is planned once.
  if exists (
    select
    from privacy.purpose
    where purpose.basis = 'consent'
      and (
        purpose.purpose = 'analytics'
        or purpose.purpose in (select event_type.purpose from track.event_type)
      )
  ) then
    return true;
  end if;

  return exists (
    select
    from privacy.effective_decisions(
      array(select purpose.purpose from privacy.purpose),
      array(
        select identity.person_id
        from unnest(messages) as message
        join track.identity
          on identity.external_id = message.external_id
          and (
            identity.kind = message.identity_kind
            or identity.kind = 'anonymous' and message.identity_kind = 'unverified'
          )
        where message.problem is null
      )
    )
  );
end;
$$;

comment on function track._may_withhold(track.parsed_message[], text[]) is $$
Returns false when no message can be withheld.
That is so when none decides, links or has a signal, no purpose in use needs consent, and none of the people has
decided. For a small batch, the check costs a fraction of the query of `track._withheld_messages`.
$$;

create or replace function track._withheld_messages(messages track.parsed_message[], opt_out text[])
returns setof track.withheld_message
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not track._may_withhold(messages, _withheld_messages.opt_out) then
    return;
  end if;

  return query
  with valid as materialized (
    select
      message.position, message.type, message.identity_kind, message.external_id, message.anonymous_id,
      message.previous_id, message.event_name, message.occurred_at, message.preferences, message.opts_out,
      message.is_claim, message.birth_date,
      message.event_name is not distinct from 'Segment Consent Preference Updated' as is_decision
    from unnest(messages) as message
    where message.problem is null
  ),

  -- Names that the batch links to a user, each from the first message that does it. The past of a browser that belongs
  -- to a user stays with that user.
  tied as materialized (
    select distinct on (valid.external_id, tie.external_id, tie.identity_kind)
      valid.external_id as user_name, tie.external_id, tie.identity_kind,
      case when tie.external_id = valid.external_id and tie.identity_kind = 'user' then '-infinity'
        else valid.occurred_at
      end as since,
      valid.position + 1 as position,
      tie.identity_kind = 'user' or not exists (
        select
        from track.identity as browser
        where browser.external_id = tie.external_id
          and browser.kind = 'anonymous'
          and browser.user_identity_id is not null
      ) as has_past
    from valid
    cross join lateral (
      values
        (valid.external_id, 'user'),
        (case valid.type when 'identify' then valid.anonymous_id else valid.previous_id end, 'anonymous'),
        (case valid.type when 'alias' then valid.previous_id end, 'user')
    ) as tie (external_id, identity_kind)
    where valid.type in ('identify', 'alias')
      and valid.identity_kind = 'user'
      and valid.is_claim is not true
      and tie.external_id is not null
    order by valid.external_id, tie.external_id, tie.identity_kind, valid.occurred_at, valid.position
  ),

  -- People by name: `is_own` is false for the people of a browser whose id was sent without proof. Their refusals
  -- count, and a refusal in such a message counts for them; a grant does not. `browser_id` is set where the person
  -- depends on the time of the message.
  named as materialized (
    select
      name.external_id, name.identity_kind, identity.person_id, identity.kind = name.identity_kind as is_own,
      case
        when name.identity_kind = 'anonymous'
          and count(*) over (partition by name.external_id, name.identity_kind) > 1
          then identity.identity_id
      end as browser_id
    from (
      select valid.external_id, valid.identity_kind from valid
      union
      select tied.external_id, tied.identity_kind from tied
    ) as name
    join track.identity
      on identity.external_id = name.external_id
      and (
        identity.kind = name.identity_kind
        or identity.kind = 'anonymous' and name.identity_kind = 'unverified'
      )
  ),

  -- With the other names of their people.
  tied_name as materialized (
    select distinct on (known.user_name, known.external_id, known.identity_kind) known.*
    from (
      select tied.* from tied

      union all

      select tied.user_name, other.external_id, other.identity_kind, tied.since, tied.position, true
      from tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.browser_id is null
      join named as other
        on other.person_id = named.person_id
        and other.is_own
        and other.browser_id is null
      where tied.has_past
        and named.is_own
    ) as known (user_name, external_id, identity_kind, since, position, has_past)
    order by known.user_name, known.external_id, known.identity_kind, known.since, known.position
  ),

  -- Decisions of the batch, which apply from their time on, and the latest earlier one of each person.
  said as materialized (
    select
      valid.external_id, valid.identity_kind, preference.key as purpose, preference.value::boolean as granted,
      valid.occurred_at as decided_at, valid.position,
      case
        when valid.identity_kind = 'anonymous' then track._browser_identity(valid.external_id, valid.occurred_at)
      end as browser_id
    from valid
    cross join lateral jsonb_each(
      case jsonb_typeof(valid.preferences) when 'object' then valid.preferences end
    ) as preference
    where valid.is_decision
      and jsonb_typeof(preference.value) = 'boolean'
  ),

  recorded as materialized (
    select decision.*
    from (
      select
        array(select purpose.purpose from privacy.purpose) as purposes,
        array(select distinct named.person_id from named) as people
    ) as given
    left join (
      select array_agg(named.person_id) as people, array_agg(valid.birth_date) as birth_dates
      from valid
      join named
        on named.external_id = valid.external_id
        and named.identity_kind = valid.identity_kind
      where valid.birth_date is not null
    ) as born on true
    cross join lateral privacy.effective_decisions(given.purposes, given.people, born.people, born.birth_dates)
      as decision
  ),

  -- Names that are new, of a person who is not of age.
  minor as materialized (
    select valid.external_id, valid.identity_kind, limited.purpose, limited.decided_at
    from valid
    cross join lateral (
      select minor.purpose, 'infinity'::timestamptz as decided_at
      from privacy.minor_purposes(valid.birth_date) as minor (purpose)

      union all

      select opt_in.purpose, '-infinity'
      from privacy.opt_in_purposes(valid.birth_date) as opt_in (purpose)
    ) as limited
    where valid.birth_date is not null
      and not exists (
        select
        from named
        where named.external_id = valid.external_id
          and named.identity_kind = valid.identity_kind
      )
  ),

  decision as materialized (
    select
      named.external_id, named.identity_kind, named.browser_id, recorded.purpose, recorded.granted,
      recorded.decided_at, recorded.signalled_at, null::timestamptz as since, -1 as position
    from named
    join recorded using (person_id)
    where named.is_own or not recorded.granted

    union all

    -- No other decision of a minor is later: see privacy.effective_decisions. The message that states the date of birth
    -- ties the name to itself.
    select
      tied.user_name, 'tied', null, minor.purpose, false, minor.decided_at, null, tied.since, tied.position
    from minor
    join tied_name as tied
      on tied.external_id = minor.external_id
      and tied.identity_kind = minor.identity_kind

    union all

    -- Of a name that is new.
    select
      said.external_id, said.identity_kind, null, said.purpose, said.granted, said.decided_at, null, said.decided_at,
      said.position
    from said
    where not exists (
      select
      from named
      where named.external_id = said.external_id
        and named.identity_kind = said.identity_kind
        and named.is_own
    )

    union all

    -- Of a person, for all of her names.
    select
      other.external_id, other.identity_kind, other.browser_id, said.purpose, said.granted, said.decided_at, null,
      said.decided_at, said.position
    from said
    join named
      on named.external_id = said.external_id
      and named.identity_kind = said.identity_kind
      and (named.browser_id is null or named.browser_id = said.browser_id)
    join named as other on other.person_id = named.person_id
    where not said.granted
      or named.is_own and other.is_own and not (
        said.identity_kind = 'anonymous'
        and (select key.kind from track.identity as key where key.identity_id = named.person_id) = 'user'
      )

    union all

    -- Refusals of names that the batch links, under the name of the user: see `tied_to`.
    select
      tied.user_name, 'tied', null, said.purpose, false, said.decided_at, null,
      greatest(said.decided_at, tied.since),
      case
        when tied.since < said.decided_at then said.position
        when tied.since = said.decided_at then greatest(said.position, tied.position)
        else tied.position
      end
    from said
    join tied_name as tied
      on tied.external_id = said.external_id
      and tied.identity_kind = said.identity_kind
      and (tied.has_past or tied.since <= said.decided_at)
    where not said.granted

    union all

    (
      select distinct on (tied.user_name, recorded.purpose)
        tied.user_name, 'tied', null::bigint, recorded.purpose, false, recorded.decided_at, recorded.signalled_at,
        tied.since, tied.position
      from tied_name as tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.is_own
      join recorded using (person_id)
      where not recorded.granted
        and tied.has_past
      order by tied.user_name, recorded.purpose, recorded.decided_at desc
    )
  ),

  asked as materialized (
    select
      valid.position, valid.external_id, valid.identity_kind, valid.occurred_at, purpose.purpose, purpose.basis,
      purpose.without_basis,
      case jsonb_typeof(valid.preferences -> purpose.purpose)
        when 'boolean' then (valid.preferences ->> purpose.purpose)::boolean
      end as preference,
      purpose.opted_out_by_gpc and (valid.opts_out or 'gpc' = any (_withheld_messages.opt_out))
        or purpose.opted_out_by_dnt and 'dnt' = any (_withheld_messages.opt_out) as is_signalled,
      -- A sub-query that is hashed: a join would be a nested loop, since the planner cannot estimate the rows of an
      -- array.
      (valid.external_id, valid.identity_kind, purpose.purpose) in (
        select decision.external_id, decision.identity_kind, decision.purpose
        from decision
      ) as is_decided,
      -- Users to whom the batch has linked the name by then: as if each message had come alone.
      case
        when (valid.external_id, valid.identity_kind) in (
          select tied_name.external_id, tied_name.identity_kind from tied_name
        ) then (
          select array_agg(tied.user_name)
          from tied_name as tied
          where tied.external_id = valid.external_id
            and tied.identity_kind = valid.identity_kind
            and (tied.since, tied.position) <= (valid.occurred_at, valid.position)
        )
      end as tied_to
    from valid
    left join track.event_type as named on named.name = valid.event_name
    left join track.event_type
      on event_type.event_type_id = coalesce(named.merged_event_type_id, named.event_type_id)
    join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
    -- A decision itself needs no consent.
    where not valid.is_decision
  )

  -- In this order: a refusal of the person, a signal of the browser, the preference in the message, a grant of the
  -- person, the lawful basis.
  select asked.position, asked.purpose, asked.without_basis = 'refuse'
  from asked
  where case
    when asked.is_decided or asked.tied_to is not null then (
      select case
        when not latest.granted then true
        when asked.is_signalled then not coalesce(latest.granted and latest.is_after_signal, false)
        else not coalesce(asked.preference, latest.granted, asked.basis <> 'consent')
      end
      from (
        select
          (array_agg(decision.granted order by decision.decided_at desc, decision.position desc))[1] as granted,
          max(decision.decided_at) > max(decision.signalled_at) as is_after_signal
        from decision
        where (
            decision.external_id = asked.external_id and decision.identity_kind = asked.identity_kind
            or decision.external_id = any (asked.tied_to) and decision.identity_kind = 'tied'
          )
          and decision.purpose = asked.purpose
          and (decision.since is null or (decision.since, decision.position) <= (asked.occurred_at, asked.position))
          and (
            decision.browser_id is null
            or decision.browser_id = (select track._browser_identity(asked.external_id, asked.occurred_at))
          )
      ) as latest
    )
    else asked.is_signalled or not coalesce(asked.preference, asked.basis <> 'consent')
  end;
end;
$$;

comment on function track._withheld_messages(track.parsed_message[], text[]) is $$
Returns the valid messages that may not be stored with their person, because there is no consent to their purpose.
A refusal that was recorded before the batch applies to all of its messages, whatever time they give; a decision of
the batch applies to the messages from its time on. A date of birth in the batch applies to all of its messages. A
refusal also applies to names that the batch links to the person.
`opt_out`: signals of the request, `gpc` and `dnt`.
$$;
--! EndIncluded track/ingest/withheld_messages.sql

--! Included track/ingest/enter_people.sql
create or replace function track._enter_people(kinds text[], external_ids text[], browser uuid default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entered bigint[];
begin
  with named as (
    select distinct name.kind, name.external_id
    from unnest(_enter_people.kinds, _enter_people.external_ids) as name (kind, external_id)
  ),

  numbered as materialized (
    select kind, external_id, nextval('track.identity_identity_id_seq') as identity_id
    from named
    where not exists (
      select
      from track.identity
      where identity.external_id = named.external_id
        and identity.kind = named.kind
    )
    order by external_id, kind
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id, browser)
    overriding system value
    select
      identity_id, kind, external_id, identity_id, case kind when 'anonymous' then _enter_people.browser end
    from numbered
    order by external_id, kind
    on conflict (external_id, kind, branch) do nothing
    returning person_id
  ),

  stored as (
    insert into track.person (person_id)
    select person_id
    from entered
  )

  select array_agg(person_id) into v_entered
  from entered;
  if v_entered is not null then
    perform track._enqueue('identity', v_entered);
  end if;
end;
$$;

comment on function track._enter_people(text[], text[], uuid) is $$
Inserts new identities, each with a person of its own, and queues these people for the refresh.
`browser`: hash of the cookie of the calling browser, or null.
$$;

create or replace function track._enter_people_of(messages track.parsed_message[], browser uuid)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds text[];
  v_external_ids text[];
begin
  -- None, as a rule.
  select array_agg(named.kind), array_agg(named.external_id)
  into v_kinds, v_external_ids
  from (
    select message.identity_kind as kind, message.external_id
    from unnest(messages) as message

    union

    select 'anonymous', message.anonymous_id
    from unnest(messages) as message
    where message.type = 'identify' and message.anonymous_id is not null

    union

    -- An alias may come before any message of the name that it replaces, which may have been a user's or a browser's.
    select kind, message.previous_id
    from unnest(messages) as message
    cross join unnest(array['user', 'anonymous']) as kind
    where message.type = 'alias' and message.previous_id is not null
  ) as named
  where not exists (
    select
    from track.identity
    where identity.external_id = named.external_id
      and identity.kind = named.kind
  );
  if v_kinds is not null then
    perform track._enter_people(v_kinds, v_external_ids, _enter_people_of.browser);
  end if;
end;
$$;

comment on function track._enter_people_of(track.parsed_message[], uuid) is $$
Inserts the identities that messages name for the first time; `browser` as for `track._enter_people`.
$$;
--! EndIncluded track/ingest/enter_people.sql

--! Included track/statements/statements.sql
create or replace function track._queried_keys(query jsonb, source smallint)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array_remove(
  array[
    track._statement_key(
      source, case query ->> 'related_agents' when 'true' then 'related agent' else 'agent' end,
      track._agent_identifier(query -> 'agent')
    ),
    track._statement_key(
      source, case query ->> 'related_activities' when 'true' then 'related activity' else 'activity' end,
      query ->> 'activity'
    ),
    track._statement_key(source, 'verb', query ->> 'verb'),
    track._statement_key(source, 'registration', lower(query ->> 'registration'))
  ],
  null
);

comment on function track._queried_keys(jsonb, smallint) is $$
Returns the keys that a statement must have to be in the answer to a query of `track.statements`.
$$;

/*
 * The order is that of an index, and the keys are in another one. What many statements have is found by walking the
 * first index; what few have, by the second. Which of them it is, is not estimated but tried: the first part walks a
 * bounded number of statements, which fill the page if at least one in `v_share` has the keys, and the second part
 * finds the others.
 */
create or replace function track._page_of_statements(query jsonb, source smallint, top int)
returns table (stored_at timestamptz, statement jsonb, bytes bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_share constant int := 20;
  v_ascending constant boolean := coalesce(query ->> 'ascending' = 'true', false);
  v_order constant text := case when v_ascending then 'asc' else 'desc' end;
  v_later constant text := case when v_ascending then '>' else '<' end;
  v_keys constant bigint[] := track._queried_keys(query, _page_of_statements.source);
  v_range constant text := concat(
    case when query ? 'since' then ' and statement.stored_at > $3' end,
    case when query ? 'until' then ' and statement.stored_at <= $4' end,
    case when query ? 'start' then format(' and statement.stored_at %s $5', v_later) end
  );
  v_bytes constant text := case
    when query ->> 'attachments' = 'true' then 'statement.bytes::bigint + statement.attachment_bytes'
    else 'statement.bytes::bigint'
  end;
  -- Planned for each execution, by what is queried.
  v_part constant text := format(
    'select statement.stored_at, statement.statement, %s
    from track.statement
    where statement.source_id = $1
      and not statement.is_voided%s
      and %%s
    order by statement.stored_at %s
    limit $6',
    v_bytes, v_range, v_order
  );
  v_walked constant int := v_share * _page_of_statements.top;
  -- Time of the first statement that the first part does not walk.
  v_next timestamptz;
  v_found int;
begin
  if v_keys = '{}' then
    return query execute format(v_part, '$2 is not null')
    using
      _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
      (query ->> 'start')::timestamptz, _page_of_statements.top;
    return;
  end if;

  execute format(
    'select statement.stored_at
    from track.statement
    where statement.source_id = $1
      and $2 is not null%s
    order by statement.stored_at %s
    offset $6
    limit 1',
    v_range, v_order
  )
  into v_next
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, v_walked;
  return query execute format(
    v_part,
    format(
      '($7 is null or $7 %s statement.stored_at)
      and (
        statement.keys @> $2
        or statement.reference_id is not null and exists (
          with recursive target as (
            select referred.statement_id, referred.reference_id, referred.keys
            from track.statement as referred
            where referred.source_id = $1
              and referred.statement_id = statement.reference_id
            union
            select referred.statement_id, referred.reference_id, referred.keys
            from target
            join track.statement as referred
              on referred.source_id = $1
              and referred.statement_id = target.reference_id
          )
          select
          from target
          where target.keys @> $2
        )
      )',
      v_later
    )
  )
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, _page_of_statements.top, v_next;
  get diagnostics v_found = row_count;
  if v_next is null or v_found >= _page_of_statements.top then
    return;
  end if;

  return query execute format(
    'with recursive matched as materialized (
      select statement.statement_id, statement.stored_at, statement.is_voided
      from track.statement
      where statement.source_id = $1
        and statement.keys @> $2
    ),

    reference as (
      select referring.statement_id, referring.stored_at, referring.is_voided
      from track.statement as referring
      where referring.source_id = $1
        and referring.reference_id is not null
        and referring.reference_id in (select matched.statement_id from matched)
      union
      select referring.statement_id, referring.stored_at, referring.is_voided
      from reference
      join track.statement as referring
        on referring.source_id = $1
        and referring.reference_id = reference.statement_id
    ),

    found as (
      (
        select statement.stored_at
        from matched as statement
        where not statement.is_voided%1$s
          and not $7 %2$s statement.stored_at
        order by statement.stored_at %3$s
        limit $6
      )
      union
      (
        select statement.stored_at
        from reference as statement
        where not statement.is_voided%1$s
          and not $7 %2$s statement.stored_at
        order by statement.stored_at %3$s
        limit $6
      )
    )

    select statement.stored_at, statement.statement, %4$s
    from found
    join track.statement on statement.source_id = $1 and statement.stored_at = found.stored_at
    order by statement.stored_at %3$s
    limit $6',
    v_range, v_later, v_order, v_bytes
  )
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, _page_of_statements.top - v_found, v_next;
end;
$$;

comment on function track._page_of_statements(jsonb, smallint, int) is $$
Returns the first statements of a query. Those that refer to a statement with its keys are found, too.
$$;

create or replace function track._consistent_through(source smallint)
returns timestamptz
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_through timestamptz;
begin
  -- Without a writer at this moment, later ones store later times.
  if pg_try_advisory_lock_shared(hashtext('track.statement'), _consistent_through.source) then
    v_through := clock_timestamp();
    perform pg_advisory_unlock_shared(hashtext('track.statement'), _consistent_through.source);
    return v_through;
  end if;
  select max(statement.stored_at) into v_through
  from track.statement
  where statement.source_id = _consistent_through.source;
  return coalesce(v_through, '-infinity');
end;
$$;

comment on function track._consistent_through(smallint) is $$
Returns the time before which no further statement of a source will be stored, as far as later statements see it.
$$;

create or replace function track.statements(query jsonb)
returns track.statement_page
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
declare
  v_source constant smallint := track._reading_source('statements');
  v_top int;
  v_page track.statement_page;
begin
  if pg_column_size(statements.query) > 100000 or jsonb_typeof(statements.query) is distinct from 'object' then
    perform common.refuse('CF009', 'the query is not an object of at most 100000 bytes', 'Send {"verb": …}.');
  end if;
  v_page.consistent_through := track._consistent_through(v_source);
  if statements.query ?| '{statementId,voidedStatementId}' then
    select jsonb_agg(statement.statement) into v_page.statements
    from track.statement
    where statement.source_id = v_source
      and statement.statement_id = coalesce(query ->> 'statementId', query ->> 'voidedStatementId')::uuid
      and statement.is_voided = (query ? 'voidedStatementId');
    return v_page;
  end if;

  v_top := coalesce((query ->> 'limit')::int, 100);
  perform common.check_count('limit', v_top, 1, 500);
  with found as (
    select
      page.*, row_number() over running as place, sum(page.bytes) over running as bytes_so_far,
      count(*) over () as found
    from track._page_of_statements(statements.query, v_source, v_top + 1)
      with ordinality as page (stored_at, statement, bytes, ordinality)
    window running as (order by page.ordinality)
  ),

  -- At least one.
  listed as (
    select found.*
    from found
    where found.place <= v_top
      and (found.place = 1 or found.bytes_so_far <= 8000000)
  )

  select
    jsonb_agg(listed.statement order by listed.place),
    case
      when count(*) < max(listed.found)
        then to_char(
          (array_agg(listed.stored_at order by listed.place desc))[1], 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        )
    end
  into v_page.statements, v_page.next
  from listed;
  return v_page;
end;
$$;

comment on function track.statements(jsonb) is $$
@behavior -*
Returns a page of the xAPI statements that the source of the caller has sent, with the parameters of xAPI 1.0.3.
`query`: `statementId` or `voidedStatementId`; or `agent` (an object), `verb`, `activity`, `registration`,
`related_agents`, `related_activities`, `since`, `until`, `limit` (1 to 500; 100), `ascending`, `attachments`, and
`start`, which is `next` of the previous page. A page has at most 8 MB, or one statement. The order is that of the
storage, the latest first. Voided statements are found by `voidedStatementId` only. Statements are found, too, when one
that they refer to is found.
Errors: CF001 for an invalid `limit`, CF005 unless the caller has the key of a server, CF009 for an invalid query.
$$;

grant execute on function track.statements(jsonb)
to insights_visitor, insights_admin, insights_worker;
--! EndIncluded track/statements/statements.sql

--! Included track/access/_export_application.sql
create or replace function track._export_application(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'track.enrolment',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'named_item', named_item.external_id,
          'status', enrolment.status,
          'enrolled_at', enrolment.enrolled_at,
          'ended_at', enrolment.ended_at,
          'identity', subject.names[array_position(subject.identity_ids, enrolment.identity_id)]
        )
        order by enrolment.enrolled_at, enrolment.item_id, enrolment.identity_id
      )
      from track.enrolment
      join track.item using (item_id)
      left join track.item as named_item on named_item.item_id = enrolment.named_item_id
      where enrolment.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.item_role',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'role', item_role.role,
          'started_at', item_role.started_at,
          'ended_at', item_role.ended_at,
          'identity', subject.names[array_position(subject.identity_ids, item_role.identity_id)]
        )
        order by item_role.item_id, item_role.role, item_role.started_at, item_role.identity_id
      )
      from track.item_role
      join track.item using (item_id)
      where item_role.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.person_set_block',
    (
      select jsonb_agg(
        jsonb_build_object('name', person_set.name, 'description', person_set.description)
        order by person_set.name
      )
      from track.person_set_block as stored
      join track.person_set using (name)
      where stored.block = subject.person_id / 4096
        and get_bit(stored.people, (subject.person_id % 4096)::int) = 1
    )
  );
  return next privacy.exported_rows(
    'track.person_set_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', member.name,
          'identity', subject.names[array_position(subject.identity_ids, member.identity_id)]
        )
        order by member.name, member.identity_id
      )
      from track.person_set_member as member
      where member.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.exclusion',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', exclusion.reason,
          'note', exclusion.note,
          'excluded_at', exclusion.excluded_at,
          'identity', subject.names[array_position(subject.identity_ids, exclusion.identity_id)]
        )
        order by exclusion.identity_id
      )
      from track.exclusion
      where exclusion.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.item_source',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'attribute', told.attribute,
          'value', case told.attribute
            when 'name' then item.external_id
            when 'kind' then coalesce(named.kind, item.kind)
            when 'title' then coalesce(named.title, item.title)
            when 'url' then coalesce(named.url, item.url)
            when 'parent' then parent.external_id
          end,
          'identity', subject.names[array_position(subject.identity_ids, told.identity_id)]
        )
        order by told.item_id, told.attribute
      )
      from track.item_source as told
      join track.item using (item_id)
      -- Of an item that was merged, its description under its own name.
      left join track.named_item as named using (item_id)
      left join track.item as parent
        on parent.item_id = case when named.item_id is not null then named.parent_item_id else item.parent_item_id end
      where told.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.name_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'name', entry.name,
          'target', entry.target,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.name_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.forgotten_import',
    (
      select jsonb_agg(
        jsonb_build_object(
          'started_at', entry.started_at,
          'completed_at', entry.completed_at,
          'name', entry.name,
          'actor', entry.actor
        )
        order by entry.started_at, entry.source_id
      )
      from track.forgotten_import as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.write_key_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'key_id', entry.key_id,
          'details', entry.details,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.write_key_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function track._export_application(privacy.subject) is $$
Returns what the application and its administrators store about a person, for `track.export`.
Enrolments, roles, sets, the exclusion from figures, items that she named first, and what she did as an administrator.
$$;
--! EndIncluded track/access/_export_application.sql

--! Included track/erasure/_other_use.sql
create or replace function track._other_use(
  items bigint[],
  event_types int[],
  out used_items bigint[],
  out used_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Refreshed events of people, those without a person, and those that are not refreshed.
  used_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_other_use.items)
    union
    select item_day.item_id
    from track.item_day
    where item_day.item_id = any (_other_use.items)
    union
    select unnest(array[item_transition.source_item_id, item_transition.target_item_id])
    from track.item_transition
    where item_transition.source_item_id = any (_other_use.items)
      or item_transition.target_item_id = any (_other_use.items)
    union
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = 0
      and step.item_ids && _other_use.items::int[]
    union
    select unnest(array[event.item_id, event.named_item_id])
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where event.item_id = any (_other_use.items)
      or event.named_item_id = any (_other_use.items)
    union
    select enrolment.named_item_id
    from track.enrolment
    where enrolment.named_item_id = any (_other_use.items)
  );
  used_types := array(
    select entry.event_type_id
    from unnest(_other_use.event_types) as entry (event_type_id)
    where exists (select from track.step where step.event_type_id = entry.event_type_id)
      or exists (
        select
        from track.stale
        join track.event
          on event.person_id = stale.person_id
          and event.occurred_at between stale.since and stale.until
        where entry.event_type_id in (event.event_type_id, event.named_event_type_id)
      )
  );
end;
$$;

comment on function track._other_use(bigint[], int[]) is $$
Returns which of the given items and event types have events or enrolments.
$$;
--! EndIncluded track/erasure/_other_use.sql

--! Included track/erasure/_erase_items.sql
create or replace function track._erase_items(items bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_deleted bigint := 0;
begin
  -- One by one, children first: an item that something else refers to is kept, such as the parent of another one.
  for v_item_id in
    select item.item_id
    from track.item
    join track.item_source on item_source.item_id = item.item_id and item_source.attribute = 'name'
    where item.item_id = any (_erase_items.items)
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = item.item_id) desc,
      item.item_id
  loop
    begin
      delete from track.item_ancestor where item_ancestor.item_id = v_item_id;
      delete from track.stale_course where stale_course.item_id = v_item_id;
      delete from track.item where item.item_id = v_item_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_items(bigint[]) is $$
Deletes items that only messages have named, unless something refers to them. Returns their number.
$$;
--! EndIncluded track/erasure/_erase_items.sql

--! Included track/erasure/_erase_event_types.sql
create or replace function track._erase_event_types(event_types int[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type_id int;
  v_deleted bigint := 0;
begin
  for v_type_id in
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_erase_event_types.event_types)
      -- As messages enter them, so that the next message with the name enters the same.
      and event_type.description is null
      and event_type.purpose = 'analytics'
      and event_type.allowed_properties is not distinct from (select setting.allowed_properties from track.setting)
      and not (event_type.opens_view or event_type.is_heartbeat or event_type.is_automatic)
      and num_nonnulls(
        event_type.merged_event_type_id, event_type.target_event_type_id, event_type.former_event_type_id
      ) = 0
    order by event_type.event_type_id
  loop
    begin
      delete from track.event_type where event_type.event_type_id = v_type_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_event_types(int[]) is $$
Deletes event types that only messages have named, unless something refers to them. Returns their number.
$$;
--! EndIncluded track/erasure/_erase_event_types.sql

--! Included track/erasure/_erase_descriptions.sql
create or replace function track._erase_descriptions(identities bigint[], items bigint[] default null)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cleared bigint;
begin
  with own as materialized (
    select source.item_id, array_agg(source.attribute) as attributes
    from track.item_source as source
    where source.identity_id = any (_erase_descriptions.identities)
      and source.attribute <> 'name'
      and (_erase_descriptions.items is null or source.item_id = any (_erase_descriptions.items))
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
  ),

  -- A parent that was not entered, because the item had another one.
  entered as (
    insert into track.item (external_id)
    select distinct told.said
    from told
    where told.attribute = 'parent'
      and told.said is not null
      and not exists (select from track.item where item.external_id = told.said)
    returning item.item_id, item.external_id
  ),

  named as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', min(told.identity_id)
    from entered
    join told on told.attribute = 'parent' and told.said = entered.external_id
    group by entered.item_id
  ),

  by_item as (
    select
      told.item_id,
      bool_or(told.attribute = 'kind') as has_kind, max(told.said) filter (where told.attribute = 'kind') as kind,
      bool_or(told.attribute = 'title') as has_title, max(told.said) filter (where told.attribute = 'title') as title,
      bool_or(told.attribute = 'url') as has_url, max(told.said) filter (where told.attribute = 'url') as url,
      bool_or(told.attribute = 'parent') as has_parent,
      max(coalesce(entered.item_id, parent.merged_item_id, parent.item_id))
        filter (where told.attribute = 'parent') as parent_item_id
    from told
    left join entered on told.attribute = 'parent' and entered.external_id = told.said
    left join track.item as parent on told.attribute = 'parent' and parent.external_id = told.said
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case when by_item.has_kind then coalesce(by_item.kind, 'unknown') else item.kind end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case
        when by_item.has_parent then nullif(by_item.parent_item_id, item.item_id)
        else item.parent_item_id
      end
    from by_item
    where item.item_id = by_item.item_id
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
    returning item.item_id
  ),

  deleted as (
    delete from track.item_source
    using told
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and told.identity_id is null
  ),

  renamed as (
    update track.item_source
    set identity_id = told.identity_id
    from told
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and told.identity_id is not null
  )

  select count(*) into v_cleared
  from changed;

  -- The item is used by others, or named by the application.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (_erase_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[], bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
`items`: of these items only; null: of all.
Returns the number of items. The derived data of courses follows with the next refresh, as with each change of an item.
$$;
--! EndIncluded track/erasure/_erase_descriptions.sql

--! Included track/erasure/_erase_names.sql
/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. Items and types
 * that messages have named are deleted with the last person who used them. A batch that is being stored may name one of
 * them: therefore an erasure with such candidates waits for the running batches before it locks the people, and later
 * batches wait for it.
 */
create or replace function track._has_names_of_its_own(subject privacy.subject)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from track.item_source
    join (
      select unnest(step.item_ids)::bigint as item_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.item_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
      union
      select named.item_id
      from track.item_source as named
      where named.identity_id = any (subject.identity_ids)
    ) as used on used.item_id = item_source.item_id
    where item_source.attribute = 'name'
      and not exists (
        select
        from track.item_month
        where item_month.item_id = item_source.item_id
          -- Of at least two people, one is another one, but for what was sent without proof.
          and (
            cardinality(item_month.people) > cardinality(subject.identity_ids)
            or exists (
              select
              from unnest(item_month.people) as entry (person)
              where item_month.part * 32768::bigint + entry.person <> all (subject.identity_ids)
            )
          )
      )
  ) or exists (
    select
    from (
      select step.event_type_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.event_type_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
    ) as used
    where not exists (
      select
      from track.step
      where step.event_type_id = used.event_type_id
        and step.person_id <> all (subject.identity_ids)
    )
  );
end;
$$;

comment on function track._has_names_of_its_own(privacy.subject) is $$
Returns whether a person may have used an item or an event type that messages have named, and that nobody else uses.
$$;

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
begin
  -- As a rule, the first few people tell the same.
  foreach v_most in array array[20, 1000] loop
    return query
    select distinct on (told.attribute) told.attribute, told.said, event.identity_id
    from (
      select used.person_id, used.since, used.until
      from (
        select
          item_month.part * 32768::bigint + entry.person as person_id,
          item_month.month::timestamp at time zone 'UTC' as since,
          (item_month.month + interval '1 month')::timestamp at time zone 'UTC' as until
        from track.item_month
        cross join lateral unnest(item_month.people) as entry (person)
        where item_month.item_id = _told_by_others.item_id
        order by item_month.month, item_month.part, entry.person
        limit v_most
      ) as used
      union all
      (
        select stale.person_id, stale.since, stale.until
        from track.stale
        limit v_most
      )
    ) as period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
      and event.item_id = _told_by_others.item_id
    join track.source on source.source_id = event.source_id
    join track.event_type on event_type.event_type_id = event.event_type_id
    cross join lateral (
      values (
        case event_type.name when 'Page Viewed' then 'page' when 'Screen Viewed' then 'screen' else 'track' end,
        source.level = 'server'
      )
    ) as message (type, is_trusted)
    cross join lateral (
      values
        ('kind', track._item_kind(message.type, event.properties, event.properties ->> 'path', message.is_trusted)),
        (
          'title',
          case
            when message.is_trusted
              then coalesce(
                event.properties ->> 'itemTitle', case message.type when 'page' then event.properties ->> 'title' end
              )
          end
        ),
        ('url', case when message.is_trusted and message.type = 'page' then event.properties ->> 'url' end),
        (
          'parent',
          case
            when message.is_trusted
              then (
                select nullif(event.properties ->> 'parent', '')
                from track.item
                where item.item_id = _told_by_others.item_id
                  and item.external_id <> event.properties ->> 'parent'
              )
          end
        )
    ) as told (attribute, said)
    where told.attribute = any (_told_by_others.attributes)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as the earliest stored events of others tell them, and the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;
--! EndIncluded track/erasure/_erase_names.sql

--! Included track/erasure/_settle.sql
create or replace function track._settle(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_near bigint[];
  v_queued bigint[];
  v_outcome record;
  v_consumer track.consumer;
begin
  -- Courses that are queued are left out by the refresh of a person.
  perform track._refresh_course_presence();

  -- The keys that the people have, and those that they had: the key of a person is that of one of her identities.
  v_near := array(
    select distinct entry.person_id
    from (
      select unnest(_settle.identity_ids) as identity_id
      union
      select unnest(array[link.identity_id, link.linked_identity_id])
      from track.identity_link as link
      where link.identity_id = any (_settle.identity_ids)
        or link.linked_identity_id = any (_settle.identity_ids)
    ) as linked
    join track.identity as one on one.identity_id = linked.identity_id
    join track.identity as other on other.person_id = one.person_id
    cross join lateral (values (other.identity_id), (other.person_id)) as entry (person_id)
    where entry.person_id <> 0
  );
  begin
    perform track._refresh_sessions_of(array(
      select distinct stale.person_id from track.stale where stale.person_id = any (v_near)
    ));
  exception
    -- As with track.refresh: the data of one person makes it fail. Her erasure removes it; others stay queued.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then null;
  end;
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    with taken as (
      delete from track.changed
      where changed.person_id = any (v_near)
        and changed.consumer = v_consumer.consumer
      returning changed.person_id
    )
    select array_agg(distinct taken.person_id) into v_queued
    from taken;
    continue when v_queued is null;
    v_outcome := track._refresh_people(
      v_consumer.refresh, v_queued,
      array_fill('-infinity'::timestamptz, array[cardinality(v_queued)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_queued)])
    );
    insert into track.changed (person_id, consumer, since, until)
    select failed.person_id, v_consumer.consumer, '-infinity', 'infinity'
    from unnest(v_outcome.failed) as failed (person_id);
  end loop;
end;
$$;

comment on function track._settle(bigint[]) is $$
Refreshes what is queued for the people of identities, and for those they were linked to at some time.
Merges and splits move derived data with the next refresh: afterwards the derived data of a person is her own only.
The caller has locked the refresh, the people and the identities.
$$;
--! EndIncluded track/erasure/_settle.sql

--! Included track/erasure/erase.sql
create or replace function track.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities constant bigint[] := subject.identity_ids;
  -- Messages without proof under the names of her browsers are people of their own, with the keys of their identities.
  v_people constant bigint[] := subject.identity_ids;
  -- A later link of a browser moves messages to the identity of another user, but not what they have told of items.
  v_tellers constant bigint[] := track._with_siblings(subject.identity_ids);
  v_items bigint[];
  v_types int[];
  v_used record;
  v_consumer track.consumer;
  v_rows bigint;
begin
  if subject.person_id is null then
    return;
  end if;
  v_items := array(
    select event.item_id from track.event where event.person_id = any (v_people)
    union
    select event.named_item_id from track.event where event.person_id = any (v_people)
    union
    select source.item_id from track.item_source as source where source.identity_id = any (v_tellers)
  );
  v_types := array(select distinct event.event_type_id from track.event where event.person_id = any (v_people));

  -- First what is derived from the events: the refresh of a person without events removes her from each rollup.
  return next privacy.erase_rows('track.event', 'person_id', v_people);
  return next privacy.erase_rows('track.stale_property', 'person_id', v_people);
  return query select counted.* from track._count_derived(v_people) as counted;
  insert into track.stale (person_id, since, until)
  select entry.person_id, '-infinity', 'infinity'
  from unnest(v_people) as entry (person_id);
  perform track._refresh_sessions_of(v_people);

  return query select erased.* from track._erase_statements(subject) as erased;
  return next privacy.erase_rows('track.trait', 'person_id', v_people);
  return next privacy.erase_rows('track.trait_history', 'person_id', v_people);
  return next privacy.erase_rows('track.enrolment', 'person_id', v_people);
  return next privacy.erase_rows('track.item_role', 'person_id', v_people);
  return next privacy.erase_rows('track.exclusion', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person_set_member', 'identity_id', v_identities);
  return next privacy.clear_values('track.exclusion', 'excluded_by', privacy.user_names(subject));
  return next privacy.clear_values('track.write_key_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.name_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.forgotten_import', 'actor', privacy.user_names(subject));
  return next track._clear_examples(v_people);
  return next privacy.erase_rows('track.identity_link', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'linked_identity_id', v_identities);
  return next privacy.erase_rows('track.identity', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person', 'person_id', v_people);
  perform track._number_browsers(subject.names);
  perform track._give_back_traits(subject.names);

  -- Sets of people, cohorts and what else other rooms derive: each finds no data of the person any more.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_people,
      array_fill('-infinity'::timestamptz, array[cardinality(v_people)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_people)]);
  end loop;
  return next privacy.erase_rows('track.changed', 'person_id', v_people);

  v_rows := track._erase_descriptions(v_tellers);
  return next row('track.item', v_rows, 'cleared')::privacy.erased;
  -- Not while a batch is stored that may name one of them: see track._has_names_of_its_own.
  if pg_try_advisory_xact_lock(hashtext('track.ingest')) then
    v_used := track._other_use(v_items, v_types);
    v_rows := track._erase_items(array(select unnest(v_items) except select unnest(v_used.used_items)));
    return next row('track.item', v_rows, 'deleted')::privacy.erased;
    v_rows := track._erase_event_types(array(select unnest(v_types) except select unnest(v_used.used_types)));
    return next row('track.event_type', v_rows, 'deleted')::privacy.erased;
  end if;
end;
$$;

comment on function track.erase(privacy.subject) is $$
@behavior -*
Erases the people, identities and events of a person, and recomputes the rollups and sets without her.
Called by `privacy.erase_person`, after the rooms whose data is derived from it. The caller has locked the person.
$$;

create or replace function track._count_derived(people bigint[])
returns setof privacy.erased
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_activity constant track.activity[] := array(select track._whole_activity(_count_derived.people));
begin
  return query
  select
    'track.session', count(*), 'deleted'
  from track.session
  where session.person_id = any (_count_derived.people)
  union all
  select 'track.step', count(*), 'deleted'
  from track.step
  where step.person_id = any (_count_derived.people)
  union all
  select 'track.step_value', count(*), 'deleted'
  from track.step_value
  where step_value.person_id = any (_count_derived.people)
  union all
  select 'track.presence', count(distinct (entry.event_type_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.event_count > 0
  union all
  select 'track.item_month', count(distinct (entry.item_id, date_trunc('month', entry.day::timestamp))), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select 'track.item_day', count(distinct (entry.item_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select
    'track.item_transition', count(distinct (entry.month, entry.source_item_id, entry.target_item_id)), 'recomputed'
  from track._whole_transitions(track._counted_among(_count_derived.people)) as entry
  union all
  select 'track.person_set_block', count(*), 'recomputed'
  from track.person_set_block as stored
  join unnest(_count_derived.people) as entry (person_id)
    on entry.person_id / 4096 = stored.block
    and get_bit(stored.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track._count_derived(bigint[]) is $$
Counts the derived rows of people, before a refresh deletes or recomputes them.
$$;

create or replace function track._clear_examples(people bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update track.rollup_check
  set example = 'erased'
  where exists (
    select
    from unnest(_clear_examples.people) as entry (person_id)
    where starts_with(rollup_check.example, format('person %s,', entry.person_id))
  );
  get diagnostics v_rows = row_count;
  return row('track.rollup_check', v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function track._clear_examples(bigint[]) is $$
Replaces the keys of people in the results of checks of the rollups.
$$;

create or replace function track._give_back_traits(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
begin
  with given_back as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (identity.external_id, history.name)
      history.person_id, history.identity_id, history.name, point.value, point.set_at
    from track.identity
    join track.trait_history as history
      on history.person_id = identity.person_id and history.identity_id = identity.identity_id
    cross join lateral track._trait_points(history.set_at, history.value, history.repeated_at) as point
    where identity.external_id = any (_give_back_traits.names)
      and identity.kind = 'anonymous'
      and not exists (
        select
        from track.identity as sibling
        join track.trait on trait.person_id = sibling.person_id and trait.identity_id = sibling.identity_id
        where sibling.external_id = identity.external_id
          and sibling.kind = 'anonymous'
          and trait.name = history.name
      )
    order by identity.external_id, history.name, point.set_at desc, point.value desc, history.identity_id
    returning trait.person_id
  )
  select array_agg(distinct given_back.person_id) into v_people
  from given_back;
  perform track._enqueue('trait', v_people);
end;
$$;

comment on function track._give_back_traits(text[]) is $$
After the erasure of a user of browsers: traits of the other users that hers had replaced apply again.
$$;

create or replace function track._number_browsers(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The first identity of each name has the branch 0.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (_number_browsers.names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
    having min(sibling.branch) > 0
  );
end;
$$;

comment on function track._number_browsers(text[]) is $$
Makes the oldest identity of each browser the first one, after others of the same browser were deleted.
$$;
--! EndIncluded track/erasure/erase.sql

--! Included track/imports/_import_source.sql
create or replace function track._import_source(source text)
returns track.source
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source track.source;
begin
  select entry.* into v_source
  from track.source as entry
  where entry.name = _import_source.source
    and entry.level = 'server'
    and not exists (select from track.forgotten_import as former where former.source_id = entry.source_id);
  if v_source.name = 'default' then
    perform common.refuse(
      'CF001',
      'the source "default" is not an import',
      'It has the messages of all servers without a name of their own. Imports have one: insights import --source NAME.'
    );
  end if;
  if exists (select from track.write_key where write_key.source_id = v_source.source_id)
    or exists (select from track.statement where statement.source_id = v_source.source_id)
  then
    perform common.refuse(
      'CF005',
      format('the source "%s" is not an import', v_source.name),
      'It has a write key, with which an application sends its messages.'
    );
  end if;
  return v_source;
end;
$$;

comment on function track._import_source(text) is $$
Returns the source of an import. Null if no source has this name, or if the import is being removed.
Errors: CF001 for the source of messages without one, CF005 for a source with write keys or statements.
$$;

create or replace function track._refuse_unknown_import(source text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    'CF002',
    format('there is no import "%s"', coalesce(left(_refuse_unknown_import.source, 100), 'null')),
    coalesce(
      'Did you mean "' || common.nearest_name(
        _refuse_unknown_import.source,
        (
          select array_agg(entry.name order by entry.name)
          from track.source as entry
          where entry.level = 'server'
            and entry.name <> 'default'
            and not exists (select from track.forgotten_import as former where former.source_id = entry.source_id)
        )
      ) || '"? ',
      ''
    ) || 'Give the name of the source of the import, as in track.source: that of --source, or else of the format.'
  );
end;
$$;

comment on function track._refuse_unknown_import(text) is $$
Raises CF002 for the name of an import, with the nearest name of a source.
$$;
--! EndIncluded track/imports/_import_source.sql

--! Included track/imports/source_contents.sql
create or replace function track.source_contents(source text)
returns track.source_contents
language plpgsql
stable
-- A definer: it counts the events of all people.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_source constant track.source := track._import_source(source_contents.source);
  v_contents track.source_contents;
begin
  if v_source.source_id is null then
    perform track._refuse_unknown_import(source_contents.source);
  end if;
  -- Each event is read once, and the others of its people and items with it.
  select
    v_source.name, coalesce(sum(used.imported), 0), min(used.first_at), max(used.last_at),
    count(*) filter (where used.person_id is not null and used.imported > 0),
    count(*) filter (where used.person_id is not null and used.imported = used.events),
    null, null
  into v_contents
  from (
    select
      event.person_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported,
      min(event.occurred_at) filter (where event.source_id = v_source.source_id) as first_at,
      max(event.occurred_at) filter (where event.source_id = v_source.source_id) as last_at
    from track.event
    group by event.person_id
  ) as used;
  select count(*) filter (where used.imported > 0), count(*) filter (where used.imported = used.events)
  into v_contents.items, v_contents.items_alone
  from (
    select
      event.item_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported
    from track.event
    where num_nonnulls(event.item_id) > 0
    group by event.item_id
  ) as used;
  return v_contents;
end;
$$;

comment on function track.source_contents(text) is $$
@behavior -*
Counts what the events of an import are about, before `track.forget_import` removes it.
`source`: its name, as in `track.source`. Reads all events. Errors: CF002 for an unknown name, with the nearest one;
CF001 and CF005 for the sources of applications.
$$;

grant execute on function track.source_contents(text) to insights_admin;
--! EndIncluded track/imports/source_contents.sql

--! Included track/imports/forget_import.sql
/*
 * The ids of messages are unique within a source, and most of their hashes are packed, without their source. Therefore
 * the source of an import that is removed keeps its key and gets another name: an import under the same name has a
 * new key from then on, and none of its messages is a duplicate.
 *
 * No batch of messages is stored during a step, so that none can name a person or an item that the step deletes.
 */
create or replace function track._begin_forgetting(source text)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source track.source;
  v_import track.forgotten_import;
begin
  -- The one that is not completed. The last one is resumed when events that it had to keep may have become free.
  select former.* into v_import
  from track.forgotten_import as former
  where former.name = _begin_forgetting.source
  order by former.completed_at is null desc, former.started_at desc
  limit 1;
  if v_import.source_id is not null and v_import.completed_at is null then
    return v_import;
  end if;

  v_source := track._import_source(_begin_forgetting.source);
  if v_source.source_id is null then
    if v_import.source_id is null then
      perform track._refuse_unknown_import(_begin_forgetting.source);
    end if;
    if v_import.kept_event_count > 0 then
      update track.forgotten_import
      set completed_at = null, done_until = '-infinity', kept_event_count = 0
      where forgotten_import.source_id = v_import.source_id
      returning * into v_import;
    end if;
    return v_import;
  end if;

  update track.source
  set name = format('%s (removed %s)', left(v_source.name, 80), v_source.source_id)
  where source.source_id = v_source.source_id;
  -- Settings by administrators apply to the next import, too.
  if num_nonnulls(v_source.description, v_source.heartbeat, v_source.path_rule, v_source.kept_parameters) > 0
    or v_source.is_automatic
  then
    insert into track.source (name, description, level, heartbeat, is_automatic, path_rule, kept_parameters)
    values (
      v_source.name, v_source.description, v_source.level, v_source.heartbeat, v_source.is_automatic,
      v_source.path_rule, v_source.kept_parameters
    );
  end if;
  insert into track.forgotten_import (source_id, name, actor)
  values (v_source.source_id, v_source.name, common.author())
  returning * into v_import;
  return v_import;
end;
$$;

comment on function track._begin_forgetting(text) is $$
Returns the import of a name that is being removed; begins with it, or returns the last one that is completed.
Errors: CF002 for an unknown name, CF001 and CF005 for the sources of applications.
$$;

create or replace function track._forget_people(people bigint[])
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_gone bigint[] := array(
    select identity.person_id
    from track.identity
    where identity.person_id = any (_forget_people.people)
      and identity.person_id <> 0
    group by identity.person_id
    having count(*) = 1
  );
  v_column record;
  v_used bigint[];
  v_consumer track.consumer;
begin
  -- Every column that refers to people, of any room, in the data map.
  for v_column in
    select entry.schema_name, entry.table_name, entry.column_name
    from privacy.data_map as entry
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass(format('%I.%I', entry.schema_name, entry.table_name))
      and attribute.attname = entry.column_name
      and attribute.atttypid = 'bigint'::regtype
    where entry.holds in ('person', 'identity')
      and (entry.schema_name, entry.table_name) not in (
        values
          ('track', 'person'), ('track', 'identity'), ('track', 'item_source'),
          ('track', 'stale'), ('track', 'changed'), ('track', 'stale_property'), ('track', 'automatic_period')
      )
    order by entry.schema_name, entry.table_name, entry.column_name
  loop
    exit when v_gone = '{}';
    execute format(
      'select array(select distinct %1$I from %2$I.%3$I where %1$I = any ($1))',
      v_column.column_name, v_column.schema_name, v_column.table_name
    )
    into v_used
    using v_gone;
    if v_used <> '{}' then
      v_gone := array(select unnest(v_gone) except select unnest(v_used));
    end if;
  end loop;
  if v_gone = '{}' then
    return v_gone;
  end if;

  update track.item_source set identity_id = 0 where item_source.identity_id = any (v_gone);
  delete from track.stale where stale.person_id = any (v_gone);
  delete from track.stale_property where stale_property.person_id = any (v_gone);
  delete from track.automatic_period where automatic_period.person_id = any (v_gone);
  delete from track.identity where identity.identity_id = any (v_gone);
  delete from track.person where person.person_id = any (v_gone);
  -- Sets of people, and what else is derived from a name alone.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_gone,
      array_fill('-infinity'::timestamptz, array[cardinality(v_gone)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_gone)]);
  end loop;
  delete from track.changed where changed.person_id = any (v_gone);
  return v_gone;
end;
$$;

comment on function track._forget_people(bigint[]) is $$
Deletes the people who have no stored data except one name. Returns their keys.
The caller has locked them. A column of any room that `privacy.data_map` lists as a person or an identity counts.
$$;

create or replace function track._forget_events(import track.forgotten_import, most_events int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_month record;
  v_picked record;
  v_found bigint := 0;
  v_function text;
  v_gone bigint[];
  v_items bigint[];
begin
  for v_month in
    select month.*
    from track._event_partitions() as month
    where month.until > v_import.done_until
  loop
    execute format(
      'select
        count(*) as events, array_agg(picked.person_id) as people, array_agg(picked.occurred_at) as times,
        array_agg(picked.event_id) as ids, array_agg(distinct picked.identity_id) as identities,
        array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
        array_agg(distinct picked.properties ->> ''parent'') as parents,
        array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as types
      from (
        select event.*
        from track.%I as event
        where event.source_id = $1
          and event.person_id <> all ($2)
        limit $3
      ) as picked',
      v_month.name
    )
    into v_picked
    using v_import.source_id, v_held, _forget_events.most_events;
    v_found := v_picked.events;
    exit when v_found > 0;
    v_import.done_until := v_month.until;
  end loop;
  if v_found = 0 then
    return v_import;
  end if;

  -- In the order of an erasure: the people, their identities, and what is queued for them.
  v_picked.identities := array_remove(v_picked.identities, 0);
  perform track._lock_people(v_picked.identities);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (track._with_siblings(v_picked.identities))
  order by identity.identity_id
  for update;
  perform track._settle(v_picked.identities);
  for v_function in
    select consumer.forget_function
    from track.consumer
    where num_nonnulls(consumer.forget_function) > 0
    order by consumer.position
  loop
    execute format('select %I.%I($1, $2)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
    using v_picked.people, v_picked.times;
  end loop;

  -- An event that was moved to another person before the lock is found by the next step.
  execute format(
    'with deleted as (
      delete from track.%I as event
      using unnest($1, $2, $3) as picked (person_id, occurred_at, event_id)
      where event.person_id = picked.person_id
        and event.occurred_at = picked.occurred_at
        and event.event_id = picked.event_id
      returning event.person_id, event.occurred_at
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      group by deleted.person_id
    )

    select count(*) from deleted',
    v_month.name
  )
  into v_found
  using v_picked.people, v_picked.times, v_picked.ids;
  perform track._settle(v_picked.identities);

  v_items := array_remove(v_picked.items, null);
  v_gone := track._forget_people(array(select distinct unnest(v_picked.people)));
  insert into track.forgotten_item (source_id, item_id)
  select v_import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  -- As they were named: an item has the parent that was named first.
  select v_import.source_id, item.item_id
  from track.item
  where item.external_id = any (v_picked.parents)
  on conflict do nothing;
  -- The attributes that these people gave to items are read again from the events that are left, after the last step.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (v_picked.identities)
    and item_source.item_id = any (v_items)
    and item_source.attribute <> 'name';
  v_import.event_types := array(
    select unnest(v_import.event_types)
    union
    select unnest(array_remove(v_picked.types, null))
  );
  v_import.event_count := v_import.event_count + v_found;
  v_import.person_count := v_import.person_count + cardinality(v_gone);
  return v_import;
end;
$$;

comment on function track._forget_events(track.forgotten_import, int) is $$
Deletes at most `most_events` events of an import, refreshes what is derived from them, and deletes people without data.
The months are done in order. Events of people whose data is restricted stay. The caller has the locks of the refresh
and of all batches.
$$;

create or replace function track._unused_items(items bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_used constant bigint[] := (
    select array_remove(other.used_items, null) from track._other_use(_unused_items.items, '{}') as other
  );
begin
  return array(
    select named.item_id
    from track.item_source as named
    where named.item_id = any (_unused_items.items)
      and named.item_id <> all (v_used)
      and named.attribute = 'name'
  );
end;
$$;

comment on function track._unused_items(bigint[]) is $$
Returns those of the items that only messages have named, and that have neither events nor enrolments.
$$;

create or replace function track._forget_items(import track.forgotten_import, most_items int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  -- Children first: an item that contains another one stays.
  v_items constant bigint[] := array(
    select named.item_id
    from track.forgotten_item as named
    where named.source_id = v_import.source_id
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = named.item_id) desc,
      named.item_id
    limit _forget_items.most_items
  );
  v_unused bigint[];
begin
  if v_items = '{}' then
    return v_import;
  end if;
  -- The items that stay first: one of the others may be their parent, and then has the sums of its parts.
  v_unused := track._unused_items(v_items);
  perform track._erase_descriptions('{0}', array(select unnest(v_items) except select unnest(v_unused)));
  perform track._refresh_course_presence();
  v_unused := track._unused_items(v_items);
  v_import.item_count := v_import.item_count + track._erase_items(v_unused);
  -- Those that something else refers to.
  perform track._erase_descriptions('{0}', array(
    select item.item_id from track.item where item.item_id = any (v_items)
  ));
  delete from track.forgotten_item
  where forgotten_item.source_id = v_import.source_id
    and forgotten_item.item_id = any (v_items);
  return v_import;
end;
$$;

comment on function track._forget_items(track.forgotten_import, int) is $$
Deletes items that only messages have named and that nothing uses any more.
Of the others, the events that are left give the attributes that the import gave.
$$;

create or replace function track.forget_import(source text, most_events int default 10000)
returns track.forgotten_import
language plpgsql
volatile
-- A definer: it deletes events and people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_import track.forgotten_import;
  v_before track.forgotten_import;
  v_types int[];
  v_messages bigint;
begin
  perform common.check_count('most_events', forget_import.most_events, 1, 100000);
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('no import can be removed in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  -- In the order of an erasure: a refresh can take minutes, and while this waits for batches, none begins.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  v_before := track._begin_forgetting(forget_import.source);
  if v_before.completed_at is not null then
    return v_before;
  end if;
  v_import := track._forget_events(v_before, forget_import.most_events);

  if v_import.event_count = v_before.event_count then
    v_import := track._forget_items(v_import, 1000);
    if not exists (select from track.forgotten_item where forgotten_item.source_id = v_import.source_id) then
      with taken as (
        select message.source_id, message.message_hash
        from track.message
        where message.source_id = v_import.source_id
        limit 100000
      ),

      deleted as (
        delete from track.message
        using taken
        where message.source_id = taken.source_id
          and message.message_hash = taken.message_hash
        returning message.source_id
      )

      select count(*) into v_messages from deleted;
      if v_messages = 0 then
        v_types := (select other.used_types from track._other_use('{}', v_import.event_types) as other);
        v_import.event_type_count := v_import.event_type_count
          + track._erase_event_types(array(select unnest(v_import.event_types) except select unnest(v_types)));
        v_import.event_types := '{}';
        v_import.completed_at := clock_timestamp();
        v_import.kept_event_count := (
          select count(*)
          from track.event
          where event.source_id = v_import.source_id
            and event.person_id = any (array(select privacy.restricted()))
        );
        delete from track.refusal where refusal.source_id = v_import.source_id;
        delete from track.refusal_sample where refusal_sample.source_id = v_import.source_id;
        if v_import.kept_event_count = 0 then
          delete from track.source where source.source_id = v_import.source_id;
        end if;
      end if;
    end if;
  end if;

  update track.forgotten_import
  set
    completed_at = v_import.completed_at,
    done_until = v_import.done_until,
    event_count = v_import.event_count,
    person_count = v_import.person_count,
    item_count = v_import.item_count,
    event_type_count = v_import.event_type_count,
    kept_event_count = v_import.kept_event_count,
    event_types = v_import.event_types
  where forgotten_import.source_id = v_import.source_id;
  return v_import;
end;
$$;

comment on function track.forget_import(text, int) is $$
@behavior -*
Removes an import, in steps.
Each call is a transaction that deletes at most `most_events` events, with all that is derived from them. Repeat it
until `completed_at` of the result is not null; a call that is interrupted has done nothing. Returns the row of
`track.forgotten_import`, which stays as the history; a further call returns it again.
`source`: the name of the import, as in `track.source`. From the first call on, an import under this name is a new one.
Afterwards every table is as if the import had never been: sessions, journeys, sums, sets and interactions follow in
the same transaction, and people, items and types of events that nothing else names are deleted. What stays is what is
not recorded by source: traits, links between names and decisions of Segment's messages; hashes of ids of messages that
are packed already, without a person; and names that a model, a table of the application or an administrator uses.
Events of people whose data is restricted stay (`kept_event_count`); a call after the restriction deletes them.
Models follow with their next training. Messages wait while a step runs.
Errors: CF002 for an unknown name, with the nearest one; CF001 for `default` and unless `most_events` is from 1 to
100,000; CF005 for the source of an application; 25001 in a transaction of another level than read committed.
$$;

grant execute on function track.forget_import(text, int) to insights_admin;
--! EndIncluded track/imports/forget_import.sql

-- from track/policies.sql
grant select on track.write_key_log, track.refusal_sample, track.name_log, track.forgotten_import,
  track.forgotten_item
to insights_admin;
drop policy if exists all_rows on track.forgotten_import;
create policy all_rows on track.forgotten_import for select using (true);
drop policy if exists all_rows on track.forgotten_item;
create policy all_rows on track.forgotten_item for select using (true);

-- from track/data_map.sql
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
    ('track', 'forgotten_import', '{name,event_types}', 'Name of an importer, and keys of types of events.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer', '{consumer,refresh,inputs,description,reads_set,incomplete_sets,forget_function}',
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

--! Included experiment/exposure/_refresh_arms.sql
create or replace function experiment._refresh_arms(former experiment.exposure[], present experiment.exposure[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_name text;
  v_joined bigint[];
  v_departed bigint[];
begin
  for v_name, v_joined, v_departed in
    select person_set.name, moved.joined, moved.departed
    from (
      select
        change.experiment_id, change.variation,
        array_agg(change.person_id) filter (where change.sum > 0) as joined,
        array_agg(change.person_id) filter (where change.sum < 0) as departed
      from (
        select entry.experiment_id, entry.variation, entry.person_id, sum(entry.sign) as sum
        from (
          select former.experiment_id, former.variation, former.person_id, -1 as sign
          from unnest(_refresh_arms.former) as former
          where former.is_counted and former.variation is not null
          union all
          select present.experiment_id, present.variation, present.person_id, 1
          from unnest(_refresh_arms.present) as present
          where present.is_counted and present.variation is not null
        ) as entry
        group by entry.experiment_id, entry.variation, entry.person_id
      ) as change
      where change.sum <> 0
      group by change.experiment_id, change.variation
    ) as moved
    join experiment.experiment on experiment.experiment_id = moved.experiment_id
    join experiment.variation
      on variation.experiment_id = moved.experiment_id
      and variation.variation = moved.variation
    -- Those that are defined: without one, the people of the others are still moved.
    join track.person_set
      on person_set.name
        = experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
    order by experiment.experiment_key, variation.variation
  loop
    perform track.move_people(v_name, v_joined, v_departed);
  end loop;
end;
$$;

comment on function experiment._refresh_arms(experiment.exposure[], experiment.exposure[]) is $$
Changes the sets of the variations by the people who are in another one than before.
The cost is that of the changes, whatever the number of experiments.
$$;
--! EndIncluded experiment/exposure/_refresh_arms.sql

--! Included recommend/interactions/forget_events.sql
create or replace function recommend.forget_events(people bigint[], times timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.interaction
  using (
    select distinct entry.person_id, entry.at
    from unnest(forget_events.people, forget_events.times) as entry (person_id, at)
  ) as gone
  where interaction.person_id = gone.person_id
    and interaction.first_at = gone.at;

  delete from recommend.dismissed_topic
  using (
    select distinct entry.person_id, entry.at
    from unnest(forget_events.people, forget_events.times) as entry (person_id, at)
  ) as gone
  where dismissed_topic.person_id = gone.person_id
    and dismissed_topic.first_at = gone.at;
end;
$$;

comment on function recommend.forget_events(bigint[], timestamptz[]) is $$
@behavior -*
Deletes the interactions and topics whose first event is one of the given people and times, which will be deleted.
Called by `track.forget_import` (see `track.consumer.forget_function`): otherwise the next refresh would keep what they
did as `recommend.taken`, as after the deletion of old events. The refresh computes them again from the events that
are left.
$$;
--! EndIncluded recommend/interactions/forget_events.sql

--! Included monitor/checks/_check_worker.sql
create or replace function monitor._check_worker()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_fix constant text := 'Start a worker: insights worker (or insights start). If it ends again, see its log.';
  v_latest monitor.worker;
  v_ran_at timestamptz;
  v_has_work boolean;
  v_last_seen text;
begin
  v_ran_at := (
    select max(latest.started_at)
    from monitor.scheduled_task as scheduled
    cross join lateral (
      select run.started_at
      from monitor.run
      where run.task = scheduled.task
      order by run.started_at desc
      limit 1
    ) as latest
  );

  if monitor._has_worker() then
    -- The watch runs every minute, unless a long task keeps a worker with one job at a time busy.
    if (select min(worker.started_at) from monitor.worker where worker.stopped_at is null
        and worker.seen_at > v_now - interval '3 minutes') < v_now - interval '15 minutes'
      and coalesce(v_ran_at, '-infinity') < v_now - interval '15 minutes'
      and not exists (
        select
        from monitor.scheduled_task as scheduled
        cross join lateral (
          select run.outcome, run.started_at
          from monitor.run
          where run.task = scheduled.task
          order by run.started_at desc
          limit 1
        ) as latest
        where latest.outcome = 'running'
          and latest.started_at > v_now - interval '12 hours'
      )
    then
      return next monitor._finding(
        'worker', 'tasks', 'critical',
        format('a worker sends heartbeats, but no task has run for %s',
          monitor._duration(v_now - coalesce(v_ran_at, (select min(worker.started_at) from monitor.worker)))),
        'Restart the worker: insights worker. See its log. Jobs that a killed worker had locked are freed after four '
          || 'hours: select locked_by, locked_at, task_identifier from insights_queue.jobs where locked_at is not null',
        extract(epoch from v_now - v_ran_at), 900
      );
    end if;
    return;
  end if;

  select worker.* into v_latest from monitor.worker order by worker.seen_at desc limit 1;
  v_has_work := exists (select from track.stale) or exists (select from track.changed);
  v_last_seen := monitor._duration(v_now - v_latest.seen_at);
  if v_latest.stopped_at is null and v_latest.worker is not null then
    return next monitor._finding(
      'worker', '', 'critical',
      format('no worker is running: %s sent its last heartbeat %s ago, and was not stopped', v_latest.worker,
        v_last_seen),
      v_fix, extract(epoch from v_now - v_latest.seen_at), 180
    );
  elsif coalesce(v_ran_at, '-infinity') < v_now - interval '15 minutes'
    and (
      v_latest.worker is null and v_has_work
      or v_latest.seen_at < v_now - interval '15 minutes' and v_has_work
      or v_latest.seen_at < v_now - interval '1 day'
    )
    -- A worker that is started each day for one round sends no heartbeat.
    and (v_latest.worker is not null or coalesce(v_ran_at, '-infinity') < v_now - interval '1 day')
  then
    return next monitor._finding(
      'worker', '', 'warning',
      format(
        'no worker is running%s%s',
        case when v_latest.worker is null then ', and none has run'
          else format(': the last one was stopped %s ago', v_last_seen) end,
        case when v_has_work then '; changes of people wait to be refreshed' end
      ),
      v_fix, extract(epoch from v_now - v_latest.seen_at), 900
    );
  end if;
end;
$$;

comment on function monitor._check_worker() is $$
Finds that no worker is running: it was killed, or stopped while there is work; and a worker that runs no task.
$$;
--! EndIncluded monitor/checks/_check_worker.sql

--! Included monitor/checks/_check_probes.sql
create or replace function monitor._check_probes()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'probes', state.probe, 'warning',
    case
      when state.failures > 0 then format('the probe %s failed %s times in a row: %s', state.probe, state.failures,
        common.without_values(state.error))
      else format('values of the probe %s are refused: %s', state.probe, common.without_values(state.error))
    end,
    format('Call it to see the error: select * from %s()', probe.function_name),
    state.failures, 3
  )
  from monitor.probe_state as state
  join monitor.probe using (probe)
  where state.failures >= 3
    or state.failures = 0 and state.error is not null

  union all

  select monitor._finding(
    'probes', '', 'warning',
    format('nothing has been measured for %s', monitor._duration(clock_timestamp() - latest.measured_at)),
    'Measure: select insights_queue.add_job(''insights:observe''). See the runs of the task: '
      || 'select * from monitor.run where task = ''observe'' order by started_at desc limit 5',
    extract(epoch from clock_timestamp() - latest.measured_at), 1800
  )
  from (select max(state.measured_at) as measured_at from monitor.probe_state as state) as latest
  where latest.measured_at < clock_timestamp() - interval '30 minutes'
    -- Without a worker, nothing is measured: that is a finding of its own.
    and monitor._has_worker()
    and exists (select from monitor.worker where worker.started_at < clock_timestamp() - interval '30 minutes')
$$;

comment on function monitor._check_probes() is $$
Finds probes that failed three times in a row, or whose values are refused.
Also that nothing was measured for half an hour.
$$;
--! EndIncluded monitor/checks/_check_probes.sql

--! Included monitor/checks/_check_tasks.sql
create or replace function monitor._check_tasks()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with task as (
    select
      scheduled.task, scheduled.every, scheduled.is_always_recorded, scheduled.severity,
      latest.outcome, latest.started_at, latest.run_id, latest.failures, latest.failed_run_id, latest.failed_at,
      latest.ok_at, schedule.known_since,
      -- Without a worker, all are late: that is a finding of its own.
      schedule.executed_at > clock_timestamp() - interval '10 minutes' as is_scheduled,
      2 * scheduled.every + interval '30 minutes' as tolerance
    from monitor.scheduled_task as scheduled
    cross join monitor._schedule() as schedule
    left join lateral (
      select
        (array_agg(recent.outcome order by recent.nth))[1] as outcome,
        (array_agg(recent.started_at order by recent.nth))[1] as started_at,
        (array_agg(recent.run_id order by recent.nth))[1] as run_id,
        count(*) filter (where recent.outcome = 'failed' and recent.nth < coalesce(recent.ok_nth, 21)) as failures,
        max(recent.run_id) filter (where recent.outcome = 'failed') as failed_run_id,
        max(recent.started_at) filter (where recent.outcome = 'failed') as failed_at,
        max(recent.started_at) filter (where recent.outcome = 'ok') as ok_at
      from (
        select run.*, run.number as nth, min(run.number) filter (where run.outcome = 'ok') over () as ok_nth
        from (
          select run.run_id, run.outcome, run.started_at, row_number() over (order by run.started_at desc) as number
          from monitor.run
          where run.task = scheduled.task
          order by run.started_at desc
          limit 20
        ) as run
      ) as recent
    ) as latest on true
  )

  select monitor._finding(
    'tasks', task.task || ' (failed)',
    case when task.failures >= 3 then task.severity else 'warning' end,
    format(
      'the task %s failed %s, last on %s',
      task.task,
      case
        when task.failures >= 20 then 'in each of its last 20 runs'
        when task.failures = 1 then 'in its last run'
        else format('in its last %s runs', task.failures)
      end,
      to_char(task.failed_at, 'YYYY-MM-DD HH24:MI "UTC"')
    ),
    format('Read the error: select error from monitor.run where run_id = %s. The task runs again on schedule.',
      task.failed_run_id),
    task.failures, 2
  )
  from task
  where task.failures >= 2
    -- A single failure that was not followed by another attempt.
    or task.failures = 1 and task.failed_at < clock_timestamp() - interval '15 minutes'

  union all

  select monitor._finding(
    'tasks', task.task || ' (late)',
    case when clock_timestamp() - coalesce(task.ok_at, task.known_since) > 2 * task.tolerance
      then task.severity else 'warning' end,
    format(
      'the task %s, scheduled every %s, has not succeeded %s', task.task, monitor._duration(task.every),
      coalesce('for ' || monitor._duration(clock_timestamp() - task.ok_at), 'yet')
    ),
    format('Queue it: select insights_queue.add_job(''insights:%s''). See the log of the worker.', task.task),
    extract(epoch from clock_timestamp() - coalesce(task.ok_at, task.known_since)), extract(epoch from task.tolerance)
  )
  from task
  where task.is_always_recorded
    and task.is_scheduled
    and task.failures = 0
    and greatest(task.ok_at, task.known_since) < clock_timestamp() - task.tolerance

  union all

  select monitor._finding(
    'tasks', task.task || ' (running)', 'warning',
    format('the task %s has been running for %s', task.task, monitor._duration(clock_timestamp() - task.started_at)),
    format('If no worker is busy with it, it was killed. Run it again: select insights_queue.add_job(''insights:%s''). '
      || 'Otherwise look at pg_stat_activity for a lock that it waits for.', task.task),
    extract(epoch from clock_timestamp() - task.started_at), extract(epoch from greatest(task.tolerance, '12 hours'))
  )
  from task
  where task.outcome = 'running'
    and task.started_at < clock_timestamp() - greatest(task.tolerance, '12 hours')
$$;

comment on function monitor._check_tasks() is $$
Finds tasks that fail repeatedly, that have not succeeded for two of their periods, or that do not end.
$$;
--! EndIncluded monitor/checks/_check_tasks.sql

--! Included monitor/checks/_check_refresh.sql
create or replace function monitor._check_refresh()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 100000;
  v_queued bigint;
  v_refreshed_at timestamptz;
  v_ran_at timestamptz;
  v_lag interval;
begin
  v_queued := (select count(*) from (select from track.stale limit v_most) as queued)
    + (select count(*) from (select from track.changed limit v_most) as queued);
  if v_queued = 0 then
    return;
  end if;
  select max(run.started_at) filter (where run.outcome = 'ok'), min(run.started_at)
  into v_refreshed_at, v_ran_at
  from (
    select run.outcome, run.started_at
    from monitor.run
    where run.task = 'refresh'
    order by run.started_at desc
    limit 20
  ) as run;
  v_lag := clock_timestamp() - coalesce(v_refreshed_at, v_ran_at);

  if v_lag >= interval '15 minutes' then
    return next monitor._finding(
      'refresh', 'lag', case when v_lag >= interval '2 hours' then 'critical' else 'warning' end,
      format(
        '%s%s changes of people wait to be refreshed, the last refresh was %s ago', v_queued,
        case when v_queued >= v_most then ' or more' end, monitor._duration(v_lag)
      ),
      'Start a worker: insights worker. If one is running, read the error: select error from monitor.run '
        || 'where task = ''refresh'' order by started_at desc limit 5. To refresh now: '
        || 'select * from track.refresh(100000)',
      extract(epoch from v_lag), 900
    );
  end if;
  if v_queued >= v_most then
    return next monitor._finding(
      'refresh', 'queue', 'warning',
      format('%s or more changes of people wait to be refreshed', v_queued),
      'After a large import, wait until they are refreshed. Otherwise more arrives than is refreshed: see row_count '
        || 'and duration of select * from monitor.run where task = ''refresh'' order by started_at desc limit 20',
      v_queued, v_most
    );
  end if;
end;
$$;

comment on function monitor._check_refresh() is $$
Finds changes that have not been refreshed for 15 minutes, and more than 100,000 of them.
$$;
--! EndIncluded monitor/checks/_check_refresh.sql

--! Included monitor/checks/_check_partitions.sql
create or replace function monitor._check_partitions()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_this_month constant timestamp := date_trunc('month', clock_timestamp() at time zone 'UTC');
  v_month timestamp;
  v_rows bigint;
  v_default regclass;
begin
  -- They are made by the first run of the task; before, by the first event of a month.
  if exists (select from monitor.run where run.task = 'make_partitions' and run.outcome = 'ok')
    or exists (select from monitor.run where run.started_at < clock_timestamp() - interval '26 hours')
  then
    foreach v_month in array array[v_this_month, v_this_month + interval '1 month'] loop
      if not exists (
        select
        from pg_catalog.pg_inherits as part
        join pg_catalog.pg_class as partition on partition.oid = part.inhrelid
        where part.inhparent = 'track.event'::regclass
          and partition.relname = 'event_' || to_char(v_month, 'YYYY_MM')
          and not part.inhdetachpending
      ) then
        return next monitor._finding(
          'partitions', 'track.event_' || to_char(v_month, 'YYYY_MM'),
          case when v_month = v_this_month then 'critical' else 'warning' end,
          format('track.event has no partition for %s', to_char(v_month, 'YYYY-MM')),
          case
            when to_regclass('track.event_' || to_char(v_month, 'YYYY_MM')) is null
              then 'Create it: select track.make_partitions(). A worker does so each day: see the task make_partitions '
                || 'in monitor.run'
            else format(
              'A table of this name is detached. Attach it: alter table track.event attach partition track.event_%s '
                || 'for values from (''%s 00:00+00'') to (''%s 00:00+00'')',
              to_char(v_month, 'YYYY_MM'), v_month::date, (v_month + interval '1 month')::date
            )
          end
        );
      end if;
    end loop;
  end if;

  v_default := (
    select nullif(partitioned.partdefid, 0)::regclass
    from pg_catalog.pg_partitioned_table as partitioned
    where partitioned.partrelid = 'track.event'::regclass
  );
  if v_default is not null then
    execute format('select count(*) from (select from %s limit 1000) as stray', v_default) into v_rows;
    if v_rows > 0 then
      return next monitor._finding(
        'partitions', v_default::text, 'warning',
        format('the default partition %s has %s%s events', v_default, v_rows,
          case v_rows when 1000 then ' or more' end),
        format(
          'Detach it: alter table track.event detach partition %1$s. Create the partitions of its months: '
            || 'select track.make_partitions(min(occurred_at), max(occurred_at)) from %1$s. Move its rows: '
            || 'insert into %2$s select * from %1$s. Drop it: drop table %1$s', v_default, 'track.event'
        ),
        v_rows, 1
      );
    end if;
  end if;
end;
$$;

comment on function monitor._check_partitions() is $$
Finds a missing partition of events for this month or the next one, and rows in a default partition.
$$;
--! EndIncluded monitor/checks/_check_partitions.sql

--! Included monitor/checks/_check_rollups.sql
create or replace function monitor._check_rollups()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'rollups', differed.rollup,
    -- Again and again: the cause is still there.
    case when differed.hours >= 3 then 'critical' else 'warning' end,
    format(
      '%s differed from the events in %s of %s compared cells, last on %s; they were written again',
      differed.rollup, differed.differing, differed.checked, to_char(differed.checked_at, 'YYYY-MM-DD HH24:MI "UTC"')
    ),
    format(
      'The data is repaired; find the cause, such as a manual change: select month, block, example from '
        || 'track.rollup_check where rollup = ''%s'' and differing > 0. Compare all now: '
        || 'select insights_queue.add_job(''insights:check_rollups'', ''{"seconds": 3600}'')', differed.rollup
    ),
    differed.differing, 1
  )
  from (
    select
      found.rollup, sum(found.differing)::float8 as differing, sum(found.checked)::float8 as checked,
      max(found.checked_at) as checked_at, count(distinct date_trunc('hour', found.checked_at)) as hours
    from track.rollup_check as found
    where found.differing > 0
      and found.checked_at > clock_timestamp() - interval '1 day'
    group by found.rollup
  ) as differed

  union all

  select monitor._finding(
    'rollups', '', 'warning',
    format('the rollups have not been compared with the events for %s',
      monitor._duration(clock_timestamp() - latest.checked_at)),
    'Compare them: select insights_queue.add_job(''insights:check_rollups''). See the runs of the task: '
      || 'select * from monitor.run where task = ''check_rollups'' order by started_at desc limit 5. Nothing is '
      || 'compared while more than 10,000 changes wait to be refreshed.',
    extract(epoch from clock_timestamp() - latest.checked_at), 86400
  )
  from (select checked.checked_at from track.rollup_check as checked order by checked.check_id desc limit 1) as latest
  cross join monitor._schedule() as schedule
  where latest.checked_at < clock_timestamp() - interval '1 day'
    and schedule.executed_at > clock_timestamp() - interval '10 minutes'
    and schedule.known_since < clock_timestamp() - interval '1 day'
$$;

comment on function monitor._check_rollups() is $$
Finds rollups that differed from the events within a day, and that no comparison took place for a day.
$$;
--! EndIncluded monitor/checks/_check_rollups.sql

--! Included monitor/checks/_check_models.sql
create or replace function monitor._check_models()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with deployed as (
    select project.name, model.*,
      starts_with(project.name, 'recommend.') as is_recommender,
      starts_with(project.name, 'recommend.')
        or exists (select from analytics.prediction_target as target where target.project = project.name) as is_ours
    from ml.project
    cross join lateral (
      select deployment.model_id
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    join ml.model on model.model_id = latest.model_id
  ),

  newest as (
    select max(presence.day)::timestamp at time zone 'UTC' as active_at
    from track.presence
    where presence.event_type_id = 0
  )

  select monitor._finding(
    'models', deployed.name || ' (marked)', 'warning',
    format('version %s of %s was marked for training %s ago: %s', deployed.version, deployed.name,
      monitor._duration(clock_timestamp() - deployed.marked_at),
      coalesce(common.without_values(deployed.marked_reason), 'without a reason')),
    case when deployed.is_recommender
      then 'Train it: insights train. See the error of the task: select error from monitor.run where task = ''train'' '
        || 'order by started_at desc limit 1'
      else 'Train it again, with ml.train or, for predictions about learners, analytics.train_predictions.'
    end,
    extract(epoch from clock_timestamp() - deployed.marked_at), 86400
  )
  from deployed
  where deployed.marked_at < clock_timestamp() - interval '1 day'

  union all

  select monitor._finding(
    'models', deployed.name || ' (old)', 'warning',
    format('version %s of %s was trained %s ago, and there is newer activity', deployed.version, deployed.name,
      monitor._duration(clock_timestamp() - deployed.trained_at)),
    case when deployed.is_recommender
      then 'Train it: insights train. It is trained each night when there are new interactions: see the task train in '
        || 'monitor.run.'
      else 'It is trained each night: see the task train_predictions in monitor.run.'
    end,
    extract(epoch from clock_timestamp() - deployed.trained_at), extract(epoch from interval '14 days')
  )
  from deployed
  cross join newest
  where deployed.is_ours
    and deployed.marked_at is null
    and deployed.trained_at < clock_timestamp() - interval '14 days'
    and newest.active_at > deployed.trained_at + interval '14 days'

  union all

  select monitor._finding(
    'models', deployed.name || ' (drifted)', 'warning',
    format('version %s of %s has drifted from its training data: %s, by up to %s', deployed.version, deployed.name,
      case
        when drift.features = 1 then '1 input'
        when drift.features > 1 then format('%s inputs', drift.features)
        else drift.statistic
      end,
      round(drift.value::numeric, 3)),
    format('See which: select * from ml.drift where model_id = %s order by measured_at desc. Check whether the data is '
      || 'still collected as before, or train it again%s.', deployed.model_id,
      case when deployed.is_recommender then ': insights train' end),
    drift.value, null
  )
  from deployed
  cross join lateral (
    select
      count(*) filter (where latest.statistic = 'population_stability_index') as features,
      max(latest.statistic) as statistic, max(latest.value) as value
    from (
      select distinct on (drift.statistic, drift.feature) drift.statistic, drift.value, drift.verdict
      from ml.drift
      where drift.model_id = deployed.model_id
        and drift.measured_at > clock_timestamp() - interval '3 days'
      order by drift.statistic, drift.feature, drift.drift_id desc
    ) as latest
    where latest.verdict = 'drifted'
    having count(*) > 0
  ) as drift
$$;

comment on function monitor._check_models() is $$
Finds deployed models that are marked for training, old, or drifted.
Marked for a day; trained two weeks before the newest activity; drift of inputs, calibration or metric (`ml.drift`).
$$;
--! EndIncluded monitor/checks/_check_models.sql

--! Included monitor/checks/_check_relevance.sql
create or replace function monitor._check_relevance()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'relevance', 'recommend.' || reading.kind, case reading.verdict when 'worse' then 'critical' else 'warning' end,
    format('version %s of recommend.%s gets %s %% fewer clicks than version %s%s', reading.version, reading.kind,
      round((-100 * reading.difference / reading.former_click_rate)::numeric), reading.former_version,
      case reading.verdict when 'rolled_back' then ', which was deployed again' else '' end),
    case reading.verdict
      when 'worse' then format('Deploy the version before: select ml.rollback(''recommend.%s'').%s', reading.kind,
        ' ' || reading.note)
      else 'Compare the versions before another training is deployed: select * from monitor.relevance(by => ''model'').'
    end,
    reading.difference, 0
  )).*
  from ml.project
  cross join lateral (
    select max(deployment.deployment_id) as deployment_id
    from ml.deployment
    where deployment.project_id = project.project_id
  ) as latest
  join monitor.deployment_relevance as reading
    on 'recommend.' || reading.kind = project.name
  where reading.verdict = 'worse' and reading.deployment_id = latest.deployment_id
    or reading.verdict = 'rolled_back' and reading.worse_at > clock_timestamp() - interval '7 days'
$$;

comment on function monitor._check_relevance() is $$
Finds deployed recommenders that are worse than the version before, and those that were rolled back in the last 7 days.
$$;
--! EndIncluded monitor/checks/_check_relevance.sql

--! Included monitor/checks/_check_ledger.sql
create or replace function monitor._check_ledger()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with verified as (
    select
      (array_agg(run.outcome order by run.started_at desc))[1] as outcome,
      (array_agg(run.run_id order by run.started_at desc))[1] as run_id,
      max(run.started_at) filter (where run.outcome = 'ok') as ok_at,
      max(run.started_at) as started_at,
      min(run.started_at) as began_at
    from (
      select run.*
      from monitor.run
      where run.task = 'verify_ledger'
        and run.outcome <> 'running'
      order by run.started_at desc
      limit 20
    ) as run
  )

  select monitor._finding(
    'ledger', 'verification', 'critical',
    format('the ledger could not be verified on %s', to_char(verified.started_at, 'YYYY-MM-DD HH24:MI "UTC"')),
    format('Read the error: select error from monitor.run where run_id = %s. If the ledger and the records differ, '
      || 'records were changed outside of this system: keep a copy of the database, and list the differences: '
      || 'select problem.* from privacy.verify_ledger() as report cross join unnest(report.problems) as problem',
      verified.run_id)
  )
  from verified
  where verified.outcome = 'failed'

  union all

  select monitor._finding(
    'ledger', 'age of the verification', 'warning',
    format('the ledger has not been verified for %s',
      monitor._duration(clock_timestamp() - coalesce(verified.ok_at, verified.began_at))),
    'Verify it: select insights_queue.add_job(''insights:verify_ledger''). A worker does so each day: see the task '
      || 'verify_ledger in monitor.run.',
    extract(epoch from clock_timestamp() - coalesce(verified.ok_at, verified.began_at)),
    extract(epoch from interval '3 days')
  )
  from verified
  where coalesce(verified.ok_at, verified.began_at) < clock_timestamp() - interval '3 days'
    and verified.outcome <> 'failed'

  union all

  select monitor._finding(
    'ledger', 'seal', 'warning',
    format('nothing has been sealed for %s, not even the daily checkpoint',
      monitor._duration(clock_timestamp() - latest.sealed_at)),
    'Start a worker: insights worker. If one is running, seal now: select insights_queue.add_job(''insights:seal''). '
      || 'See the task seal in monitor.run.',
    extract(epoch from clock_timestamp() - latest.sealed_at), extract(epoch from interval '2 days')
  )
  from (select ledger.sealed_at from privacy.ledger order by ledger.position desc limit 1) as latest
  where latest.sealed_at < clock_timestamp() - interval '2 days'
$$;

comment on function monitor._check_ledger() is $$
Finds a ledger that differs from the records, that was not verified for three days, or not sealed for two.
$$;
--! EndIncluded monitor/checks/_check_ledger.sql

--! Included monitor/checks/_check_notifications.sql
create or replace function monitor._check_notifications()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'notifications', channel.channel, 'warning',
    format('the channel %s has not taken a notification for %s: %s', channel.channel,
      monitor._duration(clock_timestamp() - channel.failing_since), coalesce(channel.last_error, 'no error')),
    format('Repair the receiver, or set its URL with monitor.set_channel. Then test it: '
      || 'select monitor.test_channel(%L)', channel.channel),
    extract(epoch from clock_timestamp() - channel.failing_since), 900
  )).*
  from monitor.channel
  where channel.is_active
    and channel.failures >= 3
    and channel.failing_since <= clock_timestamp() - interval '15 minutes'

  union all

  select (monitor._finding(
    'notifications', failed.channel || ': undelivered', 'warning',
    format('%s notifications to the channel %s were not delivered in the last day', failed.notifications,
      failed.channel),
    format('Read them: select * from monitor.notification where channel = %L and state = ''failed''', failed.channel),
    failed.notifications, 1
  )).*
  from (
    select notification.channel, count(*) as notifications
    from monitor.notification
    where notification.state = 'failed'
      and notification.finished_at > clock_timestamp() - interval '1 day'
    group by notification.channel
  ) as failed

  union all

  select (monitor._finding(
    'notifications', waiting.channel || ': waiting', 'warning',
    format('a notification to the channel %s has waited for %s', waiting.channel,
      monitor._duration(clock_timestamp() - waiting.since)),
    'Start a worker: insights worker. Its task notify sends them.',
    extract(epoch from clock_timestamp() - waiting.since), 900
  )).*
  from (
    select notification.channel, min(notification.created_at) as since
    from monitor.notification
    join monitor.channel using (channel)
    where notification.finished_at is null
      and channel.is_active
      and channel.failures = 0
    group by notification.channel
  ) as waiting
  where waiting.since <= clock_timestamp() - interval '15 minutes'
$$;

comment on function monitor._check_notifications() is $$
Finds channels that fail, and notifications that were not delivered.
A channel must have failed for a quarter of an hour. Notifications are those that failed permanently within a day, and
those that wait although the channel works.
$$;
--! EndIncluded monitor/checks/_check_notifications.sql

--! Included monitor/runs/start_run.sql
create or replace function monitor.start_run(task text)
returns bigint
language plpgsql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_run_id bigint;
begin
  if start_run.task is null then
    perform common.refuse('CF001', 'task is null', 'Give the name of the task.');
  end if;
  insert into monitor.run (task) values (start_run.task) returning run.run_id into v_run_id;
  return v_run_id;
end;
$$;

comment on function monitor.start_run(text) is $$
@behavior -mutationField
Records the start of a task and returns the key of the run.
Commit before the task does its work, so that a terminated run leaves a record.
Errors: CF001 for null.
$$;

grant execute on function monitor.start_run(text) to insights_worker, insights_admin;
--! EndIncluded monitor/runs/start_run.sql

--! Included monitor/runs/finish_run.sql
create or replace function monitor.finish_run(run_id bigint, row_count bigint default null, detail jsonb default null)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.run
  set outcome = 'ok', finished_at = clock_timestamp(), row_count = finish_run.row_count, detail = finish_run.detail
  where run.run_id = finish_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.finish_run(bigint, bigint, jsonb) is $$
@behavior -mutationField
Marks a run as finished and stores the number of rows that it wrote or removed.
A run that has already ended is not changed.
$$;

grant execute on function monitor.finish_run(bigint, bigint, jsonb) to insights_worker, insights_admin;
--! EndIncluded monitor/runs/finish_run.sql

--! Included monitor/runs/fail_run.sql
create or replace function monitor.fail_run(run_id bigint, error text)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.run
  set outcome = 'failed', finished_at = clock_timestamp(), error = left(fail_run.error, 10000)
  where run.run_id = fail_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.fail_run(bigint, text) is $$
@behavior -mutationField
Marks a run as failed and stores its error message, at most 10,000 characters of it.
A run that has already ended is not changed.
$$;

grant execute on function monitor.fail_run(bigint, text) to insights_worker, insights_admin;
--! EndIncluded monitor/runs/fail_run.sql

--! Included monitor/relevance/_position_cells.sql
create or replace function monitor._position_cells(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with item as materialized (
    select named.item_id, item.item_id as merged_item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _position_cells.kind
  ),

  listed as not materialized (
    select
      impression.rank,
      (impression.person_id % 64)::int as bucket,
      impression.clicked_at,
      date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week,
      hashtextextended(
        impression.basis, hashint8extended(coalesce(impression.model_id, 0), hashint8extended(item.merged_item_id, 0))
      ) as alike
    from recommend.impression
    join item using (item_id)
    -- One row per block: without a condition on it, the join is not in the plan.
    left join (
      select distinct on (stored.block) stored.block, stored.people
      from track.person_set_blocks('counted') as stored
    ) as counted
      on counted.block = impression.person_id / 4096
    where impression.listed_at >= _position_cells.since
      and impression.listed_at < _position_cells.until
      and impression.is_served
      and impression.rank between 1 and 20
      and (
        _position_cells.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- For analysts, a week in which few people were served a rank is left out. Buckets are at most as many as people.
  kept as (
    select present.rank, present.week
    from (select listed.rank, listed.week from listed group by listed.rank, listed.week, listed.bucket) as present
    group by present.rank, present.week
    having count(*) >= _position_cells.smallest_group
  )

  select
    listed.alike, listed.rank, listed.bucket, count(*)::float8, count(listed.clicked_at)::float8
  from listed
  where _position_cells.smallest_group is null
    or (listed.rank, listed.week) in (select kept.rank, kept.week from kept)
  group by listed.alike, listed.rank, listed.bucket;
end;
$$;

comment on function monitor._position_cells(timestamptz, timestamptz, text, int) is $$
@behavior -*
Counts rows of recorded lists and clicks by rank, by what decides their relevance, and by bucket of people.
Of the first 20 ranks. Rows are alike when item, version and basis are the same. `smallest_group`: of counted people
only, without the weeks in which a rank was served to few; null: all.
$$;

grant execute on function monitor._position_cells(timestamptz, timestamptz, text, int) to insights_reader;
--! EndIncluded monitor/relevance/_position_cells.sql

--! Included monitor/relevance/_listed_sums.sql
create or replace function monitor._listed_sums(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.listed_sum
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Parts that the grouping and the caller do not need are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_deployments int[];
  v_deployed timestamptz[];
begin
  select
    coalesce(array_agg(deployment.deployment_id order by deployment.deployed_at, deployment.deployment_id), '{}'),
    coalesce(array_agg(deployment.deployed_at order by deployment.deployed_at, deployment.deployment_id), '{}')
  into v_deployments, v_deployed
  from ml.deployment
  join ml.project using (project_id)
  where _listed_sums.by = 'deployment'
    and project.name = 'recommend.' || _listed_sums.kind;

  return query
  with segment as materialized (
    select person_set.name, stored.block, stored.people
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as stored
    where _listed_sums.by = 'segment'
      and person_set.name like 'segment.%'
      and person_set.name not in (select incomplete.name from track.incomplete_sets() as incomplete (name))
  ),

  known as materialized (
    select named.item_id, item.item_id as merged_item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _listed_sums.kind
  ),

  -- The group of each row, without nulls: rows are joined and grouped by it.
  listed as not materialized (
    select
      case _listed_sums.by
        when 'model' then coalesce(model.version, 0)
        when 'rank' then impression.rank
        when 'deployment' then width_bucket(impression.listed_at, v_deployed)
        else 0
      end as number,
      case _listed_sums.by when 'basis' then impression.basis when 'segment' then segment.name else '' end as label,
      case
        when _listed_sums.by_week then date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
        else '-infinity'
      end as starts_at,
      case
        when _listed_sums.smallest_group is null then '-infinity'
        else date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
      end as week,
      known.merged_item_id as item_id, impression.person_id, impression.rank, impression.listed_at, impression.seen_at,
      impression.clicked_at, impression.completed_at, impression.dismissed_at, impression.liking,
      impression.serving_key
    from recommend.impression
    join known on known.item_id = impression.item_id
    left join ml.model on model.model_id = impression.model_id
    left join segment
      on segment.block = impression.person_id / 4096
      and get_bit(segment.people, (impression.person_id % 4096)::int) = 1
    -- One row per block: without a condition on it, the join is not in the plan.
    left join (
      select distinct on (stored.block) stored.block, stored.people
      from track.person_set_blocks('counted') as stored
    ) as counted
      on counted.block = impression.person_id / 4096
    where impression.listed_at >= _listed_sums.since
      and impression.listed_at < _listed_sums.until
      and impression.is_served
      and (_listed_sums.by <> 'segment' or segment.name is not null)
      and (
        _listed_sums.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  list as (
    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id,
      1 as lists,
      count(*)::float8 as served,
      count(listed.seen_at)::float8 as seen,
      count(listed.clicked_at)::float8 as clicked,
      count(listed.completed_at)::float8 as completed,
      count(listed.dismissed_at)::float8 as dismissed,
      count(*) filter (where listed.liking > 0)::float8 as liked,
      count(*) filter (where listed.liking < 0)::float8 as disliked,
      0 as viewed,
      null::float8 as seconds
    from listed
    group by listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, listed.listed_at

    union all

    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, 0, 0, 0, 0, 0, 0, 0, 0, 1,
      dwell.seconds
    from listed
    join monitor._dwell(_listed_sums.since, _listed_sums.until, _listed_sums.kind) as dwell
      on dwell.person_id = listed.person_id
      and dwell.serving_key = listed.serving_key
    where listed.clicked_at is not null
  ),

  person as materialized (
    select
      list.number, list.label, list.starts_at, list.week, list.person_id, sum(list.lists)::float8 as lists,
      sum(list.served) as served, sum(list.seen) as seen, sum(list.clicked) as clicked,
      sum(list.completed) as completed, sum(list.dismissed) as dismissed, sum(list.liked) as liked,
      sum(list.disliked) as disliked, sum(list.viewed)::float8 as viewed, sum(list.seconds) as seconds
    from list
    group by list.number, list.label, list.starts_at, list.week, list.person_id
  ),

  -- For analysts, a week in which a group has few people is left out.
  kept as materialized (
    select person.number, person.label, person.starts_at, person.week
    from person
    group by person.number, person.label, person.starts_at, person.week
    having count(*) >= _listed_sums.smallest_group
  ),

  told as not materialized (
    select listed.*
    from listed
    where _listed_sums.smallest_group is null
      or (listed.number, listed.label, listed.starts_at, listed.week) in (select * from kept)
  ),

  -- By item, and by rank and bucket of people, in one pass over the rows.
  shared as materialized (
    select
      told.number, told.label, told.starts_at, told.item_id, told.rank, (told.person_id % 64)::int as bucket,
      count(*)::float8 as served, count(told.clicked_at)::float8 as clicked,
      bit_or(1::bigint << (told.person_id % 64)::int) as buckets
    from told
    group by grouping sets (
      (told.number, told.label, told.starts_at, told.item_id),
      (told.number, told.label, told.starts_at, told.rank, (told.person_id % 64)::int)
    )
  ),

  item as not materialized (
    select
      shared.number, shared.label, shared.starts_at, shared.item_id, shared.served,
      -- At most as many as people.
      bit_count(shared.buckets::bit(64)) as buckets
    from shared
    where shared.item_id is not null
  ),

  -- For analysts, items that few people were served do not count.
  rare as (
    select person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    from (
      select distinct told.number, told.label, told.starts_at, told.item_id, told.person_id
      from told
      where (told.number, told.label, told.starts_at, told.item_id) in (
        select item.number, item.label, item.starts_at, item.item_id
        from item
        where item.buckets < _listed_sums.smallest_group
      )
    ) as person_item
    group by person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    having count(*) < _listed_sums.smallest_group
  ),

  summed as (
    select
      person.number, person.label, person.starts_at, person.person_id, null::int as rank, null::int as bucket,
      null::bigint as item_id, sum(person.lists) as lists, sum(person.served) as served, sum(person.seen) as seen,
      sum(person.clicked) as clicked, sum(person.completed) as completed, sum(person.dismissed) as dismissed,
      sum(person.liked) as liked, sum(person.disliked) as disliked, sum(person.viewed) as viewed,
      sum(person.seconds) as seconds
    from person
    where _listed_sums.smallest_group is null
      or (person.number, person.label, person.starts_at, person.week) in (select * from kept)
    group by person.number, person.label, person.starts_at, person.person_id

    union all

    select
      shared.number, shared.label, shared.starts_at, null, shared.rank, shared.bucket, null, null, shared.served, null,
      shared.clicked, null, null, null, null, null, null
    from shared
    where shared.item_id is null
      and shared.rank between 1 and 20

    union all

    select
      item.number, item.label, item.starts_at, null, null, null, item.item_id, null, item.served, null, null, null,
      null, null, null, null, null
    from item
    where _listed_sums.smallest_group is null
      or (item.number, item.label, item.starts_at, item.item_id) not in (select * from rare)
  )

  select
    case
      when _listed_sums.by in ('basis', 'segment') then summed.label
      when _listed_sums.by = 'deployment' then v_deployments[summed.number]::text
      when _listed_sums.by <> 'all' then nullif(summed.number, 0)::text
    end,
    case
      when _listed_sums.by_week then summed.starts_at
      when _listed_sums.by = 'deployment' then v_deployed[summed.number]
    end,
    summed.person_id, summed.rank, summed.bucket, summed.item_id, summed.lists, summed.served, summed.seen,
    summed.clicked, summed.completed, summed.dismissed, summed.liked, summed.disliked, summed.viewed, summed.seconds
  from summed;
end;
$$;

comment on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Counts the rows of recorded lists of a kind: by group and person, by group, rank and bucket of people, and by item.
The group is that of `monitor.relevance`: one per segment of the person with `by` segment,
without those of which retention has deleted people. Of the first 20 ranks.
`smallest_group`: of counted people, without weeks of a group and without items of a group that have fewer; null: all.
$$;

grant execute on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;
--! EndIncluded monitor/relevance/_listed_sums.sql

--! Included monitor/relevance/_score_shift.sql
create or replace function monitor._score_shift(
  model_id bigint,
  kind text,
  reference tstzrange,
  period tstzrange,
  smallest_group int,
  most int
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
as $$
begin
  return query
  with scored as materialized (
    select false as is_new, entry.*
    from monitor._scored(
      lower(_score_shift.reference), upper(_score_shift.reference), _score_shift.kind, _score_shift.model_id,
      _score_shift.smallest_group, _score_shift.most
    ) as entry

    union all

    select true, entry.*
    from monitor._scored(
      greatest(lower(_score_shift.period), upper(_score_shift.reference)), upper(_score_shift.period),
      _score_shift.kind, _score_shift.model_id, _score_shift.smallest_group, _score_shift.most
    ) as entry
  ),

  -- Tenths of the first days; equal scores are in one bin.
  edged as materialized (
    select cut.basis, array(select distinct edge from unnest(cut.edges) as edge order by edge) as edges
    from (
      select
        scored.basis,
        percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
      from scored
      where not scored.is_new
      group by scored.basis
    ) as cut
  ),

  tally as materialized (
    select
      scored.basis, scored.is_new, scored.person_id, width_bucket(scored.score, edged.edges) as bin,
      count(*)::float8 as count, sum(scored.score) as score
    from scored
    join edged using (basis)
    group by 1, 2, 3, 4
  ),

  side as materialized (
    select
      person.basis, person.is_new, count(*) as people, sum(person.count) as count,
      sum(person.count ^ 2) as count_count, sum(person.score) / sum(person.count) as mean
    from (
      select tally.basis, tally.is_new, tally.person_id, sum(tally.count) as count, sum(tally.score) as score
      from tally
      group by tally.basis, tally.is_new, tally.person_id
    ) as person
    group by person.basis, person.is_new
  ),

  filled as materialized (
    select
      part.basis, part.is_new, part.bin, sum(part.count) as count, sum(part.count ^ 2) as squares,
      sum(part.count * part.person_count) as products
    from (
      select
        tally.*, sum(tally.count) over (partition by tally.basis, tally.is_new, tally.person_id) as person_count
      from tally
    ) as part
    group by part.basis, part.is_new, part.bin
  ),

  -- Bins without a row of one of the periods count.
  cell as (
    select
      side.basis, side.is_new, bin.bin, coalesce(filled.count, 0) as count, coalesce(filled.squares, 0) as squares,
      coalesce(filled.products, 0) as products
    from side
    join (select distinct filled.basis, filled.bin from filled) as bin using (basis)
    left join filled using (basis, is_new, bin)
  ),

  -- The mean effect of people having many rows on the variance of the shares (Rao and Scott), of bins with rows.
  whole as (
    select
      side.basis, side.is_new, side.people, side.count, side.mean, count(*)::int as bins,
      array_agg(cell.count order by cell.bin) as counts,
      case when count(*) > 1 then coalesce(
        sum((1 - cell.count / side.count) * monitor._design_effect(
          side.people, cell.count, side.count, cell.squares, cell.products, side.count_count
        )) filter (where cell.count between 1 and side.count - 1)
          / sum(1 - cell.count / side.count) filter (where cell.count between 1 and side.count - 1),
        side.count / side.people
      ) end / side.count as scale
    from side
    join cell using (basis, is_new)
    group by side.basis, side.is_new, side.people, side.count, side.mean
  ),

  compared as (
    select
      former.basis, former.bins, former.people as former_people, former.count as former_count,
      former.mean as former_mean, latter.people, latter.count, latter.mean,
      case when latter.counts is not null then ml.population_stability_index(former.counts, latter.counts) end as index,
      -- With half a person in addition to each bin: an empty bin of few people has a logarithm far from chi-squared.
      case when latter.counts is not null then ml.population_stability_index(
        array(
          select bin.count + coalesce(0.5 * former.scale * former.count, 0)
          from unnest(former.counts) with ordinality as bin (count, place)
          order by bin.place
        ),
        array(
          select bin.count + coalesce(0.5 * latter.scale * latter.count, 0)
          from unnest(latter.counts) with ordinality as bin (count, place)
          order by bin.place
        )
      ) end as tested,
      former.scale + latter.scale as scale
    from whole as former
    left join whole as latter
      on latter.basis = former.basis
      and latter.is_new
    where not former.is_new
  )

  select
    model.version::text, compared.basis, lower(_score_shift.reference), upper(_score_shift.reference),
    analytics.shown(compared.former_people, compared.former_people, _score_shift.smallest_group)::bigint,
    analytics.shown(compared.former_count, compared.former_people, _score_shift.smallest_group)::bigint,
    coalesce(analytics.shown(compared.people, compared.people, _score_shift.smallest_group), 0)::bigint,
    coalesce(analytics.shown(compared.count, compared.people, _score_shift.smallest_group), 0)::bigint,
    monitor._shown_rate(compared.former_mean, _score_shift.smallest_group),
    monitor._shown_rate(compared.mean, _score_shift.smallest_group),
    compared.bins,
    monitor._shown_rate(compared.index, _score_shift.smallest_group),
    monitor._shown_rate(1 - ml.chi_squared_cdf(compared.tested / compared.scale, compared.bins - 1),
      _score_shift.smallest_group),
    case
      -- So few rows that chance alone may move them by 0.1: only what chance does not explain.
      when 1 - ml.chi_squared_cdf(0.1 / compared.scale, compared.bins - 1) <= 0.05 is not true then
        case
          when 1 - ml.chi_squared_cdf(compared.tested / compared.scale, compared.bins - 1) <= 0.001 is not true
            or compared.tested - (compared.bins - 1) * compared.scale < 0.1
            -- The p-value is that of many people.
            or least(compared.former_people, compared.people) < 50
            then 'unknown'
          when compared.tested - (compared.bins - 1) * compared.scale < 0.25 then 'shifting'
          else 'drifted'
        end
      when compared.index < 0.1 then 'stable'
      when compared.index < 0.25 then 'shifting'
      else 'drifted'
    end
  from compared
  join ml.model on model.model_id = _score_shift.model_id
  order by compared.basis;
end;
$$;

comment on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int) is $$
@behavior -*
Compares the scores of a version in two periods, by basis: see `monitor.score_drift`. `most`: most rows of each period.
$$;

grant execute on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int)
to insights_reader, insights_worker;
--! EndIncluded monitor/relevance/_score_shift.sql

--! Included monitor/relevance/score_drift.sql
create or replace function monitor._score_drift(
  since timestamptz,
  until timestamptz,
  kind text,
  reference interval,
  smallest_group int
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _score_drift.since, _score_drift.until, _score_drift.kind, _score_drift.smallest_group
  );
  v_reference interval := _score_drift.reference;
  v_version record;
begin
  if v_reference between '1 hour' and '90 days' is not true then
    perform common.refuse(
      'CF001', format('reference is %s', coalesce(v_reference::text, 'null')), 'Use 1 hour to 90 days.'
    );
  end if;
  for v_version in
    select model.model_id, coalesce(deployed.since, model.trained_at) as since
    from (
      select distinct impression.model_id
      from recommend.impression
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
    ) as served
    join ml.model using (model_id)
    join ml.project using (project_id)
    left join (
      select deployment.model_id, min(deployment.deployed_at) as since
      from ml.deployment
      group by deployment.model_id
    ) as deployed using (model_id)
    where project.name = 'recommend.' || _score_drift.kind
    order by model.version
  loop
    -- For analysts, whole weeks.
    if _score_drift.smallest_group is not null then
      v_version.since := date_trunc('week', v_version.since);
      v_reference := ceil(extract(epoch from _score_drift.reference) / 604800) * interval '7 days';
    end if;
    return query
    select shift.*
    from monitor._score_shift(
      v_version.model_id, _score_drift.kind, tstzrange(v_version.since, v_version.since + v_reference), v_period,
      _score_drift.smallest_group, null
    ) as shift;
  end loop;
end;
$$;

comment on function monitor._score_drift(timestamptz, timestamptz, text, interval, int) is $$
@behavior -*
Computes the result of `monitor.score_drift`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._score_drift(timestamptz, timestamptz, text, interval, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._score_drift_exact(
  since timestamptz, until timestamptz, kind text, reference interval
)
returns setof monitor.score_shift
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._score_drift($1, $2, $3, $4, null);
$$;

alter function monitor._score_drift_exact(timestamptz, timestamptz, text, interval) owner to insights_reader;

comment on function monitor._score_drift_exact(timestamptz, timestamptz, text, interval) is $$
@behavior -*
Returns the result of `monitor.score_drift` with exact figures of all people, for admins and workers.
$$;

grant execute on function monitor._score_drift_exact(timestamptz, timestamptz, text, interval)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._score_drift_shown(
  since timestamptz, until timestamptz, kind text, reference interval
)
returns setof monitor.score_shift
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._score_drift($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) owner to insights_reader;

comment on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) is $$
@behavior -*
Returns the result of `monitor.score_drift` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) to insights_analyst;

create or replace function monitor.score_drift(
  since timestamptz default (now() at time zone 'UTC' - interval '7 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course',
  reference interval default '7 days'
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._score_drift_exact(timestamptz, timestamptz, text, interval)', 'execute') then
    return query
    select *
    from monitor._score_drift_exact(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference);
  else
    return query
    select *
    from monitor._score_drift_shown(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference);
  end if;
end;
$$;

comment on function monitor.score_drift(timestamptz, timestamptz, text, interval) is $$
Compares the scores of recommended items in a period with those of the first days of the version, by version and basis.
The first days begin with the first deployment of the version, or with its training when it was never deployed (an arm
of an experiment), and last as long as `reference`; the period begins after them. The bins are the tenths of the scores
of the first days, the distance is the population stability index: by a rule of thumb, below 0.1 is stable, and from
0.25 on the scores are other ones (Siddiqi, Credit Risk Scorecards, 2006). By chance alone the index is about (bins -
1) * (1 / n + 1 / m) for n and m rows, and times that a variable with a chi-squared distribution (Yurdakul and Naranjo,
Statistical properties of the population stability index, Journal of Risk Model Validation 2020), from which `p_value`
follows, for the index with half a person in addition to each bin, so that it holds for few people; since a person has
many rows, n and m are those of independent rows with the same variance (Rao and Scott, The analysis of categorical
data from complex sample surveys, JASA 1981). Longer lists have lower scores: a change of their length is a shift.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people, the period
and the first days are whole weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people
is left out, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `reference`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.score_drift(timestamptz, timestamptz, text, interval)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/score_drift.sql
