create or replace function experiment.define_experiment(definition jsonb)
returns experiment.experiment
language plpgsql
volatile
-- A definer: it writes the experiments and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_definition jsonb;
  v_before experiment.experiment;
  v_experiment experiment.experiment;
  v_former jsonb;
  v_changed text;
begin
  perform experiment._begin_change();
  v_definition := experiment._read_definition(define_experiment.definition);
  select * into v_before from experiment.experiment as known where known.experiment_key = v_definition ->> 'key';
  if v_before.experiment_id is not null then
    v_former := experiment.definition(v_before.experiment_key);
    v_changed := (
      select field.key
      from jsonb_object_keys(v_former || v_definition) as field (key)
      where v_former -> field.key is distinct from v_definition -> field.key
        -- Those of a bandit follow its results.
        and not (field.key = 'weights' and v_former ? 'bandit' and v_before.state <> 'draft')
      order by field.key = 'variations' desc, field.key = 'weights', field.key
      limit 1
    );
    if v_changed is null then
      return v_before;
    elsif v_before.state <> 'draft' then
      perform common.refuse(
        'CF003',
        format(
          'the experiment "%s" is %s, and its field "%s" differs', v_before.experiment_key, v_before.state, v_changed
        ),
        case
          when v_changed in ('weights', 'coverage') and v_before.state = 'running'
            then 'Use experiment.change_weights.'
          when v_changed = 'variations'
            then 'Variations cannot be added, removed or changed after the start: define another experiment.'
          else 'The plan is fixed when an experiment starts: define another experiment.'
        end
      );
    end if;
  end if;

  perform experiment._check_definition(v_definition);
  -- Sets of people are named after experiments, with "_" for "-".
  v_changed := (
    select min(known.experiment_key)
    from experiment.experiment as known
    where replace(known.experiment_key, '-', '_') = replace(v_definition ->> 'key', '-', '_')
      and known.experiment_key <> v_definition ->> 'key'
  );
  if v_changed is not null then
    perform common.refuse('CF003', format('there is an experiment "%s"', v_changed),
      'Keys that differ in "-" and "_" alone are not distinguished: choose another one.');
  end if;

  v_experiment := experiment._store_definition(v_before.experiment_id, v_definition);
  perform experiment._log_change(
    'experiment', v_experiment.experiment_key, 'defined', v_former, experiment.definition(v_experiment.experiment_key)
  );
  return v_experiment;
end;
$$;

comment on function experiment.define_experiment(jsonb) is $$
Creates an experiment as a draft, or replaces a draft. The same definition again changes nothing.
Fields: `key`, `variations` (objects with `key`, `name` and `value`; the first one is the control) and `goals` (names of
metrics, of which the first decides), and, all optional, `name`, `hypothesis`, `feature` or `placement`, `weights`,
`coverage`, `secondary`, `guardrails` (names, or objects with `metric` and `margin`), `layer` with `layer_from` and
`layer_until`, and the columns of `experiment.experiment`. A bandit is sticky. `experiment.definition` returns
all of them.
Errors: CF001 for an invalid field, CF002 for an unknown name (with the nearest), CF003 for an experiment that has
started, and for a range of a layer that another one has, CF008 for more than 200,000 bytes.
$$;

grant execute on function experiment.define_experiment(jsonb) to insights_admin;
