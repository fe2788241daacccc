create or replace function common.companion_table(
  qualified_name text,
  suffix text
)
returns text
language sql
stable
strict
parallel safe
begin atomic
  -- A longer name is invalid, and parse_ident would show the whole of it in its error.
  select format(
    '%I.%I',
    (parse_ident(left(qualified_name, 300)))[1],
    (parse_ident(left(qualified_name, 300)))[2] || suffix
  );
end;

comment on function common.companion_table(text, text) is $$
Returns the quoted name of a companion table: schema.name and a suffix such as `_summary`.
$$;

grant execute on function common.companion_table(text, text) to insights_analyst, insights_admin, insights_worker;
