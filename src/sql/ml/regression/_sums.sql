create or replace function ml._sums(
  statement text,
  relation regclass,
  checked boolean default false
)
returns table (key text, complete boolean, row_count bigint, sums float8[])
language plpgsql
set jit to off
set extra_float_digits to 1
as $$
declare
  v_cursor refcursor;
  v_state text;
  v_message text;
begin
  -- A cursor accepts one statement only, and opening it executes nothing. The statement itself is run by execute, since
  -- a cursor does not allow a parallel plan.
  if not checked then
    open v_cursor no scroll for execute statement;
    close v_cursor;
  end if;
  return query execute statement;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, relation);
end;
$$;

comment on function ml._sums(text, regclass, boolean) is $$
Runs one generated statement of sums with the caller's rights and returns its rows.
In parallel, if the planner chooses so. `checked`: the same expressions were in a statement before, so that they need
not be planned twice.
Just-in-time compilation is off: for a hundred small aggregates it costs more than it saves.
$$;

grant execute on function ml._sums(text, regclass, boolean) to insights_analyst, insights_admin, insights_worker;
