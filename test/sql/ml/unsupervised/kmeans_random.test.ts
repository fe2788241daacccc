import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

beforeAll(() =>
  database.query(`
    create schema lab;
    grant usage on schema lab to insights_analyst;
    create table lab.point as
    select array[10 * (i % 3) + (i % 7) / 10.0, i % 5 / 10.0]::float8[] as place from generate_series(1, 60) as i;
    grant select on lab.point to insights_analyst;
  `),
);

interface Clusters {
  centroids: number[][];
  objective_fn: number;
  num_iterations: number;
}

const cluster = (k: number, seed: number): Promise<Clusters> =>
  database.as("insights_analyst", {}, (db) =>
    db.value(`select to_jsonb(ml.kmeans_random('lab.point', 'place', ${k}, seed => ${seed}))`),
  );

test("random seeds are distinct points, and some of them find the three clusters", async () => {
  const runs = await Promise.all(Array.from({ length: 12 }, (_, seed) => cluster(3, seed)));
  const best = Math.min(...runs.map(({ objective_fn }) => objective_fn));
  const plus = await database.value<number>("select (ml.kmeanspp('lab.point', 'place', 3)).objective_fn");
  expect(best).toBeCloseTo(plus, 6);
  // Of three random points, two are of the same cluster as a rule: with k-means++ that is rare.
  expect(runs.some(({ objective_fn }) => objective_fn > 10 * best)).toBe(true);
  expect(runs.every(({ centroids }) => centroids.length <= 3)).toBe(true);
});

test("the seed decides", async () => {
  expect(await cluster(3, 5)).toEqual(await cluster(3, 5));
});

test("each point can be a cluster, and more clusters than points are refused", async () => {
  expect((await cluster(35, 1)).objective_fn).toBeLessThan(1);
  expect(await database.rejects("select ml.kmeans_random('lab.point', 'place', 1000)")).toMatchObject({
    code: "CF004",
  });
  expect(await database.rejects("select ml.kmeans_random('lab.point', 'place', 0)")).toMatchObject({ code: "CF001" });
});
