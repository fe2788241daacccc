import type { IncomingMessage, ServerResponse } from "node:http";
import { isPerson, type Role } from "./authentication.ts";
import { BusyError } from "./connections.ts";

/*
 * Limits the cost of request bodies: memory while they arrive, and time of the single thread that parses them.
 *
 * - Each role has a limit of bytes. A body that is too large is refused by its Content-Length, or as soon as it exceeds
 *   the limit.
 * - All bodies together have a limit. Bytes count when they arrive, not when they are announced. Above the limit, an
 *   unfinished body of the address that holds most bytes is aborted.
 * - Large bodies of visitors, learners and instructors are parsed at a limited rate, by address and person in turn, so that they use
 *   a small part of the thread. Servers that send batches use tokens of other roles.
 */

export const bounds = {
  /** Bytes of all requests that are not answered yet. Visitors may use an eighth of it. */
  bytes: 64_000_000,
  /** Bytes from which a body counts as large. */
  large: 8000,
  /** Bytes of large bodies that are parsed per second, for each of the limited roles. */
  rate: 2_000_000,
  /** Large bodies of a role that may wait. */
  waiting: 50,
  maxWait: 5000,
} as const;

/** Largest body in bytes. `others` applies to analysts, administrators and workers. */
export interface BodyLimits {
  visitor: number;
  learner: number;
  others: number;
}

export class TooLargeError extends Error {
  readonly code = "CF008";
  readonly hint: string;

  constructor(bytes: string, most: number) {
    super(`the request body has ${bytes} bytes`);
    this.name = "TooLargeError";
    this.hint = `Send at most ${most} bytes; split the batch.`;
  }
}

/** A queue whose entries start at a limited rate. The caller that was served longest ago is next. */
export function createLane({ rate, waiting: most, maxWait }: { rate: number; waiting: number; maxWait: number }) {
  const waiting: { caller: string; bytes: number; start: () => void }[] = [];
  /** Sequence number of the last time that each caller was served; cleared when the queue is empty. */
  const served = new Map<string, number>();
  let turn = 0;
  let resting = false;

  const begin = (caller: string, bytes: number): void => {
    turn += 1;
    served.set(caller, turn);
    resting = true;
    setTimeout(next, (bytes / rate) * 1000);
  };
  const next = (): void => {
    resting = false;
    let best = waiting[0];
    if (best === undefined) {
      served.clear();
      return;
    }
    const last = (caller: string): number => served.get(caller) ?? 0;
    for (const waiter of waiting) if (last(waiter.caller) < last(best.caller)) best = waiter;
    waiting.splice(waiting.indexOf(best), 1);
    begin(best.caller, best.bytes);
    best.start();
  };

  return {
    /**
     * Resolves when it is this body's turn. Rejects when the queue is full, after the longest wait, or when `signal`
     * aborts.
     */
    async enter(caller: string, bytes: number, signal: AbortSignal): Promise<void> {
      if (!resting) {
        begin(caller, bytes);
        return;
      }
      const own = waiting.filter((waiter) => waiter.caller === caller).length;
      if (waiting.length >= most || own >= most / 2) throw new BusyError();
      await new Promise<void>((resolve, reject) => {
        const settle = (): void => {
          clearTimeout(timer);
          signal.removeEventListener("abort", leave);
        };
        const waiter = {
          caller,
          bytes,
          start() {
            settle();
            resolve();
          },
        };
        const leave = (): void => {
          settle();
          waiting.splice(waiting.indexOf(waiter), 1);
          reject(new BusyError());
        };
        const timer = setTimeout(leave, maxWait);
        signal.addEventListener("abort", leave);
        waiting.push(waiter);
      });
    },
  };
}

/** Memory that a chunk of a body takes in addition to its bytes. */
const pieceCost = 200;

/** The sender of a body. */
export interface BodySender {
  role: Role;
  person: string | undefined;
  /** The address by which visitors are distinguished. */
  address: string;
  /** Whether a write key of a server was sent: such a client is limited as workers are. */
  server: boolean;
  /** Whether the write key is in the body: it may be as large as that of a server, among those of visitors. */
  isUnknown?: boolean;
}

interface Held {
  address: string;
  visitor: boolean;
  bytes: number;
  /** Aborts the body; undefined once it has been read. */
  giveUp: (() => void) | undefined;
}

export interface Bodies {
  /** Rejects with `TooLargeError` or `BusyError`, and leaves the rest of the body unread. */
  read(request: IncomingMessage, response: ServerResponse, sender: BodySender): Promise<Buffer>;
}

export function createBodies(limits: BodyLimits, { bytes: most }: { bytes: number } = bounds): Bodies {
  const held = new Set<Held>();
  let total = 0;
  let visitors = 0;
  const lanes: Partial<Record<Role, ReturnType<typeof createLane>>> = {
    visitor: createLane(bounds),
    learner: createLane(bounds),
    instructor: createLane(bounds),
  };

  const add = (one: Held, bytes: number): void => {
    one.bytes += bytes;
    total += bytes;
    if (one.visitor) visitors += bytes;
  };
  const remove = (one: Held): void => {
    if (held.delete(one)) add(one, -one.bytes);
  };

  /** Aborts the oldest unfinished body of the address that holds most bytes. */
  const makeRoom = (amongVisitors: boolean): void => {
    const sums = new Map<string, number>();
    const rivals = [...held].filter((one) => !amongVisitors || one.visitor);
    for (const { address, bytes } of rivals) sums.set(address, (sums.get(address) ?? 0) + bytes);
    const candidates = rivals.filter(({ giveUp }) => giveUp !== undefined);
    const largest = Math.max(...candidates.map(({ address }) => sums.get(address) ?? 0));
    const victim = candidates.find(({ address }) => sums.get(address) === largest);
    if (victim === undefined) return;
    remove(victim);
    victim.giveUp?.();
  };

  return {
    async read(
      request: IncomingMessage,
      response: ServerResponse,
      { role, person, address, server, isUnknown = false }: BodySender,
    ): Promise<Buffer> {
      const visitor = role === "visitor" && !server;
      const limit =
        server || isUnknown
          ? limits.others
          : role === "visitor"
            ? limits.visitor
            : isPerson(role)
              ? limits.learner
              : limits.others;
      // Refused before reading where the client announces the length.
      const announced = request.headers["content-length"];
      if (Number(announced ?? 0) > limit) throw new TooLargeError(String(announced), limit);

      const own: Held = { address, visitor, bytes: 0, giveUp: undefined };
      held.add(own);
      response.once("close", () => {
        own.giveUp?.();
        remove(own);
      });
      const chunks: Buffer[] = [];
      let bytes = 0;
      try {
        await new Promise<void>((resolve, reject) => {
          const take = (chunk: Buffer): void => {
            chunks.push(chunk);
            bytes += chunk.length;
            if (bytes > limit) {
              reject(new TooLargeError(`more than ${limit}`, limit));
              return;
            }
            add(own, chunk.length + pieceCost);
            if (visitor && visitors > most / 8) makeRoom(true);
            else if (total > most) makeRoom(false);
          };
          request.on("data", take).once("end", resolve).once("error", reject);
          own.giveUp = () => reject(new BusyError());
        });
        const lane = bytes > bounds.large && !server ? lanes[role] : undefined;
        if (lane !== undefined) {
          // Made for a body that waits only: an abort costs more than all else that is done for a small body.
          const leaving = new AbortController();
          own.giveUp = () => leaving.abort();
          await lane.enter(person === undefined ? address : `person ${person}`, bytes, leaving.signal);
        }
        return Buffer.concat(chunks, bytes);
      } catch (error) {
        request.removeAllListeners("data").pause();
        chunks.length = 0;
        remove(own);
        throw error;
      } finally {
        own.giveUp = undefined;
      }
    },
  };
}
