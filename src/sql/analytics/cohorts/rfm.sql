create or replace function analytics._rfm_cells(
  since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.rfm_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with cell as (
    select
      scored.value,
      scored.is_other,
      scored.cell,
      count(*) as person_count,
      avg(scored.recency_days)::float8 as recency_days,
      avg(scored.active_days)::float8 as active_days,
      avg(extract(epoch from scored.engaged))::float8 as engaged
    from analytics._rfm(
      _rfm_cells.since, _rfm_cells.until, _rfm_cells.among, _rfm_cells.breakdown, _rfm_cells.top_values,
      _rfm_cells.smallest_group
    ) as scored
    group by scored.value, scored.is_other, scored.cell
    having count(*) >= coalesce(_rfm_cells.smallest_group, 1)
  ),

  shown as (
    select
      cell.value,
      cell.is_other,
      cell.cell,
      analytics._shown(cell.person_count, cell.person_count, _rfm_cells.smallest_group)::bigint as person_count,
      analytics._shown_mean(cell.recency_days, cell.person_count, _rfm_cells.smallest_group) as recency_days,
      analytics._shown_mean(cell.active_days, cell.person_count, _rfm_cells.smallest_group) as active_days,
      analytics._shown_mean(cell.engaged, cell.person_count, _rfm_cells.smallest_group) as engaged
    from cell
  )

  select
    shown.cell,
    shown.person_count,
    shown.person_count / sum(shown.person_count) over (partition by shown.is_other, shown.value)::float8,
    shown.recency_days,
    shown.active_days,
    shown.engaged * interval '1 second',
    shown.value,
    shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.person_count desc, shown.cell;
end;
$$;

comment on function analytics._rfm_cells(timestamptz, timestamptz, text, text, int, int) is $$
Computes the result of `analytics.rfm`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures.
$$;

grant execute on function analytics._rfm_cells(timestamptz, timestamptz, text, text, int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._rfm_exact(
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.rfm_cell
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._rfm_cells(
    $1, $2, $3, $4, $5, null
  );
$$;

alter function analytics._rfm_exact(timestamptz, timestamptz, text, text, int) owner to insights_reader;

comment on function analytics._rfm_exact(timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.rfm` with exact figures, for admins and workers.
$$;

grant execute on function analytics._rfm_exact(
  timestamptz, timestamptz, text, text, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._rfm_shown(
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.rfm_cell
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._rfm_cells(
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._rfm_shown(timestamptz, timestamptz, text, text, int) owner to insights_reader;

comment on function analytics._rfm_shown(timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.rfm` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._rfm_shown(timestamptz, timestamptz, text, text, int) to insights_analyst;

create or replace function analytics.rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.rfm_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._rfm_exact(timestamptz, timestamptz, text, text, int)', 'execute') then
    return query
    select *
    from analytics._rfm_exact(
      rfm.since, rfm.until, rfm.among, rfm.breakdown, rfm.top_values
    );
  else
    return query
    select *
    from analytics._rfm_shown(
      rfm.since, rfm.until, rfm.among, rfm.breakdown, rfm.top_values
    );
  end if;
end;
$$;

comment on function analytics.rfm(timestamptz, timestamptz, text, text, int) is $$
Returns the cells of an RFM analysis: the people who are active in a period by recency, frequency and engaged time.
Recency: days from the last active day to the last day of the period. Frequency: active days (UTC, with an event that is
not automatic). Monetary value: engaged time of the sessions that began in the period, as of their last refresh.
Each is scored by quintiles: 1 + floor(5 × share of people with a lower value), so that people with equal values have
equal scores (a score can therefore have more or fewer people than a fifth). `cell`: by the score of recency and the
mean of the other two scores, rounded up, in the ten cells of the guide of CleverTap to RFM analysis: `champions`,
`loyal`, `potential_loyal`, `new`, `promising`, `need_attention`, `about_to_sleep`, `at_risk`, `cannot_lose` and
`hibernating`. Scores by quintiles are those of A. M. Hughes, Strategic Database Marketing (1994).
The period is extended to whole days (UTC). `among`: an expression of sets, such as `segment.power & ~cohort.beta`.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; the others have `is_other`. Scores and shares are those among the people of the value.
For admins and workers, figures are exact, of people who are not excluded. Analysts see figures of counted people,
rounded by `analytics._shown` and `analytics._shown_mean`; cells of too few people are absent.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set, CF008 for more than 1,100 days.
$$;

grant execute on function analytics.rfm(timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
