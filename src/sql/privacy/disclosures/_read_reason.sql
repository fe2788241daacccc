create or replace function privacy._read_reason(reader text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reason constant text := nullif(btrim(current_setting('insights.read_reason', true)), '');
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse(
      'CF005', format('%s logs what it reads, and the transaction is read-only', _read_reason.reader),
      'Call it in a transaction that may write: the record of a person is not read without a log.'
    );
  end if;
  if length(v_reason) > 200 then
    perform common.refuse('CF008', format('insights.read_reason has %s characters', length(v_reason)),
      'It can have at most 200.');
  end if;
  if v_reason is null and (select setting.needs_read_reason from privacy.setting) then
    perform common.refuse(
      'CF005', format('%s is read without a reason', _read_reason.reader),
      'Send the header X-Read-Reason, or set insights.read_reason, such as: advising meeting.'
    );
  end if;
  return v_reason;
end;
$$;

comment on function privacy._read_reason(text) is $$
Returns the reason that the caller gives for a read; null without.
Errors: CF005 in a read-only transaction, and without a reason where `privacy.setting.needs_read_reason` is set; CF008
for a reason of more than 200 characters.
$$;
