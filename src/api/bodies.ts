import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity, Role } from "./authentication.ts";
import { BusyError } from "./connections.ts";

/*
 * What the bodies of requests may cost: memory while they come in, and the time of the one thread that reads them.
 *
 * - A role has a limit of bytes. A body that is too large is refused by its Content-Length, or as soon as it has grown too large.
 * - All bodies together have a limit. Bytes count when they arrive, not when they are announced; where there are too many, an
 *   unfinished body of the address that holds most is given up.
 * - Large bodies of visitors and learners are parsed at a limited rate, by address and person in turn, so that they use a small
 *   part of the thread. Servers that send batches have tokens of other roles.
 */

export const bounds = {
  /** Bytes of all requests that are not answered yet. Those of visitors have an eighth of it. */
  bytes: 64_000_000,
  /** Bytes of a body from which on it is large. */
  large: 8000,
  /** Bytes of large bodies that are parsed in a second, for each of the roles that are limited. */
  rate: 2_000_000,
  /** Large bodies of a role that may wait, and milliseconds that each waits. */
  waiting: 50,
  patience: 5000,
} as const;

/** Bytes of a body. Analysts, administrators and workers have `others`. */
export interface BodyLimits {
  visitor: number;
  learner: number;
  others: number;
}

export class TooLargeError extends Error {
  readonly code = "CF008";
  readonly hint: string;

  constructor(bytes: string, most: number) {
    super(`the request has ${bytes} bytes`);
    this.name = "TooLargeError";
    this.hint = `Send ${most} at most; split the batch.`;
  }
}

/** A queue whose entries start at a rate, the caller who was served longest ago first. */
export function createLane({ rate, waiting: most, patience }: { rate: number; waiting: number; patience: number }) {
  const waiting: { caller: string; bytes: number; start: () => void }[] = [];
  /** When a caller was served last, as a number that counts up; forgotten when nobody waits. */
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
    /** Resolves when it is this body's turn; rejects when too many wait, when it takes too long, and when `signal` gives it up. */
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
        const timer = setTimeout(leave, patience);
        signal.addEventListener("abort", leave);
        waiting.push(waiter);
      });
    },
  };
}

/** Bytes that a piece of a body takes in memory beside its own. */
const pieceCost = 200;

interface Held {
  address: string;
  visitor: boolean;
  bytes: number;
  /** Gives the body up; undefined from the moment when it is parsed. */
  giveUp: AbortController | undefined;
}

/** Reads bodies within the limits: `read` rejects with `TooLargeError` or `BusyError`, and what is left of the body stays unread. */
export function createBodies(limits: BodyLimits, { bytes: most }: { bytes: number } = bounds) {
  const held = new Set<Held>();
  let total = 0;
  let visitors = 0;
  const lanes: Partial<Record<Role, ReturnType<typeof createLane>>> = {
    visitor: createLane(bounds),
    learner: createLane(bounds),
  };

  const add = (one: Held, bytes: number): void => {
    one.bytes += bytes;
    total += bytes;
    if (one.visitor) visitors += bytes;
  };
  const remove = (one: Held): void => {
    if (held.delete(one)) add(one, -one.bytes);
  };

  /** Gives up the body that began first, of the address that holds most. */
  const makeRoom = (amongVisitors: boolean): void => {
    const sums = new Map<string, number>();
    const rivals = [...held].filter((one) => !amongVisitors || one.visitor);
    for (const { address, bytes } of rivals) sums.set(address, (sums.get(address) ?? 0) + bytes);
    const candidates = rivals.filter(({ giveUp }) => giveUp !== undefined);
    const largest = Math.max(...candidates.map(({ address }) => sums.get(address) ?? 0));
    const victim = candidates.find(({ address }) => sums.get(address) === largest);
    if (victim === undefined) return;
    remove(victim);
    victim.giveUp?.abort();
  };

  return {
    async read(request: IncomingMessage, response: ServerResponse, { role, person }: Identity): Promise<Buffer> {
      const visitor = role === "visitor";
      const limit = role === "visitor" || role === "learner" ? limits[role] : limits.others;
      // Told before it is read, where the client says how much it will send.
      const announced = request.headers["content-length"];
      if (Number(announced ?? 0) > limit) throw new TooLargeError(String(announced), limit);

      const address = request.socket.remoteAddress ?? "";
      const giveUp = new AbortController();
      const own: Held = { address, visitor, bytes: 0, giveUp };
      held.add(own);
      response.once("close", () => {
        giveUp.abort();
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
          giveUp.signal.addEventListener("abort", () => reject(new BusyError()));
        });
        if (bytes > bounds.large) {
          await lanes[role]?.enter(person === undefined ? address : `person ${person}`, bytes, giveUp.signal);
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
