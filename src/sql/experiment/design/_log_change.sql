create or replace function experiment._log_change(subject text, key text, action text, before jsonb, after jsonb)
returns void
language sql
volatile
begin atomic
  insert into experiment.change (subject, key, action, actor, before, after)
  values (
    _log_change.subject, _log_change.key, _log_change.action, common.author(), _log_change.before, _log_change.after
  );
end;

comment on function experiment._log_change(text, text, text, jsonb, jsonb) is $$
@behavior -*
Adds a change by the caller to the history.
$$;
