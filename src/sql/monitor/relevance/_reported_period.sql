create or replace function monitor._reported_period(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns tstzrange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  perform common.check_period(_reported_period.since, _reported_period.until);
  if not exists (select from track.item where item.kind = _reported_period.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(_reported_period.kind, 100), 'null')),
      coalesce(
        (
          select 'There are ' || string_agg(known.kind, ', ' order by known.kind) || '.'
          from (select distinct item.kind from track.item order by item.kind limit 20) as known
        ),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;
  return case
    when _reported_period.smallest_group is null
      then tstzrange(_reported_period.since, _reported_period.until)
    else monitor._whole_weeks(_reported_period.since, _reported_period.until)
  end;
end;
$$;

comment on function monitor._reported_period(timestamptz, timestamptz, text, int) is $$
@behavior -*
Checks the period and the kind of a report, and returns the period; for analysts, the whole weeks that it touches.
$$;

grant execute on function monitor._reported_period(timestamptz, timestamptz, text, int) to insights_reader;
