create or replace function track._merge_trait_times(
  set_at timestamptz[],
  value jsonb[],
  repeated_at timestamptz[],
  new_set_at timestamptz[],
  new_value jsonb[],
  new_repeated_at timestamptz[],
  most int default null,
  out merged_at timestamptz[],
  out merged_value jsonb[],
  out merged_repeated_at timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Messages mostly arrive in their order, so that the new times are later than all others.
  if new_set_at[1] > greatest(set_at[cardinality(set_at)], repeated_at[cardinality(repeated_at)])
    and (
      most is null
      or cardinality(set_at) + cardinality(repeated_at) + cardinality(new_set_at) + cardinality(new_repeated_at) <= most
    )
  then
    if value[cardinality(value)]::text = new_value[1]::text then
      merged_at := set_at || new_set_at[2:];
      merged_value := value || new_value[2:];
      merged_repeated_at := repeated_at || new_set_at[1] || new_repeated_at;
    else
      merged_at := set_at || new_set_at;
      merged_value := value || new_value;
      merged_repeated_at := repeated_at || new_repeated_at;
    end if;
    return;
  end if;

  select
    array_agg(changed.set_at order by changed.set_at) filter (where changed.is_other),
    array_agg(changed.value order by changed.set_at) filter (where changed.is_other),
    coalesce(array_agg(changed.set_at order by changed.set_at) filter (where not changed.is_other), '{}')
  into merged_at, merged_value, merged_repeated_at
  from (
    select
      latest.set_at, latest.value,
      latest.value::text is distinct from lag(latest.value::text) over (order by latest.set_at) as is_other
    from (
      select distinct on (point.set_at) point.set_at, point.value
      from (
        select *
        from track._trait_points(
          _merge_trait_times.set_at, _merge_trait_times.value, _merge_trait_times.repeated_at
        )
        union all
        select * from track._trait_points(new_set_at, new_value, new_repeated_at)
      ) as point
      order by point.set_at desc, point.value desc, point.value::text desc
      limit most
    ) as latest
  ) as changed;
end;
$$;

comment on function track._merge_trait_times(
  timestamptz[], jsonb[], timestamptz[], timestamptz[], jsonb[], timestamptz[], int
) is $$
Returns the times and values of two rows of `track.trait_history` as one row.
Of the times, the latest `most` are kept; all of them if it is null.
The result does not depend on the order in which rows are merged. Values are compared as text: 1 is not 1.0.
$$;

create or replace function track._store_trait_history(
  people bigint[],
  identities bigint[],
  names text[],
  times timestamptz[],
  trait_values jsonb[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := (select setting.most_trait_times from track.setting);
begin
  insert into track.trait_history as history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select
    changed.person_id, changed.identity_id, changed.name, changed.since,
    array_agg(changed.set_at order by changed.set_at) filter (where changed.is_other),
    array_agg(changed.value order by changed.set_at) filter (where changed.is_other),
    coalesce(array_agg(changed.set_at order by changed.set_at) filter (where not changed.is_other), '{}')
  from (
    select
      kept.person_id, kept.identity_id, kept.name, kept.since, kept.set_at, kept.value,
      kept.value::text is distinct from lag(kept.value::text) over (
        partition by kept.identity_id, kept.name, kept.since order by kept.set_at
      ) as is_other
    from (
      select
        said.*,
        count(*) over (partition by said.identity_id, said.name, said.since)
          - row_number() over (partition by said.identity_id, said.name, said.since order by said.set_at) as later
      from (
        select distinct on (point.identity_id, point.name, year.since, point.set_at)
          point.person_id, point.identity_id, point.name, year.since, point.set_at, shown.value
        from unnest(
          _store_trait_history.people, _store_trait_history.identities, _store_trait_history.names,
          _store_trait_history.times, _store_trait_history.trait_values
        ) as point (person_id, identity_id, name, set_at, value)
        cross join lateral (
          select date_trunc('year', point.set_at at time zone 'UTC')::date as since
        ) as year
        cross join lateral (
          select case when octet_length(point.value::text) > 1000 then 'null' else point.value end as value
        ) as shown
        order by
          point.identity_id, point.name, year.since, point.set_at, shown.value desc, shown.value::text desc
      ) as said
    ) as kept
    where kept.later < v_most
  ) as changed
  group by changed.identity_id, changed.name, changed.since, changed.person_id
  order by changed.identity_id, changed.name, changed.since
  on conflict (person_id, identity_id, name, since) do update
  set (set_at, value, repeated_at) = (
    select merged.merged_at, merged.merged_value, merged.merged_repeated_at
    from track._merge_trait_times(
      history.set_at, history.value, history.repeated_at, excluded.set_at, excluded.value, excluded.repeated_at
    ) as merged
  )
  -- A repetition of the latest time, such as the time zone of the next event of an hour, writes nothing.
  where cardinality(excluded.set_at) > 1
    or cardinality(excluded.repeated_at) > 0
    or excluded.set_at[1] is distinct from greatest(
      history.set_at[cardinality(history.set_at)], history.repeated_at[cardinality(history.repeated_at)]
    )
    or excluded.value[1]::text is distinct from history.value[cardinality(history.value)]::text;

  -- In a statement of its own: Citus passes no variable to `on conflict`.
  update track.trait_history as history
  set (set_at, value, repeated_at) = (
    select latest.merged_at, latest.merged_value, latest.merged_repeated_at
    from track._merge_trait_times(
      history.set_at, history.value, history.repeated_at, '{}', '{}', '{}', v_most
    ) as latest
  )
  from unnest(
    _store_trait_history.people, _store_trait_history.identities, _store_trait_history.names
  ) as said (person_id, identity_id, name)
  where history.person_id = said.person_id
    and history.identity_id = said.identity_id
    and history.name = said.name
    and cardinality(history.set_at) + cardinality(history.repeated_at) > v_most;
end;
$$;

comment on function track._store_trait_history(bigint[], bigint[], text[], timestamptz[], jsonb[]) is $$
Adds times with values to `track.trait_history`, a value of more than 1,000 bytes as JSON null.
The lists have the same length.
$$;
