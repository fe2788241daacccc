create or replace function common.expression_columns(expression text, relation regclass)
returns text[]
language sql
stable
begin atomic
  select case
    when expression is null then '{}'::text[]
    when common.expression(expression, relation) ~ '^"'
      and btrim(expression, E' \t\r\n') = any (common.columns(relation))
      then array[btrim(expression, E' \t\r\n')]
    else array(
      select name
      from unnest(common.columns(relation)) with ordinality as stored (name, position)
      where exists (
        select
        -- Strings are passed over; names of functions and types are not columns.
        from regexp_matches(
          left(expression, 200000),
          '''(?:[^'']|'''')*''|(::\s*)?'
            || '("(?:[^"]|"")+"|[[:alpha:]_\u0080-\uffff][[:alnum:]_$\u0080-\uffff]*)(\s*[\(''])?',
          'g'
        ) as token
        where token[1] is null
          and token[3] is null
          and name = case when token[2] like '"%' then replace(substr(token[2], 2, length(token[2]) - 2), '""', '"')
            else lower(token[2]) end
      )
      order by position
    )
  end;
end;

comment on function common.expression_columns(text, regclass) is $$
Returns the columns of a relation that an expression names, as stored.
Names are compared without parsing the expression: a name that the expression uses for something else, such as a
keyword, may be among them, and a column that it uses is.
$$;

grant execute on function common.expression_columns(text, regclass)
to insights_analyst, insights_admin, insights_worker;
