/* Figures as analysts see them, computed without the functions of the room, by the rules of its README. */

const DAY = 86_400_000;

export interface Use {
  person: string;
  at: number;
}

export const dayOf = (at: number): number => Math.floor(at / DAY) * DAY;

/** Monday, 00:00 UTC. */
export const weekOf = (at: number): number => {
  const monday = Date.UTC(2026, 1, 2);
  return monday + Math.floor((at - monday) / (7 * DAY)) * 7 * DAY;
};

export const monthOf = (at: number): number => Date.UTC(new Date(at).getUTCFullYear(), new Date(at).getUTCMonth());

export function groupBy<K, T>(list: readonly T[], key: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of list) groups.set(key(one), [...(groups.get(key(one)) ?? []), one]);
  return groups;
}

export const people = (uses: readonly Use[]): number => new Set(uses.map(({ person }) => person)).size;

/** A number of people, or another sum about as many people. `whole`: the figure of which this is a part. */
export function shown(figure: number, of: number, floor: number, whole?: number): number {
  if (floor === 1) return figure;
  if (of < floor || figure <= 0) return 0;
  const average = (whole ?? figure) / of;
  let power = 1;
  while (power < average * (1 - 1e-9)) power *= 2;
  while (power / 2 >= average * (1 - 1e-9)) power /= 2;
  const unit = floor * power;
  if (whole !== undefined && figure < unit) return 0;
  return Math.floor(figure / unit + 0.5) * unit;
}

/**
 * The uses that count in a period: those of days with enough people, and those of the other days of a week that is
 * whole in the period, when they have enough people together.
 */
export function ofGroups<T extends Use>(uses: readonly T[], since: number, until: number, floor: number): T[] {
  const within = uses.filter(({ at }) => at >= since && at < until);
  const small: T[] = [];
  const counted: T[] = [];
  for (const day of groupBy(within, ({ at }) => dayOf(at)).values())
    (people(day) >= floor ? counted : small).push(...day);
  for (const [week, uses] of groupBy(small, ({ at }) => weekOf(at)))
    if (people(uses) >= floor && week >= since && week + 7 * DAY <= until) counted.push(...uses);
  return counted;
}

/** The uses by hour: without small hours, and without the smallest other hour of a day that has one. */
export function ofHours<T extends Use>(uses: readonly T[], floor: number): T[] {
  const hourOf = (at: number): number => Math.floor(at / 3_600_000) * 3_600_000;
  return [...groupBy(uses, ({ at }) => dayOf(at)).values()].flatMap((day) => {
    const hours = [...groupBy(day, ({ at }) => hourOf(at))].map(([hour, all]) => ({ hour, all, of: people(all) }));
    const groups = hours.filter(({ of }) => of >= floor).toSorted((a, b) => a.of - b.of || a.hour - b.hour);
    return (groups.length < hours.length ? groups.slice(1) : groups).flatMap(({ all }) => all);
  });
}
