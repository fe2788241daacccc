create or replace function ml._caller_error(state text, message text, relation regclass)
returns void
language plpgsql
as $$
declare
  v_name text := coalesce(substring(message from '"([^"]*)"'), substring(message from 'column ([^ ]+) '));
begin
  if state = '42703' then
    perform common.refuse(
      'CF002',
      format('"%s" has no column "%s"', relation, left(v_name, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_name, common.columns(relation)) || '"?',
        format('Its columns are %s.', array_to_string(common.columns(relation), ', '))
      )
    );
  elsif state = '42501' then
    perform common.refuse(
      'CF005',
      format('role "%s" may not read "%s": %s', current_user, relation, left(message, 100)),
      'Ask its owner to grant select.'
    );
  elsif state in ('22003', '22P02') and message ~* 'overflow|underflow|out of range' then
    perform common.refuse(
      'CF007',
      format('the values of "%s" are too large or too small to be squared: %s', relation, left(message, 100)),
      'Use other units, so that the values are between 1e-100 and 1e100.'
    );
  elsif left(state, 2) in ('22', '42', '0A', '54', '34') then
    perform common.refuse(
      'CF001',
      format('the expressions cannot be evaluated over "%s": %s', relation, left(message, 100)),
      'Give columns, or one SQL expression over the columns of one row.'
    );
  end if;
  perform common.refuse(left(state, 5), left(message, 300));
end;
$$;

comment on function ml._caller_error(text, text, regclass) is $$
Raises the error of a statement with a caller's expressions as an error of class CF.
CF002 (unknown column; names the nearest), CF005 (not readable), CF007 (overflow, underflow), CF001 (other errors in
data or syntax).
$$;

grant execute on function ml._caller_error(text, text, regclass) to insights_analyst, insights_admin, insights_worker;
