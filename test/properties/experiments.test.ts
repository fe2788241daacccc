import fc from "fast-check";
import { expect, test } from "vitest";
import { at, message, move, named, send, start, viewed } from "../sql/experiment/experiments.ts";
import { ingest, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Exposures, outcomes, sums and sets of people after any history: events in any order, people who are merged, split,
 * excluded, erased or who opt out, weights that change, refreshes of a few people between them. They are compared with
 * what plain SQL computes from the events, and with a computation from scratch.
 */
const database = await testDatabase();
await database.query("update track.setting set clock_tolerance = '1 hour'");
await send(database, [
  { person: "zoe", event: "Task Submitted", day: 1, properties: { item: "task", itemParent: "course" } },
  { person: "zoe", event: "Order Completed", day: 1 },
]);
await ingest(database, [{ type: "identify", messageId: "zoe", userId: "zoe", traits: { plan: "free" } }]);
await database.query(`
  select
    experiment.define_metric('submits', 'proportion', '{Task Submitted}', period => '3 days'),
    experiment.define_metric('times', 'count', '{Task Submitted,Order Completed}', cap => 2),
    experiment.define_metric('revenue', 'mean', '{Order Completed}', value_property => 'value', cap => 100),
    experiment.define_metric('late_revenue', 'mean', '{Order Completed}', value_property => 'value', delay => '1 day', period => '2 days'),
    experiment.define_metric('late', 'retention', '{Task Submitted}', delay => '1 day', period => '2 days'),
    experiment.define_metric('on_task', 'count', '{Task Submitted}', item => 'task'),
    experiment.define_metric('median', 'quantile', '{Order Completed}', value_property => 'value', quantile => 0.5),
    experiment.define_metric('large', 'count', '{Order Completed}', property_filter => '{"value": {"$gt": 5}}')`);
await database.query(
  "select experiment.define_metric('per_time', 'ratio', numerator => 'revenue', denominator => 'times')",
);
await start(
  database,
  {
    key: "first",
    goals: ["submits", "times"],
    secondary: ["revenue", "per_time", "median"],
    guardrails: ["late", "on_task", "large"],
    strata: "trait.plan",
    before_period: "4 days",
  },
  5,
);
await database.query("select track.set_person_set('listed_people', '{}', 'Listed.')");
await start(
  database,
  {
    key: "second",
    goals: ["revenue"],
    secondary: ["times", "late_revenue"],
    population: "visitors",
    strata: "set.listed_people",
  },
  8,
);
await move(database, "second", 8, 14);
await database.query(
  `
  insert into experiment.weighting (experiment_id, since, weights)
  select experiment_id, $1, '{0.2,0.8}' from experiment.experiment where experiment_key = 'first'`,
  [at(9)],
);

const user = fc.constantFrom("ada", "ben", "eve");
const browser = fc.constantFrom("b1", "b2");
const name = fc.oneof(user, browser);
const day = fc.integer({ min: 4, max: 68 }).map((quarter) => quarter / 4);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      what: fc.constant("view" as const),
      person: name,
      experiment: fc.constantFrom("first", "first", "second", "other"),
      variation: fc.constantFrom("control", "control", "control", "treatment", 1, "0", "gone"),
      day,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("event" as const),
      person: name,
      event: fc.constantFrom("Task Submitted", "Order Completed"),
      item: fc.constantFrom("task", "other task", undefined),
      value: fc.constantFrom(1, 0.1, 12.345, -3, 1e15, 77, "much", undefined),
      day,
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("identify" as const), person: user, other: browser, day }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("alias" as const), person: user, other: name }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constantFrom("link" as const, "unlink" as const), person: name, other: name }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("exclude" as const, "include" as const), person: name }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("decide" as const), person: user, granted: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("plan" as const),
      person: name,
      plan: fc.constantFrom("pro", "free"),
      day,
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("list" as const, "unlist" as const), person: name }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("restrict" as const, "lift" as const), person: user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("erase" as const), person: name }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constantFrom("refresh" as const, "refresh some" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(db: Queries, one: Step): Promise<void> {
  const attempt = async (sql: string, values: unknown[]): Promise<void> => {
    await db.query("savepoint attempt");
    try {
      await db.query(sql, values);
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^CF00/);
      await db.query("rollback to attempt");
    }
  };
  const people = "array(select distinct person_id from track.identity where external_id = $1 and kind <> 'none')";
  switch (one.what) {
    case "view":
      await ingest(db, [message(viewed(one.person, one.experiment, one.variation, one.day))]);
      break;
    case "event":
      await ingest(db, [
        message({
          person: one.person,
          event: one.event,
          day: one.day,
          properties: {
            ...(one.item === undefined ? {} : { item: one.item }),
            ...(one.value === undefined ? {} : { value: one.value }),
          },
        }),
      ]);
      break;
    case "identify":
      await ingest(db, [
        {
          ...message({ person: one.person, event: "", day: one.day }),
          type: "identify",
          anonymousId: one.other,
          event: undefined,
        },
      ]);
      break;
    case "alias":
      await ingest(db, [
        {
          ...message({ person: one.person, event: "", day: 1 }),
          type: "alias",
          event: undefined,
          previousId: one.other,
        },
      ]);
      break;
    case "link":
    case "unlink":
      await attempt(`select track.${one.what}_identities($1, $2)`, [one.person, one.other]);
      break;
    case "exclude":
      await attempt("select track.exclude_person($1, 'test')", [one.person]);
      break;
    case "include":
      await attempt("select track.include_person($1)", [one.person]);
      break;
    case "decide":
      await ingest(db, [
        {
          ...message({ person: one.person, event: "Segment Consent Preference Updated", day: 3 }),
          timestamp: new Date().toISOString(),
          context: { consent: { categoryPreferences: { analytics: one.granted } } },
        },
      ]);
      break;
    case "plan":
      await ingest(db, [
        {
          type: "identify",
          messageId: `p${Math.random()}`,
          ...named(one.person),
          traits: { plan: one.plan },
          timestamp: at(one.day),
        },
      ]);
      break;
    case "list":
    case "unlist":
      await db.query(
        `select track.${one.what === "list" ? "add_to" : "remove_from"}_person_set('listed_people', ${people})`,
        [one.person],
      );
      break;
    case "restrict":
      await attempt("select privacy.restrict_person($1, 'request')", [one.person]);
      break;
    case "lift":
      await attempt("select privacy.lift_restriction($1)", [one.person]);
      break;
    case "erase":
      await attempt("select privacy.erase_person($1)", [one.person]);
      break;
    case "refresh some":
      await db.query("select track.refresh(1)");
      break;
    default:
      await refresh(db, 2);
  }
}

/** The expected rows, in plain SQL over the events; it calls no function of the room. */
const oracle = `
  with viewed as (
    select
      event.person_id, event.occurred_at, experiment.*,
      case event.properties ->> 'variation_id' when 'control' then 0 when '0' then 0 when 'treatment' then 1 when '1' then 1 end
        as arm
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and event_type.name = 'Experiment Viewed'
    join experiment.experiment on experiment.experiment_key = event.properties ->> 'experiment_id'
    where event.person_id <> 0
      and event.occurred_at >= experiment.started_at
      and event.occurred_at < coalesce(experiment.stopped_at, 'infinity')
      and event.properties ->> 'variation_id' in ('control', '0', 'treatment', '1')
      and event.person_id not in (select person_id from privacy.latest_decisions('analytics') where not granted)
      and event.person_id not in (select person_id from privacy.restriction)
  ),

  exposed as (
    select
      person_id, experiment_id, experiment_key, before_period, population, coalesce(stopped_at, 'infinity') as ends_at,
      strata, min(occurred_at) as exposed_at, case when min(arm) = max(arm) then min(arm) end as arm
    from viewed
    group by person_id, experiment_id, experiment_key, before_period, population, stopped_at, strata
  ),

  used as (
    select event.person_id, event.occurred_at, event_type.name, item.external_id as item,
      case when jsonb_typeof(event.properties -> 'value') = 'number' then (event.properties ->> 'value')::numeric end as value
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    left join track.item on item.item_id = event.item_id
  ),

  figure as (
    select exposed.*, is_before,
      (select least(count(*), 1) from used where used.person_id = exposed.person_id and name = 'Task Submitted'
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at and occurred_at < exposed_at + interval '3 days' and occurred_at < ends_at end) as submits,
      (select least(count(*), 2) from used where used.person_id = exposed.person_id and name in ('Task Submitted', 'Order Completed')
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at and occurred_at < ends_at end) as times,
      (select least(coalesce(sum(value), 0), 100) from used where used.person_id = exposed.person_id and name = 'Order Completed'
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at and occurred_at < ends_at end) as revenue,
      (select coalesce(sum(value), 0) from used where used.person_id = exposed.person_id and name = 'Order Completed'
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at + interval '1 day' and occurred_at < exposed_at + interval '3 days'
          and occurred_at < ends_at end) as late_revenue,
      (select count(value) from used where used.person_id = exposed.person_id and name = 'Order Completed'
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at and occurred_at < ends_at end) as amounts,
      (select least(count(*), 1) from used where used.person_id = exposed.person_id and name = 'Task Submitted'
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at + interval '1 day' and occurred_at < exposed_at + interval '3 days'
          and occurred_at < ends_at end) as late,
      (select count(*) from used where used.person_id = exposed.person_id and name = 'Order Completed' and value > 5
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at and occurred_at < ends_at end) as large,
      (select count(*) from used where used.person_id = exposed.person_id and name = 'Task Submitted' and item = 'task'
        and case when is_before then occurred_at >= exposed_at - before_period and occurred_at < exposed_at
        else occurred_at >= exposed_at and occurred_at < ends_at end) as on_task
    from exposed
    cross join (values (false), (true)) as part (is_before)
  ),

  listed as (
    select person_id, experiment_id, is_before,
      case experiment_key
        when 'first' then array[submits, times, revenue, revenue, times, amounts, late, on_task, large]::numeric[]
        else array[revenue, times, late_revenue]::numeric[]
      end as figures
    from figure
  )

  select
    exposed.person_id, exposed.experiment_key, exposed.arm as variation, exposed.exposed_at,
    case exposed.population
      when 'counted' then exists (select from track.identity where identity.person_id = exposed.person_id and kind = 'user')
      else true
    end and not exists (
      select from track.identity join track.exclusion using (identity_id) where identity.person_id = exposed.person_id
    ) as is_counted,
    case exposed.strata
      when 'trait.plan' then
        (select value #>> '{}' from track.traits_at(array[exposed.person_id], 'plan', array[exposed.exposed_at]))
      else exists (
        select from track.identity join track.person_set_member using (identity_id) where identity.person_id = exposed.person_id
      )::text
    end as stratum,
    case
      when exposed.arm is null then null
      when exposed.experiment_key = 'first' and exposed.exposed_at >= '${at(9)}' then '{0.2,0.8}'::float8[]
      else '{0.5,0.5}'
    end as weights,
    (select figures from listed where listed.person_id = exposed.person_id and listed.experiment_id = exposed.experiment_id
      and not is_before) as outcomes,
    (select figures from listed where listed.person_id = exposed.person_id and listed.experiment_id = exposed.experiment_id
      and is_before) as outcomes_before
  from exposed`;

/** The rows of both that the other does not have. */
const differences = (db: Queries) =>
  db.rows(`
    with expected as (
      select person_id, experiment_key, variation::int, exposed_at, is_counted, stratum, weights[variation + 1], outcomes,
        outcomes_before
      from (${oracle}) as oracle
    ),
    stored as (
      select person_id, experiment_key, variation::int, exposed_at, is_counted, stratum, probability, outcomes, outcomes_before
      from experiment.exposure
      join experiment.experiment using (experiment_id)
    )
    select 'missing' as problem, missing.* from (table expected except table stored) as missing
    union all
    select 'wrong', wrong.* from (table stored except table expected) as wrong`);

/** The sums that differ from those of the exposures, the sets, and the values of quantiles. */
const wrongSums = (db: Queries) =>
  db.rows(`
    with counted as (
      select *, case when variation is null then -1 when not is_counted then -2 else variation end as arm,
        coalesce(stratum, '') as part
      from experiment.exposure
    ),
    expected as (
      select experiment_id, -1 as position, arm, exposed_on, part, count(*) as people, '{}'::numeric[] as sums
      from counted
      group by 1, 3, 4, 5
      union all
      select experiment_id, position, arm, exposed_on, part, count(*),
        array[sum(y), sum(y * y), sum(x), sum(x * x), sum(x * y)]
      from (
        select counted.*, slot.position, outcomes[slot.place] as y, outcomes_before[slot.place] as x
        from counted
        join (
          values ('first', 0, 1), ('first', 1, 2), ('first', 2, 3), ('first', 4, 6), ('first', 5, 7), ('first', 6, 8), ('first', 7, 9),
            ('second', 0, 1), ('second', 1, 2), ('second', 2, 3)
        ) as slot (experiment_key, position, place) on true
        join experiment.experiment using (experiment_id, experiment_key)
        where arm >= 0
      ) as simple
      group by 1, 2, 3, 4, 5
      union all
      select experiment_id, 3, arm, exposed_on, part, count(*),
        array[sum(m), sum(m * m), sum(mb), sum(mb * mb), sum(m * mb), sum(d), sum(d * d), sum(db), sum(db * db), sum(d * db),
          sum(m * d), sum(m * db), sum(mb * d), sum(mb * db)]
      from (
        select counted.*, outcomes[4] as m, outcomes[5] as d, outcomes_before[4] as mb, outcomes_before[5] as db
        from counted
        join experiment.experiment using (experiment_id)
        where arm >= 0 and experiment_key = 'first'
      ) as ratio
      group by 1, 3, 4, 5
    ),
    stored as (
      select experiment_id, position::int, variation::int, exposed_on, stratum, people, sums from experiment.day_sum
    )
    (select 'missing' as problem, missing.experiment_id::text, missing::text from (table expected except table stored) as missing
    union all
    select 'wrong', wrong.experiment_id::text, wrong::text from (table stored except table expected) as wrong)
    union all
    select 'period', experiment_id::text, number::text
    from (
      (
        select experiment_id, max(since) as since, variation, count(*) as people
        from (
          select counted.person_id, counted.experiment_id, counted.variation, max(weighting.since) as since
          from counted
          join experiment.weighting on weighting.experiment_id = counted.experiment_id and weighting.since <= exposed_at
          where arm >= 0
          group by 1, 2, 3
        ) as weighed
        group by experiment_id, variation, weighed.since
        except
        select experiment_id, since, variation, people from experiment.period_sum
      )
      union all
      (
        select experiment_id, since, variation, people from experiment.period_sum
        except
        select experiment_id, since, variation, count(*)
        from (
          select counted.person_id, counted.experiment_id, counted.variation, max(weighting.since) as since
          from counted
          join experiment.weighting on weighting.experiment_id = counted.experiment_id and weighting.since <= exposed_at
          where arm >= 0
          group by 1, 2, 3
        ) as weighed
        group by 1, 2, 3
      )
    ) as number
    union all
    select 'arm', set_name, person_id::text
    from (
      (
        select 'arm.' || experiment_key || '.' || variation_key as set_name, person_id
        from counted
        join experiment.experiment using (experiment_id)
        join experiment.variation on variation.experiment_id = counted.experiment_id and variation.variation = arm
        except
        select name, member from track.person_set cross join track.person_set_members(name) as member
      )
      union all
      (
        select name, member from track.person_set cross join track.person_set_members(name) as member where name like 'arm.%'
        except
        select 'arm.' || experiment_key || '.' || variation_key, person_id
        from counted
        join experiment.experiment using (experiment_id)
        join experiment.variation on variation.experiment_id = counted.experiment_id and variation.variation = arm
      )
    ) as arms
    union all
    select 'value', person_id::text, event_values::text
    from (
      (
        select person_id, event_values from experiment.event_value
        except
        select exposure.person_id, array_agg((properties ->> 'value')::numeric order by (properties ->> 'value')::numeric)
        from experiment.exposure
        join experiment.experiment using (experiment_id)
        join track.event on event.person_id = exposure.person_id and occurred_at >= exposed_at
        join track.event_type using (event_type_id)
        where experiment_key = 'first' and event_type.name = 'Order Completed' and jsonb_typeof(properties -> 'value') = 'number'
        group by exposure.person_id
      )
    ) as event_values`);

test("exposures and sums that are kept are those that plain SQL computes", { timeout: 900_000 }, async () => {
  const seen = { exposures: 0, multiple: 0, uncounted: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 40 }), async (steps) => {
      await database.as("postgres", {}, async (db) => {
        for (const one of steps) await take(db, one);
        await refresh(db, 3);
        expect(await differences(db)).toEqual([]);
        expect(await wrongSums(db)).toEqual([]);
        expect(await db.rows("select wrong_people, wrong_sums from experiment.check_exposures('first')")).toEqual([
          { wrong_people: 0, wrong_sums: 0 },
        ]);
        const tables = "experiment.exposure, experiment.day_sum, experiment.period_sum, experiment.event_value";
        const kept = await db.rows("select exposure::text from experiment.exposure order by person_id, experiment_id");
        seen.exposures += kept.length;
        seen.multiple += await db.value<number>(
          "select count(*)::int from experiment.exposure where variation is null",
        );
        seen.uncounted += await db.value<number>("select count(*)::int from experiment.exposure where not is_counted");
        await db.query(`truncate ${tables}`);
        await db.query("delete from track.person_set_block where name like 'arm.%'");
        await db.query("select track.rebuild('experiment.exposure')");
        await refresh(db, 2);
        expect(await differences(db)).toEqual([]);
        expect(await wrongSums(db)).toEqual([]);
      });
    }),
    { numRuns: runs(40, 8, database.native) },
  );
  expect(seen.exposures).toBeGreaterThan(0);
  expect(seen.uncounted).toBeGreaterThan(0);
});
