create or replace function ml._code_interactions(
  source_table text,
  person_column text,
  item_column text,
  order_column text,
  weight_column text,
  is_grouped boolean
)
returns void
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_person text := common.column_name(v_relation, person_column, 'person column');
  v_item text := common.column_name(v_relation, item_column, 'item column');
  v_place text := 'null';
  v_time text := 'null';
  v_weight constant text := case
    when weight_column is not null then common.numeric_expression(weight_column, v_relation, 'weight column')
  end;
  v_least real;
  v_greatest real;
begin
  v_person := format(
    case when ml._sortable(v_relation, v_person) then 'source.%s' else 'source.%s::text' end, v_person
  );
  v_item := format(
    case when ml._sortable(v_relation, v_item) then 'source.%s' else 'source.%s::text' end, v_item
  );
  if order_column is not null then
    v_place := common.column_name(v_relation, order_column, 'order column');
    if not ml._sortable(v_relation, v_place) then
      perform common.refuse('CF001', format('the values of the order column "%s" have no order', left(v_place, 100)),
        'Name a column with numbers or times.');
    end if;
    if common.expression_type(v_place, v_relation, 'order column')
      in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
    then
      v_time := 'source.' || v_place;
    end if;
    v_place := 'source.' || v_place;
  end if;

  drop table if exists pg_temp._ml_interaction, pg_temp._ml_item, pg_temp._ml_use;
  execute format(
    $statement$
    create temporary table _ml_use on commit drop as
    select %1$s as person, %2$s as item, ml._weight(%3$s) as weight, %4$s as place, %5$s::timestamptz as used_at
    from %6$s as source
    where %1$s is not null
      and %2$s is not null
      %7$s
      %8$s
    $statement$,
    v_person,
    v_item,
    case
      when is_grouped and v_weight is not null then format('sum(%1$s order by %1$s)', v_weight)
      else coalesce(v_weight, '1')
    end,
    case
      when is_grouped and v_place <> 'null' then format('(array_agg(%1$s order by %1$s desc nulls last))[1]', v_place)
      else v_place
    end,
    case when is_grouped and v_time <> 'null' then format('max(%s)', v_time) else v_time end,
    v_relation,
    'and ' || v_weight || ' is not null',
    case when is_grouped then format('group by %s, %s', v_person, v_item) end
  );
  select min(weight), max(weight) into v_least, v_greatest
  from pg_temp._ml_use;
  if v_least is null then
    perform common.refuse('CF004', format('%s has no row with a person, an item and a weight', v_relation),
      'There is nothing to learn from yet.');
  end if;
  perform ml._check_weight(v_relation, v_least, v_greatest);

  create temporary table _ml_item on commit drop as
  select row_number() over (order by used.item)::int as item_no, used.item, used.item::text as name
  from (select distinct item from pg_temp._ml_use) as used;
  create temporary table _ml_interaction on commit drop as
  select
    dense_rank() over (order by used.person)::int as person_no,
    item.item_no,
    used.weight,
    case
      when used.place is not null then dense_rank() over (partition by used.person order by used.place nulls last)
    end::int as position,
    used.used_at
  from pg_temp._ml_use as used
  join pg_temp._ml_item as item using (item);
  drop table pg_temp._ml_use;
  analyze pg_temp._ml_interaction, pg_temp._ml_item;
end;
$$;

comment on function ml._code_interactions(text, text, text, text, text, boolean) is $$
Creates the temporary tables `_ml_item` (item_no, name) and `_ml_interaction`, the coded interactions of a table.
Items and people are numbered by their own order, or as text where their type has none. Places count the distinct
values of `order_column` of a person. With `is_grouped` a person and an item are one row, with the sum of the weights
and the last place. `used_at` is the value of `order_column` where it is a time.
Errors: CF001 (weights, order column), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function ml._code_interactions(text, text, text, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
