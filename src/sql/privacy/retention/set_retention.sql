create or replace function privacy.set_retention(
  data_class text,
  keep interval,
  purpose text default null,
  counted_from text default 'event',
  method text default 'delete',
  keeps_rollups boolean default false
)
returns privacy.retention
language plpgsql
volatile
-- A definer: it writes privacy.retention and its log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_rule privacy.retention;
begin
  perform privacy._check_retention_class(set_retention.data_class);
  if set_retention.purpose is not null then
    perform privacy._check_purpose(set_retention.purpose);
  end if;
  if set_retention.keep between '1 day' and '1000 years' is not true then
    perform common.refuse(
      'CF001', format('keep is %s', coalesce(set_retention.keep::text, 'null')),
      'Give an interval from 1 day to 1000 years, such as 13 months.'
    );
  end if;
  if set_retention.counted_from is null or set_retention.counted_from not in ('event', 'arrival') then
    perform common.refuse(
      'CF001', format('counted_from is "%s"', coalesce(left(set_retention.counted_from, 100), 'null')),
      'Use event (when it happened) or arrival (when it was stored).'
    );
  end if;
  if set_retention.method is null or set_retention.method not in ('delete', 'anonymize') then
    perform common.refuse(
      'CF001', format('method is "%s"', coalesce(left(set_retention.method, 100), 'null')),
      'Use delete or anonymize.'
    );
  end if;
  if set_retention.data_class <> 'events'
    and (
      set_retention.purpose is not null or set_retention.counted_from <> 'event' or set_retention.method <> 'delete'
      or set_retention.keeps_rollups is not false
    )
  then
    perform common.refuse(
      'CF001', format('rows of the class "%s" can only be deleted by their own time', set_retention.data_class),
      'Only events have a purpose, a time of arrival, the method anonymize and sums.'
    );
  end if;
  if set_retention.keeps_rollups is null
    or set_retention.keeps_rollups
    and (
      set_retention.purpose is not null or set_retention.counted_from <> 'event' or set_retention.method <> 'delete'
    )
  then
    perform common.refuse(
      'CF001', format('keeps_rollups is %s', coalesce(set_retention.keeps_rollups::text, 'null')),
      'Sums can stay when all events of a time are deleted by that time: use it without a purpose, with the method '
        || 'delete, counted from the event.'
    );
  end if;

  -- Nothing was applied since the last rule was dropped, or ever: the time of the last run is that of the first rule.
  perform pg_advisory_xact_lock(hashtext('privacy.retention'));
  update privacy.retention_clock
  set applied_at = now()
  where not exists (select from privacy.retention);

  insert into privacy.retention (data_class, purpose, keep, counted_from, method, keeps_rollups)
  values (
    set_retention.data_class, set_retention.purpose, set_retention.keep, set_retention.counted_from,
    set_retention.method, set_retention.keeps_rollups
  )
  on conflict on constraint retention_pkey do update
  set
    keep = excluded.keep, counted_from = excluded.counted_from, method = excluded.method,
    keeps_rollups = excluded.keeps_rollups, set_at = excluded.set_at
  returning * into v_rule;
  insert into privacy.retention_log (rule, action, actor, details)
  values (v_rule.rule, 'set', common.author(), to_jsonb(v_rule) - array['rule', 'set_at']);
  return v_rule;
end;
$$;

comment on function privacy.set_retention(text, interval, text, text, text, boolean) is $$
Sets the time for which data of a class is kept: from then on, the task `apply_retention` deletes older data each day.
`privacy.retention_plan` shows what the next run deletes. With a `purpose`, the rule is for events of this purpose.
The first rule takes the clock of the server as right.
Each rule applies on its own: of two rules for the same events, the shorter time counts.
`counted_from`: `event`, or `arrival` for events. `method`: `anonymize` keeps events without person, identity and
properties. `keeps_rollups`: the sums of whole months stay without people; see `track.setting.sums_kept_before`.
Errors: CF001 for an invalid value or combination, CF002 for an unknown class or purpose.
$$;

grant execute on function privacy.set_retention(text, interval, text, text, text, boolean) to insights_admin;
