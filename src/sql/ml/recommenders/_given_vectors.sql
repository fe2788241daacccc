create or replace function ml._given_vectors()
returns void
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
as $$
declare
  v_least int;
  v_greatest int;
  v_item text;
begin
  begin
    create temporary table _ml_vector on commit drop as
    select item_no, document::vector as embedding
    from pg_temp._ml_document
    where document is not null;
  exception when cannot_coerce or undefined_function or invalid_text_representation or data_exception then
    perform common.refuse('CF001', format('the vectors are of type %s',
      (select pg_typeof(document) from pg_temp._ml_document limit 1)),
      'Give a column of type vector, halfvec, real[] or double precision[].');
  end;
  select min(vector_dims(embedding)), max(vector_dims(embedding)) into v_least, v_greatest
  from pg_temp._ml_vector;
  if v_least < v_greatest then
    perform common.refuse('CF001', format('the vectors have %s to %s dimensions', v_least, v_greatest),
      'The vectors of all items must come from one model.');
  end if;
  v_item := (
    select name
    from pg_temp._ml_vector
    join pg_temp._ml_item using (item_no)
    group by item_no, name
    having count(*) > 1
    order by item_no
    limit 1
  );
  if v_item is not null then
    perform common.refuse('CF001', format('item "%s" has several vectors', left(v_item, 100)),
      'Give one row per item.');
  end if;
end;
$$;

comment on function ml._given_vectors() is $$
Creates the temporary table `_ml_vector` (item_no, embedding) from `_ml_document`, whose documents are vectors.
Errors: CF001 (not vectors, of different dimensions, several of one item).
$$;

grant execute on function ml._given_vectors() to insights_analyst, insights_admin, insights_worker;
