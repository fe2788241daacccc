create or replace function track._trait_points(set_at timestamptz[], value jsonb[], repeated_at timestamptz[])
returns table (set_at timestamptz, value jsonb)
language sql
immutable
parallel safe
begin atomic
  select change.set_at, change.value
  from unnest(_trait_points.set_at, _trait_points.value) as change (set_at, value)

  union all

  select repetition.set_at, _trait_points.value[width_bucket(repetition.set_at, _trait_points.set_at)]
  from unnest(_trait_points.repeated_at) as repetition (set_at);
end;

comment on function track._trait_points(timestamptz[], jsonb[], timestamptz[]) is $$
Returns all times of a row of `track.trait_history`, each with its value.
$$;

grant execute on function track._trait_points(timestamptz[], jsonb[], timestamptz[])
to insights_reader, insights_learner, insights_admin;
