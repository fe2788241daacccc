create or replace function recommend.search(
  kind text default 'course',
  trials int default 50,
  seed bigint default 1
)
returns setof recommend.best_parameters
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_evaluation recommend.evaluation := recommend.start_search(search.kind, search.trials, search.seed);
begin
  while v_evaluation.state = 'running' loop
    v_evaluation := recommend.continue_evaluation(v_evaluation.evaluation_id);
  end loop;
  return query
  select best.*
  from recommend.best_parameters as best
  where best.kind = search.kind
  order by best.ndcg_at_10 desc, best.algorithm;
end;
$$;

comment on function recommend.search(text, int, bigint) is $$
Searches the parameters of recommenders, and returns the best of each method. As `recommend.start_search`, at once.
Errors: CF001, CF002 for a kind that no item has, CF004 for too few people, CF008.
$$;

grant execute on function recommend.search(text, int, bigint) to insights_admin, insights_worker;
