create or replace function ml.confusion_matrix(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(table_in);
  v_output text := common.output_table(table_out);
  v_prediction text := common.expression(prediction_col, v_relation);
  v_observed text := common.expression(observed_col, v_relation);
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ');
  v_classes bigint;
begin
  perform common.expression_type(prediction_col, v_relation, 'prediction column');
  perform common.expression_type(observed_col, v_relation, 'observed column');
  execute format(
    'select count(distinct class) from (select (%s)::text from %s union all select (%s)::text from %s) as seen (class)',
    v_prediction, v_relation, v_observed, v_relation
  ) into v_classes;
  if v_classes = 0 then
    perform common.refuse(
      'CF004',
      format('"%s" has no class in "%s" or "%s"', v_relation, left(prediction_col, 100), left(observed_col, 100)),
      'A confusion matrix needs rows.'
    );
  elsif v_classes > 1000 then
    perform common.refuse('CF008', format('%s classes', v_classes),
      'A confusion matrix of more than 1000 classes is not made; is a column continuous?');
  end if;
  perform ml._create_table(format(
    $query$
    create table %1$s as
    with tally as (
      select %2$s (%3$s)::text as _predicted, (%4$s)::text as _observed, count(*) as _row_count
      from %5$s
      where (%3$s) is not null
        and (%4$s) is not null
      group by %2$s (%3$s)::text, (%4$s)::text
    ), class as (
      -- Numbers in the order of numbers, names in that of names.
      select class,
        row_number() over (order by case when class ~ '^-?[0-9]{1,18}$' then class::bigint end, class collate "C")
          as row_id
      from (select _predicted from tally union select _observed from tally) as seen (class)
    ), place as (
      select distinct %6$s
      from tally
    )
    select %7$s observed.row_id, observed.class,
      array_agg(coalesce(tally._row_count, 0) order by predicted.row_id) as confusion_arr
    from place
    cross join class as observed
    cross join class as predicted
    left join tally on tally._observed = observed.class and tally._predicted = predicted.class %8$s
    group by %7$s observed.row_id, observed.class
    order by %7$s observed.row_id
    $query$,
    v_output,
    v_group_list || case when v_groups = '{}' then '' else ',' end,
    v_prediction, v_observed, v_relation,
    case when v_groups = '{}' then 'true as everything' else v_group_list end,
    (select coalesce(string_agg(format('place.%s, ', name), '' order by position), '')
      from unnest(v_groups) with ordinality as part (name, position)),
    (select coalesce(string_agg(format(' and tally.%1$s is not distinct from place.%1$s', name), ''
          order by position), '') from unnest(v_groups) with ordinality as part (name, position))
  ));
end;
$$;

comment on function ml.confusion_matrix(text, text, text, text, text) is $$
@behavior -*
How often each observed class was predicted as each class.
Writes `table_out`, one row per class (and group): the grouping columns, `row_id`, `class` (text; the observed one) and
`confusion_arr` (bigint[]: rows predicted as class 1, 2, … in the order of `row_id`, which is that of numbers or
names).
Errors: CF001, CF002, CF003 (`table_out` exists), CF004 (no rows), CF008 (more than 1000 classes).
$$;

grant execute on function ml.confusion_matrix(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
