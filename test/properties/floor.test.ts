import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { dayOf, monthOf, ofGroups, ofHours, people, type Use, weekOf } from "../support/floor.ts";
import { runs } from "../support/runs.ts";

/*
 * The answers that analysts receive do not depend on the events of one learner in a group below the floor, for any
 * arguments, and for any events of anonymous browsers.
 */
const database = await testDatabase();

const DAY = 86_400_000;
const HOUR = 3_600_000;
const start = Date.UTC(2026, 1, 23); // a Monday; the month ends on the Saturday
const FLOOR = 3;
const users = ["ada", "ben", "cleo", "dan", "eve", "finn"];

const action = fc.record({
  person: fc.constantFrom(...users),
  hour: fc.integer({ min: 0, max: 14 * 4 - 1 }).map((part) => Math.floor(part / 4) * 24 + 9 + (part % 4)),
  item: fc.constantFrom("page-a", "page-b", "course-a"),
});
const world = fc.record({
  actions: fc.array(action, { minLength: 20, maxLength: 80 }),
  secret: action,
  times: fc.integer({ min: 1, max: 30 }),
  browsers: fc.array(action, { maxLength: 6 }),
  refreshed: fc.boolean(),
});
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const at = ({ hour }: Action): number => start + hour * HOUR;
const items = (name: string): string[] => (name === "page-a" ? [name, "course-a"] : [name]);
const kind = (name: string): string => name.replace(/-.*/, "");

/** Whether the events would be in a figure: of their event type, of their kind of items, of their item, or of what contains it. */
const isShown = (actions: readonly Action[], secret: Action): boolean => {
  const uses = (list: readonly Action[]) => list.map((one) => ({ ...one, at: at(one) }));
  const all = [
    uses([...actions, secret]),
    uses([...actions, secret].filter((one) => kind(one.item) === kind(secret.item))),
  ];
  for (const item of items(secret.item)) {
    all.push(uses([...actions, secret].filter((one) => one.item === item)));
    all.push(uses([...actions, secret].filter((one) => items(one.item).includes(item))));
  }
  const week = weekOf(at(secret));
  return all.some((uses) =>
    ofGroups(uses, week, week + 7 * DAY, FLOOR).some((one) => one.at >= week && dayOf(one.at) === dayOf(at(secret))),
  );
};

/** Without actions of the same week, one by one, until the secret is below the floor. */
function withoutWitnesses(actions: readonly Action[], secret: Action): Action[] {
  let kept = [...actions];
  while (isShown(kept, secret)) {
    const place = kept.findIndex((one) => dayOf(at(one)) === dayOf(at(secret)));
    const other = place >= 0 ? place : kept.findIndex((one) => weekOf(at(one)) === weekOf(at(secret)));
    kept = kept.filter((_, index) => index !== other);
  }
  return kept;
}

/** An event, and a view of the item as a page. */
const messages = (who: object, one: Action, messageId: string): Message[] =>
  [
    { type: "track", messageId, event: "Read" },
    { type: "page", messageId: `${messageId} viewed`, name: one.item },
  ].map((sent) => ({
    ...sent,
    ...who,
    timestamp: new Date(at(one)).toISOString(),
    properties: { item: one.item },
  }));

/** The answers about many periods, most of which begin or end with a day or its week. */
async function answers(db: Queries, of: number): Promise<unknown> {
  await db.query("set local role insights_analyst");
  const result = [];
  const day = (number: number): string => new Date(start + number * DAY).toISOString();
  const monday = Math.floor(of / 7) * 7;
  const periods = [
    [0, of],
    [0, of + 1],
    [of, of + 1],
    [of, 14],
    [of + 1, 14],
    [monday, monday + 7],
    [-30, 40],
  ]
    .filter(([since = 0, until = 0]) => since < until)
    .map((days) => days.map(day));
  for (const [index, [since, until]] of periods.entries()) {
    result.push(
      await db.rows(
        `select bucket, point.* from unnest('{day,week,month}'::text[]) as bucket
         cross join analytics.trend('Read', bucket, $1, $2, 3) as point order by bucket, bucket_start`,
        [since, until],
      ),
      await db.rows(
        `select half_life, measure, kinds.kind as asked_kind, popular.*
         from (values ('people', '1 day'), ('people', null), ('events', '2 days'), ('events', null)) as asked (measure, half_life)
         cross join (values ('course'), (null)) as kinds (kind)
         cross join analytics.popular_items(kinds.kind, $1, $2, half_life::interval, 10, measure) as popular
         order by 1, 2, 3, rank`,
        [since, until],
      ),
    );
    const item = [null, "page-a", "course-a"][index % 3];
    result.push(
      await db.rows(
        `select bucket, asked.first_time, cell.*
         from unnest('{day,week}'::text[]) as bucket
         cross join unnest('{true,false}'::boolean[]) as asked (first_time)
         cross join analytics.retention(
           'Read', 'Read', bucket, $1, $2, periods => 2, first_time => asked.first_time, or_after => asked.first_time, item => $3
         ) as cell
         order by 1, 2, cohort_start, period`,
        [since, until, item],
      ),
      await db.rows(
        `select bucket, point.* from unnest('{day,week}'::text[]) as bucket
         cross join analytics.lifecycle('Read', bucket, $1, $2, item => $3) as point order by bucket, bucket_start`,
        [since, until, item],
      ),
      await db.rows(
        `select bucket, sticky.* from unnest('{day,week}'::text[]) as bucket
         cross join analytics.stickiness('Read', bucket, $1, $2, item => $3) as sticky order by bucket, bucket_count`,
        [since, until, item],
      ),
      await db.rows("select * from analytics.active_people('Read', $1, $2, windows => '{1,2,7,9}', item => $3)", [
        since,
        until,
        item,
      ]),
    );
  }
  for (const [since, until] of periods.filter((_, place) => place % 2 === 0))
    result.push(
      await db.rows("select * from analytics.popular_courses($1, $2)", [since, until]),
      await db.rows(
        `select breakdown, feature.*
         from unnest('{kind,null}'::text[]) as breakdown
         cross join analytics.feature_usage(null, breakdown, $1, $2, with_median => true) as feature
         order by breakdown, rank`,
        [since, until],
      ),
      await db.rows(
        `select kinds.kind as asked_kind, measure, trending.*
         from unnest('{course,null}'::text[]) as kinds (kind)
         cross join unnest('{people,events}'::text[]) as measure
         cross join analytics.trending_items(kinds.kind, $1, $2, measure, '7 days', bias => 1) as trending
         order by 1, 2, rank`,
        [since, until],
      ),
    );
  result.push(await db.rows("select * from analytics.trend('Read', 'hour', $1, $2)", [day(0), day(14)]));
  for (const asked of [
    "'Read', 'hour', $1, $2, zone => 'Asia/Kolkata'",
    "'Read', 'day', $1, $2, zone => 'Australia/Eucla'",
    "'Read', 'week', $1, $2, zone => 'Europe/Berlin'",
    "null, 'day', $1, $2, breakdown => 'item'",
    "null, 'week', $1, $2, breakdown => 'property.item', top_values => 1",
    "null, 'day', $1, $2, item => 'page-a'",
    "null, 'week', $1, $2, item => 'course-a'",
    "'Read', 'day', $1, $2, item => 'page-b'",
    "'Read', 'hour', $1, $2, item => 'course-a', zone => 'Europe/Berlin'",
  ])
    result.push(await db.rows(`select * from analytics.trend(${asked})`, [day(0), day(14)]));
  result.push(
    await db.rows("select * from analytics.lifecycle('Read', 'day', $1, $2, 'Asia/Kolkata')", [day(0), day(14)]),
    await db.rows("select * from analytics.active_people('Read', $1, $2, 'America/St_Johns', '{1,3}')", [
      day(0),
      day(14),
    ]),
  );
  // Of attempts, sequences and sessions, which join the events of days.
  const steps = `'["Read", {"event": "Read", "item": "page-b"}]'`;
  for (const [since, until] of periods.filter((_, place) => place % 2 === 1))
    for (const asked of [
      `step_order, funnel.* from unnest('{ordered,strict,unordered}'::text[]) as step_order
       cross join analytics.funnel(${steps}, $1, $2, step_order) as funnel`,
      `* from analytics.funnel('["Page Viewed", {"event": "Read", "item": "page-b"}]', $1, $2,
        exclusions => '[{"event": "Read", "item": "page-a"}]')`,
      `* from analytics.funnel(${steps}, $1, $2, breakdown => 'property.item', attribution => 'last_touch')`,
      `* from analytics.funnel(${steps}, $1, $2, item => 'course-a')`,
      `bucket, funnel.* from unnest('{day,week}'::text[]) as bucket
       cross join analytics.funnel_trend(${steps}, bucket, $1, $2) as funnel`,
      `* from analytics.funnel_times(${steps}, $1, $2)`,
      `* from analytics.funnel_correlation(${steps}, $1, $2)`,
      `nodes, path.* from unnest('{item,kind,course}'::text[]) as nodes
       cross join analytics.paths($1, $2, nodes) as path`,
      "* from analytics.paths($1, $2, start_at => 'page-b')",
      "* from analytics.sequences($1, $2, length => 2)",
      `nodes, transition.* from unnest('{item,kind,course}'::text[]) as nodes
       cross join analytics.transitions($1, $2, nodes) as transition`,
      `bucket, point.* from unnest('{day,week}'::text[]) as bucket
       cross join analytics.session_trend(bucket, $1, $2) as point`,
      `place, item.* from unnest('{entry,exit}'::text[]) as place cross join analytics.session_items(place, $1, $2) as item`,
      `measure, bin.* from unnest('{engaged,duration,views}'::text[]) as measure
       cross join analytics.session_distribution(measure, $1, $2) as bin`,
      "* from analytics.hour_of_week('Read', $1, $2)",
      "* from analytics.anomalies('Read', 'day', $1, $2, season => 1, history => 10)",
    ])
      result.push(await db.rows(`select ${asked}`, [since, until]));
  await db.query("reset role");
  return result;
}

test("one learner below the floor is not seen in any answer", { timeout: 600_000 }, async () => {
  let told = 0;
  await fc.assert(
    fc.asyncProperty(world, async ({ actions, secret, times, browsers, refreshed }) => {
      const others = withoutWitnesses(actions, secret);
      const ask = (more: readonly Message[]) =>
        database.as("postgres", {}, async (db) => {
          await db.query("update analytics.setting set smallest_group = $1", [FLOOR]);
          await ingest(db, [
            ...["course-a", "page-a", "page-b"].map((item) => ({
              type: "track",
              messageId: item,
              userId: "catalogue",
              event: "Published",
              timestamp: "2026-01-01T00:00:00Z",
              properties: {
                item,
                itemKind: item.split("-")[0],
                ...(item === "page-a" ? { parent: "course-a" } : {}),
              },
            })),
            ...users.map((userId) => ({ type: "identify", messageId: `user ${userId}`, userId })),
            ...others.flatMap((one, index) => messages({ userId: one.person }, one, `m${index}`)),
          ]);
          if (refreshed) await refresh(db);
          await ingest(db, [
            ...more,
            ...messages({ userId: "ada" }, { person: "ada", item: "page-b", hour: 24 * 60 }, "later"),
          ]);
          if (refreshed) await refresh(db);
          return await answers(db, Math.floor(secret.hour / 24));
        });
      const without = await ask([]);
      const secrets = Array.from({ length: times }, (_, index) =>
        messages({ userId: secret.person }, secret, `secret ${index}`),
      ).flat();
      const invented = browsers.flatMap((one, index) =>
        messages({ anonymousId: `browser ${one.person}` }, one, `browser ${index}`),
      );
      expect(await ask([...secrets, ...invented])).toEqual(without);
      const text = JSON.stringify(without);
      if (['"rank"', '"median_time"', '"session_count"'].every((name) => text.includes(name))) told += 1;
    }),
    {
      // Two fixed ones, and random ones.
      numRuns: 2 + runs(3, 1, database.native),
      // All users on ten days, and one of them once more: random actions may leave no group.
      examples: [
        [
          {
            actions: users.flatMap((person) =>
              Array.from({ length: 10 }, (_, day) => ({ person, hour: day * 24 + 9, item: "page-a" as const })),
            ),
            secret: { person: "ada", hour: 13 * 24 + 9, item: "page-b" },
            times: 3,
            browsers: [],
            refreshed: true,
          },
        ],
        // Pages that are different items: the kind has a group where no page has one.
        [
          {
            actions: [
              { person: "ada", hour: 9, item: "page-a" },
              { person: "ada", hour: 57, item: "page-a" },
              { person: "finn", hour: 57, item: "page-b" },
              { person: "eve", hour: 57, item: "course-a" },
            ],
            secret: { person: "eve", hour: 11, item: "page-a" },
            times: 14,
            browsers: [],
            refreshed: true,
          },
        ],
      ],
    },
  );
  // The answers are not silent for want of people.
  expect(told).toBeGreaterThan(0);
});

describe("no two periods differ by fewer people than the floor", () => {
  const uses = fc
    .array(fc.record({ person: fc.constantFrom(...users), at: fc.integer({ min: 0, max: 24 * 40 - 1 }) }), {
      maxLength: 120,
    })
    .map((list): Use[] => list.map(({ person, at: hour }) => ({ person, at: Date.UTC(2026, 1, 2) + hour * HOUR })));
  const missing = (whole: readonly Use[], part: readonly Use[]): number =>
    people(whole.filter((one) => !part.includes(one)));

  test("one within the other, or buckets of one within those of the other", () => {
    fc.assert(
      fc.property(uses, fc.integer({ min: 2, max: 5 }), (all, floor) => {
        const first = Date.UTC(2026, 1, 2);
        const answers: Use[][] = [];
        for (let since = 0; since < 40; since += 3)
          for (let until = since + 1; until <= 42; until += 2)
            answers.push(ofGroups(all, first + since * DAY, first + until * DAY, floor));
        for (const first of [Date.UTC(2026, 1), Date.UTC(2026, 2)])
          answers.push(ofGroups(all, first, monthOf(first + 32 * DAY), floor));
        for (const whole of answers)
          for (const part of answers)
            if (part.length < whole.length && part.every((one) => whole.includes(one)))
              expect(missing(whole, part)).toBeGreaterThanOrEqual(floor);
      }),
      { numRuns: 15 },
    );
  });

  test("a day, and its hours", () => {
    fc.assert(
      fc.property(uses, fc.integer({ min: 2, max: 5 }), (all, floor) => {
        const crowded = all.map(({ person, at: time }) => ({ person, at: dayOf(time) + (time % (4 * HOUR)) }));
        const hours = ofHours(crowded, floor);
        for (const day of new Set(crowded.map((one) => dayOf(one.at)))) {
          const left = missing(ofGroups(crowded, day, day + DAY, floor), hours);
          if (left > 0) expect(left).toBeGreaterThanOrEqual(floor);
        }
      }),
      { numRuns: 200 },
    );
  });
});

/*
 * Each person has a number of events of her own, a power of two, all at one time: a figure is then the set of its people,
 * and so is the difference of two figures. The figures are those of analysts before they are rounded.
 */
describe("no two trends differ by fewer people than the floor", () => {
  const floor = 3;
  const names = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"];
  const monday = Date.UTC(2026, 2, 2);
  const use = fc.record({
    hour: fc.constantFrom(9, 9, 10, 23, 24, 33),
    minute: fc.constantFrom(0, 5, 20, 50),
    item: fc.constantFrom("page-a", "page-a", "page-b", "course-c"),
    score: fc.constantFrom<(string | number)[]>(1, "1", 2),
    isPilot: fc.boolean(),
  });
  const uses = fc.array(use, { minLength: names.length, maxLength: names.length });
  type Placed = typeof use extends fc.Arbitrary<infer T> ? T : never;
  // The day has four members and five others; one hour three members alone, the other one member.
  const oneMember = names.map(
    (_, index): Placed => ({
      hour: index < 3 ? 9 : 10,
      minute: 0,
      item: "page-a",
      score: 1,
      isPilot: index < 4,
    }),
  );
  const sets = [null, "pilot", "~pilot", "counted & pilot"];
  const questions = [
    ...["hour", "day", "week"].flatMap((bucket) =>
      ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Eucla"].flatMap((zone) =>
        sets.map((among) => ({ bucket, zone, among, breakdown: null })),
      ),
    ),
    ...sets.flatMap((among) => [
      { bucket: "minute", zone: "UTC", among, breakdown: null },
      { bucket: "month", zone: "UTC", among, breakdown: null },
      ...["item", "property.score", "set.pilot"].flatMap((breakdown) =>
        ["day", "week"].map((bucket) => ({ bucket, zone: "UTC", among, breakdown })),
      ),
    ]),
  ];

  interface Figure {
    about: string;
    since: number;
    until: number;
    among: string | null;
    breakdown: string | null;
    /** Null: the sum over all values; "" are the values that have no row of their own. */
    value: string | null;
    people: number;
  }

  /** The figures of each question, and their sums by bucket and by value. */
  const figuresOf = async (db: Queries): Promise<Figure[]> =>
    await db.rows<Figure>(
      `with answer as (
         select
           asked.value ->> 'among' as among, asked.value ->> 'breakdown' as breakdown, asked.value::text as about,
           bounds[answer.bucket] as since, bounds[answer.bucket + 1] as until, answer.event_count,
           case when is_other then '' else '=' || coalesce(answer.value, '') end as value
         from jsonb_array_elements($1::jsonb) as asked (value)
         cross join lateral analytics._bounds(
           asked.value ->> 'bucket', '2026-03-02Z', '2026-03-05Z', asked.value ->> 'zone'
         ) as bounds
         cross join lateral analytics._trend_by_value_of_groups(
           analytics._event_type_id('Read'), bounds, null, asked.value ->> 'among', asked.value ->> 'breakdown', 10, $2
         ) as answer
       )
       select
         about, extract(epoch from min(since))::float8 as since, extract(epoch from max(until))::float8 as until,
         among, breakdown, case when breakdown is not null then value end as value, sum(event_count)::int as people
       from answer
       group by grouping sets ((about, among, breakdown, since, value), (about, among, breakdown, since), (about, among, breakdown, value), (about, among, breakdown))`,
      [JSON.stringify(questions), floor],
    );

  /** Figures consist of days, hours, quarters of an hour or minutes, and nobody can know that the others are empty. */
  const fineness = ({ about }: Figure): number => {
    const { bucket, zone } = JSON.parse(about);
    if (bucket === "minute") return 3;
    if (zone === "Asia/Kolkata" || zone === "Australia/Eucla") return 2;
    return zone === "UTC" && bucket !== "hour" ? 0 : 1;
  };

  /** Whether one is a part of the other by their arguments, for any people. */
  const contains = (whole: Figure, part: Figure): boolean =>
    fineness(whole) <= fineness(part) &&
    whole.since <= part.since &&
    part.until <= whole.until &&
    (whole.among === null || whole.among === part.among || `counted & ${whole.among}` === part.among) &&
    (whole.value === null ||
      (whole.breakdown === part.breakdown &&
        whole.value === part.value &&
        (whole.value !== "" || whole.among === part.among)));

  const size = (people: number): number => people.toString(2).replaceAll("0", "").length;

  test("of zones, parts of a day, sets of people and values", { timeout: 600_000 }, async () => {
    let differences = 0;
    await fc.assert(
      fc.asyncProperty(uses, fc.boolean(), async (list, refreshed) => {
        await database.as("postgres", {}, async (db) => {
          await ingest(
            db,
            list.flatMap(({ hour, minute, item, score }, index) =>
              Array.from({ length: 2 ** index }, (_, number) => ({
                type: "track",
                messageId: `${index} ${number}`,
                userId: names[index] as string,
                event: "Read",
                timestamp: new Date(monday + hour * HOUR + minute * 60_000).toISOString(),
                properties: { item, score },
              })),
            ),
          );
          await db.query(
            `select track.set_person_set(
               'pilot', array(select person_id from track.identity where external_id = any ($1)), 'Pilot.'
             )`,
            [names.filter((_, index) => list[index]?.isPilot)],
          );
          if (refreshed) await refresh(db);
          const figures = await figuresOf(db);
          for (const whole of figures) {
            expect(size(whole.people), JSON.stringify(whole)).toBeGreaterThanOrEqual(floor);
            for (const part of figures) {
              if (whole.people === part.people || !contains(whole, part)) continue;
              const left = whole.people & ~part.people;
              expect(part.people & ~whole.people, `${JSON.stringify(part)} within ${JSON.stringify(whole)}`).toBe(0);
              differences += 1;
              expect(size(left), `${JSON.stringify(whole)} without ${JSON.stringify(part)}`).toBeGreaterThanOrEqual(
                floor,
              );
            }
          }
          // Members and others, beside all.
          const key = ({ about, since, until, value }: Figure): string =>
            JSON.stringify([
              JSON.parse(about).bucket,
              JSON.parse(about).zone,
              JSON.parse(about).breakdown,
              since,
              until,
              value,
            ]);
          const members = new Map(
            figures.filter(({ among }) => among === "pilot").map((one) => [key(one), one.people]),
          );
          const others = new Map(
            figures.filter(({ among }) => among === "~pilot").map((one) => [key(one), one.people]),
          );
          for (const whole of figures.filter(({ among, value }) => among === null && value !== "")) {
            const left = whole.people & ~(members.get(key(whole)) ?? 0) & ~(others.get(key(whole)) ?? 0);
            if (left !== 0) expect(size(left), JSON.stringify(whole)).toBeGreaterThanOrEqual(floor);
          }
        });
      }),
      { numRuns: runs(7, 2, database.native), examples: [[oneMember, true]] },
    );
    expect(differences).toBeGreaterThan(0);
  });
});
