create or replace function ml._tree_workspace(outputs int)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
begin
  create temp table if not exists _ml_tree_node (
    node int, parent int, depth int,
    feature int, cut int, codes int[], missing_left boolean, left_node int, right_node int, gain float8,
    s float8[], h float8, n bigint,
    value float8, distribution float8[],
    open boolean, scanned boolean
  ) on commit drop;
  create temp table if not exists _ml_tree_split (
    node int, depth int,
    feature int, cut int, codes int[], missing_left boolean, left_node int, gain float8,
    ls float8[], lh float8, ln float8,
    rs float8[], rh float8, rn float8
  ) on commit drop;
  -- Groups that have as many classes as the last one use its table.
  if cardinality(common.columns(to_regclass('pg_temp._ml_tree_histogram'))) is distinct from outputs + 4 then
    drop table if exists pg_temp._ml_tree_histogram;
    execute format('create temp table _ml_tree_histogram (node int, code int, %s, h float8, n float8) on commit drop',
      ml._each(outputs, 's# float8'));
  end if;
end;
$$;

comment on function ml._tree_workspace(int) is $$
Makes the tables in which trees with a number of outputs are grown; each tree empties them.
`_ml_tree_node` is the tree: sums `s` of the outputs, `h` of the weight and `n` of the rows; `open` may be split
further, `scanned` is the smaller child, whose rows are summed also for its sibling. `_ml_tree_split` holds the splits
of a level, `_ml_tree_histogram` the sums of each bin.
$$;

grant execute on function ml._tree_workspace(int)
to insights_analyst, insights_admin, insights_worker;
