import { useMemo } from "preact/hooks";
import { useLocation } from "preact-iso";

/** Lengths of a period in days. */
export const periods = [7, 28, 90, 365] as const;

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Settings of a page. They are part of its address, so that a link shows the same. */
export function useSettings() {
  const { path, query, route } = useLocation();
  const given = Number(query["days"]);
  const days = periods.find((period) => period === given) ?? 28;
  const period = useMemo(() => {
    const now = new Date();
    const since = new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1);
    return { since: since.toISOString(), zone };
  }, [days]);
  const change = (settings: Record<string, string>): void => {
    const next = new URLSearchParams({ ...query, ...settings });
    route(`${path}?${next}`, true);
  };
  return { days, period, course: query["course"], change };
}
