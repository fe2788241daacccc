create or replace function common.check_count(
  name text,
  value bigint,
  lowest bigint,
  highest bigint
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if value is null or value not between lowest and highest then
    perform common.refuse(
      'CF001',
      format('%s is %s', left(name, 100), coalesce(value::text, 'null')),
      format('Give a number from %s to %s.', lowest, highest)
    );
  end if;
end;
$$;

comment on function common.check_count(text, bigint, bigint, bigint) is $$
Raises CF001 unless the value of the argument `name` is a whole number from `lowest` to `highest`; null is not.
$$;

grant execute on function common.check_count(text, bigint, bigint, bigint)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
