import fc from "fast-check";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";
import { refresh, send } from "../support/recommend.ts";
import { runs } from "../support/runs.ts";

/*
 * The context of a person is computed a second time by a few lines of TypeScript from what was sent, and compared with
 * that of the database at any moment: events in any order, before, between and after refreshes, merges, unlinks,
 * changes of weights, enrolments and consent.
 */
const database = await testDatabase();

const start = Date.UTC(2026, 0, 28);
const HOUR = 3_600_000;
const iso = (hour: number): string => new Date(start + hour * HOUR).toISOString();

const courses = ["x", "y", "z"] as const;
/** Items with the items that contain them. */
const containers: Record<string, readonly string[]> = {
  x: ["x"],
  y: ["y"],
  z: ["z"],
  "x-module": ["x-module", "x"],
  "x-page": ["x-page", "x-module", "x"],
  "y-page": ["y-page", "y"],
};
const topicOf: Record<string, string | undefined> = {
  x: "maths",
  "x-module": "maths",
  "x-page": "art",
  y: "art",
  "y-page": "art",
};
const names = ["ada", "ben", "cleo"] as const;

interface Weight {
  weight: number;
  most: number;
  completes?: true;
  dismisses?: true;
  drops?: true;
  known?: true;
  topic?: true;
  withdraws?: true;
  liking?: (rating: unknown) => number | undefined;
}

const rated = (rating: unknown): number | undefined =>
  typeof rating === "number" ? Math.min(Math.max((rating - 1) / 2 - 1, -1), 1) : undefined;
const weights = (): Record<string, Weight> => ({
  "Course Enrolled": { weight: 1, most: 1 },
  "Course Completed": { weight: 1, most: 1, completes: true },
  "Course Dropped": { weight: 0, most: 1, drops: true },
  "Course Dismissed": { weight: 0, most: 1, dismisses: true },
  "Page Viewed": { weight: 0.05, most: 4 },
  "Module Completed": { weight: 0.3, most: 1, completes: true },
  "Item Rated": { weight: 1, most: 1, liking: rated },
  "Item Liked": { weight: 0, most: 1, liking: () => 1 },
  "Item Disliked": { weight: 0, most: 1, liking: () => -1 },
  "Item Known": { weight: 0, most: 1, known: true },
  "Topic Dismissed": { weight: 0, most: 1, topic: true },
  "Feedback Withdrawn": { weight: 0, most: 1, withdraws: true },
});

const sent = fc.record({
  who: fc.constantFrom(...names),
  event: fc.constantFrom(...Object.keys(weights()), "Unlisted Event"),
  item: fc.constantFrom(null, ...Object.keys(containers), "x", "y"),
  hour: fc.integer({ min: 0, max: 24 * 8 }),
  rating: fc.constantFrom<unknown>(1, 2, 3, 3.5, 4, 5, 9, -1e300, "5", null),
  topic: fc.constantFrom(null, null, "maths", "art", ""),
});
type Sent = typeof sent extends fc.Arbitrary<infer T> ? T : never;

interface Enrolment {
  who: (typeof names)[number];
  item: (typeof courses)[number];
  status: "active" | "completed" | "dropped";
  hour: number;
  ended: number | null;
}

const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant("send" as const),
      events: fc.array(sent, { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("link" as const),
      one: fc.constantFrom(...names),
      other: fc.constantFrom(...names),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("unlink" as const) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("sessions" as const) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("some" as const) }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("refresh" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant("weigh" as const), weight: fc.constantFrom(0, 0.25, 0.5, 1, 2) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("enrol" as const),
      who: fc.constantFrom(...names),
      item: fc.constantFrom(...courses),
      status: fc.constantFrom("active" as const, "completed" as const, "dropped" as const),
      hour: fc.integer({ min: 0, max: 100 }),
      ended: fc.option(fc.integer({ min: 101, max: 150 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant("decide" as const),
      who: fc.constantFrom(...names),
      granted: fc.boolean(),
    }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

interface World {
  weights: Record<string, Weight>;
  events: Sent[];
  enrolments: Enrolment[];
  links: [string, string][];
  /** Decisions in their order, by name. */
  decisions: { who: string; granted: boolean }[];
}

const latest = (times: readonly number[]): number => Math.max(Number.NEGATIVE_INFINITY, ...times);

/** The names that are one person. */
function together(world: World, who: string): Set<string> {
  const found = new Set([who]);
  for (let grown = 0; grown !== found.size; ) {
    grown = found.size;
    for (const [one, other] of world.links) {
      if (found.has(one) || found.has(other)) found.add(one).add(other);
    }
  }
  return found;
}

function expected(world: World, who: string): object {
  const people = together(world, who);
  const allowed = world.decisions.filter((decision) => people.has(decision.who)).at(-1)?.granted ?? true;
  const nothing = { items: [], strengths: [], left_out: {}, finished: [], topics: [], liked: [] };
  if (!allowed) return nothing;

  const events = world.events
    .filter((event) => people.has(event.who))
    .flatMap((event) => {
      const weight = world.weights[event.event];
      return weight === undefined ? [] : [{ ...event, weight }];
    });
  const enrolments = world.enrolments.filter((enrolment) => people.has(enrolment.who));
  // With a topic, an event that dismisses or withdraws is about the topic alone.
  const isTopical = ({ weight, topic }: (typeof events)[number]): boolean =>
    (weight.topic === true || weight.withdraws === true) && topic !== null && topic !== "";
  const about = events.filter((event) => !isTopical(event) && event.item !== null);

  const use = new Map<string, number>();
  const lastUse = new Map<string, number>();
  const firstUse = new Map<string, number>();
  for (const item of Object.keys(containers)) {
    const own = about.filter((event) => event.item === item);
    if (own.length > 0) {
      let sum = 0;
      for (const [name, { weight, most }] of Object.entries(world.weights)) {
        sum += weight * Math.min(own.filter(({ event }) => event === name).length, most);
      }
      use.set(item, sum);
      lastUse.set(item, latest(own.map(({ hour }) => hour)));
      firstUse.set(item, Math.min(...own.map(({ hour }) => hour)));
    }
    for (const { item: enrolled, hour } of enrolments) {
      if (enrolled !== item) continue;
      use.set(item, (use.get(item) ?? 0) + 1);
      lastUse.set(item, latest([hour, lastUse.get(item) ?? hour]));
      firstUse.set(item, Math.min(hour, firstUse.get(item) ?? hour));
    }
  }

  const state = (item: string) => {
    const own = about.filter((event) => event.item === item);
    const times = (of: (weight: Weight) => boolean | undefined): number =>
      latest(own.filter(({ weight }) => of(weight) === true).map(({ hour }) => hour));
    const enrolled = enrolments.filter((enrolment) => enrolment.item === item);
    const withdrawn = times(({ withdraws }) => withdraws);
    const opinions = own
      .flatMap(({ weight, rating, hour }) => {
        const liking = weight.liking?.(rating);
        return liking === undefined ? [] : [{ liking, hour }];
      })
      .sort((a, b) => b.hour - a.hour);
    const opinion = (opinions[0]?.hour ?? Number.NEGATIVE_INFINITY) > withdrawn ? opinions[0] : undefined;
    const resumed = latest([
      times(({ weight }) => weight >= 1),
      ...enrolled.filter(({ status }) => status !== "dropped").map(({ hour }) => hour),
      opinion !== undefined && opinion.liking > 0 ? opinion.hour : Number.NEGATIVE_INFINITY,
    ]);
    const completed =
      own.some(({ weight }) => weight.completes) || enrolled.some(({ status }) => status === "completed");
    const dismissed = times(({ dismisses }) => dismisses);
    const dropped = latest([
      times(({ drops }) => drops),
      ...enrolled.filter(({ status }) => status === "dropped").map(({ hour, ended }) => ended ?? hour),
    ]);
    return {
      completed,
      known: times(({ known }) => known) > withdrawn,
      dismissed: dismissed > withdrawn && dismissed >= resumed,
      dropped: !completed && Number.isFinite(dropped) && dropped >= resumed,
      liking: opinion?.liking,
      enrolled: enrolled.some(({ status }) => status === "active"),
      topicDismissed: times(({ topic }) => topic) > withdrawn ? times(({ topic }) => topic) : Number.NEGATIVE_INFINITY,
    };
  };

  const listed = courses
    .flatMap((course) => {
      const parts = [...use.keys()].filter((item) => containers[item]?.includes(course));
      if (parts.length === 0) return [];
      const sum = parts.reduce((total, item) => total + (use.get(item) ?? 0), 0);
      const { completed, known, dismissed, dropped, liking, enrolled } = state(course);
      const strength =
        liking !== undefined && liking < 0
          ? liking
          : liking === 0 || dismissed || dropped
            ? 0
            : Math.max(Math.min(Math.fround(sum), 1), liking ?? -1);
      const reason = completed
        ? "completed"
        : known
          ? "known"
          : dropped
            ? "dropped"
            : dismissed
              ? "dismissed"
              : liking !== undefined && liking < 0
                ? "disliked"
                : enrolled
                  ? "enrolled"
                  : Math.fround(sum) >= 1
                    ? "taken"
                    : undefined;
      return [
        {
          course,
          strength,
          reason,
          at: latest(parts.map((item) => lastUse.get(item) ?? 0)),
          since: Math.min(...parts.map((item) => firstUse.get(item) ?? 0)),
        },
      ];
    })
    .sort((a, b) => a.at - b.at || (a.course < b.course ? -1 : 1));

  const topics = ["art", "maths"].filter((topic) => {
    const named = events.filter((event) => isTopical(event) && event.topic === topic);
    return (
      latest([
        ...named.filter(({ weight }) => weight.topic).map(({ hour }) => hour),
        ...Object.keys(topicOf)
          .filter((item) => topicOf[item] === topic)
          .map((item) => state(item).topicDismissed),
      ]) > latest(named.filter(({ weight }) => weight.withdraws).map(({ hour }) => hour))
    );
  });
  const used = listed.filter(({ strength }) => strength !== 0);
  return {
    items: used.map(({ course }) => course),
    strengths: used.map(({ strength }) => expect.closeTo(strength, 5)),
    left_out: Object.fromEntries(
      listed.flatMap(({ course, reason }) => (reason === undefined ? [] : [[course, reason]])),
    ),
    finished: Object.keys(containers)
      .filter((item) => state(item).completed || state(item).known)
      .sort(),
    topics,
    liked: used
      .filter(({ strength }) => strength > 0)
      .map(({ course, strength, since }) => ({
        item: course,
        strength: expect.closeTo(strength, 5),
        first_at: new Date(start + since * HOUR),
      }))
      .sort((a, b) => (a.item < b.item ? -1 : 1)),
  };
}

async function actual(db: Queries, who: string): Promise<object> {
  const context = await db.value<Record<string, never>>(
    `select jsonb_build_object(
       'items', (select coalesce(jsonb_agg(item.external_id order by n), '[]') from unnest((c).items) with ordinality as u (item_id, n) join track.item using (item_id)),
       'strengths', (c).strengths,
       'left_out', (select coalesce(jsonb_object_agg(item.external_id, reason), '{}') from unnest((c).left_out, (c).left_out_reasons) as u (item_id, reason) join track.item using (item_id)),
       'finished', (select coalesce(jsonb_agg(item.external_id order by item.external_id collate "C"), '[]') from unnest((c).finished) as item_id join track.item using (item_id)),
       'topics', (c).dismissed_topics
     )
     from (select recommend._context(track.find_person($1), 0, 'course') as c offset 0) as known`,
    [who],
  );
  const liked = await db.rows(
    `select item.external_id as item, strength, first_at
     from recommend._training_rows('course') join track.item using (item_id)
     where person_id = track.find_person($1) order by 1`,
    [who],
  );
  return { ...context, liked };
}

/** The items, and those that contain them, as a table of the application. */
async function enterItems(db: Queries): Promise<void> {
  await db.query(
    `create view public.catalogue as
     select external_id, kind, parent, attributes::jsonb as attributes from (values
       ('x', 'course', null, '{"subject": "maths"}'), ('y', 'course', null, '{"subject": "art"}'),
       ('z', 'course', null, '{}'), ('x-module', 'module', 'x', '{}'),
       ('x-page', 'page', 'x-module', '{"subject": "art"}'), ('y-page', 'page', 'y', '{}')
     ) as entry (external_id, kind, parent, attributes)`,
  );
  await db.query("select track.sync_items('public.catalogue')");
}

/** Of the topics of items, those of courses are kept. */
const ofCourse = ({ event, item }: Sent): { item: Sent["item"] } => ({
  item:
    event === "Topic Dismissed" && item !== null
      ? (courses.find((course) => containers[item]?.includes(course)) ?? null)
      : item,
});

async function perform(db: Queries, world: World, done: Action, key: string): Promise<void> {
  if (done.does === "send") {
    const news = done.events.filter(
      // Of two preferences of the same time, the order is that of the client, which is not part of this test.
      ({ event, item, hour }, n) =>
        world.weights[event]?.liking === undefined ||
        ![...world.events, ...done.events.slice(0, n)].some(
          (other) => world.weights[other.event]?.liking !== undefined && other.item === item && other.hour === hour,
        ),
    );
    world.events.push(...news);
    await send(
      db,
      news.map(({ who, event, item, hour, rating, topic }, n) => ({
        type: "track",
        messageId: `${key}-${n}`,
        userId: who,
        event,
        timestamp: iso(hour),
        properties: { rating, ...(item === null ? {} : { item }), ...(topic === null ? {} : { topic }) },
      })),
    );
  } else if (done.does === "link") {
    if (done.one === done.other) return;
    await send(db, [{ type: "alias", messageId: key, userId: done.one, previousId: done.other }]);
    if (!world.links.some(([one, other]) => [one, other].sort().join() === [done.one, done.other].sort().join())) {
      world.links.push([done.one, done.other]);
    }
  } else if (done.does === "unlink") {
    const link = world.links.pop();
    if (link !== undefined) await db.query("select track.unlink_identities($1, $2)", link);
  } else if (done.does === "sessions") {
    await db.query("select track.refresh_sessions(2)");
  } else if (done.does === "some") {
    await db.query("select track.refresh(1, 'recommend.interaction')");
  } else if (done.does === "refresh") {
    await refresh(db);
  } else if (done.does === "weigh") {
    world.weights["Course Enrolled"] = { weight: done.weight, most: 1 };
    await db.query("update recommend.event_weight set weight = $1 where event = 'Course Enrolled'", [done.weight]);
    await db.query("select recommend.rebuild()");
  } else if (done.does === "enrol") {
    if (world.enrolments.some(({ who, item }) => who === done.who && item === done.item)) return;
    world.enrolments.push(done);
    await db.query("insert into public.enrolled values ($1, $2, $3, $4, $5)", [
      done.who,
      done.item,
      iso(done.hour),
      done.status,
      done.ended === null || done.status === "active" ? null : iso(done.ended),
    ]);
    if (done.status === "active") done.ended = null;
    await db.query("select track.sync_enrolments('public.enrolled')");
  } else {
    world.decisions.push(done);
    // The decision of one name of a person, which stays with it when the person is split.
    await db.query(
      `select privacy.record_consent(
         track.find_person($1), 'personalization', $2, $3, identity_id => track.find_identity($1))`,
      [done.who, done.granted, new Date(start + world.decisions.length * HOUR).toISOString()],
    );
  }
}

test("the context and the training rows are what a second computation gives, at any moment", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 14 }), async (steps) => {
      const world: World = { weights: weights(), events: [], enrolments: [], links: [], decisions: [] };
      await database.as("postgres", {}, async (db) => {
        await db.query("set local timezone to 'UTC'");
        await db.query(
          "create table public.enrolled (person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz)",
        );
        await enterItems(db);
        await send(
          db,
          names.map((userId) => ({ type: "track", messageId: userId, userId, event: "Signed In", timestamp: iso(0) })),
        );
        for (const [n, done] of [...steps, { does: "refresh" } as const].entries()) {
          await perform(db, world, done, `${n}`);
          for (const who of names) {
            const { liked: trained, ...context } = (await actual(db, who)) as { liked: object[] };
            const { liked, ...wanted } = expected(world, who) as { liked: object[] };
            expect(context).toEqual(wanted);
            // The training refreshes the interactions before it reads them.
            if (done.does === "refresh") expect(trained).toEqual(liked);
          }
        }

        const stored = (table: string) => db.rows(`select * from recommend.${table} order by 1, 2`);
        const before = [await stored("interaction"), await stored("dismissed_topic")];
        await db.query("select track.rebuild()");
        await refresh(db);
        expect([await stored("interaction"), await stored("dismissed_topic")]).toEqual(before);
        expect(await stored("taken")).toEqual([]);
      });
    }),
    { numRuns: runs(25, 8, database.native) },
  );
});

test("what was left out stays left out when the first events are deleted, however often", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(sent, { minLength: 1, maxLength: 25 }),
      fc.array(fc.record({ until: fc.integer({ min: 0, max: 24 * 9 }), queued: fc.boolean(), again: fc.boolean() }), {
        minLength: 1,
        maxLength: 4,
      }),
      async (events, deletions) => {
        const world: World = { weights: weights(), events: [], enrolments: [], links: [], decisions: [] };
        await database.as("postgres", {}, async (db) => {
          await enterItems(db);
          await perform(
            db,
            world,
            { does: "send", events: events.map((event) => ({ ...event, who: "ada", ...ofCourse(event) })) },
            "first",
          );
          await refresh(db);
          const context = async () =>
            (await actual(db, "ada")) as { left_out: Record<string, string>; finished: string[]; topics: string[] };
          const before = await context();
          const rows = async () => [
            await db.rows("select * from recommend.taken order by item_id"),
            await db.rows("select * from recommend.dismissed_topic order by topic"),
          ];
          let hour = 24 * 10;
          for (const { until, queued, again } of deletions) {
            await db.query("delete from track.event where occurred_at < $1", [iso(until)]);
            if (again) {
              const event = {
                who: "ada",
                event: "Page Viewed",
                item: "z",
                hour: ++hour,
                rating: null,
                topic: null,
              } as const;
              await perform(db, world, { does: "send", events: [event] }, `again-${hour}`);
            }
            if (queued) await db.query("select track.rebuild('recommend.interaction')");
            for (const refreshed of [false, true]) {
              if (refreshed) await refresh(db);
              const { left_out, finished, topics } = await context();
              expect(topics).toEqual(expect.arrayContaining(before.topics));
              expect(Object.keys(left_out)).toEqual(expect.arrayContaining(Object.keys(before.left_out)));
              expect(finished).toEqual(
                expect.arrayContaining(before.finished.filter((item) => courses.some((course) => course === item))),
              );
            }
          }
          await db.query("select track.rebuild('recommend.interaction')");
          await refresh(db);
          const kept = await rows();
          await db.query("select track.rebuild()");
          await refresh(db);
          expect(await rows()).toEqual(kept);
        });
      },
    ),
    { numRuns: runs(30, 8, database.native) },
  );
});
