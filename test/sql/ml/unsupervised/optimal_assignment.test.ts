import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { generator } from "../../../support/matrix.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
const assigned = (costs: number[][]): Promise<(number | null)[]> =>
  database.value("select ml.optimal_assignment($1::float8[])", [costs]);

/** The least sum over all assignments of the shorter side. */
function least(costs: readonly (readonly number[])[]): number {
  const [rows, columns] = [costs.length, (costs[0] as number[]).length];
  if (rows > columns)
    return least(Array.from({ length: columns }, (_, column) => costs.map((row) => row[column] as number)));
  const from = (row: number, used: number): number =>
    row === rows
      ? 0
      : Math.min(
          ...Array.from({ length: columns }, (_, column) =>
            used & (1 << column)
              ? Number.POSITIVE_INFINITY
              : (costs[row]?.[column] as number) + from(row + 1, used | (1 << column)),
          ),
        );
  return from(0, 0);
}

test("a known assignment", async () => {
  // The greedy choice, 1 for the first row, costs 1 + 9; the best 2 + 3.
  expect(
    await assigned([
      [1, 2],
      [3, 9],
    ]),
  ).toEqual([2, 1]);
  expect(await assigned([[7]])).toEqual([1]);
});

test("the sum is the least of all assignments, of square, wide and tall matrices, with negative and equal costs", async () => {
  const random = generator(3);
  for (let trial = 0; trial < 60; trial++) {
    const [rows, columns] = [1 + Math.floor(random() * 6), 1 + Math.floor(random() * 6)];
    const costs = Array.from({ length: rows }, () =>
      Array.from({ length: columns }, () => Math.floor(random() * 12) - 4),
    );
    const found = await assigned(costs);
    const chosen = found.filter((column) => column !== null);
    expect(chosen).toHaveLength(Math.min(rows, columns));
    expect(new Set(chosen).size).toBe(chosen.length);
    const sum = found.reduce(
      (total: number, column, row) => total + (column === null ? 0 : (costs[row]?.[column - 1] as number)),
      0,
    );
    expect(sum, JSON.stringify(costs)).toBe(least(costs));
  }
});

test("anything but a matrix of finite numbers is refused, and so is a large one", async () => {
  const refused = (costs: string): Promise<object> => database.rejects(`select ml.optimal_assignment(${costs})`);
  expect(await refused("'{}'")).toMatchObject({ code: "CF001", message: "costs are not a matrix" });
  expect(await refused("'{1,2}'")).toMatchObject({ code: "CF001" });
  expect(await refused("'{{1,NaN}}'")).toMatchObject({ code: "CF001", message: "a cost is null, NaN or infinity" });
  expect(await refused("'{{1,null}}'")).toMatchObject({ code: "CF001" });
  expect(await refused("'{{1,-Infinity}}'")).toMatchObject({ code: "CF001" });
  expect(await refused("array_fill(0, array[201, 1])::float8[]")).toMatchObject({ code: "CF008" });
  expect(await database.value("select ml.optimal_assignment(null)")).toBeNull();
});

test("for administrators and workers", async () => {
  expect(await rolesThatMay(database, "select ml.optimal_assignment('{{1}}')")).toEqual(["admin", "worker"]);
});
