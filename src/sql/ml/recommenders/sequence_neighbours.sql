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
  v_decays float8[];
  v_seconds constant float8 := extract(epoch from half_life);
  v_time text;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  if (half_life is null) <> (time_column is null) or not (v_seconds > 0 and v_seconds < 'infinity') then
    perform common.refuse(
      'CF001',
      format('the half-life is %s of the time column %s', coalesce(half_life::text, 'null'),
        coalesce(left(time_column, 100), 'null')),
      'Give both, the half-life a positive interval, or neither.'
    );
  end if;
  if time_column is not null then
    v_time := common.column_name(relation, time_column, 'time column');
  end if;
  perform common.check_count('max_distance', max_distance, 1, 1000);
  if decay_form is distinct from 'geometric' and decay_form is distinct from 'reciprocal' then
    perform common.refuse('CF001', format('decay_form is %s', coalesce(left(decay_form, 100), 'null')),
      'It is geometric (decay ^ (distance - 1)) or reciprocal (distance ^ -decay).');
  end if;
  if decay is null or not (decay >= 0 and decay < 'infinity') or (decay_form = 'geometric' and not decay <= 1) then
    perform common.refuse('CF001', format('decay is %s', coalesce(decay::text, 'null')),
      'Give a number from 0 to 1 for geometric decay, or from 0 up for reciprocal decay.');
  end if;
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
  v_decays := array(
    select
      case
        -- 0 ^ 0 is 1: a decay of 0 keeps neighbouring rows only. A smaller factor would be rounded to 0 below.
        when decay_form = 'geometric' then
          case when distance = 1 then 1 when decay = 0 or (distance - 1) * ln(decay) < -40 then 0
            else decay ^ (distance - 1) end
        when decay * ln(distance) > 40 then 0
        else distance ^ -decay
      end
    from generate_series(1, max_distance) as distance
    order by distance
  );
  return query execute ml._pruned(
    format(
      $statement$
      with pair as materialized (
        select earlier.item_no as source_no, later.item_no as target_no,
          sum((
            earlier.weight::float8 * later.weight / $4 * ($3::float8[])[place - earlier.position] %3$s
          )::bigint) as total
        from (
          select person_no, item_no, weight, position, %2$s as used_at,
            max(position) over (partition by person_no) as last_position
          from %1$s
          where weight > 0 and position is not null
          order by item_no -- the sums of one item at a time are in the cache of the processor
          offset 0
        ) as earlier
        -- one row per place up to the last one of the person, so that a row costs at most max_distance
        cross join lateral generate_series(
          earlier.position + 1, least(earlier.position + $5, earlier.last_position)
        ) as place
        join %1$s as later
          on later.person_no = earlier.person_no
          and later.position = place
          and later.item_no <> earlier.item_no
          and later.weight > 0
        group by earlier.item_no, later.item_no
      )

      select pair.source_no, pair.target_no,
        (
          case when $7 = 0 then pair.total::float8 * $4 / (source.total::float8 * $4) ^ $1
            else ln(1 + $7 * (pair.total::float8 * $4 / (source.total::float8 * $4) ^ $1)) end
          / (target.total::float8 * $4) ^ $2
        )::real as weight
      from pair
      join (select source_no, sum(total) as total from pair group by source_no) as source using (source_no)
      join (select target_no, sum(total) as total from pair group by target_no) as target using (target_no)
      where pair.total > 0
      $statement$,
      relation,
      coalesce(v_time, 'null'),
      -- A smaller factor than 0.5 ^ 60 is rounded to 0, and would be an error of underflow at 0.5 ^ 1075.
      '* 0.5::float8 ^ least(extract(epoch from later.' || v_time || ' - earlier.used_at)::float8 / $6, 100)'
    ),
    column_limit, row_limit
  )
  using out_exponent, in_exponent, v_decays, v_unit, max_distance, v_seconds, saturation;
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
