/*
 * These functions work on the text of a JSON value, so that values of any depth take one pass. A character that is
 * escaped in JSON belongs to neither an address nor a number. It is put between two control characters, which the text
 * of a JSON value cannot contain otherwise, and is put back afterwards.
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
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_files constant text := '(?:png|jpe?g|gif|svg|webp|avif|ico|css|m?js|cjs|json|map|html?|php|aspx?|jsp|pdf|mp[34]'
    '|webm|wav|csv|txt|xml|ya?ml|lock)(?![a-zA-Z0-9\u00a1-\uffff.-])';
begin
  if value !~ '@|%40' then
    return value;
  end if;
  return regexp_replace(
    value,
    -- Not "git@" of repositories.
    '(?<![a-zA-Z0-9_.+''\u00a1-\uffff-])(?!git@)'
      '(?:[a-zA-Z0-9_.+''*\u00a1-\uffff-]|%2[Bb])+'
      '(?:@|%40)'
      '(?:[a-zA-Z0-9\u00a1-\uffff-]+\.)+'
      -- Not names of files such as "icon@2x.png". The assertion takes most of the time, and is needed seldom.
      || case when value ~ ('(?:@|%40)[a-zA-Z0-9.-]*\.' || v_files) then '(?!' || v_files || ')' else '' end
      || '(?:[a-zA-Z\u00a1-\uffff]{2,}|xn--[a-zA-Z0-9-]+)(?![a-zA-Z0-9_\u00a1-\uffff])',
    '[e-mail]', 'g'
  );
end;
$$;

comment on function track._without_emails(text) is $$
Returns the text of a JSON value with `[e-mail]` in place of e-mail addresses.
$$;

create or replace function track._without_phones(value text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_named constant text := '(?:[Pp]hone|[Mm]obile|[Tt]elefon|[Hh]andy|[Ww]hats[Aa]pp|[Cc]ell|[Ff]ax|[Tt]el)';
  v_value text := value;
begin
  -- Each search begins with what it needs at least, because the searches with assertions are slow.
  if v_value !~ '[0-9](?:[^0-9]{0,3}[0-9]){6}' then
    return v_value;
  end if;
  if v_value ~ v_named then
    -- The whole value of a field that is named a phone number; a number after such a word.
    v_value := regexp_replace(
      v_value,
      '("[^"\x01]*' || v_named || '(?:_?[Nn](?:umber|r|o))?": )'
        '(?:"[(+]?[0-9](?:[-. ()/]{0,2}[0-9]){6,14}"|[0-9]{7,15}(?=[],}]))',
      '\1"[phone]"', 'g'
    );
    v_value := regexp_replace(
      v_value,
      '(' || v_named || '(?:[ _]?[Nn](?:umber|r|o))?[.:= ]{1,3})[0-9]{7,15}(?![a-zA-Z0-9_])',
      '\1[phone]', 'g'
    );
  end if;
  if v_value ~ '(?:\+|%2[Bb])\(?[1-9]' then
    -- E.164. Not signed numbers with a point or with points between the thousands.
    v_value := regexp_replace(
      v_value,
      '(?<![a-zA-Z0-9_+])(?:\+|%2[Bb])'
        '(?![0-9]{1,3}(?:\.[0-9]{3})+(?![0-9.]))(?![0-9]+\.[0-9]+(?![-. ()/]?[0-9]))'
        '\(?[1-9](?:[-. ()/\u00a0\u202f]{0,2}[0-9]){7,14}(?![0-9])(?![a-zA-Z0-9_])(?![-. ][0-9])',
      '[phone]', 'g'
    );
  end if;
  if v_value ~ '[2-9][0-9][0-9]\)?[-. \u00a0]?[2-9][0-9][0-9][-. \u00a0][0-9]{4}' then
    -- The North American format.
    v_value := regexp_replace(
      v_value,
      '(?<![a-zA-Z0-9_.,:/+-])(?<![0-9] )'
        '(?:1[-. ])?(?:\([2-9][0-9]{2}\)[-. ]?|[2-9][0-9]{2}[-. \u00a0])[2-9][0-9]{2}[-. \u00a0][0-9]{4}'
        '(?![a-zA-Z0-9_])(?![-. ][0-9])',
      '[phone]', 'g'
    );
  end if;
  if v_value ~ '[^-.0-9]\(?0[0-9]{1,5}\)?[-/. \u00a0\u202f]{1,2}\(?[0-9]' then
    -- National formats with the trunk prefix 0, in groups, and international ones with 00. Not dates, postal codes of
    -- the United States, and numbers that are part of others.
    v_value := regexp_replace(
      v_value,
      '(?<![a-zA-Z0-9_.,:/+-])(?<![0-9] )(?:'
        '00[1-9][0-9]{0,2}[-. /](?:\(0\) ?)?\(?[1-9](?:[-. ()/\u00a0\u202f]{0,2}[0-9]){6,12}'
        '|0[1-9](?:\.[0-9]{2}){4}'
        '|(?!0[0-9][-/ ][01]?[0-9][-/ ](?:19|20)[0-9]{2}(?![0-9]))(?!0[0-9]{4}-[0-9]{4}(?![0-9]))'
          '(?=\(?0(?:[-/ ()\u00a0\u202f]{0,2}[0-9]){8,11}(?![-/ ()]{0,2}[0-9]))'
          '(?:\(0[1-9][0-9]{0,4}\)|0[1-9][0-9]{0,4})[-/ \u00a0\u202f]{1,2}[0-9]{2,}(?:[- \u00a0\u202f][0-9]{2,})*'
      ')(?![a-zA-Z0-9_])(?![-. ][0-9])',
      '[phone]', 'g'
    );
  end if;
  return v_value;
end;
$$;

comment on function track._without_phones(text) is $$
Returns the text of a JSON value with `[phone]` in place of phone numbers.
Those are numbers with a country code, in groups of a national format, or after the name of a phone number. Digits alone
are not distinguished from ids.
$$;
