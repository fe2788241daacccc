create or replace function ml.sequence_lists(
  pairs text,
  unit float8,
  out_exponent float8 default 1,
  in_exponent float8 default 0.5,
  saturation float8 default 0,
  column_limit int default 200,
  row_limit int default 1000
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_pairs(unit, pairs);
  if out_exponent is null or not out_exponent between 0 and 10
    or in_exponent is null or not in_exponent between 0 and 10 then
    perform common.refuse(
      'CF001',
      format(
        'the exponents are %s and %s', coalesce(out_exponent::text, 'null'), coalesce(in_exponent::text, 'null')
      ),
      'Give numbers from 0 (not normalised) to 10.'
    );
  end if;
  if saturation is null or not saturation between 0 and 1e9 then
    perform common.refuse('CF001', format('saturation is %s', coalesce(saturation::text, 'null')),
      'Give a number from 0 (none) to 1e9; 100 to 1000 raises what follows rarely.');
  end if;
  return ml._pruned(
    format(
      $statement$
      with pair as materialized (%1$s)

      select pair.source_no, pair.target_no,
        (
          case when %5$L::float8 = 0 then
              pair.total::float8 * %2$L::float8 / (source.total::float8 * %2$L::float8) ^ %3$L::float8
            else ln(1 + %5$L::float8 * (
              pair.total::float8 * %2$L::float8 / (source.total::float8 * %2$L::float8) ^ %3$L::float8
            )) end
          / (target.total::float8 * %2$L::float8) ^ %4$L::float8
        )::real as weight
      from pair
      join (select source_no, sum(total) as total from pair group by source_no) as source using (source_no)
      join (select target_no, sum(total) as total from pair group by target_no) as target using (target_no)
      where pair.total > 0
      $statement$,
      pairs, unit, out_exponent, in_exponent, saturation
    ),
    column_limit, row_limit
  );
end;
$$;

comment on function ml.sequence_lists(text, float8, float8, float8, float8, int, int) is $$
@behavior -*
Returns the statement that makes the neighbour lists of the sequence model from the sums of `ml.sequence_pairs`.
`pairs` is a statement with the columns `source_no`, `target_no` and `total`, in whole numbers of `unit`. The other
arguments are those of `ml.sequence_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.sequence_lists(text, float8, float8, float8, float8, int, int)
to insights_analyst, insights_admin, insights_worker;
