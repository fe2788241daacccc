/**
 * Runs of a property test. `.ci/run` sets INSIGHTS_TEST_RUNS=0.5, and with `--full` 4. Each run draws other examples, so
 * that all of them are tried in the course of time.
 */
export function runs(native: number, embedded: number, isNative: boolean): number {
  return Math.ceil((isNative ? native : embedded) * factor);
}

const factor = Number(process.env["INSIGHTS_TEST_RUNS"] ?? 1);

/** Whether a test tries all combinations, not a part of them. */
export const isFull = factor > 1;

/** Whether a test tries a small part of the combinations. */
export const isShort = factor < 1;
