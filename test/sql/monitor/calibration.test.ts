import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLists, makeWorld, week } from "./lists.ts";

/* Scores of version 1 are the true relevance; those of version 2 are random. */

const database = await testDatabase();
const people = 240;
const weeks = 8;

interface Figures {
  name: string;
  basis: string;
  tenth: number | null;
  score_least: number | null;
  score_mean: number;
  score_greatest: number | null;
  person_count: number;
  served_count: number;
  clicked_count: number;
  click_rate: number;
  corrected_rate: number;
  corrected_rate_lower: number;
  corrected_rate_upper: number;
  concordance: number | null;
  concordance_lower: number;
  concordance_upper: number;
}

const calibration = (role: string, since = 0, until = weeks): Promise<Figures[]> =>
  database.as(role, {}, async (db) =>
    (
      await db.rows<{ row: Figures }>("select to_jsonb(r) as row from monitor.calibration($1, $2) as r", [
        week(since),
        week(until),
      ])
    ).map(({ row }) => row),
  );

beforeAll(async () => {
  await makeWorld(database, people);
  await makeLists(database, { people, weeks, seed: 0.7 });
  await database.query("select setseed(0.3)");
  await database.query(
    `update recommend.impression
     set score = case version
       when 1 then (0.6 - 0.009 * place) * (0.2 + 1.2 * (person_id * 7 % 11) / 10.0) else random()
     end
     from ml.model, (select item_id, row_number() over (order by item_id) as place from track.item) as item
     where model.model_id = impression.model_id and item.item_id = impression.item_id`,
  );
});

test("counts each tenth, and all of them", async () => {
  const figures = await calibration("insights_admin");
  expect(figures.map(({ name, tenth }) => [name, tenth])).toEqual(
    ["1", "2"].flatMap((name) => [null, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((tenth) => [name, tenth])),
  );
  for (const version of ["1", "2"]) {
    const [all, ...tenths] = figures.filter(({ name }) => name === version);
    const sum = (of: (figure: Figures) => number): number => tenths.reduce((total, figure) => total + of(figure), 0);
    expect(sum((figure) => figure.served_count)).toBe(all?.served_count);
    expect(sum((figure) => figure.clicked_count)).toBe(all?.clicked_count);
    for (const [n, tenth] of tenths.entries()) {
      expect(tenth.served_count).toBeGreaterThan(0.08 * (all?.served_count ?? 0));
      expect(tenth.served_count).toBeLessThan(0.12 * (all?.served_count ?? 0));
      if (n > 0) expect(tenth.score_least).toBeGreaterThan(tenths[n - 1]?.score_greatest ?? 9);
      const [counted] = await database.rows(
        `select count(*)::int as served_count, count(clicked_at)::int as clicked_count,
           count(distinct person_id)::int as person_count, avg(score)::float8 as score_mean
         from recommend.impression join ml.model using (model_id)
         where version = $1 and score between $2 and $3`,
        [Number(version), tenth.score_least, tenth.score_greatest],
      );
      const { score_mean, ...counts } = counted as Record<string, number>;
      expect(tenth).toMatchObject(counts);
      expect(tenth.score_mean).toBeCloseTo(score_mean ?? 0, 10);
    }
  }
});

test("rates that are corrected for the rank follow the scores that are right, and no others", async () => {
  const figures = await calibration("insights_admin");
  let inside = 0;
  for (const { name, tenth, score_mean, corrected_rate_lower, corrected_rate_upper } of figures)
    if (name === "1" && tenth !== null && corrected_rate_lower <= score_mean && score_mean <= corrected_rate_upper)
      inside++;
  // The score is the probability of a click on an item that is examined.
  expect(inside).toBeGreaterThanOrEqual(8);
  const [all, ...tenths] = figures.filter(({ name }) => name === "2");
  const within = tenths.filter(
    ({ corrected_rate_lower, corrected_rate_upper }) =>
      corrected_rate_lower <= (all?.corrected_rate ?? 9) && (all?.corrected_rate ?? 0) <= corrected_rate_upper,
  );
  expect(within.length).toBeGreaterThanOrEqual(8);
});

test("concordance is the share of pairs of the same rank, and 0.5 for random scores", async () => {
  const figures = await calibration("insights_admin", 0, 2);
  for (const name of ["1", "2"]) {
    const [pairs] = await database.rows<{ concordance: number }>(
      `select (sum(case when a.score > b.score then 1 when a.score = b.score then 0.5 else 0 end) / count(*))::float8
         as concordance
       from recommend.impression as a
       join recommend.impression as b using (model_id, rank)
       join ml.model using (model_id)
       where version = $1 and a.clicked_at is not null and b.clicked_at is null
         and a.listed_at < $2 and b.listed_at < $2`,
      [Number(name), week(2)],
    );
    const all = figures.find((figure) => figure.name === name && figure.tenth === null);
    expect(all?.concordance).toBeCloseTo(pairs?.concordance ?? 0, 10);
    expect(figures.filter((figure) => figure.name === name && figure.concordance !== null)).toHaveLength(1);
  }
  const [right, , , , , , , , , , , random] = await calibration("insights_admin");
  expect(right?.concordance_lower).toBeGreaterThan(0.6);
  expect(random?.concordance_lower).toBeLessThan(0.5);
  expect(random?.concordance_upper).toBeGreaterThan(0.5);
});

test("the error of the concordance is that of a jackknife over people", async () => {
  const [all] = await calibration("insights_admin", 0, 2);
  const rows = await database.rows<{ person: number; rank: number; score: number; clicked: boolean }>(
    `select person_id::int as person, rank, score, clicked_at is not null as clicked
     from recommend.impression join ml.model using (model_id) where version = 1 and listed_at < $1`,
    [week(2)],
  );
  const concordance = (left: number): number => {
    let [won, pairs] = [0, 0];
    for (let rank = 1; rank <= 10; rank++) {
      const used = rows.filter((row) => row.rank === rank && row.person !== left);
      const others = used.filter(({ clicked }) => !clicked);
      for (const { score } of used.filter(({ clicked }) => clicked)) {
        pairs += others.length;
        for (const other of others) won += score > other.score ? 1 : score === other.score ? 0.5 : 0;
      }
    }
    return won / pairs;
  };
  const without = [...new Set(rows.map(({ person }) => person))].map(concordance);
  const mean = without.reduce((a, b) => a + b, 0) / without.length;
  const error = Math.sqrt(
    ((without.length - 1) / without.length) * without.reduce((sum, value) => sum + (value - mean) ** 2, 0),
  );
  const half = ((all?.concordance_upper ?? 0) - (all?.concordance_lower ?? 0)) / 2;
  expect(half / (1.959964 * error)).toBeGreaterThan(0.85);
  expect(half / (1.959964 * error)).toBeLessThan(1.15);
});

test("concordance and its interval are those of all pairs, with equal scores, classes of one kind and people of one row", async () => {
  for (let trial = 0; trial < 12; trial++) {
    const from = 20 + 2 * trial;
    await database.query("select setseed($1)", [(trial + 1) / 20]);
    // Few scores, so that most are equal to others; in every third trial, rank 3 is never clicked.
    await database.query(
      `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, score, clicked_at)
       select 1 + floor(power(random(), 2) * 9), gen_random_uuid(), model_id, item_id, row.rank, row.basis, $1::timestamptz + row.n * interval '1 minute', true,
         row.score, case when random() < 0.2 + 0.1 * row.score and ($2 % 3 > 0 or row.rank < 3) then $1::timestamptz end
       from (
         select n, 1 + n % 3 as rank, case when random() < 0.8 then 'model' else 'popular' end as basis,
           floor(random() * (1 + $2)) as score
         from generate_series(1, 20 + 8 * $2::int) as n
       ) as row
       join ml.model on version = 1 join track.item on external_id = 'course ' || row.rank`,
      [week(from), trial],
    );
    const rows = await database.rows<{ person: number; basis: string; rank: number; score: number; clicked: boolean }>(
      `select person_id::int as person, basis, rank, score, clicked_at is not null as clicked
       from recommend.impression where listed_at >= $1 and listed_at < $2`,
      [week(from), week(from + 1)],
    );
    const figures = (await calibration("insights_admin", from, from + 1)).filter(({ tenth }) => tenth === null);
    expect(figures).toHaveLength(new Set(rows.map(({ basis }) => basis)).size);
    for (const { basis, concordance, concordance_lower, concordance_upper } of figures) {
      const own = rows.filter((row) => row.basis === basis);
      let [pairs, won] = [0, 0];
      const strata = [1, 2, 3].map((rank) => ({
        clicked: own.filter((row) => row.rank === rank && row.clicked),
        other: own.filter((row) => row.rank === rank && !row.clicked),
      }));
      const beats = (a: number, b: number): number => (a > b ? 1 : a === b ? 0.5 : 0);
      for (const { clicked, other } of strata)
        for (const one of clicked)
          for (const two of other) {
            pairs++;
            won += beats(one.score, two.score);
          }
      if (pairs === 0) {
        expect(concordance).toBeNull();
        continue;
      }
      expect(concordance).toBeCloseTo(won / pairs, 10);
      const errors = new Map<number, number>();
      for (const { clicked, other } of strata) {
        const size = clicked.length * other.length;
        if (size === 0) continue;
        const share = (a: number[], b: number[]): number =>
          a.reduce((sum, one) => sum + b.reduce((inner, two) => inner + beats(one, two), 0), 0);
        const scores = (of: typeof own): number[] => of.map(({ score }) => score);
        const mean = share(scores(clicked), scores(other)) / size;
        for (const row of own.filter(({ rank }) => rank === (clicked[0]?.rank ?? 0))) {
          const part = row.clicked
            ? (share([row.score], scores(other)) / other.length - mean) / clicked.length
            : (share(scores(clicked), [row.score]) / clicked.length - mean) / other.length;
          errors.set(row.person, (errors.get(row.person) ?? 0) + (size / pairs) * part);
        }
      }
      const n = errors.size;
      if (n === 1) {
        expect([concordance_lower, concordance_upper]).toEqual([null, null]);
        continue;
      }
      const half = 1.959963984540054 * Math.sqrt(([...errors.values()].reduce((a, b) => a + b ** 2, 0) * n) / (n - 1));
      expect(concordance_lower).toBeCloseTo(Math.max(0, won / pairs - half), 8);
      expect(concordance_upper).toBeCloseTo(Math.min(1, won / pairs + half), 8);
    }
  }
});

test("analysts read groups: no extremes of scores, no few people", async () => {
  const figures = await calibration("insights_analyst");
  expect(figures.length).toBeGreaterThan(15);
  for (const { person_count, score_least, score_greatest, score_mean, concordance } of figures) {
    expect(person_count % 5).toBe(0);
    expect([score_least, score_greatest]).toEqual([null, null]);
    for (const shown of [score_mean, concordance ?? 0]) expect(shown).toBe(Number(shown.toPrecision(2)));
  }
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, score, clicked_at)
     select 1 + n % 4, gen_random_uuid(), model_id, item_id, 1, 'model', $1::timestamptz, true, 99, $1::timestamptz
     from generate_series(1, 40) as n join ml.model on version = 1 join track.item on external_id = 'course 1'`,
    [week(weeks + 0.5)],
  );
  expect(await calibration("insights_analyst", weeks, weeks + 1)).toEqual([]);
  expect(await calibration("insights_analyst", 0, weeks + 1)).toEqual(figures);
  // All were clicked: no pair.
  expect((await calibration("insights_admin", weeks, weeks + 1))[0]).toMatchObject({
    served_count: 40,
    concordance: null,
  });
});

test("invalid arguments are refused", async () => {
  expect(await database.rejects("select monitor.calibration($1, $2)", [week(1), week(0)])).toMatchObject({
    code: "CF001",
  });
  expect(await database.rejects("select monitor.calibration(kind => 'curse')")).toMatchObject({ code: "CF002" });
  expect(await rolesThatMay(database, "select monitor.calibration()")).toEqual(["analyst", "admin", "worker"]);
});
