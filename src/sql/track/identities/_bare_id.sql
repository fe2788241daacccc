create or replace function track._bare_id(external_id text)
returns text
language sql
immutable
parallel safe
-- Blanks, invisible characters and quotation marks. Nearly all ids are ASCII, which has few of them.
return lower(btrim(
  external_id,
  case octet_length(external_id)
    when length(external_id) then E' \t\n\r\f\v\b\u001c\u001d\u001e\u001f"''`'
    else E' \t\n\r\f\v\b\u001c\u001d\u001e\u001f"''`\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u180e'
      || E'\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f'
      || E'\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069'
      || E'\u2800\u3000\u3164\ufe0f\ufeff\uffa0\u00ab\u00bb\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a'
  end
));

comment on function track._bare_id(text) is $$
Returns an id in lower case, without blanks, invisible characters and quotation marks around it.
$$;
