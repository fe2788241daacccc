create or replace function ml.edlae_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  lambda float8 default 500,
  dropout float8 default 0.3,
  exponent float8 default 0,
  neighbour_count int default 500
)
returns setof ml.item_neighbours
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform common.check_count('neighbour_count', neighbour_count, 1, 1000);
  perform ml._code_interactions(source_table, person_column, item_column, null, weight_column, true);
  return query
  select *
  from ml._named_neighbours(format(
    'ml.ease_neighbours(%L, %L, %L, %L, %L)',
    'pg_temp._ml_interaction', lambda, exponent, dropout, neighbour_count
  ));
end;
$$;

comment on function ml.edlae_train(text, text, text, text, float8, float8, float8, int) is $$
Trains the recommender EDLAE, a linear autoencoder with dropout whose weights of an item to itself are 0.
Returns one row per item, in the order of `item_column`: the item, the items whose scores it changes, strongest first,
and the weights. The score of an item for a person is the sum of the weights from the items of the person.
The weights minimise the expected squared error of each item, as predicted from the other items of a person when each
of them is left out with the probability `dropout`. In closed form B = I - C·diag(C)⁻¹, C = (XᵀX + Λ)⁻¹ with
Λ = λ·d ^ `exponent` + p / (1 - p) · diag(XᵀX), for d people of an item and a dropout of p.
A `dropout` of 0 gives EASE, with a ridge that grows with the number of people when `exponent` is above 0.
Each item as target keeps its `neighbour_count` strongest weights, up to 1,000, as source at most 1,000. Among 1,700
films 500 lose half a percent of the NDCG@10 of all weights, 1,000 nothing, 200 two percent (`bench/recommenders.ts`).
At most 16,000 items; time grows with the third power, some 3 s for 1,700 items.
Errors: CF001 (parameters, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable), CF008 (too
many items).
Source: Steck, Autoencoders that don’t overfit towards the identity, NeurIPS 2020 (full rank, a = 1, b = 0).
$$;

grant execute on function ml.edlae_train(text, text, text, text, float8, float8, float8, int)
to insights_analyst, insights_admin, insights_worker;
