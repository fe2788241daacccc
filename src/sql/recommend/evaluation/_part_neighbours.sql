create or replace function recommend._part_neighbours(
  training regclass,
  algorithm text,
  parameters jsonb
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
as $$
begin
  return query execute format(
    'select * from ml.%I(%L::regclass %s)',
    case algorithm when 'edlae' then 'ease' else algorithm end || '_neighbours',
    training,
    (
      select string_agg(format(', %I => %L', parameter.key, parameter.value), '' order by parameter.key)
      from jsonb_each_text(parameters) as parameter
    )
  );
end;
$$;

comment on function recommend._part_neighbours(regclass, text, jsonb) is $$
@behavior -*
Trains a part of a model on coded interactions: returns its neighbour lists.
The names in `parameters` are those of the arguments of the function of the algorithm in `ml`.
$$;

grant execute on function recommend._part_neighbours(regclass, text, jsonb)
to insights_analyst, insights_admin, insights_worker;
