create or replace function track.parse_user_agent(user_agent text)
returns track.user_agent
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_text constant text := left(parse_user_agent.user_agent, 512);
  -- Name, part of the text, and pattern. Most browsers also name those that they descend from: the first pattern that
  -- matches applies. Each match contains the part, which is found faster.
  v_known constant text[] := array[
    ['Edge', 'Edg', '(?:Edge|Edg|EdgA|EdgiOS)/(\d{1,4})'],
    ['Opera', 'OP', '(?:OPR|OPiOS|OPT)/(\d{1,4})'],
    ['Opera', 'Opera/', '^Opera/.*Version/(\d{1,4})'],
    ['Opera', 'Opera', '^Opera[/ ](\d{1,4})'],
    ['Samsung Internet', 'SamsungBrowser/', 'SamsungBrowser/(\d{1,4})'],
    ['Yandex Browser', 'YaBrowser/', 'YaBrowser/(\d{1,4})'],
    ['Vivaldi', 'Vivaldi/', 'Vivaldi/(\d{1,4})'],
    ['DuckDuckGo', 'D', '(?:DuckDuckGo|Ddg)/(\d{1,4})'],
    ['UC Browser', 'Browser/', '(?:UCBrowser|UBrowser)/(\d{1,4})'],
    ['Silk', 'Silk/', 'Silk/(\d{1,4})'],
    ['Facebook', 'FBAV/', 'FBAV/(\d{1,4})'],
    ['Instagram', 'Instagram ', 'Instagram (\d{1,4})'],
    ['Electron', 'Electron/', 'Electron/(\d{1,4})'],
    ['Firefox', 'F', '(?:Firefox|FxiOS|Focus)/(\d{1,4})'],
    ['Android WebView', '; wv)', '; wv\).*(?:Chrome)/(\d{1,4})'],
    ['Chrome', 'C', '(?:HeadlessChrome|CriOS|Chromium|Chrome)/(\d{1,4})'],
    ['Android Browser', 'Version/', 'Android.*Version/(\d{1,4}).*Safari/'],
    ['Safari', 'Version/', '(?:Macintosh|iPhone|iPad|iPod).*Version/(\d{1,4}).*Safari/'],
    ['Internet Explorer', 'MSIE ', 'MSIE (\d{1,4})'],
    ['Internet Explorer', 'Trident/', 'Trident/.*rv:(\d{1,4})']
  ];
  v_browser text;
  v_version int;
  v_os constant text := case
    when v_text ~ 'Windows Phone' then 'Windows Phone'
    when v_text ~ 'Android|Dalvik' then 'Android'
    when v_text ~ 'iPhone|iPad|iPod|iOS|AppleTV' then 'iOS'
    when v_text ~ 'CrOS' then 'ChromeOS'
    when v_text ~ 'Windows' then 'Windows'
    when v_text ~ 'Macintosh|Mac OS X|Darwin' then 'macOS'
    when v_text ~ 'Linux|X11|Ubuntu' then 'Linux'
  end;
  v_lower constant text := lower(v_text);
  -- Programs that name themselves, and browsers that a program controls. CUBOT is a maker of phones. Several patterns
  -- are faster than one with assertions.
  v_is_bot constant boolean := strpos(v_lower, 'bot') > 0 and v_lower ~ '(?<!cu)bot(?![a-z])'
    or v_lower ~ (
      'crawl|spider|slurp|headless|phantomjs|puppeteer|playwright|selenium|lighthouse|pagespeed|facebookexternalhit'
      '|mediapartners|bingpreview|google-read-aloud|feedfetcher|monitoring|pingdom|uptime|archiver|scrapy'
    )
    or v_lower ~ (
      '^(?:curl|wget|python|go-http-client|java|node-fetch|axios|undici|libwww|php|ruby|perl|postmanruntime'
      '|apache-httpclient)\M'
    );
begin
  if v_text is null or btrim(v_text) = '' then
    return null;
  end if;
  for v_place in 1 .. array_length(v_known, 1) loop
    if strpos(v_text, v_known[v_place][2]) > 0 and v_text ~ v_known[v_place][3] then
      v_browser := v_known[v_place][1];
      v_version := substring(v_text from v_known[v_place][3]);
      exit;
    end if;
  end loop;
  return row(
    v_browser,
    v_version,
    v_os,
    case
      when v_is_bot then 'bot'
      when v_lower ~ 'smart-?tv|appletv|googletv|hbbtv|web0s|webos|tizen.*tv|crkey|playstation|xbox|nintendo|\mtv\M'
        then 'other'
      when v_text ~ 'iPad|Tablet|Kindle|Silk/|PlayBook'
        or v_text ~ 'Android' and v_text !~ 'Mobi|Dalvik'
        then 'tablet'
      when v_text ~ 'Mobi|iPhone|iPod|Android|Dalvik|Windows Phone|Opera Mini' then 'mobile'
      when v_os in ('Windows', 'macOS', 'Linux', 'ChromeOS') then 'desktop'
      else 'other'
    end,
    v_is_bot
  )::track.user_agent;
end;
$$;

comment on function track.parse_user_agent(text) is $$
Returns browser, major version, operating system and type of device of a user agent; null for an empty one.
The first 512 characters are read. The result is coarse, and as true as the text: browsers name others, iPads name
macOS, and any client can send any text. Unknown browsers and operating systems are null, unknown devices `other`.
`track.ingest` keeps these values, as `track.setting.agent_properties` lists them, and not the text.
$$;

grant execute on function track.parse_user_agent(text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
