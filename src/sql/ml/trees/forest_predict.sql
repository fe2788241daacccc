create or replace function ml.forest_predict(
  random_forest_model text,
  new_data_table text,
  output_table text,
  type text default 'response'
)
returns void
language sql
begin atomic
  select ml._forest_predict('forest_train', random_forest_model, new_data_table, output_table, type);
end;

comment on function ml.forest_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.forest_train for every row of a table, in one statement: the mean over the trees.
Writes `output_table`: the id column and `estimated_<dependent variable>` (the number, or the class of the highest
mean probability), or with type `prob` one column `estimated_prob_<class>` a class.
The column of a class of more than 48 bytes is named by its MD5 hash.
A row is predicted by the forest of its group; where that has none, the prediction is null.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.forest_predict(text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
