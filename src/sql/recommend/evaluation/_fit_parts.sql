create or replace function recommend._fit_parts(
  training regclass,
  parts recommend.part[],
  item_count int
)
returns void
language plpgsql
volatile
set search_path from current
set work_mem to '64MB'
set jit to off
as $$
declare
  v_part recommend.part;
  v_number int := 0;
  v_size constant int := item_count * greatest(cardinality(parts), 1) + 1;
begin
  drop table if exists pg_temp._recommend_entry, pg_temp._recommend_column;
  create temporary table _recommend_entry (item_no int, entry text) on commit drop;
  foreach v_part in array parts loop
    if v_part.algorithm = 'trending' then
      -- The last place of the vectors is 1 for everyone.
      execute format(
        'insert into pg_temp._recommend_entry
         select item_no, format(''%%s:%%s'', $1, ($2 * sum(0.5 ^ least(later, 60)))::real)
         from (
           select item_no, rank() over (partition by person_no order by position desc nulls last) - 1 as later
           from %s
         ) as used
         group by item_no',
        training
      )
      using v_size, v_part.share;
    elsif v_part.algorithm <> 'popularity' then
      insert into pg_temp._recommend_entry
      select neighbour.item_no, format('%s:%s', v_number * item_count + source.item_no, neighbour.weight)
      from recommend._part_neighbours(training, v_part.algorithm, v_part.parameters) as source
      cross join lateral (
        select item_no, (v_part.share * weight)::real as weight
        from unnest(source.neighbours, source.weights) as entry (item_no, weight)
      ) as neighbour
      where abs(neighbour.weight) > 1e-30;
    end if;
    v_number := v_number + 1;
  end loop;

  create temporary table _recommend_column (item_no int, v sparsevec) on commit drop;
  -- A compressed value would be decompressed for each person; a column has at most 200 entries per part.
  alter table pg_temp._recommend_column alter column v set storage plain;
  insert into pg_temp._recommend_column
  select item.item_no, format('{%s}/%s', string_agg(pg_temp._recommend_entry.entry, ','), v_size)::sparsevec
  from generate_series(1, item_count) as item (item_no)
  left join pg_temp._recommend_entry using (item_no)
  group by item.item_no
  order by item.item_no;
  drop table pg_temp._recommend_entry;
  analyze pg_temp._recommend_column;
end;
$$;

comment on function recommend._fit_parts(regclass, recommend.part[], int) is $$
@behavior -*
Trains the parts of a model on coded interactions, and writes the weights to the temporary table `_recommend_column`.
It has a row for each item: `item_no` and `v`, the weights to it from the items of a person, those of the second part
after those of the first, times the share of the part. Without parts all scores are 0.
$$;

grant execute on function
  recommend._fit_parts(regclass, recommend.part[], int)
to insights_analyst, insights_admin, insights_worker;
