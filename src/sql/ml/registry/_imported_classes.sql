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
