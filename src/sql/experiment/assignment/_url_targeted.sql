create or replace function experiment._percent_encoded(value text, letters text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_encoded constant text := '[^!-~]|[' || _percent_encoded.letters || ']';
begin
  if _percent_encoded.value !~ v_encoded collate "C" then
    return _percent_encoded.value;
  end if;
  return (
    select string_agg(
      case
        when letter.value ~ v_encoded collate "C"
          then upper(regexp_replace(encode(convert_to(letter.value, 'UTF8'), 'hex'), '(..)', '%\1', 'g'))
        else letter.value
      end,
      '' order by letter.number
    )
    from unnest(string_to_array(_percent_encoded.value, null)) with ordinality as letter (value, number)
  );
end;
$$;

comment on function experiment._percent_encoded(text, text) is $$
Returns a part of a URL with blanks, characters outside ASCII and the given letters percent-encoded.
$$;

grant execute on function experiment._percent_encoded(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._form_decoded(value text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_hex text;
begin
  v_hex := encode(convert_to(replace(coalesce(_form_decoded.value, ''), '+', ' '), 'UTF8'), 'hex');
  if v_hex !~ '^(..)*25(3[0-9]|[46][1-6])' then
    return convert_from(decode(v_hex, 'hex'), 'UTF8');
  end if;
  -- Bytes that are not UTF-8 become U+FFFD.
  return (
    select convert_from(decode(string_agg(coalesce(sequence.parts[1], 'efbfbd'), ''), 'hex'), 'UTF8')
    from regexp_matches(
      (
        select string_agg(
          case
            when token.parts[1] is null then token.parts[2]
            else convert_from(decode(token.parts[1], 'hex'), 'UTF8')
          end,
          ''
        )
        from regexp_matches(v_hex, '25((?:3[0-9]|[46][1-6]){2})|(..)', 'g') as token (parts)
      ),
      '(0[1-9a-f]|[1-7].|(?:c[2-9a-f]|d.)[89ab].|(?:e0[ab].|e[1-9a-cef][89ab].|ed[89].)[89ab].'
        '|(?:f0[9ab].|f[123][89ab].|f48.)[89ab].[89ab].)|(..)',
      'gi'
    ) as sequence (parts)
  );
end;
$$;

comment on function experiment._form_decoded(text) is $$
Returns a name or a value of the query of a URL without its encoding.
$$;

grant execute on function experiment._form_decoded(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._query_values(query text)
returns table (name text, value text, number bigint)
language sql
immutable
parallel safe
begin atomic
  select
    experiment._form_decoded(split_part(pair.value, '=', 1)),
    experiment._form_decoded(
      case when strpos(pair.value, '=') > 0 then substr(pair.value, strpos(pair.value, '=') + 1) end
    ),
    pair.number
  from unnest(string_to_array(_query_values.query, '&')) with ordinality as pair (value, number)
  where pair.value <> '';
end;

comment on function experiment._query_values(text) is $$
Returns the names and values of the query of a URL.
$$;

grant execute on function experiment._query_values(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * The parts of the standard that addresses of pages need: http and https, and addresses relative to a host. Other
 * schemes and hosts with characters outside ASCII have no parts, so that nothing targets them. The name and password
 * of a user are left out.
 */
create or replace function experiment._url(
  url text,
  host_of_base text,
  out origin text,
  out host text,
  out pathname text,
  out query text,
  out fragment text
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rest text := regexp_replace(btrim(coalesce(_url.url, ''), E' \t\n\r\f\u000b'), '[\t\n\r]', '', 'g');
  v_scheme text := lower((regexp_match(v_rest, '^([A-Za-z][A-Za-z0-9+.-]*):'))[1] collate "C");
  v_authority text;
  v_port text;
  v_segment text;
  v_segments text[] := '{}';
  v_number int := 0;
begin
  if v_scheme not in ('http', 'https') then
    return;
  end if;
  v_rest := substr(v_rest, coalesce(length(v_scheme) + 2, 1));
  if strpos(v_rest, '#') > 0 then
    _url.fragment := experiment._percent_encoded(substr(v_rest, strpos(v_rest, '#') + 1), '"<>`');
    v_rest := left(v_rest, strpos(v_rest, '#') - 1);
  end if;
  if strpos(v_rest, '?') > 0 then
    _url.query := experiment._percent_encoded(substr(v_rest, strpos(v_rest, '?') + 1), '"<>''');
    v_rest := left(v_rest, strpos(v_rest, '?') - 1);
  end if;
  v_rest := replace(v_rest, '\', '/');
  if v_scheme = 'http' or v_rest like '//%' then
    v_rest := ltrim(v_rest, '/');
    v_authority := split_part(v_rest, '/', 1);
    v_rest := substr(v_rest, length(v_authority) + 1);
    v_authority := regexp_replace(v_authority, '^.*@', '');
    v_port := (regexp_match(v_authority, ':([0-9]*)$'))[1];
    _url.host := lower(regexp_replace(v_authority, ':[0-9]*$', '') collate "C");
    if _url.host !~ '^[!$&''()*+,;=_`{}~.a-z0-9-]+$' or length(v_port) > 5 or v_port::int > 65535 then
      _url.host := null;
      return;
    end if;
    v_port := ltrim(nullif(v_port, ''), '0');
    if v_port <> (case when v_scheme = 'http' then '80' else '443' end) then
      _url.host := _url.host || ':' || case when v_port = '' then '0' else v_port end;
    end if;
  else
    _url.host := _url.host_of_base;
  end if;
  _url.origin := coalesce(v_scheme, 'https') || '://' || _url.host;
  foreach v_segment in array coalesce(nullif(string_to_array(v_rest, '/'), '{}'), array['']) loop
    v_number := v_number + 1;
    continue when v_number = 1 and starts_with(v_rest, '/');
    if v_segment ~* '^(\.|%2e){2}$' then
      v_segments := trim_array(v_segments, least(1, cardinality(v_segments)));
      if v_number = cardinality(string_to_array(v_rest, '/')) then
        v_segments := v_segments || ''::text;
      end if;
    elsif v_segment ~* '^(\.|%2e)$' then
      if v_number = cardinality(string_to_array(v_rest, '/')) then
        v_segments := v_segments || ''::text;
      end if;
    else
      v_segments := v_segments || experiment._percent_encoded(v_segment, '"<>`{}^');
    end if;
  end loop;
  _url.pathname := '/' || array_to_string(v_segments, '/');
end;
$$;

comment on function experiment._url(text, text) is $$
Returns the parts of a URL as a browser does, with https and the given host for an address without them.
$$;

grant execute on function experiment._url(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._url_part_matches(actual text, pattern text, is_path boolean)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select experiment._matches(
    _url_part_matches.actual,
    '^' || case
      when _url_part_matches.is_path
        then '\/?' || regexp_replace(regexp_replace(part.escaped, '^/', ''), '/$', '') || '\/?'
      else part.escaped
    end || '$',
    true
  )
  from (
    select replace(
      regexp_replace(_url_part_matches.pattern, '([*.+?^${}()|[\]\\])', '\\\1', 'g'), '_____', '.*'
    ) as escaped
  ) as part;
end;

comment on function experiment._url_part_matches(text, text, boolean) is $$
Returns whether a part of a URL matches a pattern in which five low lines stand for any text.
$$;

grant execute on function experiment._url_part_matches(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._url_targeted(url text, targets jsonb)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_actual record;
  v_expected record;
  v_target jsonb;
  v_pattern text;
  v_page text;
  v_matches boolean;
  v_has_includes boolean := false;
  v_is_included boolean := false;
begin
  if jsonb_typeof(_url_targeted.targets) <> 'array' then
    perform experiment._refuse_condition(_url_targeted.targets, 'urlPatterns', 'an array of patterns');
  elsif _url_targeted.targets = '[]' then
    return false;
  end if;
  select parts.* into v_actual from experiment._url(_url_targeted.url, '_') as parts;
  for v_target in select element.value from jsonb_array_elements(_url_targeted.targets) as element (value) loop
    v_pattern := v_target ->> 'pattern';
    v_matches := false;
    if v_actual.host is null or v_pattern is null then
      null;
    elsif v_target -> 'type' = '"regex"' then
      v_page := v_actual.pathname || coalesce('?' || v_actual.query, '') || coalesce('#' || v_actual.fragment, '');
      v_matches := experiment._matches(v_actual.origin || v_page, v_pattern, false)
        or experiment._matches(v_page, v_pattern, false);
    elsif v_target -> 'type' = '"simple"' then
      select parts.* into v_expected
      from experiment._url(
        replace(regexp_replace(v_pattern, '^([^:/?]*)\.', 'https://\1.'), '*', '_____'), '_____'
      ) as parts;
      v_matches := v_expected.host is not null
        and experiment._url_part_matches(v_actual.host, v_expected.host, false)
        and experiment._url_part_matches(v_actual.pathname, v_expected.pathname, true)
        and (
          coalesce(v_expected.fragment, '') = ''
          or experiment._url_part_matches(
            case when v_actual.fragment <> '' then '#' || v_actual.fragment else '' end,
            '#' || v_expected.fragment,
            false
          )
        )
        and coalesce(
          (
            select bool_and(
              experiment._url_part_matches(
                coalesce(
                  (
                    select actual.value
                    from experiment._query_values(v_actual.query) as actual
                    where actual.name = expected.name
                    order by actual.number
                    limit 1
                  ),
                  ''
                ),
                expected.value,
                false
              )
            )
            from experiment._query_values(v_expected.query) as expected
          ),
          true
        );
    end if;
    if v_target -> 'include' = 'false' then
      if v_matches then
        return false;
      end if;
    else
      v_has_includes := true;
      v_is_included := v_is_included or v_matches;
    end if;
  end loop;
  return v_is_included or not v_has_includes;
end;
$$;

comment on function experiment._url_targeted(text, jsonb) is $$
Returns whether patterns of URLs include a page: one of those that include matches, none of those that exclude.
$$;

grant execute on function experiment._url_targeted(text, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._url_matches(url text, pattern text)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(
    _url_matches.url <> '' and (
      experiment._matches(_url_matches.url, _url_matches.pattern, false)
      or experiment._matches(
        regexp_replace(regexp_replace(_url_matches.url, '^https?://', ''), '^[^/]*/', '/'), _url_matches.pattern, false
      )
    ),
    false
  );
end;

comment on function experiment._url_matches(text, text) is $$
Returns whether a URL, or what follows its host, matches a regular expression, as the member `url` of an override.
$$;

grant execute on function experiment._url_matches(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
