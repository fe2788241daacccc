import type { Queries, TestDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { deploy, ingest, type Recommendation, refresh, twoTastes } from "../../support/recommend.ts";

export const people = 40;
export const history = twoTastes(people, algebra.generator(5));
export const courses = [...new Set(history.map(({ item }) => item ?? ""))].sort();
export const owned = (person: string): Set<string> =>
  new Set(history.filter((step) => step.person === person).map(({ item }) => item ?? ""));

/** The popularity of the courses without a person: each use is halved every 30 days. */
export function popularity(without = ""): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { person, item = "", day = 0 } of history) {
    if (person !== without) sums.set(item, (sums.get(item) ?? 0) + 2 ** (day / 30));
  }
  const most = Math.max(...sums.values());
  return new Map([...sums].map(([item, sum]) => [item, Number((sum / most).toPrecision(2))]));
}

/** The history of these people, with nothing trained. */
export async function makeHistory(database: Queries): Promise<void> {
  await ingest(database, history);
  await refresh(database);
}

export interface Weights {
  items: string[];
  rows: number[][];
}

/** Trains a model of lambda 10; its weights as the textbook computes them. */
export async function trainOnHistory(database: Queries): Promise<Weights> {
  await database.query("update recommend.setting set most_reasons = 2");
  await deploy(database, "ease(10)");
  const x = [...Array(people).keys()]
    .map((n) => courses.map((course) => Number(owned(`p${n}`).has(course))))
    .filter((row) => row.includes(1));
  return { items: courses, rows: algebra.ease(x, 10) };
}

/** The recommendations for a signed-in person. */
export const mine = (
  database: TestDatabase,
  person: string,
  role = "insights_learner",
  call = "recommend.for_me()",
): Promise<Recommendation[]> =>
  database.as(role, { "insights.person": person }, async (db) =>
    (await db.rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`)).map(({ row }) => row),
  );

/** All of rows but the signatures, which differ from call to call. */
export const comparable = (rows: Recommendation[]) => rows.map(({ serving_id: _, next_page: __, ...row }) => row);
