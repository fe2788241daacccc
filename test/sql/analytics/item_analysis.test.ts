import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { groupBy, shown } from "../../support/floor.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";
import { iso, start, withFloor } from "./doings.ts";

const random = generator(97);
const MINUTE = 60_000;
const database = await testDatabase();

await database.query("create table public.quiz_items (external_id text, kind text, parent text)");
await database.query(
  `insert into public.quiz_items values ('maths', 'course', null), ('quiz', 'task', 'maths'), ('exam', 'task', 'maths'),
     ('essay', 'task', 'maths'), ('art', 'course', null), ('sketch', 'task', 'art')`,
);
await database.query(
  "insert into public.quiz_items select format('q%s', number), 'question', 'quiz' from generate_series(0, 7) as number",
);
await database.query("insert into public.quiz_items values ('q8', 'question', 'exam')");
await database.query("select track.sync_items('public.quiz_items')");
await database.query("create table public.quiz_people (person text, item text, enrolled_at timestamptz)");
await database.query("create table public.quiz_staff (person text, item text, role text)");
await database.query("insert into public.quiz_staff values ('tess', 'maths', 'instructor')");
await database.query("select track.sync_item_roles('public.quiz_staff')");

interface Attempt {
  person: string;
  item: string;
  score: number;
}
const people = Array.from({ length: 61 }, (_, index) => `s${index}`);
/** The attempts of each person, in order of time. */
const answers: Attempt[] = people.flatMap((person) => {
  const ability = random();
  return Array.from({ length: 9 }, (_, item) => item).flatMap((item) =>
    Array.from({ length: random() < 0.15 ? 0 : random() < 0.3 ? 2 : 1 }, () => ({
      person,
      item: `q${item}`,
      // The last one is answered better by weak learners, the first one right by all.
      score:
        item === 0 ? 1 : Number(item === 7 ? random() > ability : random() * 0.7 + ability * 0.6 > 0.3 + item / 12),
    })),
  );
});
let minutes = 0;
const next = (): string => {
  minutes += 1;
  return iso(start + minutes * MINUTE);
};
const messages: Message[] = answers.map(({ person, item, score }) =>
  message({
    userId: person,
    event: "Question Answered",
    timestamp: next(),
    properties: { item, correct: score === 1 },
  }),
);
// Neither of these has a score.
messages.push(
  ...[undefined, "yes", 1, null].map((correct, index) =>
    message({
      userId: `s${index}`,
      event: "Question Answered",
      timestamp: iso(start - MINUTE),
      properties: { item: "q1", correct },
    }),
  ),
);
// Someone who is not enrolled.
messages.push(
  message({
    userId: "guest",
    event: "Question Answered",
    timestamp: iso(start),
    properties: { item: "q1", correct: true },
  }),
);
/** Submissions and grades: the score of an attempt is the latest one before the next submission. */
const submissions: [event: string, score: unknown][][] = [
  [["Task Submitted", 0.5]],
  [
    ["Task Submitted", undefined],
    ["Task Graded", 0.25],
    ["Grade Changed", 0.75],
  ],
  [
    ["Task Submitted", 0.125],
    ["Task Failed", 0.125],
    ["Task Submitted", 0.875],
    ["Task Completed", 1],
    ["Task Submitted", undefined],
  ],
  [
    ["Task Graded", 0.375],
    ["Task Submitted", 7],
    ["Task Graded", "0.9"],
  ],
];
const scoresOf = [[0.5], [0.75], [0.125, 1], [0.375]];
for (const item of ["exam", "essay"])
  for (const [index, person] of people.entries())
    for (const [event, score] of submissions[(index + (item === "essay" ? index >> 2 : 0)) % 4] ?? [])
      messages.push(message({ userId: person, event, timestamp: next(), properties: { item, score } }));
const scores: Attempt[] = ["exam", "essay"].flatMap((item) =>
  people.flatMap((person, index) =>
    (scoresOf[(index + (item === "essay" ? index >> 2 : 0)) % 4] ?? []).map((score) => ({ person, item, score })),
  ),
);
await ingest(database, messages);
await database.query("insert into public.quiz_people select person, 'maths', $1 from unnest($2::text[]) as person", [
  iso(start),
  people,
]);
await database.query("select track.sync_enrolments('public.quiz_people')");

interface Item {
  item: string;
  people: number;
  attempts: number;
  difficulty: number | null;
  discrimination: number | null;
  index: number | null;
}

const mean = (list: number[]): number => list.reduce((sum, one) => sum + one, 0) / list.length;
function correlation(x: number[], y: number[]): number | null {
  const [a, b] = [mean(x), mean(y)];
  const covariance = mean(x.map((one, index) => (one - a) * ((y[index] as number) - b)));
  const variance = mean(x.map((one) => (one - a) ** 2)) * mean(y.map((one) => (one - b) ** 2));
  return variance < 1e-20 ? null : covariance / Math.sqrt(variance);
}

function analyse(attempts: Attempt[], which: "first" | "last" | "best"): Map<string, Item> {
  const score = new Map<string, Map<string, number>>();
  for (const [person, own] of groupBy(attempts, (one) => one.person)) {
    const items = [...groupBy(own, ({ item }) => item)].map(([item, tries]): [string, number] => {
      const list = tries.map((one) => one.score);
      return [item, which === "first" ? (list[0] ?? 0) : which === "last" ? (list.at(-1) ?? 0) : Math.max(...list)];
    });
    score.set(person, new Map(items));
  }
  const total = new Map([...score].map(([person, own]) => [person, Math.round(mean([...own.values()]) * 1e9)]));
  const size = 0.27 * score.size;
  /** The mean score in the group at one end, with equal learners in proportion to the places that are left. */
  const group = (item: string, sign: 1 | -1): number | null => {
    let [left, sum, weight] = [size, 0, 0];
    for (const [, equal] of [...groupBy([...score.keys()], (person) => total.get(person) ?? 0)].toSorted(
      ([a], [b]) => sign * (b - a),
    )) {
      const each = Math.min(1, Math.max(left, 0) / equal.length);
      for (const person of equal) {
        const own = score.get(person)?.get(item);
        if (own !== undefined) [sum, weight] = [sum + each * own, weight + each];
      }
      left -= equal.length;
    }
    return weight === 0 ? null : sum / weight;
  };
  return new Map(
    [...groupBy(attempts, ({ item }) => item)].map(([item, all]) => {
      const own = [...score].filter(([, list]) => list.has(item));
      const withRest = own.filter(([, list]) => list.size > 1);
      const rests = withRest.map(([, list]) =>
        mean([...list].flatMap(([other, one]) => (other === item ? [] : [one]))),
      );
      const [upper, lower] = [group(item, 1), group(item, -1)];
      return [
        item,
        {
          item,
          people: own.length,
          attempts: all.length,
          difficulty: mean(own.map(([, list]) => list.get(item) ?? 0)),
          discrimination: correlation(
            withRest.map(([, list]) => list.get(item) ?? 0),
            rests,
          ),
          index: upper === null || lower === null ? null : upper - lower,
        },
      ];
    }),
  );
}

const columns = `item, person_count::int as people, attempt_count::int as attempts, difficulty, discrimination,
  discrimination_index as index`;
function compare(rows: Item[], items: Map<string, Item>): void {
  expect(rows.map(({ item }) => item).sort()).toEqual([...items.keys()].sort());
  for (const row of rows) {
    const item = items.get(row.item);
    expect(row).toMatchObject({ people: item?.people, attempts: item?.attempts });
    for (const figure of ["difficulty", "discrimination", "index"] as const)
      if (item?.[figure] === null) expect(row[figure], `${figure} of ${row.item}`).toBeNull();
      else expect(row[figure], `${figure} of ${row.item}`).toBeCloseTo(item?.[figure] ?? 9, 9);
  }
  const order = rows.map(({ discrimination }) => discrimination ?? 9);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
}

const quiz = (list: Attempt[]): Attempt[] => list.filter(({ item }) => item !== "q8");

test.each(["first", "last", "best"] as const)("answers, and scores of tasks, by the %s attempt", async (attempt) => {
  compare(
    await database.rows<Item>(`select ${columns} from analytics.item_analysis('maths', attempt => $1)`, [attempt]),
    analyse(answers, attempt),
  );
  // The total is that of the quiz only.
  compare(
    await database.rows<Item>(`select ${columns} from analytics.item_analysis('maths', 'quiz', attempt => $1)`, [
      attempt,
    ]),
    analyse(quiz(answers), attempt),
  );
  compare(
    await database.rows<Item>(`select ${columns} from analytics.item_analysis('maths', null, 'scores', $1)`, [attempt]),
    analyse(scores, attempt),
  );
});

test("the sample has items of each kind", () => {
  const items = analyse(answers, "first");
  expect(items.get("q0")).toMatchObject({ difficulty: 1, discrimination: null, index: 0 });
  expect(items.get("q7")?.discrimination).toBeLessThan(0);
  expect(items.get("q3")?.discrimination).toBeGreaterThan(0.15);
});

test("a refresh changes nothing", async () => {
  const before = await database.rows("select * from analytics.item_analysis('maths')");
  await refresh(database);
  expect(await database.rows("select * from analytics.item_analysis('maths')")).toEqual(before);
});

test("a test of ten learners, computed on paper", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "insert into public.quiz_people select format('h%s', number), 'art', '2026-01-01Z' from generate_series(1, 10) as number",
    );
    await db.query(
      "insert into public.quiz_items select format('a%s', n), 'question', 'art' from generate_series(1, 3) as n",
    );
    await db.query("select track.sync_items('public.quiz_items')");
    await db.query("select track.sync_enrolments('public.quiz_people')");
    // By learner: answers to the three questions.
    const right = ["111", "111", "110", "110", "100", "100", "010", "001", "000", "000"];
    await ingest(
      db,
      right.flatMap((list, index) =>
        [...list].map((one, item) =>
          message({
            userId: `h${index + 1}`,
            event: "Question Answered",
            timestamp: iso(start),
            properties: { item: `a${item + 1}`, correct: one === "1" },
          }),
        ),
      ),
    );
    const rows = await db.rows<Item>(`select ${columns} from analytics.item_analysis('art') order by item`);
    expect(rows.map(({ difficulty }) => difficulty)).toEqual([0.6, 0.5, 0.3]);
    // a1 with the rest 2 2 1 1 0 0 1 1 0 0: sums 6, 8, 12, 6 of x, y, yy, xy; (6 - 6 * 8 / 10) / sqrt(2.4 * 5.6).
    expect(rows[0]?.discrimination).toBeCloseTo(1.2 / Math.sqrt(2.4 * 5.6), 12);
    // Groups of 2.7: both with 3 points and 0.7 of the two with 2; both with 0 and 0.7 of the four with 1.
    expect(rows[0]?.index).toBeCloseTo(1 - (0.7 * 2) / 4 / 2.7, 12);
    expect(rows[2]?.index).toBeCloseTo(2 / 2.7 - 0.7 / 4 / 2.7, 12);
  });
});

test("analysts see rounded numbers, and means of enough people only", async () => {
  for (const floor of [5, 13, 14, 62]) {
    const seen = await withFloor<Item>(database, floor, `select ${columns} from analytics.item_analysis('maths')`);
    const items = analyse(answers, "first");
    const expected = [...items.values()].filter(({ people }) => shown(people, people, floor) > 0);
    expect(seen.map(({ item }) => item).sort()).toEqual(expected.map(({ item }) => item).sort());
    for (const row of seen) {
      const item = items.get(row.item) as Item;
      expect(row.people).toBe(shown(item.people, item.people, floor));
      expect(row.attempts).toBe(shown(item.attempts, item.people, floor));
      let unit = 1;
      while (unit / 2 >= floor / item.people) unit /= 2;
      for (const figure of ["difficulty", "discrimination", "index"] as const)
        if (item.people < 4.5 * floor || item[figure] === null) expect(row[figure]).toBeNull();
        else expect(row[figure]).toBeCloseTo(Math.floor(item[figure] / unit + 0.5) * unit, 9);
    }
  }
});

test("an instructor sees her course only", async () => {
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    compare(await db.rows<Item>(`select ${columns} from analytics.item_analysis('maths')`), analyse(answers, "first"));
    for (const [given, code, text] of [
      ["'art'", "CF002", "you do not teach"],
      ["'maths', 'sketch'", "CF002", "contains no item"],
      ["'maths', 'not there'", "CF002", "contains no item"],
      ["'maths', among => 'counted'", "CF005", "sets of people"],
    ] as const) {
      const error = await db.rejects(`select * from analytics.item_analysis(${given})`);
      expect(error).toMatchObject({ code });
      expect(error.message).toContain(text);
    }
  });
});

test("invalid arguments", async () => {
  for (const [given, code] of [
    ["'math'", "CF002"],
    ["null", "CF002"],
    ["'maths', 'quizz'", "CF002"],
    ["'maths', 'sketch'", "CF002"],
    ["'maths', measure => 'answer'", "CF001"],
    ["'maths', measure => null", "CF001"],
    ["'maths', attempt => repeat('z', 10000)", "CF001"],
    ["'maths', attempt => null", "CF001"],
    ["'maths', among => 'none'", "CF002"],
  ])
    expect(await database.rejects(`select * from analytics.item_analysis(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.item_analysis('maths')")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
