create or replace function ml.challenge(
  project text,
  version int,
  source_table text,
  label text,
  holdout text default null
)
returns ml.training
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_model ml.model;
  v_relation regclass := common.relation(source_table);
  v_label text;
begin
  if version is null then
    perform common.refuse('CF001', 'the version is null',
      'Give the number of the version that challenges the deployed one.');
  end if;
  v_model := ml._version(project, version);
  v_label := case when v_model.coefficients ? 'classes' then ml._class_label(label, v_relation)
    else common.numeric_expression(label, v_relation, 'label') end;
  if holdout is not null and common.expression_type(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('holdout "%s" is not boolean', left(holdout, 100)),
      'Give a condition that is true for the rows to score.');
  end if;
  return ml._challenge(
    v_model, v_relation, v_label,
    coalesce('coalesce((' || common.expression(holdout, v_relation) || '), false)', 'true'),
    ml._profile(
      format('(select %s from %s)',
        coalesce(nullif(ml._feature_list(ml._document(v_model), v_relation), ''), '1 as one'), v_relation),
          v_model.coefficients),
    v_started_at
  );
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.challenge(text, int, text, text, text) is $$
@behavior -*
Compares a version of a project with the deployed version on the same rows.
Both results are recorded; the version is deployed if it is the first, or better by the project's metric. A version
that is deployed already stays so, and ml.rollback goes back to the one before it; one whose metric is null (labels of
one class, for instance) is not deployed.
For models that were imported or made long ago; ml.train does it by itself. The rows (those for which `holdout` is
true, or all) should be known to neither model. The distribution of the features is kept as what later inputs are
compared with, where the version has none yet.
Errors: CF001, CF002 (project, version, table, a feature), CF004 (no row with a label), CF005.
$$;

grant execute on function ml.challenge(text, int, text, text, text) to insights_admin, insights_worker;
