import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

beforeAll(() =>
  database.query(`
    create schema lab;
    grant usage, create on schema lab to insights_analyst;
    -- the example of MADlib's manual
    create table lab.point (id int, data int[], label int, value float8);
    insert into lab.point
    values (1, '{1,1}', 1, 1), (2, '{2,2}', 1, 1), (3, '{3,3}', 1, 1), (4, '{4,4}', 1, 1), (5, '{4,5}', 1, 1),
      (6, '{20,50}', 0, 0), (7, '{10,31}', 0, 0), (8, '{81,13}', 0, 0), (9, '{1,111}', 0, 0);
    create table lab.test (id int, data int[]);
    insert into lab.test
    values (1, '{2,1}'), (2, '{2,6}'), (3, '{15,40}'), (4, '{12,1}'), (5, '{2,90}'), (6, '{50,45}');
    grant select on all tables in schema lab to insights_analyst;
  `),
);

interface Neighbours {
  id: number;
  data?: number[];
  prediction?: number | string | boolean;
  k_nearest_neighbours?: number[];
  distance?: number[];
}

const knn = (rest: string, label: string | null = "label", point = "data", tested = "data"): Promise<Neighbours[]> =>
  database.as("insights_analyst", {}, async (db) => {
    await db.query(
      `select ml.knn('lab.point', $1, 'id', $2, 'lab.test', $3, 'id', 'lab.result'${rest === "" ? "" : `, ${rest}`})`,
      [point, label, tested],
    );
    return db.rows<Neighbours>("select * from lab.result order by id");
  });

test("classification, as in MADlib's manual", async () => {
  const expected = [
    { id: 1, data: [2, 1], prediction: 1, k_nearest_neighbours: [1, 2, 3], distance: [1, 1, 5] },
    { id: 2, data: [2, 6], prediction: 1, k_nearest_neighbours: [5, 4, 3], distance: [5, 8, 10] },
    { id: 3, data: [15, 40], prediction: 0, k_nearest_neighbours: [7, 6, 5], distance: [106, 125, 1346] },
    { id: 4, data: [12, 1], prediction: 1, k_nearest_neighbours: [4, 5, 3], distance: [73, 80, 85] },
    { id: 5, data: [2, 90], prediction: 0, k_nearest_neighbours: [9, 6, 7], distance: [442, 1924, 3545] },
    { id: 6, data: [50, 45], prediction: 0, k_nearest_neighbours: [6, 7, 8], distance: [925, 1796, 1985] },
  ];
  expect(await knn("3, true, 'madlib.squared_dist_norm2'")).toEqual(expected);
  expect(await knn("3, true, 'madlib.squared_dist_norm2', true")).toEqual(expected);
  expect(await knn("3, true, 'squared_dist_norm2', false, 'kd_tree', 'depth=4, leaf_nodes=8'")).toEqual(expected);
});

test("regression, as in MADlib's manual", async () => {
  const rows = await knn("3, true, 'madlib.dist_norm2'", "value");
  expect(rows.map(({ prediction }) => prediction)).toEqual([1, 1, 1 / 3, 1, 0, 0]);
  expect(rows[2]?.k_nearest_neighbours).toEqual([7, 6, 5]);
  for (const [i, distance] of [10.295630140987, 11.1803398874989, 36.6878726556883].entries()) {
    expect(rows[2]?.distance?.[i]).toBeCloseTo(distance, 12);
  }
});

test("weights by the inverse of the distance; a distance of 0 decides alone", async () => {
  const rows = await knn("3, false, 'dist_norm2', true", "value");
  const weights = [Math.sqrt(106), Math.sqrt(125), Math.sqrt(1346)].map((distance) => 1 / distance);
  expect(rows[2]?.prediction).toBeCloseTo((weights[2] ?? 0) / weights.reduce((sum, weight) => sum + weight), 14);
  expect(Object.keys(rows[0] ?? {})).toEqual(["id", "data", "prediction"]);
  const same = await database.as("insights_analyst", {}, async (db) => {
    await db.query(`
      select ml.knn('lab.point', 'data', 'id', 'label', 'lab.point', 'data', 'id', 'lab.self', 9, true, 'dist_norm2', true)
    `);
    return db.rows<{ id: number; prediction: number }>("select id, prediction from lab.self order by id");
  });
  expect(same.map(({ prediction }) => prediction)).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0]);
});

test("neighbours only, without a label", async () => {
  expect((await knn("", null))[0]).toEqual({ id: 1, data: [2, 1], k_nearest_neighbours: [1], distance: [1] });
});

test("the other distances, by definition; texts as labels; expressions as points", async () => {
  const manhattan = await knn("2, true, 'dist_norm1'", "case label when 1 then 'near' else 'far' end");
  expect(manhattan[2]).toMatchObject({ prediction: "far", k_nearest_neighbours: [7, 6], distance: [14, 15] });
  const angle = await knn("1, true, 'dist_angle'", "label = 1");
  // (12, 1) and (81, 13)
  expect(angle[3]).toMatchObject({ prediction: false, k_nearest_neighbours: [8] });
  expect(angle[3]?.distance?.[0]).toBeCloseTo(Math.atan(13 / 81) - Math.atan(1 / 12), 12);
  const moved = await knn(
    "3",
    "label",
    "array[data[1] + 1e7, data[2] - 1e7]",
    "array[data[1] + 1e7::float8, data[2] - 1e7::float8]",
  );
  expect(moved[5]).toEqual({
    id: 6,
    test_point: [10_000_050, -9_999_955],
    prediction: 0,
    k_nearest_neighbours: [6, 7, 8],
    distance: [925, 1796, 1985],
  });
});

test("a vote without majority goes to the nearest", async () => {
  expect((await knn("2, true", "id"))[2]?.prediction).toBe(7);
});

test("invalid arguments are refused, and leave no table", async () => {
  const given = [
    "'lab.point'",
    "'data'",
    "'id'",
    "'label'",
    "'lab.test'",
    "'data'",
    "'id'",
    "'lab.none'",
    "3",
    "true",
    "'dist_norm2'",
  ];
  for (const [place, value, code] of [
    [0, "'lab.points'", "CF002"],
    [1, "'dato'", "CF002"],
    [1, "'label'", "CF001"],
    [1, "'data[1:1]'", "CF001"],
    [1, "'array[1, ''NaN''::float8]'", "CF001"],
    [1, "'array[1e300, 1]'", "CF001"],
    [2, "null", "CF001"],
    [3, "'nothing'", "CF002"],
    [5, "'null::int[]'", "CF004"],
    [7, "'lab.point'", "CF003"],
    [8, "0", "CF001"],
    [8, "1001", "CF001"],
    [10, "'dist_tanimoto'", "CF001"],
  ] as const) {
    const call = given.with(place, value).join(", ");
    const error = await database.as("insights_analyst", {}, (db) => db.rejects(`select ml.knn(${call})`));
    expect(error.code, call).toBe(code);
  }
  expect(await database.rejects(`select ml.knn(${given.join(", ")}, false, 'annoy')`)).toMatchObject({ code: "CF001" });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
