/*
 * Pairs of queries for the property tests: the rollups as stored, and as plain SQL computes them from the events.
 */

export const isCounted = (of: string): string =>
  `(exists (select from track.identity where identity.person_id = ${of} and kind = 'user') and not ${isExcluded(of)})`;
export const isExcluded = (of: string): string =>
  `(exists (select from track.identity join track.exclusion using (identity_id) where identity.person_id = ${of})
    or exists (select from privacy.restriction where restriction.person_id = ${of}))`;
export const day = (at: string): string => `(${at} at time zone 'UTC')::date`;
/** Events, with whether they are automatic. */
export const events = `(select event.*, ${day("occurred_at")} as day, event_type.is_automatic or source.is_automatic as is_automatic
  from track.event join track.event_type using (event_type_id) join track.source using (source_id)) as event`;
/** Use of items: events and page views of people. */
export const used = `(select person_id, item_id, ${day("occurred_at")} as day, 1 as events, interval '0' as engaged from track.event
  union all select person_id, item_id, ${day("started_at")}, 0, engaged from track.page_view) as used`;

/** Events with the text of a declared property. */
export const valued = `(select event.*, ${day("occurred_at")} as day, event_type.is_automatic or source.is_automatic as is_automatic,
    property_id, most_values, left(properties ->> property, 200) as value
  from track.event join track.event_type using (event_type_id) join track.source using (source_id)
  join track.declared_property using (event_type_id)) as event`;
export const text = (of: string): string =>
  `case ${of} when 0 then null else (select value from track.property_value where property_value.value_id = ${of}) end`;
/** Pairs of queries: what is stored, and what plain SQL over the events gives. */
export const pairs: Record<string, [string, string]> = {
  step: [
    `select person_id, event_type_id, is_automatic, since::text, array_agg(at order by at, item) as times,
       array_agg(item order by at, item) as items
     from track.step cross join unnest(occurred_at, item_ids) as listed (at, item) group by 1, 2, 3, 4 order by 1, 2, 3, 4`,
    `select person_id, event_type_id, is_automatic,
       case when person_id = 0 then day else date_trunc('year', day::timestamp)::date end::text as since,
       array_agg(occurred_at order by occurred_at, coalesce(item_id, 0)) as times,
       array_agg(coalesce(item_id, 0)::int order by occurred_at, coalesce(item_id, 0)) as items
     from ${events} group by 1, 2, 3, 4 order by 1, 2, 3, 4`,
  ],
  presence: [
    `select presence.event_type_id, presence.day::text, person.person_id from track.presence
     join track.person on person.person_id / 4096 = block and get_bit(people, (person.person_id % 4096)::int) <> 0
     order by 1, 2, 3`,
    `select distinct listed.event_type_id, day::text, person_id from ${events}
     cross join lateral (values (event.event_type_id), (case when not is_automatic then 0 end)) as listed (event_type_id)
     where person_id <> 0 and listed.event_type_id is not null order by 1, 2, 3`,
  ],
  "events of types": [
    `select event_type_id, day::text, sum(event_count)::int as events, sum(counted_count)::int as counted
     from track.presence group by 1, 2 having sum(event_count) > 0 order by 1, 2`,
    `select listed.event_type_id, day::text, count(*)::int as events,
       (count(*) filter (where ${isCounted("event.person_id")}))::int as counted from ${events}
     cross join lateral (values (event.event_type_id), (case when not is_automatic then 0 end)) as listed (event_type_id)
     where not ${isExcluded("event.person_id")} and listed.event_type_id is not null group by 1, 2 order by 1, 2`,
  ],
  "people of items": [
    `select item_id, month::text, part * 32768 + listed.person as person_id, listed.days from track.item_month
     cross join unnest(people, days) as listed (person, days) order by 1, 2, 3`,
    `select item_id, date_trunc('month', day::timestamp)::date::text as month, person_id::int,
       bit_or(1 << (extract(day from day)::int - 1)) as days
     from ${used} where person_id <> 0 and item_id is not null group by 1, 2, 3 order by 1, 2, 3`,
  ],
  "sums of months": [
    `select item_id, month::text, sum(event_count)::int as events, sum(engaged)::text as engaged from track.item_month
     group by 1, 2 having sum(event_count) <> 0 or sum(engaged) <> '0' order by 1, 2`,
    `select item_id, date_trunc('month', day::timestamp)::date::text as month, sum(events)::int as events, sum(engaged)::text as engaged
     from ${used} where item_id is not null and ${isCounted("used.person_id")}
     group by 1, 2 having sum(events) <> 0 or sum(engaged) <> '0' order by 1, 2`,
  ],
  "sums of days": [
    `select item_id, with_parts, day::text, event_count as events, person_count as people, engaged::text
     from track.item_day order by 1, 2, 3`,
    `select ancestor_item_id as item_id, whole as with_parts, day::text, sum(events)::int as events,
       count(distinct person_id)::int as people, sum(engaged)::text as engaged
     from ${used} join track.item_ancestor using (item_id) join track.item on item.item_id = ancestor_item_id
     join (values (false), (true)) as form (whole) on case when whole then item.kind = 'course' else depth = 0 end
     where ${isCounted("used.person_id")} group by 1, 2, 3 order by 1, 2, 3`,
  ],
  transitions: [
    `select month::text, source_item_id, target_item_id, transition_count::int as transitions, person_count as people,
       elapsed::float8 / 1000000 as seconds
     from track.item_transition order by 1, 2, 3`,
    `select month::text, item_id as source_item_id, next_item as target_item_id, count(*)::int as transitions,
       count(distinct person_id)::int as people, extract(epoch from sum(next_at - started_at))::float8 as seconds
     from (
       select page_view.*, date_trunc('month', session.started_at at time zone 'UTC')::date as month,
         lead(page_view.item_id) over in_session as next_item, lead(page_view.started_at) over in_session as next_at
       from track.page_view join track.session using (person_id, session_id)
       where not is_continued and page_view.item_id is not null
       window in_session as (partition by person_id, session_id order by view_number)
     ) as view
     where next_item <> item_id and ${isCounted("view.person_id")} group by 1, 2, 3 order by 1, 2, 3`,
  ],
  "people of courses": [
    `select item_id, month::text, block::bigint * 4096 + member as person_id, used.days,
       get_bit(people, member) = 1 as has_bit
     from track.course_presence, unnest(members, course_presence.days) as used (member, days)
     order by 1, 2, 3`,
    `select ancestor_item_id as item_id, date_trunc('month', day::timestamp)::date::text as month, person_id,
       bit_or(1 << (extract(day from day)::int - 1)) as days, true as has_bit
     from ${used} join track.item_ancestor using (item_id)
     join track.item on item.item_id = ancestor_item_id and item.kind = 'course'
     where person_id <> 0 group by 1, 2, 3 order by 1, 2, 3`,
  ],
};

/** Rows of a query in the order of a property, a value and further columns. */
export const byValue = (sql: string, more = ""): string =>
  `select * from (${sql}) as listed order by property_id, value collate "C"${more}`;
/** The same for the values of declared properties. */
export const valuePairs: Record<string, [string, string]> = {
  "values of journeys": [
    `select step.person_id, property_id, step.is_automatic, step.since::text,
       cardinality(value_ids) = cardinality(occurred_at) as is_aligned,
       array_agg(array[at::text, item::text, ${text("listed.value_id")}]
         order by at, item, ${text("listed.value_id")} collate "C") as events
     from track.step join track.declared_property using (event_type_id)
     left join track.step_value using (person_id, property_id, is_automatic, since)
     cross join unnest(occurred_at, item_ids, coalesce(value_ids, array_fill(0, array[cardinality(occurred_at)])))
       as listed (at, item, value_id)
     group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4`,
    `select person_id, property_id, is_automatic,
       case when person_id = 0 then day else date_trunc('year', day::timestamp)::date end::text as since,
       case when count(value) > 0 then true end as is_aligned,
       array_agg(array[occurred_at::text, coalesce(item_id, 0)::text, value]
         order by occurred_at, coalesce(item_id, 0), value collate "C") as events
     from ${valued} group by 1, 2, 3, 4 order by 1, 2, 3, 4`,
  ],
  "people of values": [
    byValue(
      `select property_id, ${text("value_presence.value_id")} as value, day::text, person_id from track.value_presence
       join track.person on person_id / 16384 = part and get_bit(people, (person_id % 16384)::int) <> 0`,
      ", day, person_id",
    ),
    byValue(
      `select distinct property_id, value, day::text, person_id from ${valued} where person_id <> 0`,
      ", day, person_id",
    ),
  ],
  "events of values": [
    byValue(
      `select property_id, ${text("value_presence.value_id")} as value, day::text, sum(event_count)::int as events,
         sum(counted_count)::int as counted
       from track.value_presence group by 1, 2, 3 having sum(event_count) > 0`,
      ", day",
    ),
    byValue(
      `select property_id, value, day::text, count(*)::int as events,
         (count(*) filter (where ${isCounted("event.person_id")}))::int as counted
       from ${valued} where not ${isExcluded("event.person_id")} group by 1, 2, 3`,
      ", day",
    ),
  ],
  "values that an event has": [
    byValue("select property_id, value from track.property_value"),
    byValue(`select distinct property_id, value from ${valued} where value is not null`),
  ],
};
