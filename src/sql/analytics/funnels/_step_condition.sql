create or replace function analytics._step_condition(
  filters analytics.step_filter[], number int, only_visible boolean, reads_events boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select nullif(
    concat_ws(
      ' and ',
      case when filters[number].items is not null then format('used.item_id = any (($1)[%s].items)', number) end,
      case
        when filters[number].property is null then null
        when reads_events then format(
          $query$used.properties -> (($1)[%1$s].property ->> 'name') = ($1)[%1$s].property -> 'is'$query$, number
        )
        else format('used.value_id = ($12)[%s]', number)
      end,
      case when only_visible then format('used.at <@ ($3)[%s]', number) end
    ),
    ''
  )
$$;

comment on function analytics._step_condition(analytics.step_filter[], int, boolean, boolean) is $$
Returns the condition that an event `used` of the type of a step, or an exclusion, is one; null: each event is.
For the statements of `analytics._funnel_attempts`, whose parameters it names. `reads_events`: the value of a property
is that of the event itself, and not of the journey.
$$;

grant execute on function analytics._step_condition(analytics.step_filter[], int, boolean, boolean) to insights_reader;
