create or replace function ml.sequence_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  order_column text default 'occurred_at',
  weight_column text default null,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  max_distance int default 50,
  half_life interval default null
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
  if order_column is null then
    perform common.refuse('CF001', 'order_column is null', 'A sequence needs a column of numbers or times.');
  end if;
  perform ml._code_interactions(source_table, person_column, item_column, order_column, weight_column, false);
  if half_life is not null and not exists (select from pg_temp._ml_interaction where used_at is not null) then
    perform common.refuse('CF001', format('the order column "%s" has no times', left(order_column, 100)),
      'A half-life needs a column of type timestamptz, timestamp or date; without one, leave half_life out.');
  end if;
  return query
  select *
  from ml._named_neighbours(format(
    'ml.sequence_neighbours(%L, %L, %L, %L, %L, %L, time_column => %L, half_life => %L)',
    'pg_temp._ml_interaction', decay_form, decay, out_exponent, in_exponent, max_distance,
    case when half_life is not null then 'used_at' end, half_life
  ));
end;
$$;

comment on function ml.sequence_train(text, text, text, text, text, text, float8, float8, float8, int, interval) is $$
Trains a recommender on the order in which people use items: what follows what, at which distance.
Returns one row per item, in the order of `item_column`: the item, the items that follow it, strongest first, and their
weights. The score of an item for a person is the sum of the weights from the items of the person, the last of them
counting most: multiply the weights from an item by a factor such as 0.7 for each item that the person used later.
C[i,j] is the sum, over the pairs of rows of a person with i before j at a distance of up to `max_distance` places, of
the decay: `geometric`, `decay` ^ (distance - 1), or `reciprocal`, distance ^ -`decay`; times the weights of the two
rows, where there are weights; and with a `half_life` times 0.5 ^ (time between the two rows / half_life).
The weight is C[i,j] / (out[i] ^ `out_exponent` · in[j] ^ `in_exponent`), out and in the sums of the rows and columns of
C. Exponents 1 and 0 give the transition probabilities of a Markov chain, of the first order with a `max_distance` of 1;
0 and 0 plain directed co-occurrence; an in exponent of 0.5 keeps popular items from following everything.
Each row is one use. Rows of a person with the same value of `order_column` are neither before nor after each other.
Any number of items: at most 200 weights are kept for an item as target, 1,000 as source; the work is at most
`max_distance` pairs per row.
Errors: CF001 (parameters, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function
  ml.sequence_train(text, text, text, text, text, text, float8, float8, float8, int, interval)
to insights_analyst, insights_admin, insights_worker;
