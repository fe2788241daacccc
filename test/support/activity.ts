/* The people who were active in buckets of time (UTC), computed without the functions of the room. */
import { dayOf, monthOf, ofGroups, type Use, weekOf } from "./floor.ts";

const DAY = 86_400_000;

export type Bucket = "day" | "week" | "month";
export type Span = readonly [since: number, until: number];

const startOf: Record<Bucket, (at: number) => number> = { day: dayOf, week: weekOf, month: monthOf };
const longest: Record<Bucket, number> = { day: 1, week: 7, month: 31 };

export const spanOf = (bucket: Bucket, at: number): Span => {
  const since = startOf[bucket](at);
  return [since, startOf[bucket](since + longest[bucket] * DAY)];
};

/** The whole buckets between two times. */
export function spans(bucket: Bucket, since: number, until: number): Span[] {
  const all: Span[] = [];
  for (let at = since; at < until; at = (all.at(-1) as Span)[1]) all.push(spanOf(bucket, at));
  return all;
}

/** The next bucket, `steps` further. */
export const later = (bucket: Bucket, span: Span, steps: number): Span =>
  steps === 0 ? span : later(bucket, spanOf(bucket, span[1]), steps - 1);

/** The people who count in a span: all of them, or with a floor those of its groups. */
export const activeIn = (uses: readonly Use[], [since, until]: Span, floor: number): Set<string> =>
  new Set(
    (floor === 1 ? uses.filter(({ at }) => at >= since && at < until) : ofGroups(uses, since, until, floor)).map(
      ({ person }) => person,
    ),
  );

export const both = (one: ReadonlySet<string>, other: ReadonlySet<string>): Set<string> =>
  new Set([...one].filter((person) => other.has(person)));
export const without = (one: ReadonlySet<string>, other: ReadonlySet<string>): Set<string> =>
  new Set([...one].filter((person) => !other.has(person)));
export const together = (sets: readonly ReadonlySet<string>[]): Set<string> => new Set(sets.flatMap((set) => [...set]));

/** A number of people as it is shown. */
export const shownPeople = (people: number, floor: number): number =>
  floor === 1 ? people : people < floor ? 0 : Math.floor(people / floor + 0.5) * floor;
