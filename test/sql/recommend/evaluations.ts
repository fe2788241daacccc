import * as algebra from "../../support/matrix.ts";
import type { Step } from "../../support/recommend.ts";

/** People that go through twelve courses in their order, from a random one on: the next one is known by the last one. */
export function chains(people: number, next: () => number): Step[] {
  return Array.from({ length: people }, (_, person) => {
    const first = Math.floor(next() * 12);
    const start = next() * 60;
    return Array.from({ length: 3 + Math.floor(next() * 3) }, (_, n) => ({
      person: `c${person}`,
      event: "Course Enrolled",
      item: `step-${String((first + n) % 12).padStart(2, "0")}`,
      day: start + n * (8 + next()),
      kind: "course",
    }));
  }).flat();
}

/** People that take popular courses, independently of what they took before. */
export function crowd(people: number, next: () => number, courses = 20): Step[] {
  return Array.from({ length: people }, (_, person) =>
    Array.from({ length: courses }, (_, course) => course)
      .filter((course) => next() < 0.8 * 0.8 ** course)
      .map((course) => ({
        person: `p${person}`,
        event: "Course Enrolled",
        item: `course-${String(course).padStart(2, "0")}`,
        day: next() * 100,
        kind: "course",
      })),
  ).flat();
}

/** The first day of each pair of a person and an item. */
function pairs(steps: readonly Step[]): { person: string; item: string; day: number }[] {
  const found = new Map<string, { person: string; item: string; day: number }>();
  for (const { person, item = "", day = 0 } of steps) {
    const key = `${person} ${item}`;
    const known = found.get(key);
    if (known === undefined || day < known.day) found.set(key, { person, item, day });
  }
  return [...found.values()];
}

export interface Tested {
  person: string;
  /** Places of the relevant items in the list, from 1, ascending. */
  places: number[];
  list: string[];
}

/** The protocol `time`, for people who take each course once: an independent evaluation. */
export function byTime(
  steps: readonly Step[],
  order: readonly string[],
  lambda: number | undefined,
): { split: number; tested: Tested[]; share: Map<string, number> } {
  const all = pairs(steps);
  const days = all.map(({ day }) => day).sort((a, b) => a - b);
  const split = days[Math.ceil(0.8 * days.length) - 1] ?? 0;
  const train = all.filter(({ day }) => day < split);
  const known = order.filter((item) => all.some((row) => row.item === item && row.day <= split));
  const people = [...new Set(train.map(({ person }) => person))];
  const owned = new Map(people.map((person) => [person, new Set<string>()]));
  for (const { person, item } of train) owned.get(person)?.add(item);
  const popularity = new Map(known.map((item) => [item, train.filter((row) => row.item === item).length]));
  const used = known.filter((item) => (popularity.get(item) ?? 0) > 0);
  const weights =
    lambda === undefined
      ? undefined
      : algebra.ease(
          people.map((person) => used.map((item) => Number(owned.get(person)?.has(item)))),
          lambda,
        );
  const tested = people
    .map((person) => {
      const own = owned.get(person) ?? new Set();
      const relevant = new Set(
        all
          .filter((row) => row.person === person && row.day >= split && known.includes(row.item))
          .map(({ item }) => item),
      );
      const score = (item: string): number =>
        weights === undefined
          ? 0
          : used.reduce((sum, source, i) => sum + (own.has(source) ? (weights[i]?.[used.indexOf(item)] ?? 0) : 0), 0);
      const list = known
        .filter((item) => !own.has(item))
        .map((item) => ({ item, score: Math.round(score(item) * 1e5) / 1e5, people: popularity.get(item) ?? 0 }))
        .sort((a, b) => b.score - a.score || b.people - a.people || order.indexOf(a.item) - order.indexOf(b.item))
        .map(({ item }) => item);
      const places = list.flatMap((item, n) => (relevant.has(item) ? [n + 1] : []));
      return { person, places, list };
    })
    .filter(({ places }) => places.length > 0);
  return { split, tested, share: new Map([...popularity].map(([item, n]) => [item, n / people.length])) };
}

const log2 = Math.log2;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** The metrics of one list. */
export function metricsOf(places: readonly number[], k: number): Record<string, number> {
  const hits = places.filter((place) => place <= k);
  const ideal = (n: number) => sum(Array.from({ length: n }, (_, i) => 1 / log2(2 + i)));
  const gain = sum(hits.map((place) => 1 / log2(1 + place)));
  return {
    precision: hits.length / k,
    recall: hits.length / places.length,
    recall_min: hits.length / Math.min(k, places.length),
    ndcg: gain / ideal(Math.min(k, places.length)),
    ndcg_uncut: gain / ideal(places.length),
    map: sum(hits.map((place, n) => (n + 1) / place)) / Math.min(k, places.length),
    mrr: hits[0] === undefined ? 0 : 1 / hits[0],
    hit_rate: Number(hits.length > 0),
  };
}
