create or replace function recommend._algorithm_of(model recommend.evaluation_model)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (
      select string_agg(part.value ->> 'algorithm', '+' order by part.place)
      from jsonb_array_elements((model).parts) with ordinality as part (value, place)
    ),
    (model).prior
  );
end;
$$;

comment on function recommend._algorithm_of(recommend.evaluation_model) is $$
@behavior -*
Names of the methods of a model, joined by `+`; that of its prior when it has no parts.
$$;
