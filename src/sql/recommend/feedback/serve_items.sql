/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_items(
  items text[],
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
  from recommend.for_items(
    serve_items.items, serve_items.top, serve_items.kind, serve_items.exclude_items, serve_items.only_items,
    serve_items.diversity, serve_items.page
  ) as listed;
  perform recommend._record_list(v_serving_ids, v_scores, 'serve_items', serve_items.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_items(text[], int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_items` returns, and records each row as served to the learner who is signed in.
For visitors, and for calls of servers, nothing is recorded: a row enters `recommend.impression` when a person sends an
event with its `serving_id`. The arguments and errors are those of `recommend.for_items`.
$$;

grant execute on function recommend.serve_items(text[], int, text, text[], text[], float8, text)
to insights_visitor, insights_learner, insights_admin, insights_worker;
