import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh, type Step, twoTastes } from "../../support/recommend.ts";
import { byTime, metricsOf } from "./evaluations.ts";

const database = await testDatabase();
const history = twoTastes(70, algebra.generator(23));

interface Result {
  model: string;
  segment: string;
  metric: string;
  k: number;
  value: number | null;
  standard_error: number | null;
  lower: number | null;
  upper: number | null;
  people: number;
}

const results = (id: unknown): Promise<Result[]> =>
  database.rows<Result>(
    `select model, segment, metric, k, value, standard_error, lower, upper, people
     from recommend.evaluation_result where evaluation_id = $1 order by model, segment, metric, k`,
    [id],
  );

const latest = (): Promise<unknown> => database.value("select max(evaluation_id) from recommend.evaluation");

async function evaluate(args: string): Promise<Result[]> {
  await database.query(`select from recommend.evaluate(${args})`);
  return await results(await latest());
}

const found = (rows: readonly Result[], model: string, metric: string, k = 10, segment = ""): Result | undefined =>
  rows.find((row) => row.model === model && row.metric === metric && row.k === k && row.segment === segment);

/** The items in the order of their keys. */
const items = async (): Promise<string[]> =>
  (await database.rows<{ item: string }>("select external_id as item from track.item order by item_id")).map(
    ({ item }) => item,
  );

beforeAll(async () => {
  await ingest(database, history);
  await refresh(database);
});

describe("bad input", () => {
  test.each([
    ["kind => 'curse'", "CF002", "course"],
    ["protocol => 'tme'", "CF002", '"time"'],
    ["protocol => null", "CF002", "leave_last_out"],
    ["'{eese}'", "CF002", '"ease"'],
    ["'{populrity}'", "CF002", '"popularity"'],
    ["'{deploied}'", "CF002", '"deployed"'],
    ["'{latst}'", "CF002", '"latest"'],
    ["array[null]", "CF002", "popularity"],
    ["'{ease(-1)}'", "CF001", ""],
    ["'{deployed}'", "CF006", "popularity"],
    ["'{}'", "CF001", "1"],
    ["'{ease,ease}'", "CF001", "once"],
    ["k => '{}'", "CF001", "1 to 10"],
    ["k => '{0}'", "CF001", "1"],
    ["k => '{1001}'", "CF001", "1000"],
    ["k => '{5,5}'", "CF001", "different"],
    ["k => array[null]::int[]", "CF001", "1 to 10"],
    ["seed => null", "CF001", "same seed"],
    ["people => 0", "CF001", "1"],
    ["resamples => 10", "CF001", "20"],
    ["segments => '{signed_on}'", "CF002", 'Did you mean "signed_in"'],
    ["split_at => 'infinity'", "CF001", "time"],
    ["protocol => 'random', split_at => '2026-02-01'", "CF001", "time"],
    ["split_at => '1990-01-01'", "CF004", "At least 5"],
    ["split_at => '2090-01-01'", "CF004", "At least 5"],
  ])("evaluate(%s) is refused with %s", async (args, code, hint) => {
    const error = await database.rejects(`select recommend.evaluate(${args})`);
    expect(error.code).toBe(code);
    expect(`${error.message} ${error.hint}`).toContain(hint);
    expect(await database.value("select count(*)::int from recommend.evaluation")).toBe(0);
  });
});

describe("the protocol time", () => {
  test("gives the metrics of an independent evaluation, for popularity too", async () => {
    const rows = await evaluate("'{popularity,ease(10)}', k => '{3,10}'");
    const order = await items();
    for (const [model, lambda] of [
      ["popularity", undefined],
      ["ease(10)", 10],
    ] as const) {
      const { tested, share } = byTime(history, order, lambda);
      for (const k of [3, 10]) {
        const own = tested.map(({ places }) => metricsOf(places, k));
        for (const metric of Object.keys(own[0] ?? {})) {
          const mean = own.reduce((sum, each) => sum + (each[metric] ?? 0), 0) / own.length;
          expect(found(rows, model, metric, k)?.value, `${model} ${metric}@${k}`).toBeCloseTo(mean, 6);
          expect(found(rows, model, metric, k)?.people).toBe(tested.length);
        }
        const lists = tested.map(({ list }) => list.slice(0, k));
        const novelty = lists.map(
          (list) => list.reduce((sum, item) => sum - Math.log2(share.get(item) ?? 1), 0) / list.length,
        );
        expect(found(rows, model, "novelty", k)?.value).toBeCloseTo(
          novelty.reduce((a, b) => a + b, 0) / novelty.length,
          6,
        );
        expect(found(rows, model, "coverage", k)?.value).toBeCloseTo(new Set(lists.flat()).size / share.size, 6);
      }
    }
    // The tastes are found by the model, and not by popularity.
    expect(found(rows, "ease(10)", "ndcg")?.value).toBeGreaterThan(found(rows, "popularity", "ndcg")?.value ?? 1);
  });

  test("does not train on what happened after the split, nor recommend what was not available then", async () => {
    const before = await evaluate("'{popularity,ease(10)}', split_at => '2026-03-10'");
    const later: Step[] = ["p0", "p1", "p2", "p3"].map((person) => ({
      person,
      event: "Course Enrolled",
      item: "later",
      day: 90,
      kind: "course",
    }));
    await database.as("postgres", {}, async (db) => {
      await ingest(db, later);
      await db.query("update track.item set available_from = '2026-03-20' where external_id = 'art-1'");
      await db.query("update track.item set available_until = '2026-03-01' where external_id = 'law-1'");
      await refresh(db);
      await db.query(
        "select from recommend.evaluate('{popularity,ease(10)}', split_at => '2026-03-10', k => '{1000}')",
      );
      const listed = await db.value<number>(
        `select value from recommend.evaluation_result
         where metric = 'coverage' and model = 'popularity' order by evaluation_id desc limit 1`,
      );
      // Everything that was available is in a list of any length, and nothing else.
      expect(listed).toBe(1);
      await db.query("select recommend.start_evaluation('{popularity}', split_at => '2026-03-10')");
      const available = await db.rows<{ item: string }>(
        `select item.external_id as item
         from recommend.evaluation_item join track.item using (item_id) join recommend.evaluation using (evaluation_id)
         where evaluation_item.available_from <= split_at and evaluation_item.available_until > split_at
           and state = 'running'`,
      );
      const names = available.map(({ item }) => item);
      expect(names).not.toContain("later");
      expect(names).not.toContain("art-1");
      expect(names).not.toContain("law-1");
      expect(names).toContain("art-2");
    });
    // Later events change nothing about what was known before.
    await database.as("postgres", {}, async (db) => {
      await ingest(db, later);
      await refresh(db);
      await db.query("select from recommend.evaluate('{popularity,ease(10)}', split_at => '2026-03-10')");
      const after = await db.rows<Result>(
        `select model, segment, metric, k, value, standard_error, lower, upper, people
         from recommend.evaluation_result
         where evaluation_id = (select max(evaluation_id) from recommend.evaluation) order by model, segment, metric, k`,
      );
      expect(after).toEqual(before);
    });
  });
});

describe("the other protocols", () => {
  test("leave_last_out holds out the last item, among what was available when it was taken", async () => {
    const rows = await evaluate("'{popularity}', protocol => 'leave_last_out'");
    const order = await items();
    const days = new Map<string, Map<string, number>>();
    for (const { person, item = "", day = 0 } of history)
      days.set(person, (days.get(person) ?? new Map<string, number>()).set(item, day));
    const first = new Map(
      order.map((item) => [item, Math.min(...history.filter((step) => step.item === item).map(({ day = 0 }) => day))]),
    );
    const held = [...days].flatMap(([person, own]) => {
      const [last] = [...own].sort((a, b) => b[1] - a[1]);
      return own.size > 1 && last !== undefined ? [{ person, item: last[0], day: last[1] }] : [];
    });
    const popularity = new Map(
      order.map((item) => [
        item,
        [...days].filter(([person, own]) => own.has(item) && !held.some((h) => h.person === person && h.item === item))
          .length,
      ]),
    );
    const gains = held.map(({ person, item, day }) => {
      const list = order
        .filter((other) => (first.get(other) ?? 0) <= day && (other === item || !days.get(person)?.has(other)))
        .sort((a, b) => (popularity.get(b) ?? 0) - (popularity.get(a) ?? 0) || order.indexOf(a) - order.indexOf(b));
      return metricsOf([list.indexOf(item) + 1], 10);
    });
    for (const metric of ["ndcg", "recall", "mrr"]) {
      const mean = gains.reduce((sum, each) => sum + (each[metric] ?? 0), 0) / gains.length;
      expect(found(rows, "popularity", metric)?.value, metric).toBeCloseTo(mean, 6);
    }
    expect(found(rows, "popularity", "ndcg")?.people).toBe(held.length);
  });
});

describe("results", () => {
  test("are the same for the same seed and data, and other samples for another seed", async () => {
    const args = "'{popularity,item_knn}', people => 20";
    const first = await evaluate(args);
    expect(await evaluate(args)).toEqual(first);
    expect(found(first, "popularity", "ndcg")?.people).toBe(20);
    expect(await evaluate(`${args}, seed => 2`)).not.toEqual(first);
  });

  test("have the percentile interval of a bootstrap over people", async () => {
    const id = await database.value(
      "select evaluation_id from recommend.start_evaluation('{popularity}', resamples => 60, seed => 5)",
    );
    let gains: number[] = [];
    for (let state = "running"; state === "running"; ) {
      const rows = await database.rows<{ gain: number }>(
        // The fourth metric of the first model and length.
        `select gains[4] as gain from recommend.evaluation_person
         where evaluation_id = $1 and models_done = 1 order by person_id`,
        [id],
      );
      if (rows.length > 0) gains = rows.map(({ gain }) => gain);
      state = await database.value("select state from recommend.continue_evaluation($1)", [id]);
    }
    const draws = await database.rows<{ place: number }>(
      `select 1 + (hashint8extended(n, hashint8extended(resample, 5)) & 9007199254740991) % $1 as place
       from generate_series(1, 60) as resample cross join generate_series(1, $1::bigint) as n
       order by resample, n`,
      [gains.length],
    );
    const means = Array.from({ length: 60 }, (_, resample) => {
      const own = draws.slice(resample * gains.length, (resample + 1) * gains.length);
      return own.reduce((sum, { place }) => sum + (gains[Number(place) - 1] ?? Number.NaN), 0) / own.length;
    }).sort((a, b) => a - b);
    const percentile = (share: number): number => {
      const at = share * (means.length - 1);
      const below = means[Math.floor(at)] ?? Number.NaN;
      return below + (at - Math.floor(at)) * ((means[Math.ceil(at)] ?? Number.NaN) - below);
    };
    const row = found(await results(id), "popularity", "ndcg");
    expect(row?.value).toBeCloseTo(gains.reduce((a, b) => a + b, 0) / gains.length, 9);
    expect(row?.lower).toBeCloseTo(percentile(0.025), 5);
    expect(row?.upper).toBeCloseTo(percentile(0.975), 5);
    const mean = means.reduce((a, b) => a + b, 0) / means.length;
    const deviation = Math.sqrt(means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (means.length - 1));
    expect(row?.standard_error).toBeCloseTo(deviation, 5);
  });

  test("are given by segment, without segments of fewer than five people", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query(`
        insert into track.person_set (name, description) values ('test.even', 'even'), ('test.few', 'few');
        insert into track.person_set_block (name, block, people)
        select 'test.even', person_id / 4096, bit_or(b'1'::bit(4096) >> (person_id % 4096)::int)
        from track.person where person_id % 2 = 0 and person_id <> 0 group by person_id / 4096;
        insert into track.person_set_block (name, block, people)
        select 'test.few', person_id / 4096, bit_or(b'1'::bit(4096) >> (person_id % 4096)::int)
        from track.person where person_id = track.find_person('p1') group by person_id / 4096`);
      const rows = await db.rows<Result>(
        "select * from recommend.evaluate('{popularity}', segments => '{test.even,test.few}')",
      );
      const all = found(rows, "popularity", "ndcg")?.people ?? 0;
      const even = found(rows, "popularity", "ndcg", 10, "test.even")?.people ?? 0;
      expect(even).toBeGreaterThanOrEqual(5);
      expect(even).toBeLessThan(all);
      expect(rows.some(({ segment }) => segment === "test.few")).toBe(false);
    });
  });

  test("keep nothing about people, and people who opt out meanwhile leave", async () => {
    const id = await database.value("select evaluation_id from recommend.start_evaluation('{popularity,ease}')");
    await database.as("postgres", {}, async (db) => {
      await db.query("select privacy.record_consent(track.find_person('p2'), 'personalization', false)");
      await db.query("select recommend.continue_evaluation($1)", [id]);
      expect(
        await db.value(
          "select count(*)::int from recommend.evaluation_person where evaluation_id = $1 and person_id = track.find_person('p2')",
          [id],
        ),
      ).toBe(0);
    });
    for (let state = "running"; state === "running"; )
      state = await database.value("select state from recommend.continue_evaluation($1)", [id]);
    expect(
      await database.rows(
        `select (select count(*) from recommend.evaluation_person)::int as people,
           (select count(*) from recommend.evaluation_item)::int as items,
           (select count(*) from recommend.evaluation_weight)::int as lists`,
      ),
    ).toEqual([{ people: 0, items: 0, lists: 0 }]);
  });
});

describe("the paired test", () => {
  const compare = (first: readonly number[], second: readonly number[], seed = 1) =>
    database.value<{
      difference: number;
      t: number | null;
      p_value: number;
      lower: number;
      upper: number;
      verdict: string;
    }>(
      `select to_jsonb(recommend._compare(
         array(select a - b from unnest($1::float8[], $2::float8[]) as pair (a, b)),
         array(
           select sample.means[1]
           from recommend._resampled_means(
             array(select array[a - b]::vector from unnest($1::float8[], $2::float8[]) as pair (a, b)), 400, $3
           ) as sample
         )
       ))`,
      [first, second, seed],
    );

  test("gives t and p of Student's example of two soporifics", async () => {
    const test = await compare(
      [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
      [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2],
    );
    expect(test.t).toBeCloseTo(4.0621, 4);
    expect(test.p_value).toBeCloseTo(0.002833, 6);
    expect(test.difference).toBeCloseTo(1.58, 9);
    expect(test.verdict).toBe("better");
  });

  test("finds no difference for the same values, and is certain for a constant one", async () => {
    expect(await compare([1, 0, 0.5], [1, 0, 0.5])).toMatchObject({
      difference: 0,
      t: null,
      p_value: 1,
      verdict: "equal",
    });
    expect(await compare([1, 1, 1], [0.5, 0.5, 0.5])).toMatchObject({ p_value: 0, verdict: "better" });
    expect(await compare([0.25], [0.5])).toMatchObject({ p_value: 1, verdict: "equal" });
  });

  test("finds no difference between equal models for about 95 % of the seeds, and a planted one always", async () => {
    const next = algebra.generator(99);
    let equal = 0;
    let better = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const easy = Array.from({ length: 50 }, () => next() * 0.4);
      const first = easy.map((value) => value + (next() + next() - 1) * 0.3);
      const second = easy.map((value) => value + (next() + next() - 1) * 0.3);
      const verdict = (await compare(first, second, seed)).verdict;
      if (verdict === "equal") equal++;
      if (
        seed % 10 === 0 &&
        (
          await compare(
            first.map((value) => value + 0.2),
            second,
            seed,
          )
        ).verdict === "better"
      )
        better++;
    }
    expect(equal).toBeGreaterThanOrEqual(90);
    expect(equal).toBeLessThan(100);
    expect(better).toBe(10);
  });
});

test("evaluations are for administrators and workers; analysts read the results", async () => {
  for (const role of ["insights_visitor", "insights_learner", "insights_analyst", "insights_instructor"]) {
    for (const call of ["evaluate()", "start_evaluation()", "continue_evaluation(1)"]) {
      const error = await database.as(role, {}, (db) => db.rejects(`select recommend.${call}`));
      expect(error.code, `${role} ${call}`).toBe("42501");
    }
  }
  for (const role of ["insights_admin", "insights_worker"]) {
    const rows = await database.as(role, {}, (db) => db.rows("select * from recommend.evaluate('{popularity}')"));
    expect(rows.length).toBeGreaterThan(0);
    for (const table of ["evaluation_person", "evaluation_item", "evaluation_weight"]) {
      const error = await database.as(role, {}, (db) => db.rejects(`select from recommend.${table}`));
      expect(error.code).toBe("42501");
    }
  }
  await evaluate("'{popularity,ease}'");
  for (const table of ["evaluation", "evaluation_model", "evaluation_result", "evaluation_comparison"]) {
    const count = await database.as("insights_analyst", {}, (db) =>
      db.value(`select count(*)::int from recommend.${table}`),
    );
    expect(count).toBeGreaterThan(0);
    const error = await database.as("insights_learner", {}, (db) => db.rejects(`select from recommend.${table}`));
    expect(error.code).toBe("42501");
  }
});
