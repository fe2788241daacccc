/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_evaluation(
  models text[] default null,
  protocol text default 'time',
  k int[] default '{10}',
  kind text default 'course',
  seed bigint default 1,
  segments text[] default '{}',
  people int default 1000,
  resamples int default 1000,
  split_at timestamptz default null
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_protocols constant text[] := '{time,leave_last_out,random,one_vs_100}';
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_names text[] := start_evaluation.models;
  v_models recommend.evaluation_model[];
  v_name text;
  v_evaluation recommend.evaluation;
begin
  perform recommend._check_session('evaluate models');
  perform recommend._check(1, start_evaluation.kind);
  if start_evaluation.protocol is null or start_evaluation.protocol <> all (v_protocols) then
    perform common.refuse(
      'CF002',
      format('there is no protocol "%s"', coalesce(left(start_evaluation.protocol, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(start_evaluation.protocol, v_protocols) || '"? ', '')
        || format('The protocols are %s.', array_to_string(v_protocols, ', '))
    );
  elsif start_evaluation.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same results.');
  elsif start_evaluation.split_at is not null
    and (start_evaluation.protocol <> 'time' or not isfinite(start_evaluation.split_at)) then
    perform common.refuse('CF001', format('split_at is %s', start_evaluation.split_at),
      'Give a time with the protocol "time" only.');
  end if;
  perform common.check_count('seed', start_evaluation.seed, -1000000000000000000, 1000000000000000000);
  if start_evaluation.k is null or not cardinality(start_evaluation.k) between 1 and 10
    or array_position(start_evaluation.k, null) is not null
    or (select count(distinct size) from unnest(start_evaluation.k) as size) < cardinality(start_evaluation.k) then
    perform common.refuse('CF001', format('k is %s', coalesce(left(start_evaluation.k::text, 100), 'null')),
      'Give 1 to 10 different lengths of lists, such as {5,10}.');
  end if;
  perform common.check_count('k', size, 1, 1000) from unnest(start_evaluation.k) as size;
  perform common.check_count('people', start_evaluation.people, 1, 100000);
  perform common.check_count('resamples', start_evaluation.resamples, 20, 10000);

  if cardinality(start_evaluation.segments) > 20 then
    perform common.refuse('CF008', format('%s segments', cardinality(start_evaluation.segments)), 'Give at most 20.');
  end if;
  foreach v_name in array coalesce(start_evaluation.segments, '{}') loop
    if not exists (select from track.person_set where person_set.name = v_name) then
      perform common.refuse(
        'CF002',
        format('there is no set of people "%s"', coalesce(left(v_name, 100), 'null')),
        coalesce(
          'Did you mean "'
            || common.nearest_name(v_name, (select array_agg(name order by name) from track.person_set))
            || '"?',
          'track.person_set lists the sets.'
        )
      );
    end if;
  end loop;

  v_names := coalesce(
    v_names,
    array(
      select known.model
      from recommend._candidates() as known
    )
    || 'latest'::text
    || array(select 'deployed' from recommend._deployed_model(start_evaluation.kind))
  );
  perform common.check_count('the number of models', cardinality(v_names), 1, 50);
  if (select count(distinct coalesce(entry, '')) from unnest(v_names) as entry) < cardinality(v_names) then
    perform common.refuse('CF001', format('models is %s', left(v_names::text, 100)), 'Name each model once.');
  end if;
  foreach v_name in array v_names loop
    v_models := v_models || recommend._model_parts(start_evaluation.kind, v_name);
  end loop;

  v_evaluation.kind := start_evaluation.kind;
  v_evaluation.purpose := 'evaluation';
  v_evaluation.protocol := start_evaluation.protocol;
  v_evaluation.k := start_evaluation.k;
  v_evaluation.segments := array(select distinct name from unnest(start_evaluation.segments) as name order by name);
  v_evaluation.seed := start_evaluation.seed;
  v_evaluation.most_people := start_evaluation.people;
  v_evaluation.resamples := start_evaluation.resamples;
  v_evaluation.split_at := start_evaluation.split_at;
  v_evaluation := recommend._start_evaluation(v_evaluation, v_models);
  if v_evaluation.test_people < v_fewest_people then
    perform common.refuse(
      'CF004',
      format(
        'not enough people to evaluate on: %s by protocol "%s"',
        v_evaluation.test_people, v_evaluation.protocol
      ),
      format(
        'At least %s people are needed (recommend.setting.fewest_people) who used an item and took another one %s.',
        v_fewest_people,
        case
          when v_evaluation.split_at is null then 'that was available then'
          else format('from %s on that was available then', v_evaluation.split_at)
        end
      )
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) is $$
Starts an evaluation of recommenders, with the arguments of `recommend.evaluate`, which does all at once.
`recommend.continue_evaluation` does the work in steps, each in a transaction of its own.
The rows that models are trained and tested on are stored now, so that an evaluation that is interrupted continues with
the same results. They are deleted at its end, or when it has not been continued for a week.
Errors: CF001, CF002 (an unknown kind, model, protocol or set of people), CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) to insights_admin, insights_worker;
