/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_person(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list recommend.recommendation[];
  v_serving_ids text[];
  v_scores float8[];
begin
  select array_agg(listed), array_agg(listed.serving_id), array_agg(listed.score)
  into v_list, v_serving_ids, v_scores
  from recommend.for_person(
    serve_person.person, serve_person.top, serve_person.kind, serve_person.exclude_items, serve_person.only_items,
    serve_person.diversity, serve_person.page
  ) as listed;
  perform recommend._record_list(v_serving_ids, v_scores, 'serve_person', serve_person.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_person(text, int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_person` returns, and records each row as served to the person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For an unknown person, and
one who has opted out of `personalization`, nothing is recorded. The arguments and errors are those of
`recommend.for_person`.
$$;

grant execute on function recommend.serve_person(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
