/** Sessions, page views and engaged times computed from events alone: the reference for the incremental refresh. */

export interface Happened {
  eventId: string;
  at: number;
  item: string | null;
  name: string;
  viewId: string | null;
}

export interface View {
  event_id: string;
  session_id: string;
  view_number: number;
  item: string | null;
  started: number;
  ended: number;
  engaged: number;
  engaged_by: string;
  heartbeat_count: number;
}

export interface Session {
  session_id: string;
  started: number;
  ended: number;
  event_count: number;
  view_count: number;
  engaged: number;
  engaged_by: string;
  entry_item: string | null;
  exit_item: string | null;
}

export interface Settings {
  timeout: number;
  heartbeat: number;
  minimumVisit: number;
  longestGap: number;
}

export const defaults: Settings = { timeout: 1_800_000, heartbeat: 10_000, minimumVisit: 5_000, longestGap: 600_000 };

const opens = (event: Happened): boolean => event.name === "Page Viewed" || event.name === "Screen Viewed";
const beats = (event: Happened): boolean => event.name === "Heartbeat" || event.name === "Video Content Playing";

/** The events of one person, in any order. */
export function recompute(happened: readonly Happened[], settings = defaults): { sessions: Session[]; views: View[] } {
  const events = happened.toSorted((a, b) => a.at - b.at || (a.eventId < b.eventId ? -1 : 1));
  const runs: Happened[][] = [];
  let previous: Happened | undefined;
  for (const event of events) {
    if (previous === undefined || event.at - previous.at > settings.timeout) runs.push([]);
    runs.at(-1)?.push(event);
    previous = event;
  }

  const views: View[] = [];
  const sessions: Session[] = [];
  for (const run of runs) {
    const [start] = run;
    const end = run.at(-1);
    if (start === undefined || end === undefined) continue;
    const openings = run.filter(opens);
    // The view of each event: the last one that was opened before it, or at it.
    const own = run.map((_, index) => run.slice(0, index + 1).filter(opens).length - 1);
    const beating = openings.map(() => [] as number[]);
    run.forEach((event, index) => {
      if (!beats(event)) return;
      const named = event.viewId === null ? -1 : openings.findLastIndex((view) => view.viewId === event.viewId);
      beating[named >= 0 ? named : (own[index] ?? -1)]?.push(event.at);
    });
    const anyBeat = beating.some((times) => times.length > 0);
    const mine = openings.map((view, number): View => {
      let gaps: number | undefined;
      let lastSign = view.at;
      run.forEach((event, index) => {
        if (own[index] !== number) return;
        const next = run[index + 1];
        const gap = next === undefined ? undefined : Math.min(next.at - event.at, settings.longestGap);
        if (gap !== undefined) gaps = (gaps ?? 0) + gap;
        lastSign = Math.max(lastSign, event.at + (gap ?? 0));
      });
      const times = beating[number] ?? [];
      const distinct = new Set(times.map((time) => Math.floor(time / settings.heartbeat))).size;
      return {
        event_id: view.eventId,
        session_id: start.eventId,
        view_number: number + 1,
        item: view.item,
        started: view.at,
        ended: times.length > 0 ? Math.max(...times) : lastSign,
        engaged: distinct > 0 ? (distinct - 1) * settings.heartbeat + settings.minimumVisit : anyBeat ? 0 : (gaps ?? 0),
        engaged_by: anyBeat ? "heartbeats" : gaps === undefined ? "nothing" : "gaps",
        heartbeat_count: times.length,
      };
    });
    views.push(...mine);
    const items = run.map((event) => event.item).filter((item) => item !== null);
    sessions.push({
      session_id: start.eventId,
      started: start.at,
      ended: end.at,
      event_count: run.length,
      view_count: mine.length,
      engaged: mine.reduce((sum, view) => sum + view.engaged, 0),
      engaged_by: mine.some((view) => view.engaged_by === "heartbeats")
        ? "heartbeats"
        : mine.some((view) => view.engaged_by === "gaps")
          ? "gaps"
          : "nothing",
      entry_item: items[0] ?? null,
      exit_item: items.at(-1) ?? null,
    });
  }
  return { sessions, views };
}
