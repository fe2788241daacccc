import { BusyError, type Gate } from "../api/connections.ts";

/*
 * Several requests in one transaction: while one runs, the requests that arrive with the same settings wait, and the
 * next one takes all of them. A request is answered when what it sent is durable.
 */

export const bounds = {
  /** Messages of a transaction, and bytes of their JSON. */
  messages: 1000,
  bytes: 4_000_000,
  /** Messages that wait; with more, a request is refused before anything is asked of the database. */
  waiting: 20_000,
  /**
   * Transactions at a time with the same settings. A second one begins when `enough` messages wait: fewer are stored with
   * less work by the first one, after what it stores now, since each transaction has a cost of its own.
   */
  width: 2,
  enough: 100,
} as const;

/** Answered with 429 rather than 503: the database is there, and the client repeats the request a little later. */
export class FullError extends BusyError {}

/** Errors that a message causes: data exceptions, constraint violations, exceeded limits and our own errors. */
const isAboutData = (error: unknown): boolean =>
  error instanceof Error && "code" in error && /^(?:22|23|54|CF)/.test(String(error.code));

/** A number of messages of a request that are stored together, and the bytes of their JSON. */
export interface Part {
  count: number;
  bytes: number;
}

type Settings = Readonly<Record<string, string>>;

export interface Groups<P extends Part, R> {
  /**
   * Resolves to the result of each part. Rejects with `FullError`, `BusyError`, or an error of the database. Parts with the
   * same settings and kind are stored together. `role` has the share of connections.
   */
  store(settings: Settings, kind: string, role: string, parts: readonly P[]): Promise<R[]>;
}

interface Entry<P, R> {
  part: P;
  since: number;
  resolve(result: R): void;
  reject(error: unknown): void;
}

interface Lane<P, R> {
  settings: Settings;
  role: string;
  entries: Entry<P, R>[];
  /** Messages of the entries. */
  waiting: number;
  running: number;
}

export function createGroups<P extends Part, R>(
  gate: Gate,
  {
    maxWait,
    width = bounds.width,
    store,
    newGroup,
  }: {
    maxWait: number;
    width?: number | undefined;
    /** Stores parts in one transaction, and resolves to the result of each. */
    store(settings: Settings, parts: readonly P[]): Promise<R[]>;
    /** For a new transaction, whether it also takes a part, given those that it has taken. */
    newGroup(): (part: P) => boolean;
  },
): Groups<P, R> {
  const lanes = new Map<string, Lane<P, R>>();
  let waiting = 0;

  /** The entries of the next transaction, which leave the queue. */
  const take = (lane: Lane<P, R>): Entry<P, R>[] => {
    const taken: Entry<P, R>[] = [];
    const mayTake = newGroup();
    let count = 0;
    let bytes = 0;
    for (const entry of lane.entries) {
      const { part } = entry;
      if (taken.length > 0 && (count + part.count > bounds.messages || bytes + part.bytes > bounds.bytes)) break;
      if (!mayTake(part)) break;
      taken.push(entry);
      count += part.count;
      bytes += part.bytes;
    }
    lane.entries.splice(0, taken.length);
    waiting -= count;
    lane.waiting -= count;
    return taken;
  };

  /** Stores the entries in one transaction, or in one each if a message makes all of them fail. */
  const storeAll = async (lane: Lane<P, R>, entries: readonly Entry<P, R>[]): Promise<void> => {
    let results: R[];
    try {
      results = await store(
        lane.settings,
        entries.map(({ part }) => part),
      );
    } catch (error) {
      if (entries.length > 1 && isAboutData(error)) for (const entry of entries) await storeAll(lane, [entry]);
      else for (const entry of entries) entry.reject(error);
      return;
    }
    for (const [index, entry] of entries.entries()) entry.resolve(results[index] as R);
  };

  const work = async (key: string, lane: Lane<P, R>): Promise<void> => {
    lane.running += 1;
    while (lane.entries.length > 0) {
      let leave: (() => void) | undefined;
      let failure: unknown;
      try {
        leave = await gate.enter(lane.role, "");
      } catch (error) {
        failure = error;
      }
      const entries = take(lane);
      // The client of one that waited too long has given up, or soon will; it repeats what was not answered.
      const late = performance.now() - maxWait;
      const ready = entries.filter(({ since }) => failure === undefined && since >= late);
      for (const entry of entries) if (!ready.includes(entry)) entry.reject(failure ?? new BusyError());
      try {
        if (ready.length > 0) await storeAll(lane, ready);
      } finally {
        leave?.();
      }
    }
    lane.running -= 1;
    if (lane.running === 0) lanes.delete(key);
  };

  return {
    async store(settings, kind, role, parts) {
      const count = parts.reduce((sum, part) => sum + part.count, 0);
      if (waiting + count > bounds.waiting) throw new FullError();
      const key = JSON.stringify([settings, kind]);
      let lane = lanes.get(key);
      if (lane === undefined) {
        lane = { settings, role, entries: [], waiting: 0, running: 0 };
        lanes.set(key, lane);
      }
      const { entries } = lane;
      const results = parts.map(
        (part) =>
          new Promise<R>((resolve, reject) => {
            entries.push({ part, since: performance.now(), resolve, reject });
          }),
      );
      waiting += count;
      lane.waiting += count;
      while (lane.running < Math.min(width, entries.length) && (lane.running === 0 || lane.waiting >= bounds.enough)) {
        void work(key, lane);
      }
      return await Promise.all(results);
    },
  };
}
