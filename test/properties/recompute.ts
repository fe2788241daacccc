/** Sessions, page views and engaged time computed from events alone: the reference for the incremental refresh. */

export interface Happened {
  eventId: string;
  at: number;
  item: string | null;
  name: string;
  viewId: string | null;
  /** Source and name, which distinguish the clients of a person. */
  client: string;
  /** Milliseconds between the heartbeats of the client. */
  interval: number;
  isAutomatic: boolean;
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
  is_continued: boolean;
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
  minimumVisit: number;
  longestGap: number;
  longestView: number;
}

export const defaults: Settings = {
  timeout: 1_800_000,
  minimumVisit: 5_000,
  longestGap: 600_000,
  longestView: 30 * 86_400_000,
};

const opens = (event: Happened): boolean => event.name === "Page Viewed" || event.name === "Screen Viewed";
const beats = (event: Happened): boolean => event.name === "Heartbeat" || event.name === "Video Content Playing";
const inOrder = (a: Happened, b: Happened): number => a.at - b.at || (a.eventId < b.eventId ? -1 : 1);

/** A view in the making. */
interface Draft {
  first: Happened;
  isContinued: boolean;
  started: number;
  confirmed: number;
  gaps: number | undefined;
  lastSign: number;
  heartbeats: number[];
}

/** The events of one person, in any order. */
export function recompute(happened: readonly Happened[], settings = defaults): { sessions: Session[]; views: View[] } {
  const events = happened.filter(({ isAutomatic }) => !isAutomatic).toSorted(inOrder);
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
    const started = start.at - (beats(start) ? Math.min(settings.minimumVisit, settings.timeout) : 0);

    const drafts: Draft[] = [];
    const draft = (first: Happened, since: number, isContinued: boolean): Draft => {
      const made = {
        first,
        isContinued,
        started: since,
        confirmed: 0,
        gaps: undefined,
        lastSign: first.at,
        heartbeats: [],
      };
      drafts.push(made);
      return made;
    };

    // In order of time: the views, the view of each event, and the time that each heartbeat confirms.
    const current: (Draft | undefined)[] = [];
    const confirmedSince = run.map(() => Number.POSITIVE_INFINITY);
    const continued = new Map<string, Draft>();
    const lastOfName = new Map<string, number>();
    let lastBeat = Number.NEGATIVE_INFINITY;
    run.forEach((event, index) => {
      if (opens(event)) current[index] = draft(event, event.at, false);
      else current[index] = current[index - 1];
      if (!beats(event)) return;
      const named = drafts.findLast(({ first, isContinued }) => !isContinued && first.viewId === event.viewId);
      const opened = event.viewId === null ? current[index] : named;
      const name = event.viewId ?? (opened === undefined && event.item !== null ? `item ${event.item}` : "");
      const last = lastOfName.get(name);
      const isFirst = last === undefined || (opened !== undefined && last < opened.started);
      const since = Math.max(
        event.at - (isFirst ? settings.minimumVisit : event.interval),
        lastBeat,
        opened?.started ?? started,
        started,
      );
      const target = opened ?? continued.get(name) ?? draft(event, since, true);
      if (opened === undefined) continued.set(name, target);
      target.confirmed += event.at - since;
      target.heartbeats.push(event.at);
      confirmedSince[index] = since;
      lastOfName.set(name, event.at);
      lastBeat = event.at;
    });

    // The time between two events belongs to the last view, up to the time that the next heartbeat confirms.
    let lastAction = Number.POSITIVE_INFINITY;
    run.forEach((event, index) => {
      if (!beats(event)) lastAction = event.at;
      const next = run[index + 1];
      const view = current[index];
      if (view === undefined) return;
      view.lastSign = Math.max(view.lastSign, event.at);
      if (next === undefined) return;
      const until = Math.min(next.at, ...confirmedSince.slice(index + 1), lastAction + settings.longestGap);
      view.gaps = (view.gaps ?? 0) + Math.max(until - event.at, 0);
      view.lastSign = Math.max(view.lastSign, until);
    });

    const client = ({ first }: Draft): string => JSON.stringify([first.client, first.viewId !== null]);
    const clients = new Set(drafts.filter(({ heartbeats }) => heartbeats.length > 0).map(client));
    const mine = drafts
      .toSorted((a, b) => a.started - b.started || (a.first.eventId < b.first.eventId ? -1 : 1))
      .map((view, index): View => {
        const byHeartbeats = clients.has(client(view));
        const openings = events.filter(
          (event) =>
            opens(event) &&
            event.viewId === view.first.viewId &&
            event.viewId !== null &&
            event.at >= view.started - settings.longestView &&
            (event.at <= view.started || run.includes(event)),
        );
        return {
          event_id: view.first.eventId,
          session_id: start.eventId,
          view_number: index + 1,
          item: (view.isContinued ? openings.at(-1)?.item : null) ?? view.first.item,
          started: view.started,
          ended: view.heartbeats.length > 0 ? Math.max(...view.heartbeats) : view.lastSign,
          engaged: byHeartbeats ? view.confirmed : (view.gaps ?? 0),
          engaged_by: byHeartbeats ? "heartbeats" : view.gaps === undefined ? "nothing" : "gaps",
          heartbeat_count: view.heartbeats.length,
          is_continued: view.isContinued,
        };
      });
    views.push(...mine);
    const items = run.map((event) => event.item).filter((item) => item !== null);
    sessions.push({
      session_id: start.eventId,
      started,
      ended: end.at,
      event_count: run.length,
      view_count: mine.filter(({ is_continued }) => !is_continued).length,
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
