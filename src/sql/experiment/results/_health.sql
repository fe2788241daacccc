create or replace function experiment._shown_drawn(drawn experiment.drawn, smallest_group int)
returns experiment.drawn
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select row(
    shown.users,
    array(
      select shown.share * entry.figure from unnest((drawn).expected) with ordinality as entry (figure, n) order by n
    ),
    array(
      select shown.share * entry.figure from unnest((drawn).covariances) with ordinality as entry (figure, n) order by n
    )
  )::experiment.drawn
  from (
    select
      array_agg(trunc(entry.figure / smallest_group) * smallest_group order by entry.n) as users,
      sum(trunc(entry.figure / smallest_group) * smallest_group) / nullif(sum(entry.figure), 0) as share
    from unnest((drawn).users) with ordinality as entry (figure, n)
  ) as shown;
$$;

comment on function experiment._shown_drawn(experiment.drawn, int) is $$
@behavior -*
Returns numbers of people rounded down to multiples of `smallest_group`, with the expectation of as many people.
$$;

grant execute on function experiment._shown_drawn(experiment.drawn, int) to insights_reader;

create or replace function experiment._health(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  smallest_group int default 1
)
returns experiment.health
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_result experiment.health;
  v_id constant int := (experiment).experiment_id;
  v_variations constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_sums constant experiment.day_sum[] := array(
    select stored
    from experiment._arm_sums(v_id, _health.among) as stored
    where stored.position = -1
  );
  v_parts experiment.drawn[];
  v_drawn experiment.drawn;
  v_oldest constant timestamptz := (select setting.oldest_event from track.setting);
begin
  v_result.experiment := (experiment).experiment_key;
  v_result.state := (experiment).state;
  v_result.population := (experiment).population;
  if _health.among is null then
    v_result.as_of := (select kept.kept_at from experiment.kept where kept.experiment_id = v_id);
  end if;
  v_result.variations := array(
    select variation.variation_key
    from experiment.variation
    where variation.experiment_id = v_id
    order by variation.variation
  );
  v_result.people := array(
    select coalesce(sum(stored.people), 0)::bigint
    from generate_series(0, v_variations - 1) as place
    left join unnest(v_sums) as stored on stored.variation = place
    group by place
    order by place
  );
  select
    min(stored.exposed_on), max(stored.exposed_on),
    coalesce(sum(stored.people) filter (where stored.variation = -1), 0),
    coalesce(sum(stored.people) filter (where stored.variation = -2), 0)
  into v_result.first_day, v_result.last_day, v_result.multiple, v_result.not_counted
  from unnest(v_sums) as stored;

  v_parts := coalesce(
    (select kept.drawn from experiment.kept where kept.experiment_id = v_id and v_result.as_of is not null),
    experiment._assigned(
      _health.experiment, _health.among, case when v_result.as_of is not null then v_sums end,
      greatest(
        -- Rounding is small beside the deviation of this number.
        case when smallest_group > 1 then 40.0 * smallest_group else 10 end,
        -- At most 50 parts.
        (select sum(figure) from unnest(v_result.people) as entry (figure)) / (50.0 * v_variations)
      )
    )
  );
  if v_parts is not null then
    v_drawn := experiment._added_drawn(v_parts);
    v_result.expected := case
      when exists (select from unnest((v_drawn).users) as entry (figure) where figure >= smallest_group)
        then (v_drawn).expected
    end;
  end if;
  if v_result.expected is not null then
    -- A p-value of exact numbers of few people would show them.
    v_result.srm_p := experiment._mismatch_p(
      experiment._shown_drawn(v_drawn, smallest_group),
      array(select experiment._shown_drawn(part, smallest_group) from unnest(v_parts) as part)
    );
  end if;
  if smallest_group > 1 then
    v_result.srm_p := experiment._rounded(v_result.srm_p, v_result.srm_p / 10);
    v_result.people := array(
      select figure / smallest_group * smallest_group
      from unnest(v_result.people) with ordinality as entry (figure, place)
      order by entry.place
    );
    v_result.expected := array(
      select experiment._rounded(figure, 10) from unnest(v_result.expected) with ordinality as entry (figure, place)
      order by entry.place
    );
    -- The day of an exposure among few people is that of a person.
    if _health.among is not null or (select max(figure) from unnest(v_result.people) as entry (figure)) = 0 then
      v_result.first_day := null;
      v_result.last_day := null;
      v_result.expected := null;
    end if;
    v_result.multiple := v_result.multiple / smallest_group * smallest_group;
    v_result.not_counted := v_result.not_counted / smallest_group * smallest_group;
  end if;
  v_result.is_mismatched := coalesce(v_result.srm_p < 0.001, false);
  v_result.warnings := array_remove(
    array[
      case
        when v_result.is_mismatched then format(
          'Sample ratio mismatch (p = %s): people are not distributed by the weights. Do not use the results.',
          case when v_result.srm_p < 1e-10 then 'less than 1e-10' else round(v_result.srm_p::numeric, 10)::text end
        )
        when v_result.srm_p < 0.01 then format(
          'A sample ratio mismatch is likely (p = %s): look for its cause before you use the results.',
          round(v_result.srm_p::numeric, 4)
        )
      end,
      case
        when v_result.multiple > 0 then format(
          '%s people saw several variations, and are not counted.', v_result.multiple
        )
      end,
      case
        when (experiment).population <> 'counted' then format(
          'The people of the set "%s" are counted, not those of "counted".', (experiment).population
        )
      end,
      case
        when v_result.as_of is null
          and concat((experiment).population, ' ', (experiment).strata) ~ '(^| set\.)(arm|cohort|segment)\.'
        then (
          select format(
            'The set "%s" reads people who were deleted by a rule of retention: results are those of the others.',
            min(incomplete.name)
          )
          from track.incomplete_sets() as incomplete (name)
          where incomplete.name in ((experiment).population, substr((experiment).strata, 5))
          having count(*) > 0
        )
      end,
      case
        when v_oldest > (experiment).started_at and v_result.as_of is null then format(
          'Events before %s were deleted by a rule of retention: exposures and outcomes since the start are missing.',
          to_char(v_oldest at time zone 'UTC', 'YYYY-MM-DD')
        )
      end
    ],
    null
  );
  return v_result;
end;
$$;

comment on function experiment._health(experiment.experiment, track.person_set_block[], int) is $$
@behavior -*
Computes the result of `experiment.health`, with the privileges of the caller.
Numbers are rounded down to multiples of `smallest_group`.
$$;

grant execute on function experiment._health(experiment.experiment, track.person_set_block[], int)
to insights_reader;
