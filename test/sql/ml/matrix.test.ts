import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";

const database = await testDatabase();

/** Calls a function of matrices that returns one. */
async function call(name: string, ...matrices: algebra.Matrix[]): Promise<number[][]> {
  const values = matrices.map(algebra.toSql);
  const parameters = matrices.map((_, i) => `$${i + 1}::text[]::vector[]`).join(", ");
  return algebra.fromSql(await database.value<string[]>(`select ml.${name}(${parameters})::text[]`, values));
}

function random(rows: number, columns: number, seed: number): number[][] {
  const next = algebra.generator(seed);
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => Math.fround(next() - 0.5)));
}

/** AᵀA plus a ridge: symmetric positive definite, rounded as pgvector will. */
function positive(n: number, seed: number, ridge = n / 4): number[][] {
  const a = random(n + 3, n, seed);
  return algebra
    .add(algebra.multiply(algebra.transpose(a), a), algebra.identity(n, ridge))
    .map((row) => row.map(Math.fround));
}

const size = fc.integer({ min: 1, max: 12 });
const seed = fc.integer();

describe("products", () => {
  test("are those of direct algebra, for any shapes", async () => {
    await fc.assert(
      fc.asyncProperty(size, size, size, seed, async (m, k, n, seed) => {
        const a = random(m, k, seed);
        const b = random(k, n, seed + 1);
        const expected = algebra.multiply(a, b);
        expect(algebra.difference(await call("multiply", a, b), expected)).toBeLessThan(1e-5);
        expect(algebra.difference(await call("multiply_transposed", a, algebra.transpose(b)), expected)).toBeLessThan(
          1e-5,
        );
        expect(await call("transpose", a)).toEqual(
          algebra.transpose(a).map((row) => row.map((v) => expect.closeTo(v, 7))),
        );
        expect(algebra.difference(await call("gram", a), algebra.multiply(algebra.transpose(a), a))).toBeLessThan(1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("keep the order of rows and columns when the matrix is large", async () => {
    const a = random(300, 120, 1);
    const b = random(250, 120, 2);
    const expected = algebra.multiply(a, algebra.transpose(b));
    expect(algebra.difference(await call("multiply_transposed", a, b), expected)).toBeLessThan(1e-4);
  });

  test("refuse what does not fit", async () => {
    const refused = async (sql: string): Promise<string> => {
      const error = await database.rejects(sql);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message}`;
    };
    expect(await refused("select ml.multiply('{\"[1,2]\"}', '{\"[1,2]\"}')")).toBe(
      "CF001 a has 2 columns, b has 1 rows",
    );
    expect(await refused("select ml.multiply_transposed('{\"[1,2]\"}', '{\"[1,2,3]\"}')")).toBe(
      "CF001 the rows of a have 2 columns, those of b 3",
    );
    expect(await refused("select ml.multiply('{}', '{\"[1]\"}')")).toBe("CF004 the matrix a has no rows");
    expect(await refused("select ml.transpose(null)")).toBe("CF004 the matrix matrix has no rows");
    expect(await refused('select ml.gram(\'{"[1,2]", "[3]"}\')')).toBe(
      "CF001 the rows of matrix matrix have 1 to 2 columns",
    );
    expect(await refused("select ml.gram('{\"[1,2]\", null}')")).toBe(
      "CF001 the matrix matrix is not a list of rows: 1 of 2 entries are null",
    );
    expect(
      await refused(
        "select ml.multiply_transposed('{\"[1]\"}', (select array_agg('[1]'::vector) from generate_series(1, 16001)))",
      ),
    ).toBe("CF008 16001 rows of b are too many");
  });
});

describe("the inverse", () => {
  test("of a small positive definite matrix is that of direct algebra", async () => {
    await fc.assert(
      fc.asyncProperty(size, seed, async (n, seed) => {
        const matrix = positive(n, seed);
        expect(algebra.difference(await call("inverse", matrix), algebra.inverse(matrix))).toBeLessThan(1e-4);
      }),
      { numRuns: 30 },
    );
  });

  test.each([48, 49, 97, 250, 401])("of %i rows, which is cut into blocks, too", async (n) => {
    const matrix = positive(n, n);
    const inverse = await call("inverse", matrix);
    expect(algebra.difference(algebra.multiply(matrix, inverse), algebra.identity(n))).toBeLessThan(1e-5);
  });

  test("does not care for the units of the rows", async () => {
    const n = 60;
    const unit = Array.from({ length: n }, (_, i) => 10 ** (-6 + (12 * i) / n));
    const matrix = positive(n, 3).map((row, i) => row.map((v, j) => Math.fround(v * (unit[i] ?? 1) * (unit[j] ?? 1))));
    const inverse = await call("inverse", matrix);
    const scaled = inverse.map((row, i) => row.map((v, j) => v * (unit[i] ?? 1) * (unit[j] ?? 1)));
    const plain = matrix.map((row, i) => row.map((v, j) => v / (unit[i] ?? 1) / (unit[j] ?? 1)));
    expect(algebra.difference(algebra.multiply(plain, scaled), algebra.identity(n))).toBeLessThan(1e-4);
  });

  test("stays exact to single precision when the matrix is ill conditioned", async () => {
    // Largest eigenvalue about 0.9 n against a smallest of 0.1.
    const n = 300;
    const matrix = Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? 1 : 0.9)));
    const inverse = await call("inverse", matrix);
    expect(algebra.difference(algebra.multiply(matrix, inverse), algebra.identity(n))).toBeLessThan(1e-3);
  });

  test("is refused, with the row, where there is none", async () => {
    const refused = async (matrix: algebra.Matrix): Promise<{ code: string | undefined; message: string }> => {
      const error = await database.rejects("select ml.inverse($1::text[]::vector[])", [algebra.toSql(matrix)]);
      expect(error.hint).toBeTruthy();
      return { code: error.code, message: error.message };
    };
    expect(
      await refused([
        [1, 2],
        [2, 4],
      ]),
    ).toEqual({
      code: "CF007",
      message: expect.stringMatching(/^the matrix is singular, or too near .* of row 2$/),
    });
    expect(
      await refused([
        [1, 2],
        [2, 1],
      ]),
    ).toEqual({
      code: "CF007",
      message: "the matrix is not positive definite: pivot -3 of row 2",
    });
    expect(
      await refused([
        [1, 0, 0],
        [0, -2, 0],
        [0, 0, 0],
      ]),
    ).toEqual({
      code: "CF007",
      message: "the matrix is not positive definite: -2 on the diagonal of row 2",
    });
    expect(
      await refused([
        [1, 0.5],
        [0.25, 1],
      ]),
    ).toEqual({ code: "CF001", message: "the matrix is not symmetric" });
    expect(
      await refused([
        [1, 0],
        [0, 1],
        [0, 0],
      ]),
    ).toEqual({
      code: "CF001",
      message: "the matrix has 3 rows and 2 columns",
    });

    // Two equal rows far into a matrix of several blocks.
    const matrix = positive(130, 9);
    const copied = matrix.map((row) => [...row]);
    for (let i = 0; i < 130; i++) {
      const line = copied[i];
      if (line !== undefined) line[111] = matrix[i]?.[7] ?? 0;
    }
    copied[111] = [...(copied[7] ?? [])];
    expect(await refused(copied)).toEqual({ code: "CF007", message: expect.stringMatching(/of row 112$/) });
  });
});

describe("a rank-one update", () => {
  test("equals the inversion of the changed matrix, and is taken back by its opposite", async () => {
    await fc.assert(
      fc.asyncProperty(size, seed, fc.constantFrom(1, 0.5, 3), async (n, seed, weight) => {
        const matrix = positive(n, seed, n + 1);
        const [x = []] = random(1, n, seed + 1);
        const update = async (inverse: algebra.Matrix, by: number): Promise<number[][]> =>
          algebra.fromSql(
            await database.value<string[]>(
              "select ml.rank_one_update($1::text[]::vector[], $2::text::vector, $3)::text[]",
              [algebra.toSql(inverse), JSON.stringify(x), by],
            ),
          );
        const before = algebra.inverse(matrix);
        const after = algebra.inverse(
          matrix.map((row, i) => row.map((v, j) => v + weight * (x[i] ?? 0) * (x[j] ?? 0))),
        );
        const updated = await update(before, weight);
        expect(algebra.difference(updated, after)).toBeLessThan(1e-5);
        expect(algebra.difference(await update(updated, -weight), before)).toBeLessThan(1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("refuses what would leave no inverse", async () => {
    const error = await database.rejects("select ml.rank_one_update('{\"[1,0]\", \"[0,1]\"}', '[2,0]', -1)");
    expect(error.code).toBe("CF007");
    expect(error.message).toContain("is -3");
    expect((await database.rejects("select ml.rank_one_update('{\"[1]\"}', '[1,2]')")).code).toBe("CF001");
    expect((await database.rejects("select ml.rank_one_update('{\"[1]\"}', '[1]', 'NaN')")).code).toBe("CF001");
  });
});
