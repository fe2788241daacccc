create or replace function ml._xgboost_link(objective text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if objective in ('binary:logistic', 'reg:logistic') then
    return 'logit';
  elsif objective in ('count:poisson', 'reg:gamma', 'reg:tweedie', 'survival:cox', 'survival:aft') then
    return 'log';
  elsif objective in ('multi:softprob', 'multi:softmax') then
    return 'softmax';
  elsif objective in (
    'reg:squarederror', 'reg:linear', 'reg:pseudohubererror', 'reg:absoluteerror', 'reg:squaredlogerror',
    'reg:quantileerror', 'binary:logitraw'
  ) or objective like 'rank:%' then
    return 'identity';
  end if;
  perform common.refuse(
    'CF009',
    format('the objective "%s" is not known here', coalesce(left(objective, 100), 'null')),
    'There are reg:squarederror, reg:absoluteerror, reg:pseudohubererror, reg:squaredlogerror, '
      || 'reg:quantileerror, reg:logistic, binary:logistic, binary:logitraw, multi:softprob, multi:softmax, '
      || 'count:poisson, reg:gamma, reg:tweedie, survival:cox, survival:aft and rank:….'
  );
end;
$$;

comment on function ml._xgboost_link(text) is $$
The link of an objective of XGBoost: logit, log, softmax or identity. Error CF009.
$$;

grant execute on function ml._xgboost_link(text) to insights_admin, insights_worker;
