create or replace function recommend._trials(trials int, seed bigint, item_count int)
returns setof recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with recursive candidate as (
    select known.algorithm, known.parameters, known.history_decay, known.grid
    from recommend._candidates() as known
    where known.grid <> '{}'
      and (known.algorithm not in ('ease', 'edlae') or _trials.item_count <= 16000)
  ),

  axis as (
    select
      candidate.algorithm,
      entry.key,
      entry.value,
      row_number() over (partition by candidate.algorithm order by entry.key) as place
    from candidate
    cross join lateral jsonb_each(candidate.grid) as entry
  ),

  -- All combinations of the values of a grid.
  combination as (
    select
      candidate.algorithm, candidate.parameters || jsonb_build_object('history_decay', candidate.history_decay)
        as parameters, 0::bigint as place
    from candidate

    union all

    select
      combination.algorithm, combination.parameters || jsonb_build_object(axis.key, choice.value), axis.place
    from combination
    join axis on axis.algorithm = combination.algorithm and axis.place = combination.place + 1
    cross join lateral jsonb_array_elements(axis.value) as choice
  ),

  complete as (
    select distinct combination.algorithm, combination.parameters
    from combination
    where not exists (
      select
      from axis
      where axis.algorithm = combination.algorithm
        and axis.place > combination.place
    )
  ),

  -- The given parameters of each method come first, then one of each in turn.
  drawn as (
    select
      complete.algorithm,
      complete.parameters,
      row_number() over (
        partition by complete.algorithm
        order by
          complete.parameters = (
            select candidate.parameters || jsonb_build_object('history_decay', candidate.history_decay)
            from candidate
            where candidate.algorithm = complete.algorithm
          ) desc,
          hashtextextended(complete.parameters::text, _trials.seed),
          complete.parameters
      ) as turn
    from complete
  )

  select
    null::bigint,
    row_number() over (order by drawn.turn, drawn.algorithm)::smallint,
    format(
      '%s(%s)',
      drawn.algorithm,
      (
        select string_agg(format('%s => %s', entry.key, entry.value), ', ' order by entry.key)
        from jsonb_each_text(drawn.parameters) as entry
      )
    ),
    'popularity',
    jsonb_build_array(to_jsonb((
      drawn.algorithm, drawn.parameters - 'history_decay', (drawn.parameters ->> 'history_decay')::float8, 1
    )::recommend.part)),
    null::bigint,
    false,
    null::interval
  from drawn
  order by drawn.turn, drawn.algorithm
  limit _trials.trials;
end;
$$;

comment on function recommend._trials(int, bigint, int) is $$
@behavior -*
Draws sets of parameters from the grids of `recommend._candidates` by a seed.
The first of each method is the one that it has without a search.
$$;
