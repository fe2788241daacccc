import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("shows a figure of a group as the reports of analytics do", async () => {
  const shown = (figure: number, people: number, smallest: number | null): Promise<number> =>
    database.value<number>("select analytics.shown($1, $2, $3)", [figure, people, smallest]);
  expect(await shown(4, 4, 5)).toBe(0);
  expect(await shown(7, 7, 5)).toBe(5);
  expect(await shown(8, 8, 5)).toBe(10);
  // 100 events of 10 people: multiples of 5 times 16.
  expect(await shown(100, 10, 5)).toBe(80);
  expect(await shown(3, 1, 1)).toBe(3);
  expect(await shown(3, 1, null)).toBe(3);
  for (const [figure, people] of [
    [12, 6],
    [99, 40],
    [1000, 7],
  ] as const)
    expect(await shown(figure, people, 5)).toBe(
      await database.value("select analytics._shown($1, $2, 5)", [figure, people]),
    );
});
