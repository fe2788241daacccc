create or replace function common.without_values(message text)
returns text
language sql
immutable
strict
parallel safe
begin atomic
  select left(regexp_replace(message, '"[^"]*("|$)', '"…"', 'g'), 100);
end;

comment on function common.without_values(text) is $$
Returns an error message without what it quotes, at most 100 characters, for logs and for tables that operators read.
PostgreSQL puts values that are not valid in quotation marks: they may be data of a person. An open quotation mark, as
of a message that was cut off, hides the rest. Null for null.
$$;

grant execute on function common.without_values(text) to insights_admin, insights_worker;
