import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bounds, createMeter, type Heartbeat, type Time } from "../../src/browser/meter.ts";

/* The engaged time of a page, with clocks that the tests move. */

/** A page whose timer fires every second, also late, and what it reported. */
function simulate(idle = 30_000) {
  const complete: Heartbeat[] = [];
  let kept: Heartbeat | undefined;
  const meter = createMeter(idle, (heartbeat, isComplete) => {
    if (isComplete) complete.push(heartbeat);
    kept = isComplete ? undefined : heartbeat;
  });
  const time: Time = { wall: 1_700_000_000_000, steady: 0 };
  const sum = (): number => complete.reduce((total, { seconds }) => total + Math.round(seconds * 1000), 0);
  return {
    meter,
    complete,
    time,
    sum,
    kept: () => kept,
    now: (): Time => ({ ...time }),
    pass(milliseconds: number): void {
      time.wall += milliseconds;
      time.steady += milliseconds;
    },
    run(seconds: number): void {
      for (let second = 0; second < seconds; second += 1) {
        this.pass(bounds.tick);
        meter.tick(this.now());
      }
    },
  };
}

describe("a page", () => {
  test("that is read for 25 s has heartbeats of 5, 10 and 10 seconds", () => {
    const page = simulate();
    page.meter.start(page.now());
    page.run(25);
    page.meter.stop(page.now());
    expect(page.complete.map(({ seconds }) => seconds)).toEqual([5, 10, 10]);
    expect(page.complete.map(({ at }) => at - 1_700_000_000_000)).toEqual([5000, 15_000, 25_000]);
  });

  test("that is left after 3.4 s has one of 3.4 s", () => {
    const page = simulate();
    page.meter.start(page.now());
    page.run(3);
    page.pass(400);
    page.meter.stop(page.now());
    expect(page.complete).toEqual([{ at: 1_700_000_003_400, seconds: 3.4 }]);
  });

  test("without activity counts until the limit, and again from the next activity on", () => {
    const page = simulate(30_000);
    page.meter.start(page.now());
    page.run(60);
    expect(page.sum()).toBe(30_000);
    page.pass(500);
    page.meter.use(page.now());
    page.run(2);
    page.meter.stop(page.now());
    expect(page.sum()).toBe(32_000);
    expect(page.complete.at(-1)).toEqual({ at: 1_700_000_062_500, seconds: 2 });
  });

  test("that is hidden counts nothing, and the first heartbeat afterwards is short", () => {
    const page = simulate();
    page.meter.start(page.now());
    page.run(12);
    page.meter.stop(page.now());
    page.pass(600_000);
    page.meter.start(page.now());
    page.run(6);
    page.meter.stop(page.now());
    expect(page.complete.map(({ seconds }) => seconds)).toEqual([5, 7, 5, 1]);
  });

  test.each([
    ["both clocks run on while the computer sleeps", 3_600_000, 3_600_000],
    ["the computer's clock stands still while it sleeps", 3_600_000, 0],
    ["the time of day is set back", -3_600_000, 0],
  ])("%s: the time before is a heartbeat of its own, the sleep counts nothing", (_case, wall, steady) => {
    const page = simulate(7_200_000);
    page.meter.start(page.now());
    page.run(8);
    page.time.wall += wall;
    page.time.steady += steady;
    page.run(4);
    page.meter.stop(page.now());
    // The second of the tick that shows the gap is not known.
    expect(page.complete.map(({ at, seconds }) => [at - 1_700_000_000_000, seconds])).toEqual([
      [5000, 5],
      [8000, 3],
      [12_000 + wall, 3],
    ]);
  });

  test("that is killed has kept what it did not send", () => {
    const page = simulate();
    page.meter.start(page.now());
    page.run(8);
    expect(page.complete.map(({ seconds }) => seconds)).toEqual([5]);
    expect(page.kept()).toEqual({ at: 1_700_000_008_000, seconds: 3 });
  });
});

test("heartbeats add up to the time that a second account of it finds, and never overlap", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("tick" as const), after: fc.integer({ min: 1, max: 1500 }) }),
    fc.record({ kind: fc.constant("use" as const), after: fc.integer({ min: 1, max: 900 }) }),
    fc.record({ kind: fc.constant("hide" as const), after: fc.integer({ min: 1, max: 900 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1000, max: 10_000 }), (steps, idle) => {
      const page = simulate(idle);
      let visible = true;
      let used = 0;
      let expected = 0;
      page.meter.start(page.now());
      for (const { kind, after } of steps) {
        // Millisecond by millisecond.
        for (let each = 0; each < after; each += 1) {
          if (visible && page.time.steady + each < used + idle) expected += 1;
        }
        page.pass(after);
        if (kind === "tick" && visible) page.meter.tick(page.now());
        else if (kind === "use" && visible) {
          page.meter.use(page.now());
          used = page.time.steady;
        } else if (visible) {
          page.meter.stop(page.now());
          visible = false;
        } else {
          page.meter.start(page.now());
          used = page.time.steady;
          visible = true;
        }
        // Without a tick for too long, the time is not known.
        if (kind !== "tick" && visible) page.meter.tick(page.now());
      }
      if (visible) page.meter.stop(page.now());
      const lost = expected - page.sum();
      expect(lost).toBeGreaterThanOrEqual(0);
      expect(lost).toBeLessThanOrEqual(bounds.least);
      for (const [index, { at, seconds }] of page.complete.entries()) {
        const before = page.complete[index - 1];
        if (before !== undefined) expect(at - seconds * 1000).toBeGreaterThanOrEqual(before.at - 1);
      }
    }),
  );
});
