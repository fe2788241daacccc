create or replace function ml.ease_neighbours(
  relation regclass,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0,
  column_limit int default 500,
  row_limit int default 1000,
  person_exponent float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_sums ml.ease_sums;
begin
  v_sums := ml.ease_coded_sums(relation, person_exponent);
  return query execute ml.ease_lists(column_limit, row_limit)
  using ml.edlae_inverse(v_sums, lambda, exponent, dropout), v_sums.items::int[];
end;
$$;

comment on function ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8) is $$
@behavior -*
Returns the neighbour lists of EASE, or with a `dropout` of EDLAE.
`relation` is as for `ml.sequence_neighbours`; positions are not used. At most 16,000 items.
People count with a factor that falls with their number of items n, n ^ -`person_exponent`.
The ridge of an item of d people is `lambda` · d ^ `exponent`, plus p / (1 - p) times its diagonal of XᵀX for a
`dropout` of p.
Of each item as target the `column_limit` strongest weights are kept, as source the `row_limit` strongest.
Errors: CF001 (parameters), CF004 (no rows), CF008 (too many items).
$$;

grant execute on function ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8)
to insights_analyst, insights_admin, insights_worker;
