import { expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { dot } from "../../../support/matrix.ts";
import { largestError, trained } from "./training.ts";

const database = await lab();
const courses = [
  { id: 10, title: "Introduction to Linear Algebra", v: [1, 0, 0.5] },
  { id: 20, title: "Linear Algebra II", v: [1, 0.1, 0.5] },
  { id: 30, title: "History of Art in Europe", v: [0, 1, 0.2] },
  { id: 40, title: "Art History", v: [0, 2, 0.1] },
  { id: 50, title: "机器学习导论", v: [0.5, 0.5, 0.5] },
  { id: 60, title: "深度学习与机器学习", v: null },
  { id: 70, title: null, v: [0, 0, 0] },
];

test("recommends items with similar texts", async () => {
  await load(database, "lab.course", "id int, title text, v real[]", courses);
  const nearest = await database.rows<{ item: string; nearest: string }>(
    "select item, neighbours[1] as nearest from ml.content_train('lab.course', 'id')",
  );
  expect(Object.fromEntries(nearest.map((row) => [row.item, row.nearest]))).toMatchObject({
    10: "20",
    20: "10",
    30: "40",
    40: "30",
    50: "60",
    60: "50",
  });
  expect(nearest.map((row) => row.item)).not.toContain("70");
});

test("the weights are the cosines of the vectors of ml.content_vectors", async () => {
  await load(database, "lab.course", "id int, title text, v real[]", courses);
  const rows = await database.rows<{ item: string; embedding: number[] | null }>(
    "select item, embedding::real[] from ml.content_vectors('lab.course', 'id', dimensions => 128)",
  );
  const vectors = new Map(rows.map((row) => [row.item, row.embedding]));
  const model = await trained(database, "ml.content_train('lab.course', 'id', dimensions => 128)");
  const cosine = (a: string, b: string): number => Math.max(dot(vectors.get(a) ?? [], vectors.get(b) ?? []), 0);
  expect(largestError(model, [...vectors.keys()], cosine)).toBeLessThan(1e-6);
});

test("takes vectors that were made elsewhere", async () => {
  await load(database, "lab.course", "id int, title text, v real[]", courses);
  const vectors = new Map(courses.map((course) => [String(course.id), course.v ?? [0, 0, 0]]));
  const cosine = (a: string, b: string): number => {
    const [x, y] = [vectors.get(a) ?? [], vectors.get(b) ?? []];
    const norms = Math.sqrt(dot(x, x) * dot(y, y));
    return norms === 0 ? 0 : Math.max(dot(x, y) / norms, 0);
  };
  for (const vector of ["v", "v::vector", "v::halfvec::vector", "v::float8[]"]) {
    const model = await trained(database, `ml.content_train('lab.course', 'id', vector_column => '${vector}')`);
    expect(largestError(model, [...vectors.keys()], cosine)).toBeLessThan(vector.includes("half") ? 1e-3 : 1e-6);
  }
});

test("refuses invalid input", async () => {
  await load(database, "lab.course", "id int, title text, v real[]", courses);
  const refused = async (more: string): Promise<string> => {
    const error = await database.rejects(`select * from ml.content_train('lab.course', 'id', ${more})`);
    expect(error.hint).toBeTruthy();
    return `${error.code} ${error.message}`;
  };
  expect(await refused("vector_column => 'w'")).toBe('CF002 vector column: "lab.course" has no column "w"');
  expect(await refused("vector_column => 'title'")).toBe("CF001 the vectors are of type text");
  expect(await refused("vector_column => 'v[:id / 10]'")).toBe("CF001 the vectors have 1 to 3 dimensions");
  expect(await refused("neighbour_count => 0")).toBe("CF001 neighbour_count is 0");
  expect(await refused("dimensions => 0")).toBe("CF001 dimensions is 0");
  await database.query("insert into lab.course select * from lab.course");
  expect(await refused("vector_column => 'v'")).toBe('CF001 item "10" has several vectors');
  await database.query("truncate lab.course");
  expect(await refused("vector_column => 'v'")).toBe("CF004 lab.course has no row with an item");
});
