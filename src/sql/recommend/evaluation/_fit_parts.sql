create or replace function recommend._dense_rows(
  training regclass,
  parameters jsonb,
  item_count int,
  out item_no int,
  out v vector
)
returns setof record
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_exponent constant float8 := coalesce((parameters ->> 'person_exponent')::float8, 0);
  v_sums ml.ease_sums;
begin
  create temporary table if not exists _recommend_sums (
    relation oid, person_exponent float8, sums ml.ease_sums
  ) on commit drop;
  select (kept.sums).* into v_sums
  from pg_temp._recommend_sums as kept
  where kept.relation = training
    and kept.person_exponent = v_exponent;
  if v_sums.items is null then
    v_sums := ml.ease_coded_sums(training, v_exponent);
    delete from pg_temp._recommend_sums as kept where kept.relation <> training;
    insert into pg_temp._recommend_sums values (training, v_exponent, v_sums);
  end if;
  return query
  select
    v_sums.items[row_.n]::int,
    -- An item that nobody has in these rows has no column.
    case when cardinality(v_sums.items) = item_count then row_.weights else (
      select format('{%s}/%s', string_agg(format('%s:%s', v_sums.items[entry.n], entry.weight), ','), item_count)
        ::sparsevec::vector
      from unnest(row_.weights::real[]) with ordinality as entry (weight, n)
      where abs(entry.weight) > 1e-30
    ) end
  from unnest(
    ml.edlae_weights(
      v_sums,
      (parameters ->> 'lambda')::float8,
      coalesce((parameters ->> 'exponent')::float8, 0),
      coalesce((parameters ->> 'dropout')::float8, 0)
    )
  ) with ordinality as row_ (weights, n);
end;
$$;

comment on function recommend._dense_rows(regclass, jsonb, int) is $$
@behavior -*
Trains EASE or EDLAE on coded interactions, and returns the weights from each item to all items.
The sums of the last relation are kept in the temporary table `_recommend_sums`, by `person_exponent`, for other
ridges.
$$;

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
    elsif v_is_dense and v_part.algorithm in ('ease', 'edlae')
      and not v_part.parameters ?| array['column_limit', 'row_limit'] then
      insert into pg_temp._recommend_source (source_no, v)
      select
        v_offset + row_.item_no,
        case when v_part.share = 1 then row_.v
          else row_.v * array_fill(v_part.share::real, array[item_count])::vector end
      from recommend._dense_rows(training, v_part.parameters, item_count) as row_;
    elsif v_part.algorithm <> 'popularity' then
      insert into pg_temp._recommend_source (source_no, neighbours, weights)
      select
        v_offset + source.item_no,
        source.neighbours,
        case when v_part.share = 1 then source.weights
          else array(select (v_part.share * weight)::real from unnest(source.weights) as weight) end
      from recommend._part_neighbours(training, v_part.algorithm, v_part.parameters) as source;
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
    )
    where v is null;
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
  recommend._dense_rows(regclass, jsonb, int),
  recommend._fit_parts(regclass, recommend.part[], int)
to insights_analyst, insights_admin, insights_worker;
