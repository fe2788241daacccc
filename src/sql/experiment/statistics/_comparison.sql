create or replace function experiment._comparison(options jsonb, further text[] default '{}')
returns experiment.comparison
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_options constant jsonb := case when coalesce(options, 'null') = 'null' then '{}' else options end;
  v_prior jsonb;
  v_result experiment.comparison;
begin
  perform experiment._refuse_unknown(
    v_options, 'options',
    array['test', 'side', 'difference', 'alpha', 'tuning', 'prior', 'prior_type', 'inverse', 'traffic', 'days', 'users']
    || further
  );
  v_result.test := experiment._word_option(v_options, 'test', 'welch', array['welch', 'sequential', 'bayesian']);
  v_result.side := experiment._word_option(v_options, 'side', 'both', array['both', 'greater', 'less']);
  v_result.difference := experiment._word_option(
    v_options, 'difference', 'relative', array['relative', 'absolute', 'scaled']
  );
  v_result.alpha := experiment._number_option(v_options, 'alpha', 0.05);
  v_result.tuning := experiment._number_option(v_options, 'tuning', 5000);
  v_result.prior_type := experiment._word_option(v_options, 'prior_type', 'relative', array['relative', 'absolute']);
  v_result.is_inverse := experiment._boolean_option(v_options, 'inverse', false);
  v_result.traffic := experiment._number_option(v_options, 'traffic', 1);
  v_result.days := experiment._number_option(v_options, 'days', 1);
  v_result.users := experiment._number_option(v_options, 'users', null::float8);
  v_result.margin := experiment._number_option(v_options, 'margin', null::float8);
  v_result.is_pooled := experiment._boolean_option(v_options, 'pool', false);
  v_prior := case when coalesce(v_options -> 'prior', 'null') = 'null' then '{}' else v_options -> 'prior' end;
  perform experiment._refuse_unknown(v_prior, 'prior', array['mean', 'variance', 'proper']);
  v_result.prior_mean := experiment._number_option(v_prior, 'mean', 0);
  v_result.prior_variance := experiment._number_option(v_prior, 'variance', 1);
  v_result.prior_is_proper := experiment._boolean_option(v_prior, 'proper', false);

  if not (v_result.alpha >= 1e-15 and v_result.alpha < 1) then
    perform common.refuse('CF001', format('alpha is %s', v_result.alpha), 'Give a number below 1, such as 0.05.');
  elsif v_result.test = 'sequential' and v_result.side <> 'both' and v_result.alpha >= 0.5 then
    perform common.refuse('CF001', format('alpha is %s', v_result.alpha),
      'A sequential test of one side has an alpha below 0.5.');
  elsif not v_result.tuning > 0 then
    perform common.refuse('CF001', format('tuning is %s', v_result.tuning), 'Give a number of users, such as 5000.');
  elsif v_result.prior_is_proper and not v_result.prior_variance > 0 then
    perform common.refuse('CF001', format('variance of prior is %s', v_result.prior_variance),
      'Give a number above 0.');
  elsif v_result.margin not between -1 and 1 then
    perform common.refuse('CF001', format('margin is %s', v_result.margin),
      'Give the difference that is accepted, as a share of the control from -1 to 1, such as -0.02.');
  elsif v_result.difference = 'scaled' then
    if not (v_result.traffic > 0 and v_result.traffic <= 1) then
      perform common.refuse('CF001', format('traffic is %s', v_result.traffic),
        'Give the share of the traffic in the experiment, above 0 and at most 1.');
    elsif not v_result.days > 0 then
      perform common.refuse('CF001', format('days is %s', v_result.days),
        'Give the length of the experiment in days, above 0.');
    elsif not coalesce(v_result.users > 0, false) then
      perform common.refuse('CF001', format('users is %s', coalesce(v_result.users::text, 'missing')),
        'A scaled difference needs the number of users of all arms.');
    end if;
  end if;
  return v_result;
end;
$$;

comment on function experiment._comparison(jsonb, text[]) is $$
Returns the options of a comparison, checked and with defaults. `further` names options that only the caller reads.
$$;

grant execute on function experiment._comparison(jsonb, text[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
