create or replace function ml._ease_rows(
  items text[],
  inverse vector[]
)
returns setof ml.ease_row
language sql
immutable
parallel safe
begin atomic
  select entry.n::int, entry.item, entry.weights, entry.inverse
  from rows from (
    unnest(_ease_rows.items), unnest(ml.ease_weights(_ease_rows.inverse)), unnest(_ease_rows.inverse)
  ) with ordinality as entry (item, weights, inverse, n);
end;

comment on function ml._ease_rows(text[], vector[]) is $$
The rows of an EASE model from its items and its inverse.
$$;

create or replace function ml.ease_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  lambda float8 default 500,
  exponent float8 default 0
)
returns setof ml.ease_row
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sums ml.ease_sums;
begin
  perform ml._check_ridge(lambda);
  v_sums := ml.ease_gram(source_table, person_column, item_column, weight_column);
  return query
  select *
  from ml._ease_rows(
    v_sums.items, ml._ease_inverse(v_sums.gram, ml._ease_ridges(v_sums, lambda, exponent))
  );
end;
$$;

comment on function ml.ease_train(text, text, text, text, float8, float8) is $$
Trains the EASE recommender on a table of interactions and returns a row for each item, in the order of `item_column`:
`item_no`, `item`, `weights` and `inverse`.
`weights` is a row of B = I - P·diag(P)⁻¹, P = (XᵀX + λI)⁻¹; `inverse` the row of P, which `ml.rank_one_update` keeps
current.
A learner's scores for all items are the sum of the `weights` of the learner's items (times the weight of each, where
there are weights).
`weight_column` is a column or an expression over the columns; without one each pair of person and item counts 1,
however often it comes; with one the weights of a pair are added.
`lambda` is the ridge that keeps weights small; the more people per item, the larger it should be. With an `exponent`
the ridge of an item of d people is lambda · d ^ exponent, so that it grows with the people of the item.
At most 16,000 items; 2 to 3 s for 1,700 items and 100,000 interactions. `ml.edlae_train` without dropout returns the
same weights as neighbour lists, which need less room.
Errors: CF001 (lambda, exponent, weights that are negative or not finite), CF002 (no such table or column), CF004 (no
rows), CF005 (not readable), CF008 (too many items).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function
  ml._ease_rows(text[], vector[]),
  ml.ease_train(text, text, text, text, float8, float8)
to insights_analyst, insights_admin, insights_worker;
