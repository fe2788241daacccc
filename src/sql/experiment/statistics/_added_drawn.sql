create or replace function experiment._added_drawn(parts experiment.drawn[])
returns experiment.drawn
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select row(
    (
      select array_agg(added.figure order by added.place)
      from (
        select entry.place, sum(entry.figure) as figure
        from unnest(parts) as part, unnest(part.users) with ordinality as entry (figure, place)
        group by entry.place
      ) as added
    ),
    (
      select array_agg(added.figure order by added.place)
      from (
        select entry.place, sum(entry.figure) as figure
        from unnest(parts) as part, unnest(part.expected) with ordinality as entry (figure, place)
        group by entry.place
      ) as added
    ),
    (
      select array_agg(added.figure order by added.place)
      from (
        select entry.place, sum(entry.figure) as figure
        from unnest(parts) as part, unnest(part.covariances) with ordinality as entry (figure, place)
        group by entry.place
      ) as added
    )
  )::experiment.drawn;
$$;

comment on function experiment._added_drawn(experiment.drawn[]) is $$
@behavior -*
Adds up the numbers of people of parts of the time, and what the weights make expect of them.
$$;

grant execute on function experiment._added_drawn(experiment.drawn[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
