import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Attempt,
  attempt,
  type Exclusion,
  type Funnel,
  type Happened,
  matches,
  type StepFilter,
} from "../sql/analytics/funnel_rules.ts";
import { ingest, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Funnels of random people and events, refreshed or not, compared with the rules of PostHog, person by person. There
 * are few different times, so that many events are of the same instant or at the end of a window.
 */
const database = await testDatabase();

const DAY = 86_400_000;
const begin = Date.UTC(2025, 11, 24);
const names = ["A", "B", "C", "D"];
const people = ["ada", "ben", "cleo", "dan"];
const HOUR = 3_600_000;

const happened = fc.record({
  who: fc.constantFrom(...people),
  hour: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 24 * 20 })),
  event: fc.constantFrom(...names),
  item: fc.constantFrom("x", "y"),
  plan: fc.constantFrom("free", "pro", null),
});

const filter: fc.Arbitrary<StepFilter> = fc.record(
  {
    event: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: fc.constant(null) }),
    item: fc.constantFrom("x", "y"),
    plan: fc.constantFrom("free", "pro"),
    optional: fc.boolean(),
  },
  { requiredKeys: ["event"] },
);

const funnel: fc.Arbitrary<Funnel> = fc
  .record({
    // Different events, whose attempts are found by search, or any.
    steps: fc.oneof(
      fc
        .shuffledSubarray(names, { minLength: 2, maxLength: 4 })
        .map((list) => list.map((event): StepFilter => ({ event }))),
      fc.array(filter, { minLength: 2, maxLength: 4 }),
    ),
    exclusions: fc.array(
      fc.record({
        event: fc.constantFrom(...names),
        from: fc.integer({ min: 1, max: 3 }),
        to: fc.integer({ min: 2, max: 4 }),
      }),
      { maxLength: 2 },
    ),
    order: fc.constantFrom("ordered" as const, "strict" as const, "unordered" as const),
    hours: fc.constantFrom(1, 3, 24, 24 * 14),
  })
  .map(({ steps, exclusions, order, hours }) => ({
    steps: steps.map(({ optional, ...step }, index) =>
      optional && index > 0 && order === "ordered" ? { ...step, optional } : step,
    ),
    exclusions: exclusions
      .filter(({ event }) => steps.every((step) => step.event !== event && step.event !== null))
      .map(({ event, from, to }): Exclusion => {
        const last = order === "unordered" ? steps.length : Math.min(to, steps.length);
        return { event, from: order === "unordered" ? 1 : Math.min(from, last - 1), to: last };
      }),
    order,
    window: hours * HOUR,
  }));

const plain = (...events: string[]): StepFilter[] => events.map((event) => ({ event }));

const given = (step: StepFilter & Partial<Exclusion>): object => ({
  ...step,
  plan: undefined,
  ...(step.plan === undefined ? {} : { property: { name: "plan", is: step.plan } }),
});

const argumentsOf = (one: Funnel): unknown[] => [
  JSON.stringify(one.steps.map(given)),
  new Date(begin).toISOString(),
  new Date(begin + 30 * DAY).toISOString(),
  one.order,
  `${one.window / 1000} seconds`,
  JSON.stringify(one.exclusions.map(given)),
];

interface Row {
  person: string;
  bucket: number;
  value: string | null;
  reached: number;
  times: (number | null)[];
}

const attempts = async (db: Queries, one: Funnel, bounds: number[], attribution: string | null): Promise<string[]> => {
  const [steps, , , order, window, exclusions] = argumentsOf(one);
  const rows = await db.rows<Row>(
    `select
       identity.external_id as person, attempt.bucket, attempt.value, attempt.reached,
       array(
         select (extract(epoch from time.at) * 1000)::float8
         from unnest(attempt.times) with ordinality as time (at, number) order by time.number
       ) as times
     from analytics._funnel_attempts(
       analytics._funnel_steps($1, $5, $3, null), $2, $3, $4, null, $6, $7, null
     ) as attempt
     join track.identity on identity.identity_id = attempt.person_id`,
    [
      steps,
      bounds.map((at) => new Date(at).toISOString()),
      order,
      window,
      exclusions,
      attribution && "plan",
      attribution,
    ],
  );
  return sorted(rows);
};

const row = (person: string, bucket: number, value: string | null, found: Attempt): Row[] =>
  found.reached === 0 || found.isExcluded
    ? []
    : [{ person, bucket, value, reached: found.reached, times: found.times }];

const sorted = (rows: Row[]): string[] => rows.map((one) => JSON.stringify(one)).sort();

/** By value of the property of the events that the attribution names. */
function byValue(person: string, events: Happened[], one: Funnel, attribution: string): Row[] {
  const isStep = (event: Happened): boolean => one.steps.some((step) => matches(event, step));
  const listed = events.filter(isStep).sort((a, b) => a.at - b.at || (a.plan ?? "").localeCompare(b.plan ?? ""));
  if (attribution === "first_touch" || attribution === "last_touch") {
    const valued = listed.filter(({ plan }) => plan !== null);
    const at = attribution === "first_touch" ? valued[0]?.at : valued.at(-1)?.at;
    return row(person, 1, valued.find((event) => event.at === at)?.plan ?? null, attempt(events, one));
  }
  const isHit = (event: Happened): boolean =>
    isStep(event) || one.order === "strict" || one.exclusions.some((exclusion) => matches(event, exclusion));
  if (attribution === "all_events") {
    return [...new Set(events.filter(isHit).map(({ plan }) => plan))].flatMap((value) =>
      row(
        person,
        1,
        value,
        attempt(
          events.filter(({ plan }) => plan === value),
          one,
        ),
      ),
    );
  }
  const number = Number(attribution.slice(5));
  const at = one.steps[number - 1] as StepFilter;
  const values = [...new Set(events.filter((event) => matches(event, at)).map(({ plan }) => plan))];
  return (values.length === 0 ? [null] : values).flatMap((value) =>
    row(
      person,
      1,
      value,
      attempt(events, one, (event) =>
        one.steps.flatMap((step, index) =>
          matches(event, step) && (index + 1 !== number || event.plan === value) ? [index + 1] : [],
        ),
      ),
    ),
  );
}

test("attempts are those of PostHog's rules, also by bucket and by value of a property", async () => {
  let converted = 0;
  let excluded = 0;
  let declaredCount = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(happened, { minLength: 4, maxLength: 60 }),
      fc.array(happened, { maxLength: 10 }),
      fc.array(funnel, { minLength: 4, maxLength: 8 }),
      fc.constantFrom("first_touch", "last_touch", "all_events", "step_1", "step_2"),
      // The events whose property is read from the journeys.
      fc.oneof(fc.constant(names), fc.subarray(names)),
      async (early, late, funnels, attribution, declared) => {
        await database.as("postgres", {}, async (db) => {
          const send = (list: typeof early, offset: number) =>
            ingest(
              db,
              list.map(({ who, hour, event, item, plan }, index) => ({
                type: "track",
                messageId: `m${offset + index}`,
                userId: who,
                event,
                timestamp: new Date(begin + hour * HOUR).toISOString(),
                properties: { item, itemKind: "page", ...(plan === null ? {} : { plan }) },
              })),
            );
          // All names are known.
          await send(
            names.map((event) => ({ who: "other", hour: -24, event, item: event === "A" ? "x" : "y", plan: null })),
            9000,
          );
          await send(early, 0);
          for (const name of declared) await db.query("select track.declare_property($1, 'plan')", [name]);
          await refresh(db);
          await send(late, 1000);
          declaredCount += await db.value<number>(`
            select count(*)::int
            from track.event_type
            where track.is_property_complete(event_type_id, 'plan')`);
          const events = (who: string): Happened[] =>
            [...early, ...late]
              .filter((one) => one.who === who)
              .map(({ hour, ...one }) => ({ ...one, at: begin + hour * HOUR }));
          for (const one of funnels) {
            const label = JSON.stringify(one);
            const found = people.map((who) => [who, attempt(events(who), one)] as const);
            converted += found.filter(([, { reached }]) => reached === one.steps.length).length;
            excluded += found.filter(([, { isExcluded }]) => isExcluded).length;
            expect(await attempts(db, one, [begin, begin + 30 * DAY], null), label).toEqual(
              sorted(found.flatMap(([who, best]) => row(who, 1, null, best))),
            );
            // By day of the first step.
            if (one.order !== "unordered") {
              const bounds = Array.from({ length: 31 }, (_, index) => begin + index * DAY);
              const expected = people.flatMap((who) =>
                bounds.slice(1).flatMap((end, index) =>
                  row(
                    who,
                    index + 1,
                    null,
                    attempt(
                      events(who).filter(({ at }) => at >= end - DAY && at <= end + one.window),
                      one,
                      (event) =>
                        one.steps.flatMap((step, place) =>
                          matches(event, step) && (place > 0 || event.at < end) ? [place + 1] : [],
                        ),
                    ),
                  ),
                ),
              );
              expect(await attempts(db, one, bounds, null), `by day ${label}`).toEqual(sorted(expected));
            }
            if (one.order === "unordered" && attribution.startsWith("step")) continue;
            expect(await attempts(db, one, [begin, begin + 30 * DAY], attribution), `${attribution} ${label}`).toEqual(
              sorted(people.flatMap((who) => byValue(who, events(who), one, attribution))),
            );
          }
        });
      },
    ),
    {
      numRuns: runs(60, 6, database.native),
      // An excluded event between two steps, and a step that is repeated.
      examples: [
        [
          ["A", "C", "B"].map((event, hour) => ({ who: "ada", hour, event, item: "x" as const, plan: "pro" as const })),
          ["A", "B", "B", "C"].map((event, hour) => ({ who: "ben", hour, event, item: "y" as const, plan: null })),
          [
            { steps: plain("A", "B"), exclusions: [{ event: "C", from: 1, to: 2 }], order: "ordered", window: DAY },
            { steps: plain("A", "B", "C"), exclusions: [], order: "strict", window: DAY },
          ],
          "first_touch",
          names,
        ],
      ],
    },
  );
  expect(converted).toBeGreaterThan(0);
  expect(excluded).toBeGreaterThan(0);
  expect(declaredCount).toBeGreaterThan(0);
});
