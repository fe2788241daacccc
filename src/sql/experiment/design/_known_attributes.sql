create or replace function experiment._known_attributes(is_evaluated_by_client boolean)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array['id', 'anonymousId']
    -- Those that GrowthBook's SDK adds by itself in a browser.
    || case
      when _known_attributes.is_evaluated_by_client then array[
        'deviceId', 'url', 'path', 'host', 'query', 'pageTitle', 'browser', 'deviceType', 'sessionId', 'pageId',
        'utmSource', 'utmMedium', 'utmCampaign', 'utmTerm', 'utmContent'
      ]
      else '{}'
    end
    || array(select distinct trait.name from track.trait order by trait.name);
end;
$$;

comment on function experiment._known_attributes(boolean) is $$
@behavior -*
Returns the names of attributes that a condition can use.
Those are the traits of people, and those of the client where it evaluates the condition.
$$;
