import { createContext } from "preact";
import { useContext, useMemo } from "preact/hooks";
import { useLocation } from "preact-iso";

/** Lengths of a period in days. */
export const periods = [7, 28, 90, 365] as const;

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export type Settings = Record<string, string>;

/** The start of a day of the browser's zone; undefined for a text that is not a date. */
function startOf(date: string | undefined, plusDays = 0): Date | undefined {
  const [year = 0, month = 1, day = 1] = /^\d{4}-\d\d-\d\d$/.test(date ?? "")
    ? (date ?? "").split("-").map(Number)
    : [];
  return year > 0 ? new Date(year, month - 1, day + plusDays) : undefined;
}

/** A date as fields of type "date" write it. */
export const dateOf = (time: Date): string =>
  [time.getFullYear(), time.getMonth() + 1, time.getDate()].map((part) => String(part).padStart(2, "0")).join("-");

interface Period {
  since: string;
  /** Undefined: until now. */
  until: string | undefined;
  /** The period of the same number of days before it. */
  formerSince: string;
  formerUntil: string;
  days: number | "custom";
}

/** The period of settings: the last days, or from a date to another one, both included. */
export function periodOf({ days: given, from, to }: Settings): Period {
  const now = new Date();
  const isCustom = given === "custom";
  const days = periods.find((period) => period === Number(given)) ?? 28;
  const since =
    (isCustom ? startOf(from) : undefined) ?? new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1);
  const until = isCustom ? startOf(to, 1) : undefined;
  const length = isCustom ? Math.max(1, Math.round(((until ?? now).getTime() - since.getTime()) / 86_400_000)) : days;
  const former = new Date(since.getFullYear(), since.getMonth(), since.getDate() - length);
  return {
    since: since.toISOString(),
    until: until?.toISOString(),
    formerSince: former.toISOString(),
    formerUntil: since.toISOString(),
    days: isCustom ? "custom" : days,
  };
}

/** A view on a board: the settings that it was saved with, and the card, if it is one of those of its page. */
interface PinnedView {
  settings: Settings;
  card?: string | undefined;
}

export const Pinned = createContext<PinnedView | undefined>(undefined);

/** The view of a board in which a figure is shown; undefined on its own page. */
export const usePinned = (): PinnedView | undefined => useContext(Pinned);

/** The settings of the address, or those of the view of a board. */
export function useQuery(): Settings {
  const { query } = useLocation();
  return usePinned()?.settings ?? query;
}

/** Settings of a page. They are part of its address, so that a link shows the same. */
export function useSettings() {
  const { path, route } = useLocation();
  const query = useQuery();
  const days = periods.find((period) => period === Number(query["days"])) ?? 28;
  const period = useMemo(() => ({ since: periodOf({ days: String(days) }).since, zone }), [days]);
  const change = (settings: Settings): void => {
    const next = new URLSearchParams(Object.entries({ ...query, ...settings }).filter(([, value]) => value !== ""));
    route(`${path}?${next}`, true);
  };
  const { course, person, project, version } = query;
  return { days, period, course, person, project, version, change };
}
