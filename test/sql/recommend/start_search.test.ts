import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { ingest, refresh } from "../../support/recommend.ts";
import { chains } from "./evaluations.ts";

const database = await testDatabase();

test("draws different sets of parameters, first those that each method has, on what happened before the decision", async () => {
  await ingest(database, chains(60, algebra.generator(3)));
  await refresh(database);
  const search = await database.value<{ evaluation_id: number; until_at: string; split_at: string; state: string }>(
    "select to_jsonb(recommend.start_search(trials => 30, seed => 2))",
  );
  expect(search.state).toBe("running");
  const later = await database.value<number>("select avg((first_at >= $1)::int)::float8 from recommend.interaction", [
    search.until_at,
  ]);
  expect(later).toBeCloseTo(0.2, 1);
  expect(Date.parse(search.split_at)).toBeLessThan(Date.parse(search.until_at));
  const trials = await database.rows<{
    model: string;
    part: { algorithm: string; parameters: object; history_decay: number };
  }>("select model, parts -> 0 as part from recommend.evaluation_model where evaluation_id = $1 order by model_no", [
    search.evaluation_id,
  ]);
  expect(trials).toHaveLength(30);
  expect(new Set(trials.map(({ part }) => JSON.stringify(part))).size).toBe(30);
  const given = await database.rows<{ algorithm: string; parameters: object; history_decay: number }>(
    "select algorithm, parameters, history_decay from recommend._candidates() where grid <> '{}' order by algorithm",
  );
  expect(trials.slice(0, given.length).map(({ part }) => part)).toMatchObject(given);

  // It is continued as an evaluation is, and its rows about people go at the end.
  for (let state = "running"; state === "running"; )
    state = await database.value("select state from recommend.continue_evaluation($1)", [search.evaluation_id]);
  expect(await database.value("select count(*)::int from recommend.evaluation_person")).toBe(0);
  expect(await database.value("select count(*)::int from recommend.best_parameters")).toBe(given.length);
});

test("refuses more trials than it can do", async () => {
  expect((await database.rejects("select recommend.start_search(trials => 100000)")).code).toBe("CF001");
});
