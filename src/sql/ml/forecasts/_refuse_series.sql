create or replace function ml._refuse_series(
  failure text,
  relation text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case when failure ~ 'too few' then 'CF004' when failure ~ 'constant|cancel' then 'CF007' else 'CF001' end,
    format('"%s" has no model: %s', left(relation, 100), left(failure, 100)),
    case
      when failure ~ 'several rows' then 'Sum or average them first, or name grouping columns.'
      when failure ~ 'NaN' then 'Use null for a missing value.'
      when failure ~ 'too few' then 'Give a longer series, a shorter cycle or lower orders.'
      when failure ~ 'constant' then 'A constant series needs no model: its forecast is its value.'
      when failure ~ 'a gap' then 'Use method => ''ml'', or ml.ets_train; both accept gaps.'
      else 'Rescale or transform the values.'
    end
  );
end;
$$;

comment on function ml._refuse_series(text, text) is $$
Raises the reason why a series has no model as an error.
It is CF004 (too few values), CF007 (constant) or CF001 (not a series, a gap, values out of range).
$$;

grant execute on function ml._read_series(regclass, text, text, text[]), ml._refuse_series(text, text)
to insights_analyst, insights_admin, insights_worker;
