create or replace function ml._ease_gram(
  relation regclass,
  person_expression text,
  item_expression text,
  weight_expression text,
  person_exponent float8 default 0
)
returns ml.ease_sums
language plpgsql
set search_path from current
set extra_float_digits to 1
set max_parallel_workers_per_gather to 0 -- sums in single precision would differ from one run to the next
set jit to off
as $$
declare
  v_source constant text := format(
    $statement$
    select
      source.%2$s as person,
      source.%3$s as item,
      ml._weight(%4$s) as weight
    from %1$s as source
    where source.%2$s is not null
      and source.%3$s is not null
      %5$s
    group by source.%2$s, source.%3$s
    %6$s
    $statement$,
    relation, person_expression, item_expression,
    coalesce('sum(' || weight_expression || ' order by ' || weight_expression || ')', '1'),
    'and ' || weight_expression || ' is not null',
    -- so that the result does not depend on the order in which the rows were stored; whole numbers are exact anyway
    'order by source.' || person_expression || ', source.' || item_expression || left(weight_expression, 0)
  );
  v_item_count bigint;
  v_sums ml.ease_sums;
  v_least real;
  v_greatest real;
begin
  execute format(
    $statement$
    select count(distinct item), min(weight), max(weight)
    from (%s) as interaction
    $statement$,
    v_source
  )
  into v_item_count, v_least, v_greatest;

  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person, an item and a weight', relation),
      'There is nothing to learn from yet.');
  end if;
  perform ml._check_weight(relation, v_least, v_greatest);
  if v_item_count > 16000 then
    perform common.refuse('CF008', format('%s items are too many', v_item_count),
      'EASE and EDLAE hold at most 16000. ml.sequence_train, ml.item_knn_train and ml.content_train hold any number.');
  end if;

  /*
   * A row of XᵀX is the sum of the vectors of those who have the item, so it costs as many additions as there are
   * interactions, and any number of people will do. Rows of one weight are summed before they are multiplied by it.
   */
  execute format(
    $statement$
    with interaction as materialized (%1$s),

    item as materialized (
      select item, row_number() over (order by item)::int as n, count(*)::int as person_count
      from interaction
      group by item
    ),

    -- The mean of the factors of the people is 1, so that a ridge means the same with each exponent.
    factor as materialized (
      select person, (count(*)::float8 ^ -$1 / avg(count(*)::float8 ^ -$1) over ()) as value
      from interaction
      group by person
    ),

    person as materialized (
      select interaction.person,
        format(
          '{%%s}/%2$s', string_agg(item.n || ':' || (interaction.weight * factor.value)::real, ',')
        )::sparsevec::vector as v
      from interaction
      join item using (item)
      join factor using (person)
      group by interaction.person
    ),

    part as (
      select interaction.item, interaction.weight, sum(person.v) as v
      from interaction
      join person using (person)
      group by interaction.item, interaction.weight
    ),

    gram as (
      select item, sum(case when weight = 1 then v else v * array_fill(weight, array[%2$s])::vector end) as v
      from part
      group by item
    )

    select
      array_agg(item.item::text order by item.n),
      array_agg(gram.v order by item.n),
      array_agg(item.person_count order by item.n)
    from gram
    join item using (item)
    $statement$,
    v_source, v_item_count
  )
  using person_exponent
  into v_sums.items, v_sums.gram, v_sums.person_counts;
  return v_sums;
end;
$$;

comment on function ml._ease_gram(regclass, text, text, text, float8) is $$
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

grant execute on function
  ml._ease_gram(regclass, text, text, text, float8),
  ml.ease_gram(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
