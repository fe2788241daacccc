/* Figures and times as text. */

const figures = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const metrics = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const shares = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const days = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const months = new Intl.DateTimeFormat("en", { month: "short", year: "numeric" });
const clocks = new Intl.DateTimeFormat("en", { timeStyle: "short" });
const moments = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/** A dash stands for a missing value. */
export const missing = "–";

type Figure = number | string | null | undefined;

export const figure = (value: Figure): string =>
  value === null || value === undefined ? missing : figures.format(Number(value));
export const metric = (value: number | null | undefined): string =>
  value === null || value === undefined ? missing : metrics.format(value);
export const share = (value: Figure): string =>
  value === null || value === undefined ? missing : shares.format(Number(value));
export const day = (value: string | null | undefined): string => (value ? days.format(new Date(value)) : missing);
export const month = (value: string | null | undefined): string => (value ? months.format(new Date(value)) : missing);
export const clock = (value: string | null | undefined): string => (value ? clocks.format(new Date(value)) : missing);
export const moment = (value: string | null | undefined): string => (value ? moments.format(new Date(value)) : missing);

export interface Interval {
  days?: number | null;
  hours?: number | null;
  minutes?: number | null;
  seconds?: number | null;
}

export const inSeconds = ({ days, hours, minutes, seconds }: Interval): number =>
  (((days ?? 0) * 24 + (hours ?? 0)) * 60 + (minutes ?? 0)) * 60 + (seconds ?? 0);

/** The two largest units: `3 h 20 min`, `45 s`. */
export function duration(interval: Interval | null | undefined): string {
  if (!interval) return missing;
  const total = inSeconds(interval);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  if (hours >= 100) return `${figures.format(hours)} h`;
  if (hours > 0) return minutes > 0 ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes > 0) return `${minutes} min`;
  return `${figures.format(Math.round(total * 10) / 10)} s`;
}
