import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { dayOf, groupBy, ofGroups, people as peopleOf, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { COMPLETION, makeEnrolments } from "./course_takers.ts";
import { DAY, doings, iso, makeDoings, parents, periods, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);
await makeEnrolments(database);
await refresh(database);

interface Course {
  rank: number;
  course: string;
  event_count: number;
  person_count: number;
  engaged: string;
  enrolment_count: number;
  completion_count: number;
  completion_rate: number | null;
  completion_lower: number | null;
  completion_upper: number | null;
  completion_score: number | null;
  rating_count: number | null;
  mean_rating: number | null;
  rating_score: number | null;
}

const COLUMNS = `rank, course, event_count::int, person_count::int, engaged::text, enrolment_count::int,
  completion_count::int, completion_rate, completion_lower, completion_upper, completion_score, rating_count::int,
  mean_rating, rating_score`;

/** Wilson's score interval, as in Newcombe (1998), method 3. */
const wilson = (x: number, n: number, z = 1.959963984540054): [number, number] => {
  const p = x / n;
  const root = z * Math.sqrt(z * z + 4 * n * p * (1 - p));
  return [(2 * n * p + z * z - root) / (2 * (n + z * z)), (2 * n * p + z * z + root) / (2 * (n + z * z))];
};

describe("published values", () => {
  // Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I.
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])("Wilson's bounds of %i of %i are %f and %f", async (successes, trials, lower, upper) => {
    const bounds = await database.value<number[]>("select analytics.wilson_bounds($1, $2, ml.normal_quantile(0.975))", [
      successes,
      trials,
    ]);
    expect(bounds.map((bound) => Number(bound.toFixed(4)))).toEqual([lower, upper]);
  });

  test("a rate of 1 or 0 has bounds of exactly 1 and 0; without trials there are none", async () => {
    const [all, none] = await Promise.all(
      [7, 0].map((x) => database.value<number[]>("select analytics.wilson_bounds($1, 7, 1.96)", [x])),
    );
    expect(all?.[1]).toBe(1);
    expect(none?.[0]).toBe(0);
    expect(await database.value("select analytics.wilson_bounds(0, 0, 1.96)")).toBeNull();
  });

  test("IMDb's weighted rating: few votes are drawn to the mean, and as many votes as m are halfway", async () => {
    const average = (mean: number, votes: number) =>
      database.value<number>("select analytics._bayesian_average($1, $2, 6.9, 25000)", [mean, votes]);
    expect(await average(9.2, 500_000)).toBeCloseTo((500_000 * 9.2 + 25_000 * 6.9) / 525_000, 12);
    expect(await average(9.9, 25_000)).toBeCloseTo(8.4, 12);
    expect(await average(10, 0)).toBeCloseTo(6.9, 12);
  });
});

describe("use", () => {
  for (const [name, since, until] of periods) {
    for (const measure of ["events", "people", "engaged"]) {
      for (const floor of [1, 3, 5]) {
        test(`${name}, by ${measure}, floor ${floor}: equals popular_items to the unit`, async () => {
          const rows = await withFloor<Course>(
            database,
            floor,
            `select ${COLUMNS} from analytics.popular_courses($1, $2, $3)`,
            [iso(since), iso(until), measure],
          );
          const items = await withFloor<Course>(
            database,
            floor,
            `select item as course, event_count::int, person_count::int, engaged::text
             from analytics.popular_items('course', $1, $2, null, 10, $3)`,
            [iso(since), iso(until), measure],
          );
          const use = ({ course, event_count, person_count, engaged }: Course) => ({
            course,
            event_count,
            person_count,
            engaged,
          });
          const byName = (a: { course: string }, b: { course: string }): number => (a.course < b.course ? -1 : 1);
          expect(rows.map(use).toSorted(byName)).toEqual(items.map(use).toSorted(byName));
          expect(rows.map(({ rank }) => rank)).toEqual(rows.map((_, place) => place + 1));
          const field = measure === "events" ? "event_count" : "person_count";
          if (measure !== "engaged")
            expect(rows.map((row) => row[field])).toEqual(rows.map((row) => row[field]).toSorted((a, b) => b - a));
        });
      }
    }
  }

  const chosen = ["p1", "p2", "p3", "p5", "p7", "p8", "p10"];
  for (const floor of [1, 3]) {
    for (const [from, to] of [
      [7, 28],
      [9, 12],
    ] as const) {
      test(`of a set of people, days ${from} to ${to}, floor ${floor}: from the events`, async () => {
        const set = await database.value<string[]>(
          "select array_agg(track.find_person(name)) from unnest($1::text[]) as name",
          [chosen],
        );
        const [since, until] = [start + from * DAY, start + to * DAY];
        const expected = ["course-a", "course-b"].flatMap((course) => {
          const used = doings.filter(({ item }) => item === course || parents[item] === course);
          // Days on which the others are a group too, or there are none.
          const own = [...groupBy(used, ({ at }) => dayOf(at)).values()].flatMap((day) => {
            const others = peopleOf(day.filter(({ person }) => !chosen.includes(person)));
            return others > 0 && others < floor ? [] : day.filter(({ person }) => chosen.includes(person));
          });
          const counted = ofGroups(own, since, until, floor);
          const people = peopleOf(counted);
          if (people < floor) return [];
          return [
            {
              course,
              event_count: shown(counted.length, people, floor),
              person_count: shown(people, people, floor),
            },
          ];
        });
        expect(expected.length).toBeGreaterThan(0);
        await database.as("postgres", {}, async (db) => {
          await db.query("select track.set_person_set('group', $1)", [set]);
          await db.query("update analytics.setting set smallest_group = $1", [floor]);
          await refresh(db);
          await db.query(`set local role insights_${floor === 1 ? "admin" : "analyst"}`);
          expect(
            await db.rows(
              `select course, event_count::int, person_count::int
               from analytics.popular_courses($1, $2, among => 'group') order by course`,
              [iso(since), iso(until)],
            ),
          ).toEqual(expected);
        });
      });
    }
  }
});

describe("completion", () => {
  for (const floor of [1, 3, 5]) {
    for (const measure of ["completion", "completion_bound"]) {
      test(`by ${measure}, floor ${floor}: rates, bounds and averages of the numbers as shown`, async () => {
        const completion = await database.rows<{ course: string; enrolled: number; completed: number }>(COMPLETION);
        const numbers = completion.map(({ course, enrolled, completed }) => ({
          course,
          n: shown(enrolled, enrolled, floor),
          x: shown(completed, completed, floor),
        }));
        const sum = (key: "n" | "x"): number => numbers.reduce((total, row) => total + row[key], 0);
        const rows = await withFloor<Course>(
          database,
          floor,
          `select ${COLUMNS} from analytics.popular_courses($1, $2, $3, confidence => 0.95, prior_weight => 8)`,
          [iso(start), iso(start + 40 * DAY), measure],
        );
        const expected = numbers.map(({ course, n, x }) => {
          const [lower, upper] = wilson(x, n);
          return {
            course,
            enrolment_count: n,
            completion_count: x,
            completion_rate: expect.closeTo(x / n, 12),
            completion_lower: expect.closeTo(lower, 10),
            completion_upper: expect.closeTo(upper, 10),
            completion_score: expect.closeTo((x + (8 * sum("x")) / sum("n")) / (n + 8), 10),
            rating_count: null,
          };
        });
        expect(rows).toHaveLength(2);
        expect(rows).toEqual(expect.arrayContaining(expected.map((row) => expect.objectContaining(row))));
        const scores = rows.map(
          (row) => (measure === "completion" ? row.completion_score : row.completion_lower) ?? -1,
        );
        expect(scores).toEqual(scores.toSorted((a, b) => b - a));
      });
    }
  }

  test("is of enrolments as of now: of the person after a link, of excluded people no more, whatever the period", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const figures = async (since: number, until: number) => [
        await db.rows(COMPLETION),
        await db.rows(
          `select course, enrolment_count::int as enrolled, completion_count::int as completed
           from analytics.popular_courses($1, $2) order by course`,
          [iso(since), iso(until)],
        ),
      ];
      const equal = async (since: number, until: number): Promise<void> => {
        const [plain, ours] = await figures(since, until);
        expect(ours).toEqual(
          (plain as { course: string }[])
            .map(({ dropped: _dropped, ...row }: { course: string; dropped?: number }) => row)
            .toSorted((a, b) => (a.course < b.course ? -1 : 1)),
        );
      };
      await equal(start, start + 40 * DAY);
      await equal(start + 5 * DAY, start + 12 * DAY);
      await db.query("select track.exclude_person('p4', 'test')");
      await equal(start, start + 40 * DAY);
      await db.query("select track.link_identities('p5', 'p6')");
      await equal(start, start + 40 * DAY);
      await refresh(db);
      await equal(start, start + 40 * DAY);
      await db.query("select track.unlink_identities('p5', 'p6')");
      await equal(start, start + 40 * DAY);
    });
  });

  test("is the same for analysts when the people before them were only browsers", async () => {
    await database.as("postgres", {}, async (db) => {
      const keys = "track.identity_identity_id_seq";
      for (const block of [3, 7]) {
        await db.query("select setval($1, $2)", [keys, block * 4096]);
        const people = Array.from({ length: 10 }, (_, index) => `later-${block}-${index}`);
        await ingest(
          db,
          people.map((userId) =>
            message({
              userId,
              event: "Task Submitted",
              timestamp: iso(start),
              properties: { item: "course-c", itemKind: "course" },
            }),
          ),
        );
        await db.query(
          `insert into public.taken
            select person, 'course-c', 'completed', '2026-02-01Z', '2026-02-20Z' from unnest($1::text[]) as person`,
          [people],
        );
      }
      await db.query("select track.sync_enrolments('public.taken')");
      for (const role of ["insights_admin", "insights_analyst"]) {
        await db.query(`set local role ${role}`);
        expect(
          await db.rows(
            `select enrolment_count::int, completion_count::int
            from analytics.popular_courses($1, $2)
            where course = 'course-c'`,
            [iso(start), iso(start + DAY)],
          ),
        ).toEqual([{ enrolment_count: 20, completion_count: 20 }]);
      }
    });
  });
});

describe("ratings", () => {
  const rate = (userId: string, item: string, rating: unknown, day: number) =>
    message({
      userId,
      event: "Course Rated",
      messageId: `rating ${userId} ${item} ${day}`,
      timestamp: iso(start + (50 + day) * DAY),
      properties: { item, rating },
    });
  const rated = [
    ...[5, 4, 3, 5, 4, 5, 2, 5].map((rating, index) => rate(`p${index}`, "course-a", rating, 1)),
    ...[3, 3, 4].map((rating, index) => rate(`p${index}`, "course-b", rating, 2)),
    // A person counts once, with her latest rating.
    rate("p2", "course-a", 5, 3),
    rate("p6", "course-a", 1, 0),
    // Not numbers from 0 to 100, and not courses.
    rate("p9", "course-a", "5", 1),
    rate("p10", "course-a", 1e300, 1),
    rate("p11", "course-a", -1, 1),
    rate("p11", "page-a", 5, 1),
    message({
      userId: undefined,
      anonymousId: "browser",
      event: "Course Rated",
      properties: { item: "course-a", rating: 100 },
    }),
  ];

  test("are the latest ones of each person, also before the refresh, and drawn to the mean of all", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("update analytics.setting set smallest_group = 1");
      const ask = () =>
        db.rows<Course>(`select ${COLUMNS} from analytics.popular_courses($1, $2, 'rating', prior_weight => 10)`, [
          iso(start),
          iso(start + 40 * DAY),
        ]);
      await ingest(db, rated.slice(0, 6));
      await refresh(db);
      await ingest(db, rated.slice(6));
      const a = [5, 4, 5, 5, 4, 5, 2, 5];
      const b = [3, 3, 4];
      const mean = (list: readonly number[]) => list.reduce((sum, one) => sum + one, 0) / list.length;
      const expected = [a, b].map((list, index) =>
        expect.objectContaining({
          course: ["course-a", "course-b"][index],
          rating_count: list.length,
          mean_rating: expect.closeTo(mean(list), 12),
          rating_score: expect.closeTo((mean(list) * list.length + 10 * mean([...a, ...b])) / (list.length + 10), 12),
        }),
      );
      const before = await ask();
      expect(before).toEqual(expected);
      await refresh(db);
      expect(await ask()).toEqual(before);
    });
  });

  test("for analysts, of enough people, and computed from what is shown", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, rated);
      await refresh(db);
      await db.query("set local role insights_analyst");
      const rows = await db.rows<Course>(`select ${COLUMNS} from analytics.popular_courses($1, $2, 'rating')`, [
        iso(start),
        iso(start + 40 * DAY),
      ]);
      // Eight people with a mean of 4.375: to a multiple of 5 / 8 * 4.375, rounded up to 4.
      expect(rows.find(({ course }) => course === "course-a")).toMatchObject({
        rating_count: 10,
        mean_rating: 4,
        rating_score: 4,
      });
      expect(rows.find(({ course }) => course === "course-b")).toMatchObject({
        rating_count: 0,
        mean_rating: null,
        rating_score: null,
      });
    });
  });
});

test("one learner's completion in a list of six changes no answer to analysts, nor does her use below the floor", async () => {
  await database.as("postgres", {}, async (db) => {
    const take = async (person: string, status: string): Promise<void> => {
      await db.query(`create or replace view public.more as
        select '${person}'::text as person, 'course-small'::text as item, '2026-02-01Z'::timestamptz as enrolled_at,
          '${status}'::text as status`);
      await db.query("select track.sync_enrolments('public.more')");
    };
    const use = (userId: string, day: string) =>
      message({
        userId,
        timestamp: `${day}T10:00:00Z`,
        messageId: `${userId} ${day}`,
        properties: { item: "course-small" },
      });
    const answer = async (): Promise<unknown[]> => {
      await refresh(db);
      await db.query("set local role insights_analyst");
      const rows = [];
      for (const measure of ["people", "completion", "completion_bound", "rating"])
        for (const among of [null, "signed_in"])
          rows.push(
            await db.rows(
              `select period.*, ${COLUMNS}
               from (values ('2026-06-01Z'::timestamptz, '2026-06-08Z'::timestamptz), ('2026-06-02Z', '2026-06-03Z'), ('2026-05-01Z', '2026-07-01Z')) as period (since, until)
               cross join analytics.popular_courses(since, until, $1, among => $2) order by 1, 2, rank`,
              [measure, among],
            ),
          );
      await db.query("set local role postgres");
      return rows;
    };
    const six = ["s1", "s2", "s3", "s4", "s5", "s6"];
    for (const person of six) await take(person, "active");
    await ingest(
      db,
      six.map((person) => use(person, "2026-06-02")),
    );
    const before = await answer();
    expect(JSON.stringify(before)).toContain('"course":"course-small"');
    await take("s1", "completed");
    expect(await answer()).toEqual(before);
    // A seventh enrolment, which would be "1 of 7".
    await take("s7", "active");
    expect(await answer()).toEqual(before);
    await ingest(db, [use("s1", "2026-06-04"), use("s7", "2026-06-04")]);
    expect(await answer()).toEqual(before);
  });
});

test("without enrolments there is no rate, and the course comes last; top cuts", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      message({ userId: "p1", timestamp: iso(start), properties: { item: "course-c", itemKind: "course" } }),
    ]);
    const rows = await db.rows<Course>(`select ${COLUMNS} from analytics.popular_courses($1, $2, 'completion')`, [
      iso(start),
      iso(start + DAY),
    ]);
    expect(rows.at(-1)).toMatchObject({
      course: "course-c",
      enrolment_count: 0,
      completion_count: 0,
      completion_rate: null,
      completion_lower: null,
      completion_upper: null,
      completion_score: null,
    });
    expect(
      await db.rows(`select ${COLUMNS} from analytics.popular_courses($1, $2, 'completion', 1)`, [
        iso(start),
        iso(start + DAY),
      ]),
    ).toEqual(rows.slice(0, 1));
  });
  expect([...groupBy(doings, ({ person }) => person)].length).toBe(12);
});

test.each([
  ["'2026-01-02', '2026-01-01'", "CF001"],
  ["null, now()", "CF001"],
  ["until => '4714-11-24 BC'", "CF001"],
  ["measure => 'likes'", "CF001"],
  ["measure => null", "CF001"],
  ["top => 0", "CF001"],
  ["top => null", "CF001"],
  ["confidence => 1", "CF001"],
  ["confidence => 'nan'", "CF001"],
  ["confidence => null", "CF001"],
  ["prior_weight => -1", "CF001"],
  ["prior_weight => 'infinity'", "CF001"],
  ["among => 'no.such_set'", "CF002"],
  ["among => ''", "CF001"],
])("popular_courses(%s) is %s, with a hint", async (values, code) => {
  const error = await database.rejects(`select * from analytics.popular_courses(${values})`);
  expect(error).toMatchObject({ code });
  expect(error.hint).toBeTruthy();
});

test("infinite periods are all of time", async () => {
  expect((await database.rows("select * from analytics.popular_courses('-infinity', 'infinity')")).length).toBe(2);
});

test("is for those who analyse", async () => {
  expect(await rolesThatMay(database, "select * from analytics.popular_courses()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
