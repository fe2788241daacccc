create or replace function monitor._fit_positions(
  alike bigint[],
  rank int[],
  listed float8[],
  clicked float8[],
  out used int[],
  out compared float8[],
  out logs float8[],
  out inverse float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fewest_clicks constant int := 10;
  v_former int[];
  v_size int;
  v_alike bigint[];
  v_place int[];
  v_listed float8[];
  v_clicked float8[];
  v_logs float8[];
  v_next float8[];
  v_now record;
  v_then record;
  v_inverse float8[];
  v_direction float8[];
  v_length float8;
begin
  -- Ranks with enough clicks in groups that have two of such ranks, until no rank falls out.
  used := array(select generate_series(1, 20));
  loop
    v_former := used;
    select
      array_agg(compared.rank order by compared.rank) filter (where compared.clicked >= v_fewest_clicks),
      array_agg(compared.clicked order by compared.rank)
    into used, compared
    from (
      select each.rank, coalesce(sum(cell.clicked), 0) as clicked
      from generate_series(1, 20) as each (rank)
      left join (
        select given.rank, given.clicked, min(given.rank) over alike < max(given.rank) over alike as is_compared
        from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.clicked) as given (alike, rank, clicked)
        where given.rank = any (v_former)
        window alike as (partition by given.alike)
      ) as cell
        on cell.rank = each.rank
        and cell.is_compared
      group by each.rank
    ) as compared;
    exit when used is null or used = v_former;
  end loop;
  v_size := cardinality(used) - 1;
  if used[1] is distinct from 1 or v_size < 1 then
    return;
  end if;

  select
    array_agg(given.alike order by given.alike), array_agg(array_position(used, given.rank) order by given.alike),
    array_agg(given.listed order by given.alike), array_agg(given.clicked order by given.alike)
  into v_alike, v_place, v_listed, v_clicked
  from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.listed, _fit_positions.clicked)
    as given (alike, rank, listed, clicked)
  where given.rank = any (used);

  -- Newton's method. The likelihood is concave; a step that does not improve it is halved. The first estimate is
  -- that of the click rates, as if items of all ranks were equally relevant.
  v_logs := array(
    select ln(observed.rate) - ln(first_value(observed.rate) over (order by observed.place))
    from (
      select given.place, sum(given.clicked) / sum(given.listed) as rate
      from unnest(v_place, v_listed, v_clicked) as given (place, listed, clicked)
      group by given.place
    ) as observed
    order by observed.place
  );
  select * into v_now from monitor._position_step(v_alike, v_place, v_listed, v_clicked, v_logs);
  for v_iteration in 1..50 loop
    v_inverse := monitor._inverse(v_now.information, v_size);
    if v_inverse is null then
      return;
    end if;
    v_direction := array(
      select sum(v_inverse[(i - 1) * v_size + j] * v_now.gradient[j])
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      group by i
      order by i
    );
    v_length := 1;
    loop
      v_next := array(
        select v_logs[place] + case when place = 1 then 0 else v_length * v_direction[place - 1] end
        from generate_series(1, v_size + 1) as place
        order by place
      );
      select * into v_then from monitor._position_step(v_alike, v_place, v_listed, v_clicked, v_next);
      exit when v_then.likelihood >= v_now.likelihood - 1e-9 * abs(v_now.likelihood);
      v_length := v_length / 2;
      if v_length < 1e-6 then
        return;
      end if;
    end loop;
    v_logs := v_next;
    v_now := v_then;
    -- A rank of which the clicks are separated from those of the others has no finite estimate.
    if (select max(abs(log)) > 15 from unnest(v_logs) as log) then
      return;
    end if;
    -- The error that remains is about the square of the last step.
    if (select max(abs(step)) < 1e-7 from unnest(v_direction) as step) then
      logs := v_logs;
      inverse := monitor._inverse(v_now.information, v_size);
      return;
    end if;
  end loop;
end;
$$;

comment on function monitor._fit_positions(bigint[], int[], float8[], float8[]) is $$
@behavior -*
Estimates the examination of ranks from rows and clicks of groups of equal rows by rank.
`used`: the ranks that can be compared; `compared`: the clicks by rank, from 1 to 20, of which the estimate is made;
`logs`: the logarithms of the examination of the ranks in `used`, the first of which is 0; `inverse`: the inverse of
their information matrix, without the first. The last two are null without a finite estimate.
$$;

grant execute on function monitor._fit_positions(bigint[], int[], float8[], float8[]) to insights_reader;
