import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRates } from "../../src/api/rates.ts";

/** Rates with a clock that the test sets. */
function clocked(most?: number) {
  let time = 0;
  const rates = createRates({ now: () => time, ...(most === undefined ? {} : { most }) });
  return {
    rates,
    wait: (milliseconds: number) => {
      time += milliseconds;
    },
    granted: (caller: string, perMinute: number, tries: number): number =>
      Array.from({ length: tries }, () => rates.take(caller, perMinute)).filter((seconds) => seconds === 0).length,
  };
}

describe("a rate", () => {
  test.each([
    [1200, 200],
    [60, 10],
    [6, 6],
    [1, 1],
  ])("of %i per minute allows %i at once, and then one at a time", (perMinute, burst) => {
    const { granted, wait } = clocked();
    expect(granted("a", perMinute, 1000)).toBe(burst);
    wait(60_000 / perMinute + 1);
    expect(granted("a", perMinute, 1000)).toBe(1);
    wait(3_600_000);
    expect(granted("a", perMinute, 1000)).toBe(burst);
  });

  test("names the seconds until the next request is allowed", () => {
    for (const perMinute of [1, 7, 60, 1200]) {
      const { rates, wait, granted } = clocked();
      granted("a", perMinute, 1000);
      const seconds = rates.take("a", perMinute);
      expect(Number.isInteger(seconds) && seconds >= 1).toBe(true);
      wait(seconds * 1000);
      expect(rates.take("a", perMinute)).toBe(0);
    }
  });

  test("is one caller's", () => {
    const { granted } = clocked();
    granted("a", 60, 100);
    expect(granted("b", 60, 100)).toBe(10);
  });

  test("that is changed applies at once", () => {
    const { granted, wait } = clocked();
    granted("a", 6000, 5000);
    wait(10_000);
    expect(granted("a", 60, 100)).toBe(10);
  });

  test("is never exceeded: in any interval, the burst and the rate", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 1, max: 50 })), { maxLength: 30 }),
        (perMinute, steps) => {
          const { granted, wait } = clocked();
          const burst = Math.min(perMinute, Math.max(10, perMinute / 6));
          let elapsed = 0;
          let total = 0;
          for (const [pause, tries] of steps) {
            wait(pause);
            elapsed += pause;
            total += granted("a", perMinute, tries);
            expect(total).toBeLessThanOrEqual(burst + (elapsed * perMinute) / 60_000 + 1e-6);
          }
        },
      ),
    );
  });
});

describe("many callers", () => {
  test("have a bound, and do not free one that is being limited", () => {
    const { rates, granted } = clocked(1000);
    expect(granted("flood", 1200, 300)).toBe(200);
    for (let caller = 0; caller < 1_000_000; caller += 1) {
      rates.take(`caller ${caller}`, 1200);
      if (caller % 500 === 0) expect(rates.take("flood", 1200)).toBeGreaterThan(0);
    }
    expect(rates.size).toBeLessThanOrEqual(1000);
  });

  test("that left are removed", () => {
    const { rates, wait } = clocked();
    for (let caller = 0; caller < 10_000; caller += 1) rates.take(`caller ${caller}`, 1200);
    wait(60_000);
    for (let caller = 0; caller < 10_000; caller += 1) {
      wait(1000);
      rates.take(`other ${caller}`, 1200);
    }
    expect(rates.size).toBeLessThan(10);
  });
});
