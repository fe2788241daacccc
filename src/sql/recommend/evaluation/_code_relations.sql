create or replace function recommend._comparable(
  train regclass,
  train_column text,
  test regclass,
  test_column text
)
returns text
language plpgsql
volatile
as $$
declare
  -- Of the first one, for columns that both have a collation.
  v_collation constant oid := (
    select one.attcollation
    from pg_attribute as one
    join pg_attribute as other on other.attrelid = test and quote_ident(other.attname) = test_column
    where one.attrelid = train
      and quote_ident(one.attname) = train_column
      and one.attcollation <> 0
      and other.attcollation <> 0
  );
  v_suffix text := coalesce(' collate ' || v_collation::regcollation::text, '');
begin
  execute format(
    'select
     from (select distinct source.%1$s%5$s as a from %2$s as source) as one
     join (select distinct source.%3$s%5$s as b from %4$s as source) as other on one.a = other.b
     limit 0',
    train_column, train, test_column, test, v_suffix
  );
  return v_suffix;
exception when undefined_function then
  return '::text' || coalesce(nullif(v_suffix, ''), ' collate "default"');
end;
$$;

comment on function recommend._comparable(regclass, text, regclass, text) is $$
Returns what makes the values of two columns comparable.
This is the collation of the first column, and a cast to text when the values have no equality.
The columns are quoted, and exist.
$$;

create or replace function recommend._code_relations(
  train regclass,
  test regclass,
  person_column name,
  item_column name,
  order_column name
)
returns void
language plpgsql
volatile
as $$
declare
  v_train_person text := common.column_name(train, person_column::text, 'person column');
  v_train_item text := common.column_name(train, item_column::text, 'item column');
  v_test_person text := common.column_name(test, person_column::text, 'person column');
  v_test_item text := common.column_name(test, item_column::text, 'item column');
  v_order constant text := case when order_column is not null then
    'source.' || common.column_name(train, order_column::text, 'order column') end;
  v_orders text[];
  v_place text;
  v_cast text;
begin
  v_cast := recommend._comparable(train, v_train_person, test, v_test_person);
  v_train_person := 'source.' || v_train_person || v_cast;
  v_test_person := 'source.' || v_test_person || v_cast;
  v_cast := recommend._comparable(train, v_train_item, test, v_test_item);
  v_train_item := 'source.' || v_train_item || v_cast;
  v_test_item := 'source.' || v_test_item || v_cast;
  -- Values that can be sorted but have no maximum, such as uuid, are compared by their place among all rows.
  v_orders := case
    when v_order is null then '{0}'
    else array[
      v_order, format('case when %1$s is not null then dense_rank() over (order by %1$s) end', v_order), null
    ]
  end;
  foreach v_place in array v_orders loop
    if v_place is null then
      perform common.refuse('CF001', format('the values of "%s" have no order', order_column),
        'Give a column of numbers, times or other values that can be sorted, or null.');
    end if;
    begin
      execute format(
        'create temporary table _recommend_row on commit drop as
         select person, item, max(place) as place
         from (
           select %1$s as person, %2$s as item, %3$s as place
           from %4$s as source
           where %1$s is not null and %2$s is not null
         ) as given
         group by person, item',
        v_train_person, v_train_item, v_place, train
      );
      exit;
    exception when undefined_function or invalid_table_definition then
      -- Since PostgreSQL 18, the maximum of a composite type is of no type that a table may have.
      null;
    end;
  end loop;

  -- Numbers of items are in the order in which items of equal score are ranked.
  create temporary table _recommend_item on commit drop as
  select item, (row_number() over (order by count(*) desc, item::text collate "C"))::int as item_no
  from pg_temp._recommend_row
  group by item;

  execute format(
    'create temporary table _recommend_person on commit drop as
     select person, (row_number() over (order by person::text collate "C"))::int as person_no
     from (
       select person from pg_temp._recommend_row
       union
       select %1$s from %2$s as source where %1$s is not null and %3$s is not null
     ) as everyone',
    v_test_person, test, v_test_item
  );
  analyze pg_temp._recommend_row, pg_temp._recommend_person, pg_temp._recommend_item;

  create temporary table _recommend_training on commit drop as
  select
    person_no,
    item_no,
    1::real as weight,
    case when v_order is not null then
      (rank() over (partition by person_no order by place nulls first))::int
    end as position
  from pg_temp._recommend_row
  join pg_temp._recommend_person using (person)
  join pg_temp._recommend_item using (item);

  -- An item of the test rows that is not in the training rows is relevant, and in no list.
  execute format(
    'create temporary table _recommend_target on commit drop as
     select person_no, array_agg(item_no) filter (where item_no is not null) as relevant,
       count(*)::int as relevant_count, ''{}''::int[] as left_out
     from (
       select _recommend_person.person_no, _recommend_item.item_no
       from (
         select %1$s as person, %2$s as item
         from %3$s as source
         where %1$s is not null and %2$s is not null
         group by %1$s, %2$s
       ) as hidden
       join pg_temp._recommend_person on _recommend_person.person = hidden.person
       left join pg_temp._recommend_item on _recommend_item.item = hidden.item
     ) as hidden
     where not exists (
       select
       from pg_temp._recommend_training as known
       where known.person_no = hidden.person_no and known.item_no = hidden.item_no
     )
     group by person_no
     order by person_no',
    v_test_person, v_test_item, test
  );
  drop table pg_temp._recommend_row, pg_temp._recommend_person;
  analyze pg_temp._recommend_training, pg_temp._recommend_target;
end;
$$;

comment on function recommend._code_relations(regclass, regclass, name, name, name) is $$
@behavior -*
Numbers the people and items of two relations, and writes them to temporary tables.
`_recommend_training (person_no, item_no, weight, position)`: the pairs of `train`, once each, at their last position;
`_recommend_target (person_no, relevant, relevant_count, left_out)`: the people of `test` with items that they do not
have in `train`; `_recommend_item (item, item_no)`: the items of `train`, numbered from 1 by their number of people, the
greatest first, then by their text in byte order.
Rows with a null person or item do not count. Positions are null without an order column; a null there comes first.
Errors: CF001 (a column without order), CF002 (no such column).
$$;

grant execute on function
  recommend._comparable(regclass, text, regclass, text),
  recommend._code_relations(regclass, regclass, name, name, name)
to insights_analyst, insights_admin, insights_worker;
