create or replace function privacy._commitment_expression(kind text, record text, salt text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select format(
      'sha256(%s || convert_to(jsonb_build_array(%L, %s)::text, ''UTF8''))',
      _commitment_expression.salt,
      sealed.kind,
      string_agg(
        format('%L, %s.%I', content.name, _commitment_expression.record, content.name), ', ' order by content.position
      )
    )
    from privacy.sealed_table as sealed
    cross join lateral unnest(sealed.contents) with ordinality as content (name, position)
    where sealed.kind = _commitment_expression.kind
    group by sealed.kind
  );
end;
$$;

comment on function privacy._commitment_expression(text, text, text) is $$
Returns the SQL expression of the commitment to a record of a kind: SHA-256 of the salt and the contents as JSON.
`record` and `salt` are SQL expressions. The caller that evaluates it pins the settings that change the text of times
(`TimeZone`, `DateStyle`, `IntervalStyle`).
$$;
