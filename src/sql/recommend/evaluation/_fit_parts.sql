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
  v_is_dense constant boolean := item_count <= 16000;
  v_part recommend.part;
  v_offset int := 0;
begin
  drop table if exists pg_temp._recommend_source;
  create temporary table _recommend_source (source_no int, v vector, neighbours int[], weights real[]) on commit drop;
  -- A compressed value would be decompressed for each batch of people.
  alter table pg_temp._recommend_source alter column v set storage external;
  foreach v_part in array parts loop
    if v_part.algorithm = 'trending' then
      execute format(
        $statement$
        insert into pg_temp._recommend_source (source_no, neighbours, weights)
        select 0, array_agg(item_no), array_agg(($1 * uses)::real)
        from (
          select item_no, sum(0.5 ^ least(later, 60)) as uses
          from (
            select item_no, rank() over (partition by person_no order by position desc nulls last) - 1 as later
            from %s
          ) as used
          group by item_no
        ) as counted
        $statement$,
        training
      )
      using v_part.share;
    elsif v_part.algorithm <> 'popularity' then
      insert into pg_temp._recommend_source (source_no, neighbours, weights)
      select
        v_offset + source.item_no,
        source.neighbours,
        case when v_part.share = 1 then source.weights
          else array(select (v_part.share * weight)::real from unnest(source.weights) as weight) end
      from recommend._part_neighbours(
        training,
        v_part.algorithm,
        case when v_is_dense and v_part.algorithm in ('ease', 'edlae') then
          '{"column_limit": 1000, "row_limit": 100000}'::jsonb else '{}' end || v_part.parameters
      ) as source;
    end if;
    v_offset := v_offset + item_count;
  end loop;

  if v_is_dense then
    -- Each person has the source 0, so that there is a vector of scores without any other.
    insert into pg_temp._recommend_source (source_no, neighbours, weights)
    select 0, '{}', '{}'
    where not exists (select from pg_temp._recommend_source where source_no = 0);
    update pg_temp._recommend_source as source
    set neighbours = null, weights = null, v = (
      select format('{%s}/%s', string_agg(format('%s:%s', item_no, weight), ','), item_count)::sparsevec::vector
      from unnest(source.neighbours, source.weights) as entry (item_no, weight)
      where abs(weight) > 1e-30
    );
  end if;
  analyze pg_temp._recommend_source;
end;
$$;

comment on function recommend._fit_parts(regclass, recommend.part[], int) is $$
@behavior -*
Trains the parts of a model on coded interactions, and writes the weights to the temporary table `_recommend_source`.
It has a row for each item of a person, the items of the second part after those of the first: `v` holds the weights to
all items, times the share of the part; with more than 16,000 items, `neighbours` and `weights` those that are not 0.
The source 0 is one that each person has.
$$;

grant execute on function
  recommend._fit_parts(regclass, recommend.part[], int)
to insights_analyst, insights_admin, insights_worker;
