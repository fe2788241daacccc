/*
 * Measures the engaged time of a page view: the time for which the page is visible and its person was active a short time
 * ago. The result is a series of heartbeats, each with the engaged seconds before it, of which the database makes the
 * engaged time; their sum is exact, whatever the intervals of the timer are.
 *
 * A computer that sleeps, and a browser that suspends the page, stop the timer. The clocks show it afterwards: the time
 * between two ticks is then too long, and is not counted.
 */

/** Both in milliseconds: the time of day, which can be set, and a clock that only runs forward. */
export interface Time {
  wall: number;
  steady: number;
}

export interface Heartbeat {
  /** The end of the time. */
  at: number;
  seconds: number;
}

export interface Meter {
  /** The page is visible from now on. */
  start(now: Time): void;
  /** The person did something. */
  use(now: Time): void;
  /** Every second while the page is visible. */
  tick(now: Time): void;
  /** The page is hidden, or left. */
  stop(now: Time): void;
}

export const bounds = {
  /** Milliseconds between ticks. */
  tick: 1000,
  /**
   * Milliseconds until the first heartbeat, of which the database counts 5 seconds at most (`track.setting.minimum_visit`),
   * and between the others. The heartbeat is that of the tick after which the time would be longer.
   */
  first: 5000,
  next: 10_000,
  /** Milliseconds between two ticks that are too long for a timer that runs. */
  gap: 3000,
  /** Shorter times are reported with the time after them. */
  least: 200,
} as const;

/**
 * `idle`: milliseconds after the last activity for which a person still counts as active. `report` receives each
 * heartbeat; one that is not complete replaces the one before it.
 */
export function createMeter(idle: number, report: (heartbeat: Heartbeat, isComplete: boolean) => void): Meter {
  let last: Time | undefined;
  let used = 0;
  let spent = 0;
  let most: number = bounds.first;

  const tell = (at: number, isComplete: boolean): void => {
    if (spent < bounds.least) return;
    report({ at: Math.round(at), seconds: Math.round(spent) / 1000 }, isComplete);
    if (isComplete) spent = 0;
  };
  const complete = (at: number, next: number): void => {
    tell(at, true);
    most = next;
  };
  const advance = (now: Time): void => {
    if (last === undefined) return;
    const elapsed = now.steady - last.steady;
    const before = last;
    last = now;
    if (Math.max(elapsed, Math.abs(now.wall - before.wall)) > bounds.gap) {
      complete(before.wall, bounds.first);
      return;
    }
    const end = Math.min(now.steady, used + idle);
    if (end > before.steady) spent += end - before.steady;
    if (end < now.steady) complete(now.wall - now.steady + Math.max(end, before.steady), bounds.first);
  };

  return {
    start(now) {
      last ??= now;
      used = now.steady;
    },
    use(now) {
      if (now.steady > used + idle) advance(now);
      used = now.steady;
    },
    tick(now) {
      advance(now);
      if (spent > most - bounds.tick) complete(now.wall, bounds.next);
      else tell(now.wall, false);
    },
    stop(now) {
      advance(now);
      complete(now.wall, bounds.first);
      last = undefined;
    },
  };
}
