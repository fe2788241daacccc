create or replace function ml.sequence_pairs(
  relation regclass,
  unit float8,
  decay_form text default 'geometric',
  decay float8 default 0.7,
  max_distance int default 50,
  time_column text default null,
  half_life interval default null
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
declare
  v_decays float8[];
  v_seconds constant float8 := extract(epoch from half_life);
  v_time text;
begin
  perform ml._check_coded(relation);
  perform ml._check_pairs(unit);
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
  return format(
    $statement$
    select earlier.item_no as source_no, later.item_no as target_no,
      sum((
        earlier.weight::float8 * later.weight / %4$L::float8 * decays.factors[place - earlier.position] %3$s
      )::bigint) as total
    from (
      select person_no, item_no, weight, position, %2$s as used_at,
        max(position) over (partition by person_no) as last_position
      from %1$s
      where weight > 0 and position is not null
      order by item_no -- the sums of one item at a time are in the cache of the processor
      offset 0
    ) as earlier
    cross join (select %5$L::float8[] as factors offset 0) as decays
    -- one row per place up to the last one of the person, so that a row costs at most max_distance
    cross join lateral generate_series(
      earlier.position + 1, least(earlier.position + %6$s, earlier.last_position)
    ) as place
    join %1$s as later
      on later.person_no = earlier.person_no
      and later.position = place
      and later.item_no <> earlier.item_no
      and later.weight > 0
    group by earlier.item_no, later.item_no
    $statement$,
    relation,
    coalesce(v_time, 'null'),
    -- A smaller factor than 0.5 ^ 60 is rounded to 0, and would be an error of underflow at 0.5 ^ 1075.
    '* 0.5::float8 ^ least(extract(epoch from later.' || v_time || ' - earlier.used_at)::float8 / '
      || quote_literal(v_seconds) || ', 100)',
    unit, v_decays, max_distance
  );
end;
$$;

comment on function ml.sequence_pairs(regclass, float8, text, float8, int, text, interval) is $$
@behavior -*
Returns the statement that adds up the pairs of items that `ml.sequence_neighbours` counts.
Its columns are `source_no`, `target_no`, the item that comes later, and `total`, a whole number of the `unit`.
Sums of whole numbers do not depend on the order of the rows: the sums of some people are added to those of others, or
subtracted, exactly. `ml.sequence_lists` makes neighbour lists of them. Arguments as in `ml.sequence_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.sequence_pairs(regclass, float8, text, float8, int, text, interval)
to insights_analyst, insights_admin, insights_worker;
