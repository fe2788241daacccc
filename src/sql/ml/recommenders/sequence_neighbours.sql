create or replace function ml.sequence_neighbours(
  relation regclass,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  max_distance int default 50,
  column_limit int default 200,
  row_limit int default 1000,
  time_column text default null,
  half_life interval default null,
  saturation float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_unit float8;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  return query execute ml.sequence_lists(
    ml.sequence_pairs(relation, v_unit, decay_form, decay, max_distance, time_column, half_life),
    v_unit, out_exponent, in_exponent, saturation, column_limit, row_limit
  );
end;
$$;

comment on function ml.sequence_neighbours(
  regclass, text, float8, float8, float8, int, int, int, text, interval, float8
) is $$
@behavior -*
Returns the neighbour lists of the sequence model.
`relation` has the columns `person_no`, `item_no`, `weight` and `position` (1 is the first of a person, null unknown).
Items and people are numbered, the items from 1; rows with a weight of 0 or less do not count.
C[i,j] is the sum, over the pairs of rows of a person with i before j at a distance of up to `max_distance` places, of
the product of their weights times the decay: geometric, `decay` ^ (distance - 1), or reciprocal, distance ^ -`decay`.
The weight W[i,j] is C[i,j] / (out[i] ^ `out_exponent` · in[j] ^ `in_exponent`) with out[i] the sum of row i of C and
in[j] the sum of column j: exponents 1 and 0 give the transition probabilities of a Markov chain.
With a `saturation` s, ln(1 + s · C[i,j] / out[i] ^ `out_exponent`) takes the place of the first quotient.
With a `half_life` each pair is multiplied by 0.5 ^ (time between the two rows / half_life), from the times in
`time_column`.
Rows without a position, or with the same position as another of the person, are not before or after each other.
Work is at most rows × `max_distance` pairs; memory is bounded (`work_mem` of 64 MB).
Errors: CF001 (parameters).
$$;

grant execute on function
  ml.sequence_neighbours(regclass, text, float8, float8, float8, int, int, int, text, interval, float8)
to insights_analyst, insights_admin, insights_worker;
