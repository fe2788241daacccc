create or replace function ml._ease_gram(
  relation regclass,
  person_expression text,
  item_expression text,
  weight_expression text,
  out items text[],
  out gram vector[]
)
language plpgsql
set search_path from current
set extra_float_digits to 1
as $$
declare
  v_source constant text := format(
    $statement$
    select
      source.%2$s as person,
      source.%3$s as item,
      %4$s::real as weight
    from %1$s as source
    where source.%2$s is not null
      and source.%3$s is not null
      %5$s
    group by source.%2$s, source.%3$s
    $statement$,
    relation, person_expression, item_expression,
    coalesce('sum(' || weight_expression || ')', '1'), 'and ' || weight_expression || ' is not null'
  );
  v_item_count bigint;
  v_bad text;
begin
  execute format(
    $statement$
    select count(distinct item), min(weight::text) filter (where weight in ('NaN', 'Infinity', '-Infinity'))
    from (%s) as interaction
    $statement$,
    v_source
  )
  into v_item_count, v_bad;

  if v_item_count = 0 then
    perform common.refuse('CF004', format('%s has no row with a person, an item and a weight', relation),
      'There is nothing to learn from yet.');
  end if;
  if v_bad is not null then
    perform common.refuse('CF001', format('%s has the weight %s', relation, left(v_bad, 100)),
      'Weights are finite numbers, 1 for "was here".');
  end if;
  perform ml._fits_vector(v_item_count, 'items');

  /*
   * A row of XᵀX is the sum of the vectors of those who have the item, so it costs as many additions as there are
   * interactions, and any number of people will do. Rows of one weight are summed before they are multiplied by it.
   */
  execute format(
    $statement$
    with interaction as materialized (%1$s),

    item as materialized (
      select item, row_number() over (order by item)::int as n
      from interaction
      group by item
    ),

    person as materialized (
      select interaction.person, format('{%%s}/%2$s', string_agg(item.n || ':' || interaction.weight, ','))::sparsevec::vector as v
      from interaction
      join item using (item)
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

    select array_agg(item.item::text order by item.n), array_agg(gram.v order by item.n)
    from gram
    join item using (item)
    $statement$,
    v_source, v_item_count
  )
  into items, gram;
end;
$$;

comment on function ml._ease_gram(regclass, text, text, text) is $$
XᵀX of a table of interactions, and the items that its rows and columns are. Columns and weight have been read and quoted already; weight null: each pair counts 1.
$$;

create or replace function ml._ease_inverse(
  gram vector[],
  lambda float8
)
returns vector[]
language sql
immutable
parallel safe
begin atomic
  select ml.inverse(
    array_agg(
      row_.v + format('{%s:%s}/%s', row_.n, lambda::numeric, cardinality(_ease_inverse.gram))::sparsevec::vector
      order by row_.n
    )
  )
  from unnest(_ease_inverse.gram) with ordinality as row_ (v, n);
end;

comment on function ml._ease_inverse(vector[], float8) is $$
(XᵀX + λI)⁻¹ from XᵀX.
$$;

create or replace function ml._ease_rows(
  items text[],
  inverse vector[]
)
returns setof ml.ease_row
language sql
immutable
parallel safe
begin atomic
  select entry.n::int, entry.item, entry.weights, entry.inverse
  from rows from (
    unnest(_ease_rows.items), unnest(ml.ease_weights(_ease_rows.inverse)), unnest(_ease_rows.inverse)
  ) with ordinality as entry (item, weights, inverse, n);
end;

comment on function ml._ease_rows(text[], vector[]) is $$
The rows of an EASE model from its items and its inverse.
$$;

create or replace function ml.ease_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  lambda float8 default 500
)
returns setof ml.ease_row
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_gram record;
begin
  if lambda is null or not (lambda > 0 and lambda < 'infinity') then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda::text, 'null')),
      'It is a positive number: 100 to 1000 where items have hundreds of people each, less where they have fewer.');
  end if;
  select * into v_gram
  from ml._ease_gram(
    v_relation,
    common.column_name(v_relation, person_column, 'person column'),
    common.column_name(v_relation, item_column, 'item column'),
    case when weight_column is not null then common.numeric_expression(weight_column, v_relation, 'weight column') end
  );
  return query
  select *
  from ml._ease_rows(v_gram.items, ml._ease_inverse(v_gram.gram, lambda));
end;
$$;

comment on function ml.ease_train(text, text, text, text, float8) is $$
Trains the EASE recommender on a table of interactions and returns a row for each item, in the order of `item_column`: `item_no`, `item`, `weights` and `inverse`.
`weights` is a row of B = I - P·diag(P)⁻¹, P = (XᵀX + λI)⁻¹; `inverse` the row of P, which `ml.rank_one_update` keeps current.
A learner's scores for all items are the sum of the `weights` of the learner's items (times the weight of each, where there are weights).
`weight_column` is a column or an expression over the columns; without one each pair of person and item counts 1, however often it comes; with one the weights of a pair are added.
`lambda` holds the weights small: the more people an item has, the larger. At most 16,000 items; some 5 s for 1,700 items and 100,000 interactions.
Errors: CF001 (lambda, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable), CF008 (too many items).
Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
$$;

grant execute on function
  ml._ease_gram(regclass, text, text, text),
  ml._ease_inverse(vector[], float8),
  ml._ease_rows(text[], vector[]),
  ml.ease_train(text, text, text, text, float8)
to insights_analyst, insights_admin, insights_worker;
