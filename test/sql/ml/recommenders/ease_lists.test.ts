import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { generator } from "../../../support/matrix.ts";

const database = await lab();

test("ml.ease_lists keeps the strongest weights of each column, then of each row", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 12 }),
      fc.integer(),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 12 }),
      async (size, seed, columnLimit, rowLimit) => {
        const next = generator(seed);
        // Quarters: there are equal weights and zeros, and nothing is rounded.
        const p = Array.from({ length: size }, () => Array(size).fill(0) as number[]);
        for (let i = 0; i < size; i++)
          for (let j = 0; j <= i; j++) {
            const value = i === j ? 2 ** Math.floor(next() * 3) : Math.round(next() * 8 - 4) / 4;
            for (const [a, b] of [
              [i, j],
              [j, i],
            ] as const)
              (p[a] ?? [])[b] = value;
          }
        const number = (n: number): number => 3 * n + 5;
        const entries = p.flatMap((row, target) =>
          row
            .map((value, source) => ({ source, target, weight: -value / (row[target] ?? 1) }))
            .filter(({ source }) => source !== target)
            .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight) || a.source - b.source)
            .slice(0, columnLimit)
            .filter(({ weight }) => weight !== 0),
        );
        const expected = p.flatMap((_, source) => {
          const own = entries
            .filter((entry) => entry.source === source)
            .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight) || a.target - b.target)
            .slice(0, rowLimit)
            .sort((a, b) => a.target - b.target);
          return own.length === 0
            ? []
            : [
                {
                  item_no: number(source),
                  neighbours: own.map(({ target }) => number(target)),
                  weights: own.map(({ weight }) => weight),
                },
              ];
        });
        const statement = await database.value<string>("select ml.ease_lists($1, $2)", [columnLimit, rowLimit]);
        const typed = statement.replaceAll("$1", "$1::text[]::vector[]").replaceAll("($2)", "($2::int[])");
        expect(
          await database.rows(`select * from (${typed}) as list (item_no, neighbours, weights)`, [
            p.map((row) => `[${row.join()}]`),
            p.map((_, n) => number(n)),
          ]),
        ).toEqual(expected);
      },
    ),
    { numRuns: 40 },
  );
});

test("ml.ease_lists refuses invalid limits", async () => {
  for (const [limits, message] of [
    ["0, 1", "column_limit is 0"],
    ["1, 0", "row_limit is 0"],
    ["null, 1", "column_limit is null"],
  ])
    expect(await database.rejects(`select ml.ease_lists(${limits})`)).toMatchObject({ code: "CF001", message });
});
