create or replace function track._trait_points(set_at timestamptz[], value jsonb[])
returns table (set_at timestamptz, value jsonb)
language sql
immutable
parallel safe
begin atomic
  select entry.set_at, first_value(entry.value) over (partition by entry.run order by entry.place)
  from (
    select point.set_at, point.value, point.place, count(point.value) over (order by point.place) as run
    from unnest(_trait_points.set_at, _trait_points.value) with ordinality as point (set_at, value, place)
  ) as entry;
end;

comment on function track._trait_points(timestamptz[], jsonb[]) is $$
Returns the times of a row of `track.trait_history`, each with its value.
$$;

grant execute on function track._trait_points(timestamptz[], jsonb[])
to insights_reader, insights_learner, insights_admin;
