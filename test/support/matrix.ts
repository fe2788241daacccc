/** Dense algebra in double precision by the standard methods: the reference for the matrix functions in SQL. */
export type Matrix = readonly (readonly number[])[];

export const transpose = (a: Matrix): number[][] => (a[0] ?? []).map((_, j) => a.map((row) => row[j] ?? 0));

/** Sum of products of two lists. */
export const dot = (a: readonly number[], b: readonly number[]): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
};

export const multiply = (a: Matrix, b: Matrix): number[][] => {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
};

export const identity = (n: number, scale = 1): number[][] =>
  Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? scale : 0)));

export const add = (a: Matrix, b: Matrix): number[][] =>
  a.map((row, i) => row.map((value, j) => value + (b[i]?.[j] ?? 0)));

/** Gauss–Jordan elimination with partial pivoting. */
export function inverse(a: Matrix): number[][] {
  const n = a.length;
  const rows = a.map((row, i) =>
    Float64Array.from([...row, ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))]),
  );
  for (let k = 0; k < n; k++) {
    let best = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(rows[i]?.[k] ?? 0) > Math.abs(rows[best]?.[k] ?? 0)) best = i;
    const pivotRow = rows[best];
    const other = rows[k];
    if (pivotRow === undefined || other === undefined) throw new Error("not square");
    rows[best] = other;
    rows[k] = pivotRow;
    const pivot = pivotRow[k] ?? 0;
    if (pivot === 0) throw new Error("singular");
    for (let j = k; j < 2 * n; j++) pivotRow[j] = (pivotRow[j] ?? 0) / pivot;
    for (const row of rows) {
      const factor = row[k] ?? 0;
      if (row === pivotRow || factor === 0) continue;
      for (let j = k; j < 2 * n; j++) row[j] = (row[j] ?? 0) - factor * (pivotRow[j] ?? 0);
    }
  }
  return rows.map((row) => [...row.subarray(n)]);
}

/** The weights of EASE (Steck, WWW 2019) for people in rows and items in columns. */
export function ease(x: Matrix, lambda: number): number[][] {
  const gram = multiply(transpose(x), x);
  const p = inverse(add(gram, identity(gram.length, lambda)));
  return p.map((row, i) => row.map((value, j) => (i === j ? 0 : -value / (p[j]?.[j] ?? 1))));
}

/** Largest absolute difference of two matrices of one shape. */
export function difference(a: Matrix, b: Matrix): number {
  if (a.length !== b.length || a.some((row, i) => row.length !== b[i]?.length)) return Number.POSITIVE_INFINITY;
  let largest = 0;
  a.forEach((row, i) => {
    row.forEach((value, j) => {
      const distance = Math.abs(value - (b[i]?.[j] ?? Number.NaN));
      if (!(distance <= largest)) largest = distance;
    });
  });
  return largest;
}

/** A matrix as an argument: an array of vectors, written as text. */
export const toSql = (a: Matrix): string[] => a.map((row) => `[${row.join(",")}]`);

/** A matrix from an array of vectors that was selected as `…::text[]`. */
export const fromSql = (rows: readonly string[]): number[][] => rows.map((row) => JSON.parse(row) as number[]);

/** A generator of numbers in [0, 1) that gives the same ones for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
