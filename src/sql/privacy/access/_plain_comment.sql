create or replace function privacy._plain_comment(comment text)
returns text
language sql
immutable
parallel safe
begin atomic
  select substring(ltrim(regexp_replace(comment, '(^|\n)@[^\n]*', '', 'g'), E' \n') from '^[^\n]*');
end;

comment on function privacy._plain_comment(text) is $$
Returns the first sentence of the comment of an object, without the tags of the API.
$$;
