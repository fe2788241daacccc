/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_me(
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
  from recommend.for_me(
    serve_me.top, serve_me.kind, serve_me.exclude_items, serve_me.only_items, serve_me.diversity, serve_me.page
  ) as listed;
  perform recommend._record_list(v_serving_ids, v_scores, 'serve_me', serve_me.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_me(int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_me` returns, and records each row as served to the signed-in person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For a person who has opted
out of `personalization`, nothing is recorded. The arguments and errors are those of `recommend.for_me`.
$$;

grant execute on function recommend.serve_me(int, text, text[], text[], float8, text) to insights_learner;
