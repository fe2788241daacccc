import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { send } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { runningExperiment } from "./experiments.ts";
import { at } from "./servings.ts";

const database = await testDatabase();
const people = Array.from({ length: 30 }, (_, n) => `p${n}`);
const next = generator(11);

interface Row {
  person: string;
  /** Days after Thursday, the first of January 2026. */
  day: number;
  version: number | null;
  basis: string;
  rank: number;
  propensity: number | null;
  served: boolean;
  seen: boolean;
  clicked: boolean;
  dismissed: boolean;
  liking: number | null;
  completed: boolean;
  /** Of the experiment `order`. */
  variation: "control" | "new" | "few" | null;
  function_name: string | null;
}

const random = (): Row => {
  const basis = ["model", "model", "popularity", "explored"][Math.floor(next() * 4)] ?? "";
  const seen = next() < 0.7;
  return {
    person: people[Math.floor(next() * people.length)] ?? "",
    day: Math.floor(next() * 56),
    version: basis === "popularity" ? null : 1 + Math.floor(next() * 2),
    basis,
    rank: 1 + Math.floor(next() * 10),
    propensity: basis === "explored" ? 0.05 : null,
    served: !seen || next() < 0.8,
    seen,
    clicked: seen && next() < 0.3,
    dismissed: seen && next() < 0.1,
    liking: seen && next() < 0.2 ? (next() < 0.5 ? -1 : 0.5) : null,
    completed: next() < 0.2,
    variation: ([null, "control", "new"] as const)[Math.floor(next() * 3)] ?? null,
    function_name: [null, "serve_me", "serve_person"][Math.floor(next() * 3)] ?? null,
  };
};
const rows: Row[] = Array.from({ length: 900 }, random);

/** Adds rows to those that are stored. */
const store = (db: Queries, all: Row[]): Promise<unknown> =>
  db.query(
    `insert into recommend.impression (
       person_id, serving_key, model_id, item_id, rank, basis, propensity, listed_at, is_served, seen_at, clicked_at,
       dismissed_at, liked_at, liking, completed_at, experiment_id, variation, function_name
     )
     select track.find_person(entry.person), gen_random_uuid(), model.model_id, item.item_id, rank, basis, propensity,
       listed_at, served, case when seen then listed_at end, case when clicked then listed_at end,
       case when dismissed then listed_at end, case when liking is not null then listed_at end, liking,
       case when completed then listed_at end, arm.experiment_id, arm.variation, entry.function_name
     from jsonb_to_recordset($1) as entry (
       person text, listed_at timestamptz, version int, basis text, rank int, propensity float8, served boolean, seen boolean,
       clicked boolean, dismissed boolean, liking real, completed boolean, variation text, function_name text
     )
     left join experiment.variation as arm on arm.variation_key = entry.variation
     join track.item on item.external_id = 'botany'
     left join (ml.model join ml.project on model.project_id = project.project_id and project.name = 'recommend.course')
       on model.version = entry.version`,
    [JSON.stringify(all.map((row) => ({ ...row, listed_at: at(row.day + 0.5) })))],
  );

beforeAll(async () => {
  await send(
    database,
    people.flatMap((person) => [
      {
        type: "track",
        messageId: `first of ${person}`,
        userId: person,
        event: "Page Viewed",
        timestamp: at(0),
        properties: { item: "botany", itemKind: "course" },
      },
    ]),
  );
  await send(database, [
    { type: "track", messageId: "b", anonymousId: "browser", event: "Page Viewed", timestamp: at(0) },
    { type: "track", messageId: "s", userId: "staff", event: "Page Viewed", timestamp: at(0) },
  ]);
  await database.query("select track.exclude_person('staff', 'staff')");
  while ((await database.rows("select from track.refresh()")).length > 0);
  await database.query(`
    insert into ml.project (name, task, metric) values ('recommend.course', 'recommendation', 'ndcg_at_10');
    insert into ml.model (project_id, version, algorithm)
    select project_id, version, 'ease' from ml.project, generate_series(1, 2) as version where name = 'recommend.course';
  `);
  await runningExperiment(
    database,
    ["control", "new", "few"].map((key) => ({ key, value: {} })),
    "order",
  );
  await store(database, rows);
});

interface Figures {
  name: string | null;
  person_count: number;
  served_count: number;
  seen_count: number;
  clicked_count: number;
  dismissed_count: number;
  liked_count: number;
  disliked_count: number;
  completed_count: number;
  click_rate: number | null;
  click_rate_lower: number | null;
  click_rate_upper: number | null;
  dismissal_rate: number | null;
  dismissal_rate_lower: number | null;
  completion_rate: number | null;
  completion_rate_upper: number | null;
}

const report = async (role: string, values: unknown[], db?: Queries): Promise<Figures[]> => {
  const work = async (queries: Queries): Promise<Figures[]> =>
    (
      await queries.rows<{ row: Figures }>(
        `select to_jsonb(r) as row from recommend.serving_report(${values.map((_, n) => `$${n + 1}`).join(", ")}) as r`,
        values,
      )
    ).map(({ row }) => row);
  if (db === undefined) return await database.as(role, {}, work);
  await db.query("select set_config('role', $1, true)", [role]);
  const figures = await work(db);
  await db.query("set local role postgres");
  return figures;
};

const names: Record<string, (row: Row) => string | null> = {
  model: ({ version }) => (version === null ? null : String(version)),
  basis: ({ basis }) => basis,
  rank: ({ rank }) => String(rank),
  slot: ({ propensity }) => (propensity === null ? "ranked" : "explored"),
  variation: ({ variation }) => (variation === null ? null : `order.${variation}`),
  function: ({ function_name: name }) => name,
};

/** Wilson's score interval (95 %), as the paper gives it. */
const wilson = (x: number, n: number): [number, number] => {
  const z = 1.959963984540054;
  const centre = (x + z ** 2 / 2) / (n + z ** 2);
  const half = (z / (n + z ** 2)) * Math.sqrt((x * (n - x)) / n + z ** 2 / 4);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
};

const weekOf = (day: number): number => Math.floor((day + 3) / 7);

describe("recommend.serving_report", () => {
  test("counts exactly for admins and workers, by each grouping and period", async () => {
    for (const role of ["insights_admin", "insights_worker"]) {
      for (const [by, nameOf] of Object.entries(names)) {
        for (const [from, to] of [
          [0, 56],
          [10, 31],
          [55, 56],
        ] as const) {
          const inside = rows.filter(({ day }) => day + 0.5 >= from && day + 0.5 < to);
          const expected = [...new Set(inside.map(nameOf))]
            .sort((a, b) =>
              a === null
                ? 1
                : b === null
                  ? -1
                  : by === "rank" || by === "model"
                    ? Number(a) - Number(b)
                    : a < b
                      ? -1
                      : 1,
            )
            .map((name) => {
              const group = inside.filter((row) => nameOf(row) === name);
              const count = (test: (row: Row) => boolean) => group.filter(test).length;
              const seen = count((row) => row.seen);
              const clicked = count((row) => row.clicked);
              const [lower, upper] = seen === 0 ? [null, null] : wilson(clicked, seen);
              return {
                name,
                person_count: new Set(group.map(({ person }) => person)).size,
                served_count: count((row) => row.served),
                seen_count: seen,
                clicked_count: clicked,
                dismissed_count: count((row) => row.dismissed),
                liked_count: count((row) => (row.liking ?? 0) > 0),
                disliked_count: count((row) => (row.liking ?? 0) < 0),
                completed_count: count((row) => row.seen && row.completed),
                click_rate: seen === 0 ? null : clicked / seen,
                click_rate_lower: lower,
                click_rate_upper: upper,
                completion_rate: seen === 0 ? null : count((row) => row.seen && row.completed) / seen,
              };
            });
          const figures = await report(role, [at(from), at(to), by]);
          expect(figures).toHaveLength(expected.length);
          for (const [n, want] of expected.entries()) {
            for (const [field, value] of Object.entries(want)) {
              const got = figures[n]?.[field as keyof Figures];
              if (typeof value === "number" && !Number.isInteger(value)) expect(got).toBeCloseTo(value, 12);
              else expect(`${field} ${got}`).toBe(`${field} ${value}`);
            }
          }
        }
      }
    }
  });

  test("shows analysts whole weeks of groups of five counted people, rounded", async () => {
    const figures = await report("insights_analyst", [at(10), at(31), "basis"]);
    // Weeks 1 to 4: from Monday, 5 January, until Monday, 2 February.
    for (const { name, ...shown } of figures) {
      const group = rows.filter(({ day, basis }) => weekOf(day) >= 1 && weekOf(day) <= 4 && basis === name);
      const kept = group.filter(
        (row) =>
          new Set(group.filter((other) => weekOf(other.day) === weekOf(row.day)).map(({ person }) => person)).size >= 5,
      );
      expect(shown.person_count % 5).toBe(0);
      expect(Math.abs(shown.person_count - new Set(kept.map(({ person }) => person)).size)).toBeLessThanOrEqual(2.5);
      const seen = kept.filter((row) => row.seen).length;
      expect(shown.seen_count % 5).toBe(0);
      expect(Math.abs(shown.seen_count - seen) / seen).toBeLessThan(0.5);
      expect(shown.click_rate).toBeCloseTo(shown.clicked_count / shown.seen_count, 12);
    }
    expect(figures.map(({ name }) => name)).toEqual(["explored", "model", "popularity"]);
  });

  test("one person more changes nothing that an analyst can ask in a group of few", () =>
    database.as("postgres", {}, async (db) => {
      const victim: Row = {
        person: "p0",
        day: 45,
        version: 2,
        basis: "segment",
        rank: 77,
        propensity: null,
        served: true,
        seen: true,
        clicked: true,
        dismissed: true,
        liking: 1,
        completed: true,
        variation: "few",
        function_name: "serve_items",
      };
      await store(
        db,
        ["p1", "p2", "p3"].map((person) => ({ ...victim, person, clicked: false, liking: null })),
      );
      const ask = async () => {
        const answers: Record<string, unknown> = {};
        for (const by of ["basis", "rank", "variation", "function"])
          for (const [from, to] of [
            [0, 56],
            [40, 46],
            [45, 46],
            [45.4, 45.6],
            [45.5, 45.500_001],
            [44, 100],
          ] as const)
            answers[`${by} ${from} ${to}`] = (await report("insights_analyst", [at(from), at(to), by], db)).filter(
              ({ name }) => ["segment", "77", "order.few", "serve_items"].includes(name ?? ""),
            );
        return answers;
      };
      const without = await ask();
      expect(Object.values(without)).toEqual(Object.values(without).map(() => []));
      await store(db, [victim]);
      expect(await ask()).toEqual(without);
      // Nor do people whom a client can invent, and staff, lift the group above the floor.
      await store(
        db,
        ["browser", "staff"].map((person) => ({ ...victim, person })),
      );
      expect(await ask()).toEqual(without);
      // The fifth counted person makes it a group; what fewer people did is still 0.
      await store(db, [{ ...victim, person: "p4", clicked: false, liking: null }]);
      const [group] = (await report("insights_analyst", [at(45), at(46), "basis"], db)).filter(
        ({ name }) => name === "segment",
      );
      expect(group).toMatchObject({
        person_count: 5,
        seen_count: 5,
        clicked_count: 0,
        liked_count: 0,
        dismissed_count: 5,
      });
      // Periods within the week are the same week: their difference is nothing.
      const weeks = [];
      for (const [from, to] of [
        [45.4, 45.6],
        [39, 46],
      ] as const)
        weeks.push(await report("insights_analyst", [at(from), at(to), "rank"], db));
      expect(weeks[0]).toEqual(weeks[1]);
      await db.query("update analytics.setting set smallest_group = 1");
      const [exact] = (await report("insights_analyst", [at(45), at(46), "basis"], db)).filter(
        ({ name }) => name === "segment",
      );
      expect(exact).toMatchObject({ person_count: 5, clicked_count: 1 });
    }));

  test("bad input is refused", async () => {
    const refused = async (call: string): Promise<string> => {
      const error = await database.rejects(`select * from recommend.serving_report(${call})`);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message}`;
    };
    expect(await refused("by => 'person'")).toBe('CF001 by is "person"');
    expect(await refused("by => null")).toBe("CF001 by is null");
    expect(await refused("kind => 'curse'")).toBe('CF002 there is no item of kind "curse"');
    expect(await refused("since => '2026-02-01Z', until => '2026-01-01Z'")).toMatch(
      /^CF001 the period is from 2026-02-01/,
    );
    expect(await refused("since => null")).toMatch(/^CF001 the period is from null/);
    for (const role of ["insights_admin", "insights_analyst"])
      expect(await report(role, ["-infinity", "infinity", "slot"])).not.toEqual([]);
  });

  test("is for analysts, admins and workers", async () => {
    expect(await rolesThatMay(database, "select recommend.serving_report()")).toEqual(["analyst", "admin", "worker"]);
    expect(
      await rolesThatMay(
        database,
        "select recommend._serving_report('2026-01-01', '2026-02-01', 'rank', 'course', null)",
      ),
    ).toEqual(["admin", "worker"]);
  });
});
