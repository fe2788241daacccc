/*
 * Works on the text of a JSON value, so that values of any depth take one pass. A character that is escaped in JSON is
 * no part of an address or a number. It is put between two control characters, which the text of a JSON value cannot
 * contain otherwise, and is put back afterwards.
 */
create or replace function track._hide_escapes(value text)
returns text
language sql
immutable
parallel safe
return case
  when strpos(value, '\') > 0
    then regexp_replace(value, '\\(u[0-9a-f]{4}|.)', E'\x01\\1\x02', 'g')
  else value
end;

comment on function track._hide_escapes(text) is $$
Returns the text of a JSON value with its escapes between control characters.
$$;

create or replace function track._show_escapes(value text)
returns text
language sql
immutable
parallel safe
return case
  when strpos(value, E'\x01') > 0
    then regexp_replace(value, E'\x01([^\x02]*)\x02', '\\\1', 'g')
  else value
end;

comment on function track._show_escapes(text) is $$
Reverses `track._hide_escapes`.
$$;

create or replace function track._without_emails(value text)
returns text
language sql
immutable
parallel safe
-- Not names of files such as "icon@2x.png", versions such as "react@18.2.0", and "git@" of repositories.
return case
  when value ~ '@|%40'
    then regexp_replace(
      value,
      '(?<![a-zA-Z0-9_.+''\u00a1-\uffff-])(?!git@)'
        '(?:[a-zA-Z0-9_.+''*\u00a1-\uffff-]|%2[Bb])+'
        '(?:@|%40)'
        '(?:[a-zA-Z0-9\u00a1-\uffff-]+\.)+'
        '(?!(?:png|jpe?g|gif|svg|webp|avif|ico|css|m?js|cjs|json|map|html?|php|aspx?|jsp|pdf|mp[34]|webm|wav|csv|txt|'
        'xml|ya?ml|lock)(?![a-zA-Z0-9\u00a1-\uffff.-]))'
        '(?:[a-zA-Z\u00a1-\uffff]{2,}|xn--[a-zA-Z0-9-]+)(?![a-zA-Z0-9_\u00a1-\uffff])',
      '[e-mail]', 'g'
    )
  else value
end;

comment on function track._without_emails(text) is $$
Returns the text of a JSON value with `[e-mail]` in place of e-mail addresses.
$$;

create or replace function track._without_phones(value text)
returns text
language sql
immutable
parallel safe
-- In order: the whole value of a field that is named a phone number; a number after such a word; E.164, with "+" or
-- "00"; the North American format; national formats with the trunk prefix 0, in groups. Numbers without "+", groups or
-- such a name are not distinguished from ids. Excluded are dates, US postal codes, and signed decimal numbers.
return regexp_replace(
  regexp_replace(
    regexp_replace(
      value,
      '("[^"\x01]*(?:[Pp]hone|[Mm]obile|[Tt]elefon|[Hh]andy|[Ww]hats[Aa]pp|[Cc]ell|[Ff]ax|[Tt]el)'
        '(?:_?[Nn](?:umber|r|o))?": )'
        '(?:"[(+]?[0-9](?:[-. ()/]{0,2}[0-9]){6,14}"|[0-9]{7,15}(?=[],}]))',
      '\1"[phone]"', 'g'
    ),
    '((?:[Pp]hone|[Mm]obile|[Tt]elefon|[Hh]andy|[Ww]hats[Aa]pp|[Cc]ell|\m[Ff]ax|\m[Tt]el)'
      '(?:[ _]?[Nn](?:umber|r|o))?[.:= ]{1,3})'
      '[0-9]{7,15}(?![a-zA-Z0-9_])',
    '\1[phone]', 'g'
  ),
  '(?<![a-zA-Z0-9_+])(?:\+|%2[Bb])(?![0-9]{1,3}(?:\.[0-9]{3})+(?![0-9.]))(?![0-9]+\.[0-9]+(?![-. ()/]?[0-9]))'
    '\(?[1-9](?:[-. ()/\u00a0\u202f]{0,2}[0-9]){7,14}(?![0-9])'
  '|(?<![a-zA-Z0-9_.,:/+-])(?<![0-9] )(?:'
    '00[1-9][0-9]{0,2}[-. /](?:\(0\) ?)?\(?[1-9](?:[-. ()/\u00a0\u202f]{0,2}[0-9]){6,12}'
    '|(?:1[-. ])?(?:\([2-9][0-9]{2}\)[-. ]?|[2-9][0-9]{2}[-. \u00a0])[2-9][0-9]{2}[-. \u00a0][0-9]{4}'
    '|0[1-9](?:\.[0-9]{2}){4}'
    '|(?!0[0-9][-/ ][01]?[0-9][-/ ](?:19|20)[0-9]{2}(?![0-9]))(?!0[0-9]{4}-[0-9]{4}(?![0-9]))'
      '(?=\(?0(?:[-/ ()\u00a0\u202f]{0,2}[0-9]){8,11}(?![-/ ()]{0,2}[0-9]))'
      '\(?0[1-9][0-9]{0,4}\)?[-/ \u00a0\u202f]{1,2}[0-9]{2,}(?:[- \u00a0\u202f][0-9]{2,})*'
  ')(?![a-zA-Z0-9_])(?![-. ][0-9])',
  '[phone]', 'g'
);

comment on function track._without_phones(text) is $$
Returns the text of a JSON value with `[phone]` in place of phone numbers.
$$;
