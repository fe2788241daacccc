create or replace function ml._ease_gram(
  relation regclass,
  person_expression text,
  item_expression text,
  weight_expression text,
  person_exponent float8 default 0,
  people_at_once int default null
)
returns ml.ease_sums
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set extra_float_digits to 1
set jit to off
set max_parallel_workers_per_gather to 0 -- sums in single precision would differ from one run to the next
set plan_cache_mode to force_generic_plan -- as a constant, an array would be read from its beginning for each element
as $$
declare
  v_sums ml.ease_sums;
  v_least real;
  v_greatest real;
  v_item_count int;
  v_person_count int;
  v_chunk int;
  v_first int := 1;
  v_people vector[];
  v_part vector[];
begin
  drop table if exists pg_temp._ml_gram_cell, pg_temp._ml_gram_pair, pg_temp._ml_gram_item;
  execute format(
    $statement$
    create temporary table _ml_gram_pair on commit drop as
    select source.%2$s as person, source.%3$s as item, ml._weight(%4$s) as weight
    from %1$s as source
    where source.%2$s is not null
      and source.%3$s is not null
      %5$s
    group by source.%2$s, source.%3$s
    $statement$,
    relation, person_expression, item_expression,
    coalesce('sum(' || weight_expression || ' order by ' || weight_expression || ')', '1'),
    'and ' || weight_expression || ' is not null'
  );
  create temporary table _ml_gram_item on commit drop as
  select row_number() over (order by item)::int as item_no, item, count(*)::int as person_count,
    min(weight) as least_weight, max(weight) as greatest_weight
  from pg_temp._ml_gram_pair
  group by item;
  select count(*), min(least_weight), max(greatest_weight) into v_item_count, v_least, v_greatest
  from pg_temp._ml_gram_item;
  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person, an item and a weight', relation),
      'There is nothing to learn from yet.');
  end if;
  perform ml._check_weight(relation, v_least, v_greatest);
  if v_item_count > 16000 then
    perform common.refuse('CF008', format('%s items are too many', v_item_count),
      'EASE and EDLAE hold at most 16000. ml.sequence_train and ml.item_knn_train hold any number.');
  end if;

  create temporary table _ml_gram_cell on commit drop as
  select person.person_no, item.item_no, pair.weight, (pair.weight * person.factor)::real as counted
  from pg_temp._ml_gram_pair as pair
  join pg_temp._ml_gram_item as item using (item)
  join (
    -- The mean of the factors of the people is 1, so that a ridge means the same with each exponent.
    select
      numbered.person,
      row_number() over (order by numbered.person)::int as person_no,
      numbered.n ^ -person_exponent / avg(numbered.n ^ -person_exponent) over () as factor
    from (select pair.person, count(*)::float8 as n from pg_temp._ml_gram_pair as pair group by pair.person) as numbered
  ) as person using (person);
  v_person_count := (select max(person_no) from pg_temp._ml_gram_cell);

  /*
   * A row of XᵀX is the sum of the vectors of those who have the item, so it costs as many additions as there are
   * interactions, and any number of people will do: their vectors are held for `people_at_once`, by default for 128 MB
   * of them. Rows of one weight are summed before they are multiplied by it.
   */
  v_chunk := coalesce(people_at_once, greatest(33554432 / v_item_count, 64));
  if v_person_count > v_chunk then
    create index on pg_temp._ml_gram_cell (person_no);
  end if;
  analyze pg_temp._ml_gram_cell;
  while v_first <= v_person_count loop
    v_people := array(
      select format('{%s}/%s', string_agg(cell.item_no || ':' || cell.counted, ','), v_item_count)::sparsevec::vector
      from pg_temp._ml_gram_cell as cell
      where cell.person_no between v_first and v_first + v_chunk - 1
      group by cell.person_no
      order by cell.person_no
    );
    v_part := array(
      select (
        select sum(
          case
            when same.weight = 1 then same.v
            else same.v * array_fill(same.weight, array[v_item_count])::vector
          end
          order by same.weight
        )
        from (
          select entry.weight, sum(v_people[entry.place]) as v
          from unnest(cell.places, cell.weights) as entry (place, weight)
          group by entry.weight
        ) as same
      )
      from pg_temp._ml_gram_item as item
      left join (
        select item_no,
          array_agg(person_no - v_first + 1 order by weight, person_no) as places,
          array_agg(weight order by weight, person_no) as weights
        from pg_temp._ml_gram_cell
        where person_no between v_first and v_first + v_chunk - 1
        group by item_no
      ) as cell using (item_no)
      order by item.item_no
    );
    v_sums.gram := case
      when v_first = 1 then v_part
      else array(
        select case when part.b is null then part.a when part.a is null then part.b else part.a + part.b end
        from (select unnest(v_sums.gram) as a, unnest(v_part) as b offset 0) as part
      )
    end;
    v_first := v_first + v_chunk;
  end loop;

  select array_agg(item::text order by item_no), array_agg(person_count order by item_no)
  into v_sums.items, v_sums.person_counts
  from pg_temp._ml_gram_item;
  drop table pg_temp._ml_gram_cell, pg_temp._ml_gram_pair, pg_temp._ml_gram_item;
  return v_sums;
end;
$$;

comment on function ml._ease_gram(regclass, text, text, text, float8, int) is $$
XᵀX of a table of interactions, and the items that its rows and columns are.
Each person counts with the factor n ^ -`person_exponent`, n the number of items of the person, divided by its mean.
Columns and weight have been read and quoted already; weight null: each pair counts 1.
$$;

create or replace function ml.ease_gram(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null
)
returns ml.ease_sums
language plpgsql
volatile
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_person constant text := common.column_name(v_relation, person_column, 'person column');
  v_item constant text := common.column_name(v_relation, item_column, 'item column');
begin
  return ml._ease_gram(
    v_relation,
    case when ml._sortable(v_relation, v_person) then v_person else v_person || '::text' end,
    case when ml._sortable(v_relation, v_item) then v_item else v_item || '::text' end,
    case when weight_column is not null then common.numeric_expression(weight_column, v_relation, 'weight column') end
  );
end;
$$;

comment on function ml.ease_gram(text, text, text, text) is $$
@behavior -*
The sums that EASE is trained from: XᵀX of a table of interactions, and the items that its rows and columns are.
The part of a training that reads the table. Several ridges are tried on one reading: `ml.ease_inverse(gram, lambda)`,
then `ml.ease_weights`.
Columns and weights are those of `ml.ease_train`.
Errors: CF001 (weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable), CF008 (too many items).
$$;

grant execute on function ml._ease_gram(regclass, text, text, text, float8, int), ml.ease_gram(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
