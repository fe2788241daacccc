create or replace function ml.ease_inverse(
  gram vector[],
  lambda float8
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
begin
  perform ml._check_ridge(lambda);
  if ml._matrix_columns(gram, 'gram') <> cardinality(gram) then
    perform common.refuse(
      'CF001',
      format('gram has %s rows and %s columns', cardinality(gram), vector_dims(gram[1])),
      'It is square: XᵀX, a row and a column for each item.'
    );
  end if;
  return ml._ease_inverse(gram, array_fill(lambda, array[cardinality(gram)]));
end;
$$;

comment on function ml.ease_inverse(vector[], float8) is $$
P = (XᵀX + λI)⁻¹ of the EASE recommender from XᵀX, such as `ml.ease_gram` returns. `ml.ease_weights` gives the weights.
Shapes: n × n gives n × n. Errors: CF001 (lambda, not a square matrix), CF004 (no rows).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function ml.ease_inverse(vector[], float8) to insights_analyst, insights_admin, insights_worker;
