/*
 * Stable, not immutable: the planner would evaluate a call with constant arguments and raise the error of a branch that
 * is not executed.
 */
create or replace function common.refuse(
  code text,
  message text,
  hint text default null
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if refuse.hint is null then
    raise exception using errcode = left(refuse.code, 100), message = refuse.message;
  end if;
  raise exception using errcode = left(refuse.code, 100), message = refuse.message, hint = refuse.hint;
end;
$$;

comment on function common.refuse(text, text, text) is $$
Raises an error with a SQLSTATE, a message and a hint.
The SQLSTATE is `CF001` to `CF099`, the message names the invalid value, and the hint states what is valid.
The caller shortens the values in the message to 100 characters.
$$;

grant execute on function common.refuse(text, text, text) to insights_reader, insights_visitor, insights_learner,
  insights_analyst, insights_admin, insights_worker;
