/*
 * One shape for every measure of predictions: read the names, look at the data once, then one generated statement. In
 * the statement `data` holds the rows with both values (_prediction, _observed) and the grouping columns; {groups}
 * stands for the grouping columns each followed by a comma, {by} for `group by` them, {partition} for `partition by`.
 */
create or replace function ml._assess(
  table_in text,
  table_out text,
  prediction_col text,
  observed_col text,
  grouping_cols text,
  kind text,
  statement text
)
returns void
language plpgsql
as $$
declare
  v_relation regclass := common.relation(table_in);
  v_output text := common.output_table(table_out);
  v_prediction text := common.numeric_expression(prediction_col, v_relation, 'prediction column');
  v_observed text := common.numeric_expression(observed_col, v_relation, 'observed column');
  v_groups text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_group_list text;
  v_seen record;
begin
  v_group_list := array_to_string(v_groups, ', ');
  execute format(
    $query$
    select
      count(*) as row_count,
      count(*) filter (where prediction = 'NaN' or abs(prediction) = 'Infinity' or observed = 'NaN'
        or abs(observed) = 'Infinity') as non_finite,
      min(prediction) as least_prediction, max(prediction) as greatest_prediction,
      min(observed) as least_observed, max(observed) as greatest_observed,
      min(observed) filter (where observed not in (0, 1)) as no_class
    from (select %s as prediction, %s as observed from %s) as pair
    where prediction is not null
      and observed is not null
    $query$,
    v_prediction, v_observed, v_relation
  ) into v_seen;
  if v_seen.row_count = 0 then
    perform common.refuse(
      'CF004',
      format(
        '"%s" has no row with both "%s" and "%s"',
        v_relation,
        left(prediction_col, 100),
        left(observed_col, 100)
      ),
      'A measure needs at least one prediction with its observed value.'
    );
  end if;
  if v_seen.non_finite > 0 then
    perform common.refuse(
      'CF001',
      format(
        '%s rows of "%s" have NaN or infinity in "%s" or "%s"',
        v_seen.non_finite,
        v_relation,
        left(prediction_col, 100),
        left(observed_col, 100)
      ),
      'Only finite numbers can be compared; make the others null to leave them out.'
    );
  end if;
  if kind in ('score', 'probability') then
    if v_seen.no_class is not null then
      perform common.refuse(
        'CF001',
        format('"%s" holds %s, a class is 0 or 1', left(observed_col, 100), v_seen.no_class),
        'Give the observed class as boolean or as 0 and 1.'
      );
    end if;
  end if;
  if kind = 'score' and v_groups = '{}' and v_seen.least_observed = v_seen.greatest_observed then
    perform common.refuse(
      'CF004',
      format('"%s" holds one class only, %s', left(observed_col, 100), v_seen.least_observed),
      'This measure compares positive with negative rows and needs both.'
    );
  end if;
  if kind = 'probability' and (v_seen.least_prediction < 0 or v_seen.greatest_prediction > 1) then
    perform common.refuse(
      'CF001',
      format(
        '"%s" holds %s, a probability is in 0..1',
        left(prediction_col, 100),
        case when v_seen.least_prediction < 0 then v_seen.least_prediction else v_seen.greatest_prediction end
      ),
      'Give predicted probabilities of class 1.'
    );
  end if;
  perform ml._create_table(format(
    'create table %s as with data as not materialized (select %s%s as _prediction, %s as _observed from %s
        where %s is not null and %s is not null) ',
    v_output, case when v_groups = '{}' then '' else v_group_list || ', ' end, v_prediction, v_observed, v_relation,
    v_prediction, v_observed)
  || replace(replace(replace(statement,
    '{groups}', case when v_groups = '{}' then '' else v_group_list || ', ' end),
    '{by}', case when v_groups = '{}' then '' else 'group by ' || v_group_list end),
    '{partition}', case when v_groups = '{}' then '' else 'partition by ' || v_group_list end));
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml._assess(text, text, text, text, text, text, text) is $$
Checks the input of a measure and writes its output table.
`kind` is `number`, `score` (classes 0 and 1) or `probability`.
Errors: CF001 (not a number, class or probability; non-finite), CF002, CF003, CF004 (no rows, one class), CF005.
$$;

grant execute on function ml._assess(text, text, text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
