create or replace function recommend._request(
  top int,
  kind text,
  exclude_items text[],
  only_items text[],
  diversity float8,
  page text
)
returns recommend.request
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check(_request.top, _request.kind);
  if not _request.diversity between 0 and 1 then
    perform common.refuse('CF001', format('diversity is %s', _request.diversity),
      'Give a number from 0 (by score alone) to 1, or null for that of recommend.setting.');
  end if;
  return row(
    _request.kind,
    _request.top,
    coalesce(recommend._find_items(_request.exclude_items), '{}'),
    recommend._find_items(_request.only_items),
    _request.diversity,
    true,
    _request.page
  )::recommend.request;
end;
$$;

comment on function recommend._request(int, text, text[], text[], float8, text) is $$
@behavior -*
Returns what a caller requests, checked.
Errors: CF001 for `top` and `diversity`, CF002 for a kind that no item has and for an unknown item, CF008 for more than
1,000 items.
$$;

grant execute on function recommend._request(int, text, text[], text[], float8, text)
to insights_reader, insights_learner;

create or replace function recommend._person_request(
  person text,
  top int,
  kind text,
  exclude_items text[],
  only_items text[],
  diversity float8,
  page text
)
returns recommend.request
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform recommend._check_person(_person_request.person);
  return recommend._request(
    _person_request.top, _person_request.kind, _person_request.exclude_items, _person_request.only_items,
    _person_request.diversity, _person_request.page
  );
end;
$$;

comment on function recommend._person_request(text, int, text, text[], text[], float8, text) is $$
@behavior -*
Returns what a caller requests about a person, checked as by `recommend._request`. CF001 for an empty name.
$$;

grant execute on function recommend._person_request(text, int, text, text[], text[], float8, text)
to insights_reader, insights_learner;
