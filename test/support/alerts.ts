/*
 * A simulation of learned thresholds: series of samples every five minutes with and without a shift, bounds computed
 * independently of `monitor._learn_bound`, and how often a rule alerts on them. `bench/alerts.ts` prints the rates, and
 * a test compares the bounds with those of the database.
 */

/** Samples of a day, of an hour, of a week. */
export const day = 288;
const hour = 12;
const week = 7 * day;
/** Samples that a bound is learned from. */
export const past = 29 * day;
/** Samples that all have to be outside, less one: a rule's `hold` of ten minutes. */
const steps = 2;

type Random = () => number;

export function generator(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(Math.max(random(), 1e-12))) * Math.cos(2 * Math.PI * random());

function poisson(random: Random, mean: number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  let count = 0;
  for (let product = random(); product > Math.exp(-mean); product *= random()) count += 1;
  return count;
}

/** A series of which each value resembles the one before by this correlation. */
function persistent(random: Random, correlation: number): () => number {
  let value = normal(random);
  return () => {
    value = correlation * value + Math.sqrt(1 - correlation ** 2) * normal(random);
    return value;
  };
}

/** The traffic of a week: days from 6 to 20 o'clock, weekends with less. */
function season(index: number): number {
  const time = (index % day) / hour;
  const daily = 0.1 + (time >= 6 && time <= 20 ? Math.sin(((time - 6) / 14) * Math.PI) : 0);
  return daily * (Math.floor(index / day) % 7 >= 5 ? 0.4 : 1);
}

/** Each value of a series by its position; the first one is that of a Monday, 0 o'clock. */
export const kinds: Readonly<Record<string, (random: Random) => (index: number) => number>> = {
  constant: () => () => 100,
  "0, with rare spikes": (random) => () => (random() < 0.002 ? 50 : 0),
  "normal, independent": (random) => () => 100 + 10 * normal(random),
  "normal, correlation 0.99": (random) => {
    const noise = persistent(random, 0.99);
    return () => 100 + 10 * noise();
  },
  "Poisson, mean 3": (random) => () => poisson(random, 3),
  "weekly season": (random) => (index) => poisson(random, 200 * season(index)),
  "weekly season, days and hours differ": (random) => {
    const noise = persistent(random, 0.95);
    const days = Array.from({ length: 40 }, () => Math.exp(0.15 * normal(random)));
    return (index) =>
      poisson(random, 200 * season(index) * (days[Math.floor(index / day)] ?? 1) * Math.exp(0.2 * noise()));
  },
  "log-normal, independent": (random) => () => Math.exp(normal(random)),
  "log-normal, correlation 0.9": (random) => {
    const noise = persistent(random, 0.9);
    return () => Math.exp(noise());
  },
  "Pareto, exponent 1.5": (random) => () => (1 - random()) ** (-1 / 1.5),
  "0, a job of an hour each day": (random) => (index) => {
    const time = (index % day) / hour;
    return time >= 3 && time < 4 ? 20 + 5 * normal(random) : 0;
  },
  "0, bursts of half an hour": (random) => {
    let left = 0;
    return () => {
      if (left > 0) left -= 1;
      else if (random() < 0.05 / 6) left = 6;
      return left > 0 ? 20 + 5 * normal(random) : 0;
    };
  },
  "grows 1 % a day": (random) => (index) => 1000 * (1 + (0.01 * index) / day) + 10 * normal(random),
};

export function values(kind: string, seed: number, length: number): Float64Array {
  const random = generator(seed);
  const next = kinds[kind]?.(random);
  if (next === undefined) throw new Error(`there is no kind ${kind}`);
  return Float64Array.from({ length }, (_, index) => next(index));
}

const at = (sorted: ArrayLike<number>, index: number): number => sorted[index] ?? Number.NaN;

function medianOf(given: Float64Array): number {
  const sorted = given.slice().sort();
  const middle = (sorted.length - 1) / 2;
  return (at(sorted, Math.floor(middle)) + at(sorted, Math.ceil(middle))) / 2;
}

/** The value that a share of the given ones does not exceed, as `percentile_disc`. */
function discrete(given: number[], share: number): number {
  const sorted = [...given].sort((one, other) => one - other);
  return at(sorted, Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1));
}

export interface Bound {
  basis: "all hours" | "hour of the week";
  median: number;
  spread: number;
  lowest: number | null;
  highest: number | null;
  upper: number;
  lower: number;
}

/** The bounds for the hour that begins at `now`, from the samples since `since`; undefined while learning. */
export function learn(series: Float64Array, now: number, since = 0): Bound | undefined {
  const from = Math.max(since, now - past);
  const until = now - hour;
  if (until - from + 1 < 100 || until - from < day) return undefined;
  const all = series.subarray(from, until + 1);
  const total = medianOf(all);
  const relative = new Float64Array(all.length);
  let [explained, deviation, position] = [0, 0, 0];
  let same = new Float64Array();
  for (let first = 0; first < 168; first += 1) {
    const of: number[] = [];
    // Hours are counted from that of `now`, backwards by weeks.
    for (let start = now - week + first * hour; start + hour > from; start -= week) {
      for (let index = start; index < start + hour; index += 1) {
        if (index >= from && index <= until) of.push(at(series, index));
      }
    }
    const group = Float64Array.from(of);
    if (first === 0) same = group;
    const median = medianOf(group);
    for (const value of of) {
      explained += Math.abs(value - median);
      deviation += Math.abs(value - total);
      relative[position] = Math.abs(value - median) / Math.max(Math.abs(median), 1);
      position += 1;
    }
  }
  const isWeekly = explained < 0.5 * deviation && same.length >= 4 * hour;
  const used = isWeekly ? same : all;
  const median = medianOf(used);
  const spread = Math.max(
    1.4826 * medianOf(used.map((value) => Math.abs(value - median))),
    isWeekly ? 1.4826 * medianOf(relative) * Math.max(Math.abs(median), 1) : 0,
    0.05 * Math.abs(median),
    1,
  );
  let lowest: number | null = null;
  let highest: number | null = null;
  if (!isWeekly) {
    const days = new Map<number, { highest: number; lowest: number }>();
    for (let index = from + steps; index <= now - day; index += 1) {
      const [one, two, three] = [at(series, index), at(series, index - 1), at(series, index - 2)];
      const key = Math.floor((now - index) / day);
      const known = days.get(key);
      days.set(key, {
        highest: Math.max(known?.highest ?? -Infinity, Math.min(one, two, three)),
        lowest: Math.min(known?.lowest ?? Infinity, Math.max(one, two, three)),
      });
    }
    if (days.size > 0) {
      lowest = discrete(
        [...days.values()].map((of) => of.lowest),
        0.1,
      );
      highest = discrete(
        [...days.values()].map((of) => of.highest),
        0.9,
      );
    }
  }
  return {
    basis: isWeekly ? "hour of the week" : "all hours",
    median,
    spread,
    lowest,
    highest,
    upper: Math.max(median + 6 * spread, highest ?? -Infinity),
    lower: Math.min(median - 6 * spread, lowest ?? Infinity),
  };
}

export interface Rates {
  /** Alerts of a week without a shift, of a rule with `direction => 'above'`. */
  perWeek: number;
  /** Share of the shifts that are found within a day. */
  found: number;
  /** Median time in minutes until they are. */
  minutes: number;
}

/** A week after `learned` days of samples, `repetitions` times without a shift and as often with one. */
export function simulate(
  kind: string,
  { learned, repetitions, shift }: { learned: number; repetitions: number; shift: (value: number) => number },
): Rates {
  const length = past + week;
  const since = past - learned * day;
  let alerts = 0;
  const delays: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    const original = values(kind, 1000 + repetition, length);
    const onset = past + day + Math.floor(generator(repetition)() * 4 * day);
    for (const isShifted of [false, true]) {
      const series = isShifted ? original.map((value, index) => (index >= onset ? shift(value) : value)) : original;
      let bound: Bound | undefined;
      let outside = 0;
      for (let index = isShifted ? onset - (onset % hour) : past; index < length; index += 1) {
        if (index % hour === 0) bound = learn(series, index, since);
        outside = bound !== undefined && at(series, index) > bound.upper ? outside + 1 : 0;
        if (outside !== steps + 1) continue;
        if (!isShifted) alerts += 1;
        else if (index >= onset) {
          if (index - onset <= day) delays.push(5 * (index - onset));
          break;
        }
      }
    }
  }
  return {
    perWeek: alerts / repetitions,
    found: delays.length / repetitions,
    minutes: medianOf(Float64Array.from(delays)),
  };
}
