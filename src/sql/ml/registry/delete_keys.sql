create or replace function ml.delete_keys(keys text[], out embeddings bigint, out scores bigint)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from ml.embedding where embedding.key = any (delete_keys.keys);
  get diagnostics embeddings = row_count;
  delete from ml.score where score.keys && delete_keys.keys;
  get diagnostics scores = row_count;
end;
$$;

comment on function ml.delete_keys(text[]) is $$
@behavior -*
Deletes the vectors and scores of keys in all models from outside, and returns their numbers.
For the erasure of a person: the keys are names.
$$;
