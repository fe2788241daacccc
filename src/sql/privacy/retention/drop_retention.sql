create or replace function privacy.drop_retention(data_class text, purpose text default null)
returns boolean
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
  perform privacy._check_retention_class(drop_retention.data_class);
  if drop_retention.purpose is not null then
    perform privacy._check_purpose(drop_retention.purpose);
  end if;
  delete from privacy.retention
  where retention.data_class = drop_retention.data_class
    and retention.purpose is not distinct from drop_retention.purpose
  returning * into v_rule;
  if not found then
    return false;
  end if;
  insert into privacy.retention_log (rule, action, actor, details)
  values (v_rule.rule, 'dropped', common.author(), to_jsonb(v_rule) - array['rule', 'set_at']);
  return true;
end;
$$;

comment on function privacy.drop_retention(text, text) is $$
Removes a rule of retention: its data is kept from then on. False when there is no such rule.
Events before `track.setting.oldest_event` are still rejected: set it back to accept them again.
Errors: CF002 for an unknown class or purpose.
$$;

grant execute on function privacy.drop_retention(text, text) to insights_admin;
