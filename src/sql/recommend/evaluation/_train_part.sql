create or replace function recommend._train_part(relation regclass, algorithm text, parameters jsonb)
returns setof ml.neighbour_row
language plpgsql
volatile
set search_path from current
as $$
declare
  v_function constant text := '_' || algorithm || '_neighbours';
  v_arguments text;
begin
  if algorithm is null or not exists (
    select
    from pg_catalog.pg_proc
    where proname = v_function
      and pronamespace = 'ml'::regnamespace
  ) then
    perform common.refuse('CF002', format('there is no model "%s"', coalesce(left(algorithm, 100), 'null')),
      'Choose ease, edlae, item_knn or sequence.');
  end if;
  select string_agg(format(', %I => %L', setting.key, setting.value), '')
  into v_arguments
  from jsonb_each_text(parameters) as setting;
  return query execute format('select * from ml.%I($1%s)', v_function, v_arguments) using relation;
end;
$$;

comment on function recommend._train_part(regclass, text, jsonb) is $$
@behavior -*
Trains one part of a model on a relation (person_no, item_no, weight, position). `parameters` are the arguments of
`ml._<algorithm>_neighbours`, and come from `recommend._candidates` or `recommend.best_parameters`, never from a caller.
$$;
