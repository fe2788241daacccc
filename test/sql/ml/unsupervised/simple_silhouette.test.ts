import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

/** The example of MADlib's manual: ten wines. */
beforeAll(() =>
  database.query(`
    create schema lab;
    grant usage on schema lab to insights_analyst;
    create table lab.wine (pid int, points float8[]);
    insert into lab.wine
    values
      (1, '{14.23,1.71,2.43,15.6,127,2.8,3.0600,0.2800,2.29,5.64,1.04,3.92,1065}'),
      (2, '{13.2,1.78,2.14,11.2,1,2.65,2.76,0.26,1.28,4.38,1.05,3.49,1050}'),
      (3, '{13.16,2.36,2.67,18.6,101,2.8,3.24,0.3,2.81,5.6799,1.03,3.17,1185}'),
      (4, '{14.37,1.95,2.5,16.8,113,3.85,3.49,0.24,2.18,7.8,0.86,3.45,1480}'),
      (5, '{13.24,2.59,2.87,21,118,2.8,2.69,0.39,1.82,4.32,1.04,2.93,735}'),
      (6, '{14.2,1.76,2.45,15.2,112,3.27,3.39,0.34,1.97,6.75,1.05,2.85,1450}'),
      (7, '{14.39,1.87,2.45,14.6,96,2.5,2.52,0.3,1.98,5.25,1.02,3.58,1290}'),
      (8, '{14.06,2.15,2.61,17.6,121,2.6,2.51,0.31,1.25,5.05,1.06,3.58,1295}'),
      (9, '{14.83,1.64,2.17,14,97,2.8,2.98,0.29,1.98,5.2,1.08,2.85,1045}'),
      (10, '{13.86,1.35,2.27,16,98,2.98,3.15,0.22,1.8500,7.2199,1.01,3.55,1045}');
    grant select on lab.wine to insights_analyst;
  `),
);

const silhouette = (centroids: string, rest = ""): Promise<number | null> =>
  database.as("insights_analyst", {}, (db) =>
    db.value(`select ml.simple_silhouette('lab.wine', 'points', ${centroids}${rest})`),
  );

test("the example of MADlib's manual, with its centroids", async () => {
  const centroids = `'{{14.255,1.9325,2.5025,16.05,110.5,3.055,2.9775,0.2975,1.845,6.2125,0.9975,3.365,1378.75},
    {13.7533333333333,1.905,2.425,16.0666666666667,90.3333333333333,2.805,2.98,0.29,2.005,5.40663333333333,
      1.04166666666667,3.31833333333333,1020.83333333333}}'`;
  expect(await silhouette(centroids)).toBeCloseTo(0.868174608939623, 6);
  expect(await silhouette(centroids, ", 'madlib.squared_dist_norm2'")).toBeCloseTo(0.868174608939623, 6);
});

test("points at a centroid are 1, two equal centroids are 0, and no rows are null", async () => {
  const points = `(select array[points, array_fill(0::float8, array[13])] from lab.wine where pid = 1)`;
  await database.query("create view lab.one as select * from lab.wine where pid = 1");
  await database.query("create view lab.none as select * from lab.wine where pid = 0");
  const one = (name: string, centroids: string): Promise<number | null> =>
    database.value(`select ml.simple_silhouette('lab.${name}', 'points', ${centroids})`);
  expect(await one("one", points)).toBeCloseTo(1, 12);
  expect(await one("one", `(select array[points, points] from lab.one)`)).toBe(0);
  expect(await one("none", points)).toBeNull();
});

test("fewer than two centroids, other dimensions and distances are refused", async () => {
  for (const rest of [
    "'{{1,2}}'",
    "'{1,2}'",
    "null",
    "'{{1,2},{3,4}}'",
    "array_fill(1::float8, array[2, 13]), 'cosine'",
  ]) {
    const error = await database.rejects(`select ml.simple_silhouette('lab.wine', 'points', ${rest})`);
    expect(error.code, rest).toBe("CF001");
  }
  expect(await database.rejects("select ml.simple_silhouette('lab.whine', 'points', '{{1},{2}}')")).toMatchObject({
    code: "CF002",
  });
});
