import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference, dot, generator } from "../../../support/matrix.ts";
import { dense, type Neighbours } from "./neighbours.ts";

const database = await lab();
await database.query("create table lab.coded (item_no int, embedding vector)");

async function load(rows: readonly (readonly number[])[]): Promise<void> {
  await database.query("truncate lab.coded");
  await database.query(
    "insert into lab.coded select n, v::vector from unnest($1::text[]) with ordinality as row_ (v, n)",
    [rows.map((row) => `[${row.join(",")}]`)],
  );
}

const rows = (call: string): Promise<Neighbours[]> =>
  database.rows<Neighbours>(`select item_no, neighbours, weights from ${call}`);

test("gives the positive cosines, the nearest of each target", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer(),
      fc.constantFrom(2, 50),
      async (items, dimensions, seed, limit) => {
        const next = generator(seed);
        const vectors = Array.from({ length: items }, () =>
          Array.from({ length: dimensions }, () => (next() < 0.2 ? 0 : Math.fround(next() * 4 - 2))),
        );
        await load(vectors);
        const cosine = vectors.map((a, i) =>
          vectors.map((b, j) => {
            const norms = Math.sqrt(dot(a, a) * dot(b, b));
            return i === j || norms === 0 ? 0 : Math.max(dot(a, b) / norms, 0);
          }),
        );
        const expected = cosine.map((row, i) =>
          row.map((value, j) => {
            const nearer = cosine.filter((other, k) => {
              const rival = other[j] ?? 0;
              return k !== i && (rival > value + 1e-7 || (Math.abs(rival - value) <= 1e-7 && k < i));
            }).length;
            return nearer < limit ? value : 0;
          }),
        );
        const lists = await rows(`ml.content_neighbours('lab.coded', ${limit})`);
        expect(difference(dense(lists, items), expected)).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 30 },
  );
});

test("vectors that are null or 0 have no neighbours, and invalid parameters are refused", async () => {
  await load([
    [1, 0],
    [0, 0],
    [1, 1],
  ]);
  await database.query("insert into lab.coded values (4, null)");
  expect((await rows("ml.content_neighbours('lab.coded')")).map((row) => row.item_no)).toEqual([1, 3]);
  const limit = await database.rejects("select * from ml.content_neighbours('lab.coded', 0)");
  expect(limit).toMatchObject({ code: "CF001", message: "column_limit is 0" });
  const column = await database.rejects("select * from ml.content_neighbours('track.item')");
  expect(column).toMatchObject({ code: "CF002" });
  await database.query("truncate lab.coded");
  expect(await rows("ml.content_neighbours('lab.coded')")).toEqual([]);
  await database.query("insert into lab.coded select n, '[1]' from generate_series(1, 50001) as n");
  const many = await database.rejects("select * from ml.content_neighbours('lab.coded')");
  expect(many).toMatchObject({ code: "CF008", message: "50001 vectors are too many" });
});
