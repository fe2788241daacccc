import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { refresh, send } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { at } from "./servings.ts";

const database = await testDatabase();

interface Value {
  policy: string;
  outcome: string;
  slots: number;
  people: number;
  mean_weight: number | null;
  effective_sample_size: number;
  ips: number | null;
  ips_standard_error: number | null;
  snips: number | null;
  snips_standard_error: number | null;
}

interface Slot {
  person: number;
  weight: number;
  outcome: number;
}

const kernel = (slots: readonly Slot[]): Promise<Value> =>
  database.value<Value>("select to_jsonb(recommend._off_policy($1, $2, $3))", [
    slots.map(({ person }) => person),
    slots.map(({ weight }) => weight),
    slots.map(({ outcome }) => outcome),
  ]);

/** The textbook, in a few lines. */
function textbook(slots: readonly Slot[]) {
  const n = slots.length;
  const sum = (of: (slot: Slot) => number) => slots.reduce((total, slot) => total + of(slot), 0);
  const weight = sum((slot) => slot.weight);
  const ips = sum((slot) => slot.weight * slot.outcome) / n;
  const snips = sum((slot) => slot.weight * slot.outcome) / weight;
  const people = [...new Set(slots.map(({ person }) => person))];
  const spread = (of: (slot: Slot) => number) =>
    Math.sqrt(
      (people.reduce(
        (total, person) =>
          total + slots.filter((slot) => slot.person === person).reduce((inner, slot) => inner + of(slot), 0) ** 2,
        0,
      ) *
        people.length) /
        (people.length - 1),
    );
  return {
    mean_weight: weight / n,
    effective_sample_size: weight ** 2 / sum((slot) => slot.weight ** 2),
    ips,
    ips_standard_error: spread((slot) => slot.weight * slot.outcome - ips) / n,
    snips,
    snips_standard_error: spread((slot) => slot.weight * (slot.outcome - snips)) / weight,
  };
}

describe("the estimators", () => {
  test("agree with small cases that were computed manually", async () => {
    // Two arms with probability 1/2; the policy always takes the first, which was clicked in 2 of 3 cases.
    const slots = [
      { person: 1, weight: 2, outcome: 1 },
      { person: 2, weight: 2, outcome: 1 },
      { person: 3, weight: 2, outcome: 0 },
      { person: 4, weight: 0, outcome: 1 },
    ];
    expect(await kernel(slots)).toMatchObject({
      slots: 4,
      people: 4,
      mean_weight: 1.5,
      effective_sample_size: 3,
      ips: 1,
      // sqrt(4/3 · (1 + 1 + 1 + 1)) / 4
      ips_standard_error: expect.closeTo(Math.sqrt(16 / 3) / 4, 12),
      snips: expect.closeTo(2 / 3, 12),
      // sqrt(4/3 · (4/9 + 4/9 + 16/9)) / 6
      snips_standard_error: expect.closeTo(Math.sqrt((4 / 3) * (24 / 9)) / 6, 12),
    });
    // The slots of one person are one deviation.
    expect(await kernel(slots.map((slot) => ({ ...slot, person: slot.person <= 2 ? 1 : slot.person })))).toMatchObject({
      people: 3,
      ips: 1,
      // Deviations 2, -1, -1: sqrt(3/2 · 6) / 4
      ips_standard_error: expect.closeTo(3 / 4, 12),
    });
  });

  test("agree with the textbook on random slots", async () => {
    const next = generator(3);
    for (let round = 0; round < 20; round++) {
      const slots = Array.from({ length: 40 }, () => ({
        person: Math.floor(next() * 12),
        weight: next() < 0.4 ? 0 : 5 * next(),
        outcome: next() < 0.3 ? 1 : 0,
      }));
      const value = await kernel(slots);
      for (const [name, expected] of Object.entries(textbook(slots)))
        expect(value[name as keyof Value]).toBeCloseTo(expected, 9);
    }
  });

  test("have no value where there is none", async () => {
    const nothing = { ips: null, ips_standard_error: null, snips: null, snips_standard_error: null, mean_weight: null };
    expect(await kernel([])).toMatchObject({ slots: 0, people: 0, effective_sample_size: 0, ...nothing });
    expect(await kernel([{ person: 1, weight: 3, outcome: 1 }])).toMatchObject({
      ips: 3,
      ips_standard_error: null,
      snips: 1,
      snips_standard_error: null,
    });
    expect(
      await kernel([
        { person: 1, weight: 0, outcome: 1 },
        { person: 2, weight: 0, outcome: 1 },
      ]),
    ).toMatchObject({ ips: 0, snips: null, snips_standard_error: null, effective_sample_size: 0 });
    // "0 ± 0" would be certain: without an answer, the error is unknown.
    expect(
      await kernel([
        { person: 1, weight: 2, outcome: 0 },
        { person: 2, weight: 2, outcome: 0 },
        { person: 3, weight: 0, outcome: 1 },
      ]),
    ).toMatchObject({ ips: 0, ips_standard_error: null, snips: 0, snips_standard_error: null });
    // All of the policy were answered: its share is 1 for certain neither.
    expect(
      await kernel([
        { person: 1, weight: 2, outcome: 1 },
        { person: 2, weight: 0, outcome: 0 },
      ]),
    ).toMatchObject({ ips: 1, ips_standard_error: expect.closeTo(1, 9), snips: 1, snips_standard_error: null });
  });

  test("are unbiased, and their intervals hold the truth, over many simulated logs", async () => {
    // Contexts of two kinds with other click rates; the logs draw by known probabilities, the policy depends on the kind.
    const rates = [
      [0.1, 0.5, 0.3],
      [0.4, 0.1, 0.2],
    ] as const;
    const logged = [
      [0.6, 0.1, 0.3],
      [0.2, 0.6, 0.2],
    ] as const;
    const policy = [
      [0, 0.8, 0.2],
      [1, 0, 0],
    ] as const;
    const shareOfFirst = 0.7;
    const truth = shareOfFirst * (0.8 * 0.5 + 0.2 * 0.3) + (1 - shareOfFirst) * 0.4;
    const rounds = 300;
    let [ips, snips, held, heldBySnips] = [0, 0, 0, 0];
    let variance = 0;
    for (let seed = 1; seed <= rounds; seed++) {
      const next = generator(seed);
      const slots: Slot[] = [];
      for (let person = 0; person < 150; person++) {
        // Slots of a person are alike: her kind is that of all of them.
        const kind = next() < shareOfFirst ? 0 : 1;
        for (let n = 0; n < 1 + (person % 4); n++) {
          const drawn = next();
          const arm = drawn < logged[kind][0] ? 0 : drawn < logged[kind][0] + logged[kind][1] ? 1 : 2;
          slots.push({
            person,
            weight: policy[kind][arm] / logged[kind][arm],
            outcome: next() < rates[kind][arm] ? 1 : 0,
          });
        }
      }
      const value = (await kernel(slots)) as unknown as Record<string, number>;
      ips += (value["ips"] ?? 0) / rounds;
      snips += (value["snips"] ?? 0) / rounds;
      variance += (value["ips_standard_error"] ?? 0) ** 2 / rounds;
      held += Number(Math.abs((value["ips"] ?? 0) - truth) < 1.96 * (value["ips_standard_error"] ?? 0));
      heldBySnips += Number(Math.abs((value["snips"] ?? 0) - truth) < 1.96 * (value["snips_standard_error"] ?? 0));
    }
    expect(Math.abs(ips - truth)).toBeLessThan(3 * Math.sqrt(variance / rounds));
    expect(Math.abs(snips - truth)).toBeLessThan(0.01);
    expect(held / rounds).toBeGreaterThan(0.9);
    expect(heldBySnips / rounds).toBeGreaterThan(0.9);
  });
});

const people = Array.from({ length: 12 }, (_, n) => `p${n}`);
const courses = ["a", "b", "c", "d"];
/** Weights of version 1, from the first course to the second. */
const weights: Record<string, Record<string, number>> = { x: { a: 0.1, b: 0.5, c: 0.2 }, y: { a: 0.4, d: 0.3 } };

describe("recommend.off_policy_estimate", () => {
  const itemId = (name: string) => `(select item_id from track.item where external_id = '${name}')`;
  const slots = people.flatMap((person, n) =>
    [10, 20, 30].map((day, m) => {
      const pool = m === 2 ? ["b", "c", "d"] : courses;
      const drawn = pool[(n * 7 + m * 3) % pool.length] ?? "";
      return {
        person,
        day,
        pool,
        drawn,
        clicked: (n + m) % 3 === 0,
        completed: (n + m) % 4 === 0,
        liked: (n * m) % 5 === 1,
      };
    }),
  );
  const estimate = (policy: string, ...rest: unknown[]): Promise<Value> =>
    database.as("insights_admin", {}, (db) =>
      db.value<Value>(
        `select to_jsonb(recommend.off_policy_estimate($1${rest.map((_, n) => `, $${n + 2}`).join("")}))`,
        [policy, ...rest],
      ),
    );

  beforeAll(async () => {
    await send(
      database,
      [...courses, "x", "y"].map((item) => ({
        type: "track",
        messageId: `course ${item}`,
        userId: "catalogue",
        event: "Course Published",
        timestamp: at(0),
        properties: { item, itemKind: "course" },
      })),
    );
    // Half of the people took x, one day later; the others y, after the first slot.
    await send(
      database,
      people.map((person, n) => ({
        type: "track",
        messageId: `of ${person}`,
        userId: person,
        event: "Course Enrolled",
        timestamp: at(n % 2 === 0 ? 1 : 15),
        properties: { item: n % 2 === 0 ? "x" : "y" },
      })),
    );
    await refresh(database);
    await database.query(`
      insert into ml.project (name, task, metric) values ('recommend.course', 'recommendation', 'ndcg_at_10');
      insert into ml.model (project_id, version, algorithm) select project_id, 1, 'ease' from ml.project;
      insert into recommend.model_part (model_id, part, algorithm) select model_id, 1, 'ease' from ml.model;
      delete from recommend.ranked_list;
      insert into recommend.ranked_list (kind, list, item_id, score)
      values ('course', 'popular', ${itemId("c")}, 1), ('course', 'popular', ${itemId("d")}, 0.5);
    `);
    for (const [source, row] of Object.entries(weights))
      await database.query(
        `insert into recommend.neighbours (model_id, part, item_id, person_count, neighbour_ids, weights)
         select model_id, 1, ${itemId(source)}, 5, array_agg(item_id order by item_id), array_agg(weight order by item_id)
         from ml.model, jsonb_each_text($1) as entry (item, weight_text)
         cross join lateral (select weight_text::real as weight) as cast_weight
         join track.item on item.external_id = entry.item
         group by model_id`,
        [JSON.stringify(row)],
      );
    for (const slot of slots)
      await database.query(
        `insert into recommend.impression (
           person_id, serving_key, item_id, rank, basis, propensity, pool, listed_at, is_served, seen_at, clicked_at,
           completed_at, liking
         )
         select track.find_person($1), gen_random_uuid(), ${itemId(slot.drawn)}, 3, 'explored', $2,
           array(select item_id from track.item where external_id = any ($3)), $4, true, $4,
           case when $5 then $4::timestamptz end, case when $6 then $4::timestamptz end, case when $7 then 1 end`,
        [slot.person, 1 / slot.pool.length, slot.pool, at(slot.day), slot.clicked, slot.completed, slot.liked],
      );
    // Rows that must not count: ranked, not served, and without a pool.
    await database.query(`
      insert into recommend.impression (
        person_id, serving_key, item_id, rank, basis, propensity, pool, listed_at, is_served, seen_at, clicked_at
      )
      select track.find_person('p0'), gen_random_uuid(), item_id, 1, basis, propensity, pool, '${at(12)}', served, now(), now()
      from track.item,
        (values ('model', null, null, true), ('explored', 0.25, array[1, 2]::bigint[], false), ('explored', 0.25, null, true))
          as row (basis, propensity, pool, served)
      where external_id = 'a'
    `);
  });

  const outcome = { clicked: "clicked", completed: "completed", liked: "liked" } as const;
  const best = (pool: string[], score: (item: string) => number): string => {
    const popular = (item: string) => ({ c: 1, d: 0.5 })[item] ?? -1;
    return (
      [...pool].sort(
        (one, other) => score(other) - score(one) || popular(other) - popular(one) || (one < other ? -1 : 1),
      )[0] ?? ""
    );
  };
  const choices: Record<string, (slot: (typeof slots)[number], n: number) => string | null> = {
    popularity: ({ pool }) => best(pool, () => 0),
    "version 1": ({ person, day, pool }) => {
      const even = Number(person.slice(1)) % 2 === 0;
      const source = even && day > 1 ? "x" : !even && day > 15 ? "y" : "";
      return best(pool, (item) => weights[source]?.[item] ?? 0);
    },
  };

  test("weighs the slots in which the policy would have taken the same item", async () => {
    for (const [policy, choice] of Object.entries(choices)) {
      for (const field of Object.values(outcome)) {
        const expected = textbook(
          slots.map((slot, n) => ({
            person: Number(slot.person.slice(1)),
            weight: choice(slot, n) === slot.drawn ? slot.pool.length : 0,
            outcome: Number(slot[field]),
          })),
        );
        const value = await estimate(policy, field, at(0), at(100));
        expect(value).toMatchObject({ policy, outcome: field, slots: 36, people: 12 });
        for (const [name, figure] of Object.entries(expected))
          expect(value[name as keyof Value]).toBeCloseTo(figure, 9);
      }
    }
  });

  test("what was served, and a policy of equal probabilities, have the mean of the slots", async () => {
    const mean = slots.filter(({ clicked }) => clicked).length / slots.length;
    for (const policy of ["served", "random"]) {
      const value = await estimate(policy, "clicked", at(0), at(100));
      expect(value).toMatchObject({ effective_sample_size: expect.closeTo(36, 6), mean_weight: expect.closeTo(1, 9) });
      expect(value.ips).toBeCloseTo(mean, 9);
      expect(value.snips).toBeCloseTo(mean, 9);
    }
  });

  test("counts the slots of the period, and completions when there was time for them", async () => {
    expect(await estimate("served", "clicked", at(15), at(25))).toMatchObject({ slots: 12 });
    expect(await estimate("served", "clicked", at(200), at(300))).toMatchObject({ slots: 0, ips: null });
    await database.query("update recommend.setting set attribution_period = now() - $1::timestamptz", [at(25)]);
    expect(await estimate("served", "completed", at(0), at(100))).toMatchObject({ slots: 24 });
    expect(await estimate("served", "clicked", at(0), at(100))).toMatchObject({ slots: 36 });
    await database.query("update recommend.setting set attribution_period = '30 days'");
  });

  test("bad input is refused", async () => {
    const refused = async (call: string): Promise<string> => {
      const error = await database.rejects(`select recommend.off_policy_estimate(${call})`);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message}`;
    };
    expect(await refused("'best'")).toBe('CF001 policy is "best"');
    expect(await refused("null")).toBe("CF001 policy is null");
    expect(await refused("'version 2'")).toBe('CF002 there are no weights of version 2 of the recommender of "course"');
    expect(await refused("'version 99999999999'")).toBe('CF001 policy is "version 99999999999"');
    expect(await refused("'random', 'bought'")).toBe('CF001 outcome is "bought"');
    expect(await refused("'random', kind => 'curse'")).toBe('CF002 there is no item of kind "curse"');
    expect(await refused("'random', since => 'infinity'")).toMatch(/^CF001 the period is from infinity/);
  });

  test("is for admins and workers", async () => {
    expect(await rolesThatMay(database, "select recommend.off_policy_estimate('random')")).toEqual(["admin", "worker"]);
  });
});
