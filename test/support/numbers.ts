/** Correct digits of a value: its log relative error, or its absolute one where zero is expected; at most 16. */
export function digits(value: number, expected: number): number {
  const error = expected === 0 ? Math.abs(value) : Math.abs(value / expected - 1);
  return error === 0 ? 16 : Math.min(16, -Math.log10(error));
}

/** Fewest correct digits among several values. */
export function fewestDigits(values: readonly number[] | null, expected: readonly number[]): number {
  if (values?.length !== expected.length) return -1;
  return Math.min(...values.map((value, i) => digits(value, expected[i] ?? Number.NaN)));
}
