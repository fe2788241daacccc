import type { PgClient, WithPgClient } from "postgraphile/@dataplan/pg";
import { isUnreachable } from "../errors.ts";

/*
 * Decides which request gets the next connection of the pool. Requests wait here rather than in the pool, which serves
 * the first to arrive, so that one client could hold all connections:
 *
 * - each role has a share, so that visitors never keep learners waiting, nor learners and instructors analysts;
 * - one connection is reserved for administrators, and /healthz has one of its own outside the pool;
 * - roles take turns, and within a role the person, or visitor's address, that holds, and waits for, the fewest
 *   connections is next;
 * - the queue is short and the wait limited: further requests are refused immediately, because the server is busy.
 */

/** Answered with HTTP status 503 and Retry-After; 53300 is PostgreSQL's code too_many_connections. */
export class BusyError extends Error {
  readonly code = "53300";
  readonly hint = "Try again in a few seconds.";

  constructor() {
    super("the server is busy");
    this.name = "BusyError";
  }
}

/** Connections that requests of a role may hold at the same time, of `size`. */
function shareOf(role: string, size: number): number {
  if (role === "insights_admin") return size;
  const most = Math.max(1, size - 1);
  if (role === "insights_visitor") return Math.max(1, Math.floor(size / 4));
  if (role === "insights_learner" || role === "insights_instructor") return Math.max(1, Math.floor(size / 2));
  return most;
}

/** Requests that may wait for one connection of a share. */
const waitersPerConnection = 50;

interface Waiter {
  role: string;
  person: string;
  start: () => void;
}

export interface Gate {
  /**
   * Resolves, when it is this request's turn, to a function that ends the turn. `signal` aborts when the client
   * disconnects.
   */
  enter(role: string, person: string, signal?: AbortSignal): Promise<() => void>;
  /** Requests that wait for their turn. */
  waiting(): number;
}

export function createGate(size: number, maxWait: number): Gate {
  /** Held connections by role and by person; a person with two roles counts twice. */
  const held = new Map<string, number>();
  const waiting: Waiter[] = [];
  /** Sequence number of the last time that each role was served. */
  const served = new Map<string, number>();
  let turn = 0;
  let total = 0;
  let administrators = 0;

  const key = (role: string, person: string): string => `${role} ${person}`;
  const count = (of: string): number => held.get(of) ?? 0;
  const add = (of: string, change: number): void => {
    const now = count(of) + change;
    if (now === 0) held.delete(of);
    else held.set(of, now);
  };

  const mayStart = ({ role, person }: Pick<Waiter, "role" | "person">): boolean => {
    if (total >= size) return false;
    const share = shareOf(role, size);
    if (count(role) >= share) return false;
    if (role === "insights_admin") return true;
    // One is reserved for administrators where there are two or more.
    if (total - administrators >= Math.max(1, size - 1)) return false;
    // One person holds at most half of a share. Many visitors may have the same address.
    return person === "" || role === "insights_visitor" || count(key(role, person)) < Math.max(1, Math.ceil(share / 2));
  };

  const change = ({ role, person }: Pick<Waiter, "role" | "person">, by: 1 | -1): void => {
    total += by;
    if (role === "insights_admin") administrators += by;
    add(role, by);
    if (person !== "") add(key(role, person), by);
  };

  const next = (): Waiter | undefined => {
    const queued = new Map<string, number>();
    for (const { role, person } of waiting) {
      if (person !== "") queued.set(key(role, person), (queued.get(key(role, person)) ?? 0) + 1);
    }
    /** Compares by the first number that differs, ascending. */
    const order = ({ role, person }: Waiter): number[] => [
      role === "insights_admin" ? 0 : 1,
      served.get(role) ?? 0,
      person === "" ? 0 : count(key(role, person)),
      person === "" ? 0 : (queued.get(key(role, person)) ?? 0),
    ];
    const before = (a: Waiter, b: Waiter): boolean => {
      const [first, second] = [order(a), order(b)];
      const index = first.findIndex((value, position) => value !== second[position]);
      return index >= 0 && (first[index] ?? 0) < (second[index] ?? 0);
    };
    let best: Waiter | undefined;
    for (const waiter of waiting) if (mayStart(waiter) && (best === undefined || before(waiter, best))) best = waiter;
    return best;
  };

  const startNext = (): void => {
    for (let waiter = next(); waiter !== undefined; waiter = next()) {
      waiting.splice(waiting.indexOf(waiter), 1);
      waiter.start();
    }
  };

  return {
    waiting: () => waiting.length,
    async enter(role, person, signal) {
      if (signal?.aborted) throw new BusyError();
      const caller = { role, person };
      const begin = (): void => {
        turn += 1;
        served.set(role, turn);
        change(caller, 1);
      };
      const longest = shareOf(role, size) * waitersPerConnection;
      const rivals = waiting.filter((waiter) => waiter.role === role);
      // One person has at most half of the queue, as of the connections.
      const own = person === "" ? 0 : rivals.filter((waiter) => waiter.person === person).length;
      if (mayStart(caller)) begin();
      else if (rivals.length >= longest || own >= longest / 2) throw new BusyError();
      else {
        await new Promise<void>((resolve, reject) => {
          const waiter: Waiter = {
            ...caller,
            start() {
              settle();
              begin();
              resolve();
            },
          };
          const settle = (): void => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", leave);
          };
          const leave = (): void => {
            settle();
            waiting.splice(waiting.indexOf(waiter), 1);
            reject(new BusyError());
          };
          const timer = setTimeout(leave, maxWait);
          signal?.addEventListener("abort", leave);
          waiting.push(waiter);
        });
      }
      let over = false;
      return () => {
        if (over) return;
        over = true;
        change(caller, -1);
        startNext();
      };
    },
  };
}

/** Settings of the requests that were refused because the server is busy, or did not reach the database. */
const busy = new WeakSet<object>();
export const wasBusy = (pgSettings: object): boolean => busy.has(pgSettings);

/** Another server answers the request. */
export const forgetBusy = (pgSettings: object): boolean => busy.delete(pgSettings);

/** Addresses of requests, by the settings that they run with. */
export const callers = new WeakMap<object, string>();

/** Abort signals of requests, by the settings that they run with. */
export const hangUps = new WeakMap<object, AbortSignal>();

/**
 * Makes each request wait for its turn before it takes a connection. PostGraphile's own queries run without the
 * settings of a person.
 */
export function takeTurns<Client extends PgClient>(
  withPgClient: WithPgClient<Client>,
  gate: Gate,
): WithPgClient<Client> {
  const turnByTurn: WithPgClient<Client> = async (pgSettings, callback) => {
    const role = pgSettings?.["role"] ?? "";
    let leave: () => void;
    try {
      leave = await gate.enter(
        role,
        pgSettings?.["insights.person"] || ((pgSettings && callers.get(pgSettings)) ?? ""),
        pgSettings ? hangUps.get(pgSettings) : undefined,
      );
    } catch (error) {
      if (pgSettings) busy.add(pgSettings);
      throw error;
    }
    try {
      // Every transaction of a request passes through here: `callback` runs in it, with the request's role.
      return await withPgClient(pgSettings, callback);
    } catch (error) {
      if (pgSettings && isUnreachable(error)) busy.add(pgSettings);
      throw error;
    } finally {
      leave();
    }
  };
  if (withPgClient.release) turnByTurn.release = () => withPgClient.release?.();
  return turnByTurn;
}
