import { loggableLine } from "../errors.ts";

/** One statement in a transaction of its own. */
type Query = <T extends object>(sql: string, values: readonly unknown[]) => Promise<T[]>;

/** The result of one step of `track.refresh`. */
export interface Refreshed {
  people: number;
  calls: number;
  /** People whose refresh failed, and the error of one of them. */
  failed?: number;
  error?: string;
  /** Whether it was stopped before all people were refreshed. */
  incomplete?: true;
}

/** People per statement: the embedded database has one session, for which all other clients wait. */
const peoplePerStatement = { native: 2000, embedded: 50 };

/** The steps of a refresh in order: names of stored events, sessions, values of new declared properties, data derived from them. */
export async function refreshSteps(query: Query): Promise<string[]> {
  const consumers = await query<{ consumer: string }>("select consumer from track.consumer order by position", []);
  return ["track.name", "track.session", "track.property", ...consumers.map(({ consumer }) => consumer)];
}

export interface RefreshOptions {
  mostPeople?: number | undefined;
  /** Called after each statement. */
  stopping?: () => boolean;
  /** People refreshed so far. */
  progress?: (people: number) => void;
}

/** Refreshes one step, a number of people in each statement, until none remain that can be refreshed. */
export async function refreshStep(
  query: Query,
  step: string,
  { mostPeople, stopping = () => false, progress }: RefreshOptions = {},
): Promise<Refreshed> {
  const [server] = await query<{ embedded: boolean }>("select version() like '%wasm%' as embedded", []);
  const most = mostPeople ?? peoplePerStatement[server?.embedded === true ? "embedded" : "native"];
  const done: Refreshed = { people: 0, calls: 0 };
  for (;;) {
    const [row] = await query<{ people: number; failed: number; error: string | null }>(
      "select people, failed, error from track.refresh($1, $2)",
      [most, step],
    );
    if (row !== undefined && row.failed > 0) Object.assign(done, { failed: row.failed, error: row.error });
    if (row === undefined || row.people === 0) return done;
    done.people += row.people;
    done.calls++;
    progress?.(done.people);
    if (stopping()) return { ...done, incomplete: true };
  }
}

/** Refreshes all steps in order. A failed step does not prevent those after it. */
export async function refreshAll(
  query: Query,
  options: RefreshOptions = {},
): Promise<{ steps: Record<string, Refreshed>; failed: string[] }> {
  const steps: Record<string, Refreshed> = {};
  const failed: string[] = [];
  for (const step of await refreshSteps(query)) {
    if (options.stopping?.() === true) break;
    try {
      const done = await refreshStep(query, step, options);
      steps[step] = done;
      if (done.failed !== undefined) failed.push(`${step} for ${done.failed} people: ${done.error}`);
    } catch (error) {
      failed.push(`${step}: ${loggableLine(error)}`);
    }
  }
  return { steps, failed };
}
