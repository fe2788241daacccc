import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { groupBy, ofGroups, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { DAY, type Doing, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";
import { attempt, type Funnel } from "./funnel_rules.ts";

const database = await testDatabase();
await makeDoings(database);

interface Row {
  step: number;
  person_count: number;
  share: number | null;
  step_share: number | null;
  dropped_count: number | null;
  open_count: number | null;
}

interface Asked {
  steps: { event: string; item?: string; optional?: boolean }[];
  exclusions?: { event: string; item?: string; from: number; to: number }[];
  order?: Funnel["order"];
  days?: number;
  since?: number;
  until?: number;
  item?: string;
}

const usual = { exclusions: [], order: "ordered" as const, days: 14, since: start, until: start + 35 * DAY };

/** The rows, from the events alone. */
function expected(asked: Asked, floor: number): Row[] {
  const given = { ...usual, ...asked };
  const of = (event: string, item: string | undefined): Doing[] =>
    doings.filter(
      (one) => one.event === event && (item === undefined || one.item === item || parents[one.item] === item),
    );
  // Events count step by step: the marks of an event are the filters that it counts for.
  const filters = [...given.steps, ...given.exclusions].map(({ event, item }) => ({ event, item: item ?? given.item }));
  const visible = filters.map(({ event, item }) => new Set(ofGroups(of(event, item), given.since, given.until, floor)));
  const funnel: Funnel = {
    steps: given.steps.map(({ event, optional }) => ({ event, ...(optional ? { optional } : {}) })),
    exclusions: given.exclusions.map(({ from, to }, index) => ({ event: `exclusion ${index}`, from, to })),
    order: given.order,
    window: given.days * DAY,
  };
  const attempts = [...groupBy(doings, ({ person }) => person).values()].map((events) => {
    const marked = events.map((one) => {
      const marks = visible.flatMap((set, index) => (set.has(one) ? [index + 1] : []));
      const excluded = marks.find((mark) => mark > given.steps.length);
      return {
        at: one.at,
        plan: null,
        item: one.item,
        event: excluded === undefined ? one.event : `exclusion ${excluded - given.steps.length - 1}`,
        marks: marks.filter((mark) => mark <= given.steps.length),
      };
    });
    return attempt(marked, funnel, (one) => (one as (typeof marked)[number]).marks);
  });
  const valid = attempts.filter(({ reached, isExcluded }) => reached > 0 && !isExcluded);
  const did = (number: number) => valid.filter(({ times }) => (times[number - 1] ?? null) !== null);
  const counts = given.steps.map((_, index) => shown(did(index + 1).length, did(index + 1).length, floor));
  const mandatory = given.steps.flatMap(({ optional }, index) => (optional ? [] : [index + 1]));
  return given.steps.map(({ optional }, index) => {
    const step = index + 1;
    const count = counts[index] as number;
    const previous = mandatory.findLast((number) => number < step);
    const next = mandatory.find((number) => number > step);
    const open = did(step).filter(
      ({ times }) =>
        next !== undefined &&
        (times[next - 1] ?? null) === null &&
        (times[0] as number) + given.days * DAY > given.until,
    );
    const ratio = (of: number | undefined): number | null => (of ? (expect.closeTo(count / of, 9) as number) : null);
    return {
      step,
      person_count: count,
      share: ratio(counts[0]),
      step_share: previous === undefined ? null : ratio(counts[previous - 1]),
      dropped_count: next === undefined || optional ? null : Math.max(0, count - (counts[next - 1] as number)),
      open_count: next === undefined ? null : shown(open.length, open.length, floor),
    };
  });
}

const call = `
  select step, person_count::int, share, step_share, dropped_count::int, open_count::int
  from analytics.funnel($1, $2, $3, $4, $5::interval, $6, $7)`;
const values = (asked: Asked): unknown[] => {
  const given = { ...usual, item: null, ...asked };
  return [
    JSON.stringify(given.steps),
    iso(given.since),
    iso(given.until),
    given.order,
    `${given.days} days`,
    JSON.stringify(given.exclusions),
    given.item,
  ];
};

const submitted = { event: "Task Submitted" };
const rated = { event: "Course Rated" };

describe("the steps are those of the events", () => {
  const cases: [string, Asked][] = [
    ["two events", { steps: [submitted, rated] }],
    ["in a short window", { steps: [rated, submitted], days: 1 }],
    ["a window that is open at the end", { steps: [rated, submitted], days: 2, until: start + 9 * DAY }],
    ["the same event three times", { steps: [submitted, submitted, submitted], days: 2 }],
    ["items", { steps: [{ ...submitted, item: "page-a" }, { ...submitted, item: "course-b" }, rated], days: 6 }],
    ["in a course", { steps: [submitted, rated], item: "course-b" }],
    ["an optional step", { steps: [rated, { ...submitted, item: "page-a", optional: true }, rated], days: 4 }],
    [
      "an exclusion",
      {
        steps: [rated, { ...submitted, item: "page-a" }],
        exclusions: [{ ...submitted, item: "loner", from: 1, to: 2 }],
      },
    ],
    ["strict", { steps: [submitted, rated, rated], order: "strict" }],
    [
      "unordered",
      {
        steps: [
          { ...submitted, item: "page-a" },
          { ...rated, item: "loner" },
          { ...submitted, item: "loner" },
        ],
        order: "unordered",
        days: 2,
      },
    ],
    [
      "unordered, with an exclusion",
      {
        steps: [
          { ...submitted, item: "page-a" },
          { ...rated, item: "loner" },
        ],
        exclusions: [{ ...submitted, item: "page-c", from: 1, to: 2 }],
        order: "unordered",
        days: 3,
      },
    ],
    ["a part of the time", { steps: [submitted, rated], since: start + 8 * DAY, until: start + 13 * DAY }],
  ];
  for (const [name, asked] of cases) {
    for (const floor of asked.order === "strict" ? [1] : [1, 3, 5]) {
      test(`${name}, floor ${floor}`, async () => {
        const rows = await withFloor<Row>(database, floor, call, values(asked));
        expect(rows).toEqual(expected(asked, floor));
      });
    }
  }

  test("the cases are not empty", () => {
    for (const [name, asked] of cases) {
      const rows = expected(asked, 1);
      expect([name, rows.at(-1)?.person_count]).not.toEqual([name, 0]);
    }
  });
});

test("times are those between the steps and from the first one", async () => {
  await database.as("postgres", {}, async (db) => {
    const times = [
      ["ada", 0, 10, 40],
      ["ben", 5, 7, 47],
      ["eve", 3, 23, null],
    ] as const;
    await ingest(
      db,
      times.flatMap(([userId, ...minutes]) =>
        minutes.flatMap((minute, index) =>
          minute === null
            ? []
            : [message({ userId, event: `Step ${index}`, timestamp: iso(start + 100 * DAY + minute * 60_000) })],
        ),
      ),
    );
    const rows = await db.rows(
      `select step, person_count::int, mean_time::text, median_time::text, median_total_time::text
       from analytics.funnel('["Step 0", "Step 1", "Step 2"]', $1, $2)`,
      [iso(start + 100 * DAY), iso(start + 101 * DAY)],
    );
    expect(rows).toEqual([
      { step: 1, person_count: 3, mean_time: null, median_time: null, median_total_time: null },
      { step: 2, person_count: 3, mean_time: "00:10:40", median_time: "00:10:00", median_total_time: "00:10:00" },
      { step: 3, person_count: 2, mean_time: "00:35:00", median_time: "00:35:00", median_total_time: "00:41:00" },
    ]);
  });
});

describe("breakdown", () => {
  const steps = JSON.stringify([submitted, rated]);
  const period = [iso(start), iso(start + 35 * DAY)];

  test("by trait and by set, the values together are all people", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(
        db,
        Array.from({ length: 10 }, (_, index) => ({
          type: "identify",
          messageId: `plan ${index}`,
          userId: `p${index}`,
          traits: { plan: index % 3 === 0 ? "pro" : "free" },
        })),
      );
      await db.query(
        "select track.set_person_set('team.red', array[track.find_person('p1'), track.find_person('p2')])",
      );
      await refresh(db);
      const rows = await db.rows<{ breakdown_value: string | null; people: number }>(
        `select breakdown_value, person_count::int as people
         from analytics.funnel($1, $2, $3, breakdown => 'trait.plan') where step = 1`,
        [steps, ...period],
      );
      expect(rows).toEqual([
        { breakdown_value: "free", people: 6 },
        { breakdown_value: "pro", people: 4 },
        { breakdown_value: null, people: 2 },
      ]);
      expect(
        await db.rows(
          `select breakdown_value, person_count::int as people
           from analytics.funnel($1, $2, $3, breakdown => 'set.team') where step = 1`,
          [steps, ...period],
        ),
      ).toEqual([
        { breakdown_value: "red", people: 2 },
        { breakdown_value: null, people: 10 },
      ]);
      const among = await db.rows(
        "select person_count::int as people from analytics.funnel($1, $2, $3, among => 'team.red') where step = 1",
        [steps, ...period],
      );
      expect(among).toEqual([{ people: 2 }]);
    });
  });

  test("of a property, the values of most people are named, others together", async () => {
    await database.as("postgres", {}, async (db) => {
      const at = (minutes: number): string => iso(start + 200 * DAY + minutes * 60_000);
      await ingest(
        db,
        ["a", "a", "a", "b", "b", "c", "d", null].flatMap((plan, index) => [
          message({
            userId: `q${index}`,
            event: "Opened",
            timestamp: at(0),
            ...(plan === null ? {} : { properties: { plan } }),
          }),
          message({ userId: `q${index}`, event: "Ended", timestamp: at(index), properties: { plan: "z" } }),
        ]),
      );
      // The first event with a value: of one person the second one.
      expect(
        await db.rows(
          `select breakdown_value, is_other, person_count::int
           from analytics.funnel('["Opened", "Ended"]', $1, $2, breakdown => 'property.plan', top_values => 2)
           where step = 2`,
          [at(0), at(60 * 24)],
        ),
      ).toEqual([
        { breakdown_value: "a", is_other: false, person_count: 3 },
        { breakdown_value: "b", is_other: false, person_count: 2 },
        { breakdown_value: null, is_other: true, person_count: 3 },
      ]);
    });
  });
});

/** People who do these events, one each minute, and how many of them did each step. */
async function walked(walks: string[], options = ""): Promise<number[]> {
  return database.as("postgres", {}, async (db) => {
    const at = (minute: number): string => iso(start + 220 * DAY + minute * 60_000);
    await ingest(
      db,
      walks.flatMap((walk, index) =>
        [...walk].map((event, minute) => message({ userId: `w${index}`, event, timestamp: at(minute) })),
      ),
    );
    await refresh(db);
    const rows = await db.rows<{ people: number }>(
      `select person_count::int as people from analytics.funnel('["A", "B", "C"]', $1, $2${options})`,
      [at(0), at(24 * 60)],
    );
    return rows.map(({ people }) => people);
  });
}

test("in a strict funnel, a step that is repeated does not end the attempt, and any other event does", async () => {
  expect(await walked(["ABC", "ABBC", "AABBBC"], ", 'strict'")).toEqual([3, 3, 3]);
  expect(await walked(["ABXC", "ABBXC", "ABAC", "AXBC"], ", 'strict'")).toEqual([4, 3, 0]);
});

test("an excluded event counts against the attempt that it met, not against a later one", async () => {
  const excluding = `, exclusions => '[{"event": "X"}]'`;
  // The last step was reached before it, without it, after it, and by a later attempt.
  expect(await walked(["ABCX", "ABC", "AXBC", "AXBABC"], excluding)).toEqual([3, 3, 3]);
  // The furthest attempt met it, also after its last step.
  expect(await walked(["ABX", "ABXC", "AXB", "ABXAB", "AX", "XA"], excluding)).toEqual([2, 1, 0]);
  const before = `, exclusions => '[{"event": "X", "from": 1, "to": 2}]'`;
  expect(await walked(["ABXC", "AXBC", "AXABC", "AXAXABXC"], before)).toEqual([3, 3, 3]);
});

test("in a strict funnel, an excluded event counts where it follows an attempt directly, against all in whose window it is", async () => {
  const excluding = `, 'strict', exclusions => '[{"event": "X"}]'`;
  expect(await walked(["AZX", "AX", "AZAX", "ABZABX", "ABZX", "C"], excluding)).toEqual([2, 1, 0]);
  // The window of the first attempt was over, or a later attempt met none.
  expect(await walked(["AZZZAX", "AXZA", "BC"], `${excluding}, conversion_window => '4 minutes'`)).toEqual([2, 0, 0]);
});

test("analysts see no time of the first step, and medians as precise as those of funnel_trend", async () => {
  await database.as("postgres", {}, async (db) => {
    const at = (seconds: number): string => iso(start + 240 * DAY + seconds * 1_000);
    await ingest(
      db,
      // Most of them take 20 seconds, two of them most of the day.
      Array.from({ length: 30 }, (_, index) => `m${index}`).flatMap((userId, index) => [
        message({ userId, event: "A", timestamp: at(0) }),
        message({ userId, event: "B", timestamp: at(index < 28 ? 20 : 80_000) }),
      ]),
    );
    await refresh(db);
    await db.query("update analytics.setting set smallest_group = 5");
    await db.query("set local role insights_analyst");
    expect(
      await db.rows(
        `select
           step, extract(epoch from mean_time)::int as mean, extract(epoch from median_time)::int as median,
           extract(epoch from median_total_time)::int as total
         from analytics.funnel('["A", "B"]', $1, $2)`,
        [at(0), at(300_000)],
      ),
    ).toEqual([
      { step: 1, mean: null, median: null, total: null },
      { step: 2, mean: 5120, median: 20, total: 20 },
    ]);
    expect(
      await db.rows(
        `select extract(epoch from median_time)::int as median
         from analytics.funnel_trend('["A", "B"]', 'week', $1, $2) where entered_count > 0`,
        [at(0), at(300_000)],
      ),
    ).toEqual([{ median: 20 }]);
  });
});

describe("errors", () => {
  test.each([
    ["one step", '["Task Submitted"]', {}, "CF008", "the funnel has 1 steps"],
    ["50 steps", JSON.stringify(Array(50).fill("Task Submitted")), {}, "CF008", "the funnel has 50 steps"],
    ["no list", '{"event": "Task Submitted"}', {}, "CF009", "not lists"],
    ["null", null, {}, "CF009", "not lists"],
    ["a number", "[1, 2]", {}, "CF009", "step 1 is 1"],
    ["an unknown key", '["Task Submitted", {"event": "Course Rated", "times": 2}]', {}, "CF009", '"times"'],
    ["without an event", '["Task Submitted", {"item": "loner"}]', {}, "CF009", "step 2 has no event"],
    ["an event of another type", '["Task Submitted", {"event": ["x"]}]', {}, "CF009", '"event" of step 2'],
    ["an unknown event", '["Task Submited", "Course Rated"]', {}, "CF002", 'there is no event "Task Submited"'],
    ["an unknown item", '["Task Submitted", {"event": "Course Rated", "item": "lone"}]', {}, "CF002", '"lone"'],
    [
      "an optional first step",
      '[{"event": "Task Submitted", "optional": true}, "Course Rated"]',
      {},
      "CF001",
      "step 1",
    ],
    [
      "an optional step of a strict funnel",
      '["Task Submitted", {"event": "Course Rated", "optional": true}]',
      { step_order: "strict" },
      "CF001",
      "step 2 is optional",
    ],
    [
      "another order",
      '["Task Submitted", "Course Rated"]',
      { step_order: "sorted" },
      "CF001",
      'step_order is "sorted"',
    ],
    [
      "a window of zero",
      '["Task Submitted", "Course Rated"]',
      { conversion_window: "0" },
      "CF001",
      "conversion_window",
    ],
    ["a negative window", '["Task Submitted", "Course Rated"]', { conversion_window: "-1 day" }, "CF001", "-1 days"],
    [
      "an infinite window",
      '["Task Submitted", "Course Rated"]',
      { conversion_window: "infinity" },
      "CF001",
      "infinity",
    ],
    [
      "an exclusion that is a step",
      '["Task Submitted", "Course Rated"]',
      { exclusions: '[{"event": "Course Rated", "item": "loner"}]' },
      "CF001",
      'exclusion 1, "Course Rated", is also step 2',
    ],
    [
      "an exclusion between steps that do not exist",
      '["Task Submitted", "Course Rated"]',
      { exclusions: '[{"event": "Published", "from": 2, "to": 3}]' },
      "CF001",
      "from step 2 to step 3",
    ],
    [
      "an exclusion of a part of an unordered funnel",
      '["Task Submitted", "Course Rated", "Task Submitted"]',
      { exclusions: '[{"event": "Published", "from": 1, "to": 2}]', step_order: "unordered" },
      "CF001",
      "from step 1 to step 2",
    ],
    ["another breakdown", '["Task Submitted", "Course Rated"]', { breakdown: "plan" }, "CF001", 'breakdown is "plan"'],
    ["another attribution", '["Task Submitted", "Course Rated"]', { attribution: "step_3" }, "CF001", "attribution"],
    ["an unknown set", '["Task Submitted", "Course Rated"]', { among: "cohort.none" }, "CF002", "cohort.none"],
    ["no values", '["Task Submitted", "Course Rated"]', { top_values: 0 }, "CF001", "top_values"],
    ["a period of no time", '["Task Submitted", "Course Rated"]', { until: iso(start) }, "CF001", ""],
  ])("%s", async (_name, steps, options, code, text) => {
    const named = Object.keys(options).map((name, index) => `, ${name} => $${index + 3}`);
    const until = "until" in options ? "" : `, until => '${iso(start + DAY)}'`;
    const error = await database.rejects(`select * from analytics.funnel($1, since => $2${until}${named.join("")})`, [
      steps,
      iso(start),
      ...Object.values(options),
    ]);
    expect(error).toMatchObject({ code, message: expect.stringContaining(text) });
  });
});

test("is for analysts, admins and workers; what reads people is not for analysts", async () => {
  const steps = JSON.stringify([submitted, rated]);
  expect(await rolesThatMay(database, `select * from analytics.funnel('${steps}')`)).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
  expect(
    await rolesThatMay(
      database,
      `select analytics._funnel_attempts(
         analytics._funnel_steps('${steps}', '[]', 'ordered', null), array[now() - interval '1 day', now()], 'ordered',
         '1 day', null, null, null, null
       )`,
    ),
  ).toEqual([]);
});
