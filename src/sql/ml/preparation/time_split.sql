create or replace function ml.time_split(
  source_table text,
  output_table text,
  predicted_at text,
  label_known_at text,
  feature_known_at text,
  cut_off timestamptz default null,
  test_proportion float8 default 0.2
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table);
  v_features text[] := coalesce(common.split_expressions(nullif(btrim(feature_known_at), '')), '{}');
  v_predicted_at constant text := common.expression(predicted_at, v_relation);
  v_label_known_at constant text := common.expression(label_known_at, v_relation);
  v_columns text;
  v_expression text;
  v_seen record;
  v_cut timestamptz := cut_off;
  v_counts record;
begin
  foreach v_expression in array array[predicted_at, label_known_at] || v_features loop
    if common.expression_type(v_expression, v_relation, 'time') not
      in ('timestamp with time zone'::regtype, 'timestamp without time zone'::regtype, 'date'::regtype) then
      perform common.refuse('CF001', format('"%s" is not a time', left(v_expression, 100)),
        'Give a column or expression of type timestamptz, timestamp or date.');
    end if;
  end loop;
  if v_features = '{}' then
    perform common.refuse('CF001', 'the time at which the features were known is missing',
      'Give for each feature (or for all) the time of the newest event that it uses, such as ''last_event_at''.');
  elsif 'split' = any (common.columns(v_relation)) then
    perform common.refuse('CF003', format('"%s" has a column "split" already', v_relation), 'Split a view without it.');
  end if;

  foreach v_expression in array v_features loop
    execute format(
      'select source::text as row, (%1$s)::timestamptz as known_at, (%2$s)::timestamptz as predicted_at,
        count(*) over () as leaks
       from %3$s as source where (%1$s)::timestamptz > (%2$s)::timestamptz
         order by (%1$s)::timestamptz - (%2$s)::timestamptz desc limit 1',
      common.expression(v_expression, v_relation), v_predicted_at, v_relation
    ) into v_seen;
    if v_seen.leaks is not null then
      perform common.refuse(
        'CF001',
        format(
          '"%s" leaks: %s rows use what came after the prediction, up to %s for one predicted at %s',
          left(v_expression, 100),
          v_seen.leaks,
          v_seen.known_at,
          v_seen.predicted_at
        ),
        format('Build the feature from events until %s only.', left(predicted_at, 100))
      );
    end if;
  end loop;
  execute format(
    'select count(*) as leaks from %3$s as source where (%1$s)::timestamptz < (%2$s)::timestamptz',
    v_label_known_at, v_predicted_at, v_relation
  ) into v_seen;
  if v_seen.leaks > 0 then
    perform common.refuse('CF001', format('%s rows are predicted after their label was known', v_seen.leaks),
      format('%s must not lie before %s.', left(label_known_at, 100), left(predicted_at, 100)));
  end if;

  if v_cut is null then
    if test_proportion is null or not (test_proportion > 0 and test_proportion < 1) then
      perform common.refuse('CF001', format('test_proportion %s', coalesce(test_proportion::text, 'null')),
        'Choose a share between 0 and 1, or a cut_off.');
    end if;
    execute format('select percentile_disc(%L::float8) within group (order by (%s)::timestamptz) from %s',
      1 - test_proportion, v_predicted_at, v_relation) into v_cut;
  end if;
  v_columns := (select string_agg('source.' || quote_ident(name), ', ' order by position)
    from unnest(common.columns(v_relation)) with ordinality as stored (name, position));
  execute format(
    $query$
    create table %1$s as
    select %2$s, case when (%3$s)::timestamptz >= %5$L::timestamptz then 'test' else 'train' end as split
    from %6$s as source
    where (%3$s)::timestamptz >= %5$L::timestamptz
       or ((%3$s)::timestamptz < %5$L::timestamptz and (%4$s)::timestamptz <= %5$L::timestamptz)
    $query$,
    v_output, v_columns, v_predicted_at, v_label_known_at, v_cut, v_relation
  );
  execute format('select count(*) filter (where split = ''train'') as train,
      count(*) filter (where split = ''test'') as test from %s', v_output) into v_counts;
  if v_counts.train = 0 or v_counts.test = 0 then
    perform common.refuse(
      'CF004',
      format('the cut-off %s leaves %s rows to train on and %s to test on', v_cut, v_counts.train, v_counts.test),
      'Choose a cut-off within the data; a row is trained on only when its label was known by then.'
    );
  end if;
  execute format('comment on table %s is %L', v_output, format('Split of %s at %s.', v_relation, v_cut));
end;
$$;

comment on function ml.time_split(text, text, text, text, text, timestamptz, float8) is $$
@behavior -*
The past to train on, the later to test on: the split for behaviour data, with a guard against leaks from the future.
`predicted_at`: the time of a row's prediction. `label_known_at`: when its outcome is known.
`feature_known_at`: one expression or more, separated by commas, that give the time of the newest event the features
use. A row whose features use anything after `predicted_at` is refused, by name. Rows predicted before the cut-off are
trained on if their label was known by then (the others are left out); rows predicted from the cut-off on are tested
on. Without a `cut_off` the latest `test_proportion` of the rows are tested on.
Writes `output_table`: all columns and `split` (`train` or `test`).
Errors: CF001 (a leak, not a time), CF002, CF003 (`output_table` or a column `split` exists), CF004 (nothing to train
or test on), CF005.
Source: Kaufman and others, Leakage in data mining, ACM TKDD 6, 2012.
$$;

grant execute on function ml.time_split(text, text, text, text, text, timestamptz, float8)
  to insights_analyst, insights_admin, insights_worker;
