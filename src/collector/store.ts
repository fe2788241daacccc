import { z } from "zod";
import { requestSettings, type Sender } from "../api/authentication.ts";
import { BusyError, type Gate } from "../api/connections.ts";
import type { Run } from "../api/run-as.ts";
import type { Rejection, Translated } from "./dialect.ts";

/*
 * Stores messages by `track.ingest`, several requests in one transaction: while one runs, the requests that arrive with
 * the same key and role wait, and the next one takes all of them. The person, the cookie, the opt-out signals and the
 * user agent of each request are stated with the number of its messages (setting `insights.requests`). A request is
 * answered when its messages are durable.
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

interface Part {
  texts: string[];
  bytes: number;
  request: Request;
  /** The people and browsers that its messages name. */
  names: ReadonlySet<string>;
  since: number;
  resolve(rejected: Rejection[]): void;
  reject(error: unknown): void;
}

interface Lane {
  settings: Record<string, string>;
  role: string;
  parts: Part[];
  /** Messages of the parts. */
  waiting: number;
  running: number;
}

/** An entry of `insights.requests`, without the number of messages. */
interface Request {
  person: string;
  browser: string;
  optOut: string;
  userAgent: string;
}

interface Result {
  errors: Rejection[];
}

/** Errors that a message causes: data exceptions, constraint violations, exceeded limits and our own errors. */
const isAboutData = (error: unknown): boolean =>
  error instanceof Error && "code" in error && /^(?:22|23|54|CF)/.test(String(error.code));

const name = z.union([z.string(), z.number()]).transform(String).catch("");
const people = z.object({ userId: name, anonymousId: name, previousId: name });

/** The names of people and browsers in messages. */
function namesOf(messages: readonly Translated[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const message of messages) {
    const { data } = people.safeParse(message);
    for (const each of [data?.userId, data?.anonymousId, data?.previousId]) if (each) names.add(each);
  }
  return names;
}

export interface Store {
  /** Resolves to the messages that were rejected. Rejects with `FullError`, `BusyError`, or an error of the database. */
  store(sender: Sender, isServer: boolean, messages: readonly Translated[]): Promise<Rejection[]>;
  /** Messages that wait. */
  waiting(): number;
}

export function createStore(
  run: Run,
  gate: Gate,
  { maxWait, width = bounds.width }: { maxWait: number; width?: number },
): Store {
  const lanes = new Map<string, Lane>();
  let waiting = 0;

  const ingest = async (lane: Lane, parts: readonly Part[]): Promise<Rejection[]> => {
    const requests = parts.map(({ texts, request }) => ({ messages: texts.length, ...request }));
    const [row] = await run<Result>(
      { ...lane.settings, "insights.requests": JSON.stringify(requests) },
      "select errors from track.ingest(to_jsonb($1::text))",
      [`[${parts.flatMap(({ texts }) => texts).join(",")}]`],
    );
    return row?.errors ?? [];
  };

  /**
   * The parts of the next transaction, which leave the queue. What becomes of a message depends on what was stored of
   * its person and browser before, by their own requests or by others with another cookie or signal: a request that names
   * somebody whom such another one names is left for the next transaction.
   */
  const take = (lane: Lane): Part[] => {
    const taken: Part[] = [];
    const named = new Map<string, string>();
    let count = 0;
    let bytes = 0;
    for (const part of lane.parts) {
      if (taken.length > 0 && (count + part.texts.length > bounds.messages || bytes + part.bytes > bounds.bytes)) break;
      const request = JSON.stringify(part.request);
      if ([...part.names].some((name) => (named.get(name) ?? request) !== request)) break;
      for (const name of part.names) named.set(name, request);
      taken.push(part);
      count += part.texts.length;
      bytes += part.bytes;
    }
    lane.parts.splice(0, taken.length);
    return taken;
  };

  /** Stores the parts in one transaction, or in one each if a message makes all of them fail. */
  const storeParts = async (lane: Lane, parts: readonly Part[]): Promise<void> => {
    let rejected: Rejection[];
    try {
      rejected = await ingest(lane, parts);
    } catch (error) {
      if (parts.length > 1 && isAboutData(error)) for (const part of parts) await storeParts(lane, [part]);
      else for (const part of parts) part.reject(error);
      return;
    }
    let start = 0;
    for (const part of parts) {
      const end = start + part.texts.length;
      const own = rejected.filter(({ index }) => index >= start && index < end);
      part.resolve(own.map((each) => ({ ...each, index: each.index - start })));
      start = end;
    }
  };

  const work = async (key: string, lane: Lane): Promise<void> => {
    lane.running += 1;
    while (lane.parts.length > 0) {
      let leave: (() => void) | undefined;
      let failure: unknown;
      try {
        leave = await gate.enter(lane.role, "");
      } catch (error) {
        failure = error;
      }
      const parts = take(lane);
      for (const { texts } of parts) {
        waiting -= texts.length;
        lane.waiting -= texts.length;
      }
      // The client of one that waited too long has given up, or soon will; it repeats what was not answered.
      const late = performance.now() - maxWait;
      const ready = parts.filter((part) => failure === undefined && part.since >= late);
      for (const part of parts) if (!ready.includes(part)) part.reject(failure ?? new BusyError());
      try {
        if (ready.length > 0) await storeParts(lane, ready);
      } finally {
        leave?.();
      }
    }
    lane.running -= 1;
    if (lane.running === 0) lanes.delete(key);
  };

  return {
    waiting: () => waiting,
    async store(sender, isServer, messages) {
      if (waiting + messages.length > bounds.waiting) throw new FullError();
      const { person = "", browser = "", optOut = "", userAgent = "", ...shared } = sender;
      const request: Request = { person, browser, optOut, userAgent };
      const settings = requestSettings({ ...shared, person: undefined });
      // Requests of signed-in people and of others have other rights.
      const key = JSON.stringify([settings, person !== ""]);
      const texts = messages.map((message) => JSON.stringify(message ?? null));
      const results: Promise<Rejection[]>[] = [];
      let lane = lanes.get(key);
      if (lane === undefined) {
        // Servers send for many people, and have a share of their own.
        lane = {
          settings,
          role: isServer ? "insights_worker" : `insights_${sender.role}`,
          parts: [],
          waiting: 0,
          running: 0,
        };
        lanes.set(key, lane);
      }
      const { parts } = lane;
      for (let start = 0; start < texts.length; ) {
        let end = start;
        let bytes = 0;
        while (end < texts.length && end - start < bounds.messages) {
          const size = Buffer.byteLength(texts[end] ?? "");
          if (end > start && bytes + size > bounds.bytes) break;
          bytes += size;
          end += 1;
        }
        const own = texts.slice(start, end);
        const names = namesOf(messages.slice(start, end));
        const first = start;
        results.push(
          new Promise<Rejection[]>((resolve, reject) => {
            parts.push({ texts: own, bytes, request, names, since: performance.now(), resolve, reject });
          }).then((rejected) => rejected.map((each) => ({ ...each, index: each.index + first }))),
        );
        waiting += own.length;
        lane.waiting += own.length;
        start = end;
      }
      while (
        lane.running < Math.min(width, lane.parts.length) &&
        (lane.running === 0 || lane.waiting >= bounds.enough)
      ) {
        void work(key, lane);
      }
      return (await Promise.all(results)).flat();
    },
  };
}
