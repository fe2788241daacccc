create or replace function ml._watched()
returns table (project text, source text, label text, left_out text, hint text)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_deployed record;
  v_relation regclass;
  v_owner text;
begin
  for v_deployed in
    select project.name, model.parameters ->> 'source_table' as source_table, model.parameters ->> 'label' as label
    from ml.project
    join ml.model on model.model_id = ml._deployed_model_id(project.project_id)
    where model.coefficients ? 'kind'
      and model.parameters ? 'source_table'
    order by project.name
  loop
    project := v_deployed.name;
    source := left(v_deployed.source_table, 300);
    label := null;
    left_out := null;
    hint := null;
    v_relation := null;
    -- A temporary table of the training cannot be watched.
    continue when v_deployed.source_table ~ '^pg_temp';
    begin
      v_relation := to_regclass(v_deployed.source_table);
    exception
      when insufficient_privilege then
        left_out := format('role "%s" may not use the schema of %s', current_user, left(v_deployed.source_table, 100));
        hint := format('Grant usage on the schema, and select on the table, to %I.', current_user);
      when invalid_name or syntax_error or feature_not_supported or invalid_parameter_value then
        v_relation := null;
    end;
    if v_relation is null and left_out is null then
      left_out := format('there is no table "%s"', left(v_deployed.source_table, 100));
      hint := 'Name the source with its schema, call ml.measure_drift with the table that replaced it, '
        || 'or train again.';
    end if;
    if left_out is not null then
      return next;
      continue;
    end if;

    select
      format('%I.%I', namespace.nspname, class.relname),
      -- An expression is not evaluated: the role that trained the model may be another one than the role that watches
      -- it.
      (
        select quote_ident(named)
        from unnest(common.columns(v_relation)) as named
        where v_deployed.label in (named, quote_ident(named))
        limit 1
      )
    into source, label
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where class.oid = v_relation;
    if not has_table_privilege(v_relation, 'select') then
      left_out := format('role "%s" may not read %s', current_user, left(source, 150));
      hint := format('Grant select on it to %I, and usage on its schema.', current_user);
      return next;
      continue;
    end if;

    /*
     * To read a relation is to run code of its owner: the functions of a view, a policy, a cast or a domain; and,
     * when a query of a plain table is planned, those of an index, a partition key or extended statistics. So it is
     * read only when its owner can become this role anyway, or insights_owner, whose function this is. The owner of
     * the schema counts too: she may put another relation in its place.
     */
    select pg_get_userbyid(owner.oid)
    into v_owner
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    join pg_catalog.pg_roles as schema_owner on schema_owner.oid = namespace.nspowner
    cross join lateral (
      values
        (class.relowner),
        (
          case schema_owner.rolname
            -- A role with one member, which is not listed.
            when 'pg_database_owner' then (select datdba from pg_catalog.pg_database where datname = current_database())
            else schema_owner.oid
          end
        )
    ) as owner (oid)
    where class.oid = v_relation
      and not pg_has_role(owner.oid, current_user, 'member')
      and not pg_has_role(owner.oid, 'insights_owner', 'member')
    limit 1;
    if v_owner is not null then
      left_out := format(
        '%1$s, or its schema, belongs to "%2$s", which is not a member of "%3$s": '
          || 'reading it would run code of "%2$s" as "%3$s"',
        left(source, 150), v_owner, current_user
      );
      hint := format(
        'Call ml.measure_drift(%L, %L) as a role that trusts "%s", or give the table and its schema to insights_owner.',
        project, source, v_owner
      );
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._watched() is $$
Returns the deployed models with the table or view of their training.
ml.watch_models reads that source with the caller's rights.
`left_out` is the reason why a model is left out, and null for the others; `hint` is the way out.
`label` is the column of the label, null where it was an expression.
$$;

create or replace function ml.watch_models()
returns setof ml.drift
language plpgsql
volatile
-- Names are stored with their schema, and nothing that others made in a schema of the caller's path is found.
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_watched record;
begin
  for v_watched in select * from ml._watched() loop
    if v_watched.left_out is not null then
      raise warning 'ml.watch_models: %: %', v_watched.project, v_watched.left_out using hint = v_watched.hint;
      continue;
    end if;
    begin
      return query select * from ml.measure_drift(v_watched.project, v_watched.source, v_watched.label);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- One table that has changed or is empty keeps no other from being watched.
      raise warning 'ml.watch_models: %: %', v_watched.project, sqlerrm;
    end;
  end loop;
end;
$$;

comment on function ml.watch_models() is $$
Measures the drift of every deployed model on its source, the table or view of its training; see ml.measure_drift.
Sources should show what is asked about now: a view of the latest weeks, say. A source that no longer fits gives a
warning.
A source is left out, with a warning, unless the caller may read it, and its owner and the owner of its schema are
members of the caller's role or of insights_owner: reading a relation runs its owner's code with the reader's rights.
A view of such an owner is trusted with what it reads. Call ml.measure_drift for what is left out.
Where the label was an expression and not a column, the inputs alone are measured.
$$;

grant execute on function ml._watched(), ml.watch_models() to insights_admin, insights_worker;
