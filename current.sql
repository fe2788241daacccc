-- Changes of structure since the last release: see migrations/README.md.

/* ---------------------------------------------------------------------------------------------------- funnels -- */

create type analytics.step_filter as (
  event_type_id int,
  event text,
  item text,
  item_id bigint,
  items bigint[],
  property jsonb,
  is_optional boolean,
  is_exclusion boolean,
  first_step int,
  last_step int
);

comment on type analytics.step_filter is $$
@behavior -*
A step or an exclusion of a funnel.
$$;
comment on column analytics.step_filter.event_type_id is $$Event type; 0: any event that is not automatic.$$;
comment on column analytics.step_filter.event is $$Name of the event, as given.$$;
comment on column analytics.step_filter.item is $$External id of the item; null: any.$$;
comment on column analytics.step_filter.item_id is $$Key of the item.$$;
comment on column analytics.step_filter.items is $$The item and what it contains.$$;
comment on column analytics.step_filter.property is $$Name and value of a property, as `name` and `is`; null: any.$$;
comment on column analytics.step_filter.is_optional is $$Whether the step can be left out.$$;
comment on column analytics.step_filter.is_exclusion is $$Whether this is an exclusion.$$;
comment on column analytics.step_filter.first_step is $$Number of the step; of an exclusion that of the step before it.$$;
comment on column analytics.step_filter.last_step is $$Number of the step; of an exclusion that of the step after it.$$;

create type analytics.funnel_step as (
  breakdown_value text,
  is_other boolean,
  step int,
  event text,
  item text,
  is_optional boolean,
  person_count bigint,
  share float8,
  step_share float8,
  dropped_count bigint,
  open_count bigint,
  mean_time interval,
  median_time interval,
  median_total_time interval
);

comment on type analytics.funnel_step is $$
A step of a funnel with the people who did it.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.funnel_step.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_step.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_step.step is $$Number of the step; of an unordered funnel the number of steps.$$;
comment on column analytics.funnel_step.event is $$Event of the step; null in an unordered funnel.$$;
comment on column analytics.funnel_step.item is $$External id of the item of the step; null: any.$$;
comment on column analytics.funnel_step.is_optional is $$Whether the step can be left out.$$;
comment on column analytics.funnel_step.person_count is $$Number of people whose attempt has reached the step.$$;
comment on column analytics.funnel_step.share is $$
Number of people in proportion to the first step; null when that is 0.
$$;
comment on column analytics.funnel_step.step_share is $$
Number of people in proportion to the step before it, optional ones apart; null when that is 0.
$$;
comment on column analytics.funnel_step.dropped_count is $$
Number of people who did not do the next step, optional ones apart; null for the last and for an optional step.
$$;
comment on column analytics.funnel_step.open_count is $$
Number of people who did not do the next step, and whose window was open at the end of the period, or is open now.
Null for the last step.
$$;
comment on column analytics.funnel_step.mean_time is $$
Mean time from the step before it, optional ones apart; null for the first step, and for analysts of too few people.
$$;
comment on column analytics.funnel_step.median_time is $$Median of the same.$$;
comment on column analytics.funnel_step.median_total_time is $$Median time from the first step.$$;
