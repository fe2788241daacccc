create or replace function track._normal_escapes(value text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if strpos(value, '%') = 0 then
    return value;
  end if;
  return (
    select string_agg(
      case
        when place = 1 then part
        when part ~* '^(2d|2e|5f|7e|3\d|4[1-9a-f]|5[\da]|6[1-9a-f]|7[\da])'
          then chr(('x' || left(part, 2))::bit(8)::int) || substr(part, 3)
        when part ~* '^[\da-f]{2}' then '%' || upper(left(part, 2)) || substr(part, 3)
        else '%' || part
      end,
      '' order by place
    )
    from unnest(string_to_array(value, '%')) with ordinality as piece (part, place)
  );
end;
$$;

comment on function track._normal_escapes(text) is $$
Returns a part of a URL with its percent-encoding normalised (RFC 3986, section 6.2.2).
Escapes of letters, digits, `-`, `.`, `_` and `~` are decoded, and others are written in capitals.
$$;

create or replace function track._without_dots(path text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant int := case when starts_with(path, '/') then 1 else 0 end;
  v_segment text;
  v_segments text[] := '{}';
  v_count int := 0;
begin
  -- A dot at the end stands for the folder itself, which ends with a slash.
  foreach v_segment in array string_to_array(regexp_replace(path, '(^|/)(\.\.?)$', '\1\2/'), '/') loop
    if v_segment = '..' then
      v_count := greatest(v_count - 1, v_first);
    elsif v_segment <> '.' then
      v_count := v_count + 1;
      v_segments[v_count] := v_segment;
    end if;
  end loop;
  return array_to_string(v_segments[:v_count], '/');
end;
$$;

comment on function track._without_dots(text) is $$
Returns a path without the segments `.` and `..` (RFC 3986, section 5.2.4).
$$;

create or replace function track._normal_path(path text, path_rule text[], kept_parameters text[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Longer addresses are rare, and the work is bounded.
  v_whole constant text := left(path, 2048);
  v_fragment text := coalesce(substring(v_whole from '#.*$'), '');
  v_query text := coalesce(substring(v_whole from '^[^#?]*\?([^#]*)'), '');
  v_path text := substring(v_whole from '^[^#?]*');
  v_host text := coalesce(substring(v_path from '^[Hh][Tt][Tt][Pp][Ss]?://[^/]*'), '');
begin
  v_path := substr(v_path, length(v_host) + 1);
  v_host := case when 'host' = any (path_rule) then '' else lower(v_host) end;

  -- "#/" and "#!" begin the addresses within an application of one page.
  if 'fragment' = any (path_rule) and v_fragment !~ '^#[/!]' then
    v_fragment := '';
  end if;
  if 'encoding' = any (path_rule) then
    v_path := track._normal_escapes(v_path);
    v_query := track._normal_escapes(v_query);
  end if;
  if v_query <> '' and 'query' = any (path_rule) then
    v_query := coalesce(
      (
        select string_agg(parameter, '&' order by parameter collate "C")
        from (select distinct unnest(string_to_array(v_query, '&')) as parameter) as given
        where split_part(parameter, '=', 1) = any (kept_parameters)
      ),
      ''
    );
  end if;

  if 'slashes' = any (path_rule) then
    v_path := regexp_replace(v_path, '//+', '/', 'g');
  end if;
  if 'dots' = any (path_rule) and v_path ~ '(^|/)\.\.?(/|$)' then
    v_path := track._without_dots(v_path);
  end if;
  if 'index' = any (path_rule) then
    v_path := regexp_replace(v_path, '((^|/)(index|default)\.(html?|php|aspx?|jsp))+/*$', '/', 'i');
  end if;
  if 'trailing_slash' = any (path_rule) then
    v_path := rtrim(v_path, '/');
  end if;
  return left(
    v_host || case v_path when '' then '/' else v_path end
      || case v_query when '' then '' else '?' || v_query end
      || v_fragment,
    512
  );
end;
$$;

comment on function track._normal_path(text, text[], text[]) is $$
Returns the name of a page by its path or URL: see `track.setting.path_rule`.
The first 2,048 characters are read, and 512 at most returned.
$$;

create or replace function track._path_item(path text, path_rule text[], kept_parameters text[])
returns text
language sql
stable
parallel safe
-- Nearly all paths are normal as they are: one search decides it.
return case
  when path_rule <> '{}' and (path ~* '[?#%]|//|/\.|./$|index\.|default\.|^[^/]' or length(path) > 512)
    then track._normal_path(path, path_rule, kept_parameters)
  else left(path, 512)
end;

comment on function track._path_item(text, text[], text[]) is $$
Returns the external id of the item of a page by its path or URL.
$$;
