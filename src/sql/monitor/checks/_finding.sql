create or replace function monitor._finding(
  health_check text,
  subject text,
  severity text,
  message text,
  fix text,
  value float8 default null,
  threshold float8 default null
)
returns monitor.finding
language sql
immutable
parallel safe
begin atomic
  select row(health_check, subject, severity, message, fix, value, threshold)::monitor.finding;
end;

comment on function monitor._finding(text, text, text, text, text, float8, float8) is $$
Returns a finding with these fields.
$$;

create or replace function monitor._duration(given interval)
returns text
language sql
stable
parallel safe
begin atomic
  select case
    when given is null then 'an unknown time'
    when given >= interval '2 days' then format('%s days', floor(extract(epoch from given) / 86400))
    when given >= interval '2 hours' then format('%s hours', floor(extract(epoch from given) / 3600))
    when given >= interval '2 minutes' then format('%s minutes', floor(extract(epoch from given) / 60))
    else format('%s seconds', floor(extract(epoch from given)))
  end;
end;

comment on function monitor._duration(interval) is $$
Returns a duration in words, such as `3 hours`, in the largest unit of which it has at least two.
$$;
