create or replace function monitor._fit_positions(
  alike bigint[],
  rank int[],
  listed float8[],
  clicked float8[],
  used int[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := cardinality(used) - 1;
  v_alike bigint[];
  v_rank int[];
  v_listed float8[];
  v_clicked float8[];
  v_logs float8[] := array_fill(0::float8, array[cardinality(used)]);
  v_next float8[];
  v_now record;
  v_then record;
  v_inverse float8[];
  v_direction float8[];
  v_length float8;
begin
  -- The buckets of people do not matter here.
  select array_agg(cell.alike), array_agg(cell.rank), array_agg(cell.listed), array_agg(cell.clicked)
  into v_alike, v_rank, v_listed, v_clicked
  from (
    select given.alike, given.rank, sum(given.listed) as listed, sum(given.clicked) as clicked
    from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.listed, _fit_positions.clicked)
      as given (alike, rank, listed, clicked)
    group by given.alike, given.rank
  ) as cell;

  -- Newton's method. The likelihood is concave; a step that does not improve it is halved.
  select * into v_now from monitor._position_step(v_alike, v_rank, v_listed, v_clicked, used, v_logs);
  for v_iteration in 1..50 loop
    v_inverse := monitor._inverse(v_now.information, v_size);
    if v_inverse is null then
      return null;
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
      select * into v_then from monitor._position_step(v_alike, v_rank, v_listed, v_clicked, used, v_next);
      exit when v_then.likelihood >= v_now.likelihood - 1e-9 * abs(v_now.likelihood);
      v_length := v_length / 2;
      if v_length < 1e-6 then
        return null;
      end if;
    end loop;
    v_logs := v_next;
    v_now := v_then;
    -- A rank of which the clicks are separated from those of the others has no finite estimate.
    if (select max(abs(log)) > 15 from unnest(v_logs) as log) then
      return null;
    end if;
    if (select max(abs(step)) < 1e-8 from unnest(v_direction) as step) then
      return v_logs;
    end if;
  end loop;
  return null;
end;
$$;

comment on function monitor._fit_positions(bigint[], int[], float8[], float8[], int[]) is $$
@behavior -*
Returns the logarithms of the examination of the given ranks, the first of which is 0; null without a finite estimate.
$$;

grant execute on function monitor._fit_positions(bigint[], int[], float8[], float8[], int[]) to insights_reader;
