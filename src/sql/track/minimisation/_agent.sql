create or replace function track._hinted_agent(hints jsonb)
returns track.user_agent
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_brand record;
begin
  if jsonb_typeof(hints) <> 'object' or pg_column_size(hints) > 4096 then
    return null;
  end if;
  -- The other brands are invented by the browser, such as "Not/A)Brand", so that no site relies on a fixed list.
  select known.browser, substring(entry.value ->> 'version' from '^[0-9]{1,4}')::int as version, known.is_bot
  into v_brand
  from jsonb_array_elements(
    case jsonb_typeof(hints -> 'brands') when 'array' then hints -> 'brands' else '[]' end
  ) as entry
  join (
    values
      (1, 'HeadlessChrome', 'Chrome', true),
      (2, 'Google Chrome', 'Chrome', false),
      (3, 'Microsoft Edge', 'Edge', false),
      (4, 'Opera', 'Opera', false),
      (5, 'Samsung Internet', 'Samsung Internet', false),
      (6, 'YaBrowser', 'Yandex Browser', false),
      (7, 'Yandex', 'Yandex Browser', false),
      (8, 'DuckDuckGo', 'DuckDuckGo', false),
      (9, 'Vivaldi', 'Vivaldi', false),
      (10, 'Brave', 'Brave', false),
      (11, 'Android WebView', 'Android WebView', false),
      (12, 'Chromium', 'Chrome', false)
  ) as known (place, brand, browser, is_bot)
    on known.brand = case jsonb_typeof(entry.value) when 'object' then entry.value ->> 'brand' end
  order by known.place
  limit 1;
  return row(
    v_brand.browser,
    v_brand.version,
    case hints ->> 'platform'
      when 'Windows' then 'Windows'
      when 'macOS' then 'macOS'
      when 'Mac OS X' then 'macOS'
      when 'Linux' then 'Linux'
      when 'Android' then 'Android'
      when 'iOS' then 'iOS'
      when 'Chrome OS' then 'ChromeOS'
      when 'Chromium OS' then 'ChromeOS'
    end,
    case
      when hints -> 'mobile' = 'true' then 'mobile'
      when hints ->> 'platform' in ('Windows', 'macOS', 'Mac OS X', 'Linux', 'Chrome OS', 'Chromium OS')
        then 'desktop'
    end,
    coalesce(v_brand.is_bot, false)
  )::track.user_agent;
end;
$$;

comment on function track._hinted_agent(jsonb) is $$
Returns what the client hints of a message (`context.userAgentData`) state; fields that they do not state are null.
$$;

create or replace function track._agent(user_agent text, hints jsonb)
returns track.user_agent
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_read constant track.user_agent := track.parse_user_agent(_agent.user_agent);
  v_hinted constant track.user_agent := track._hinted_agent(_agent.hints);
  v_is_bot constant boolean := coalesce(v_read.is_bot, false) or coalesce(v_hinted.is_bot, false);
begin
  return row(
    coalesce(v_hinted.browser, v_read.browser),
    case when v_hinted.browser is null then v_read.browser_version else v_hinted.browser_version end,
    coalesce(v_hinted.os, v_read.os),
    case
      when v_is_bot then 'bot'
      -- Hints do not distinguish a tablet from a desktop.
      when v_read.device = 'tablet' then 'tablet'
      else coalesce(v_hinted.device, v_read.device)
    end,
    v_is_bot
  )::track.user_agent;
end;
$$;

comment on function track._agent(text, jsonb) is $$
Returns the browser and device of a user agent and client hints. Where both state a value, that of the hints applies.
$$;

create or replace function track._agent_properties(agent track.user_agent, kept text[])
returns jsonb
language sql
stable
parallel safe
-- Of a text with nothing that is known, nothing is kept, not even "other".
return case
  when num_nonnulls((agent).browser, (agent).os) > 0 or (agent).is_bot
    then (
      select jsonb_object_agg(given.name, given.value)
      from (
        values
          ('browser', to_jsonb((agent).browser)),
          ('browserVersion', to_jsonb((agent).browser_version)),
          ('os', to_jsonb((agent).os)),
          ('device', to_jsonb((agent).device))
      ) as given (name, value)
      where given.value is not null
        and given.name = any (kept)
    )
end;

comment on function track._agent_properties(track.user_agent, text[]) is $$
Returns the properties that an event gets of its browser and device: those of `kept`. Null when there are none.
$$;
