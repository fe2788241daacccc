create or replace function experiment._check_variance(
  statistic experiment.statistic,
  estimate experiment.estimate,
  place text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_least float8;
begin
  if statistic.n < 2 then
    perform common.refuse('CF004', format('%s has %s user%s', place, statistic.n,
      case when statistic.n = 1 then '' else 's' end), 'Compare arms of at least 2 users.');
  end if;
  if statistic.type = 'quantile' then
    -- below, an end of the 95 % interval is beyond all observations
    v_least := ml.normal_quantile(0.975) ^ 2
      * greatest(statistic.level / (1 - statistic.level), (1 - statistic.level) / statistic.level);
    if estimate.n <= v_least then
      perform common.refuse('CF004',
        format('n of %s is %s, for the quantile %s', place, statistic.n, statistic.level),
        format('Wait for more than %s.', ceil(v_least)));
    end if;
  end if;
  if not estimate.variance > 0 then
    perform common.refuse('CF007', format('the variance of %s is 0', place),
      'Wait for outcomes that differ from each other.');
  end if;
end;
$$;

comment on function experiment._check_variance(experiment.statistic, experiment.estimate, text) is $$
Raises CF004 or CF007 unless an arm has users and a variance.
$$;

grant execute on function experiment._check_variance(experiment.statistic, experiment.estimate, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
