import type pg from "pg";
import type { PgClient, WithPgClient } from "postgraphile/@dataplan/pg";
import { errorCode, isUnreachable, loggableLine } from "../errors.ts";
import { forgetBusy } from "./connections.ts";

/*
 * Queries on a hot standby. A query of the API goes to the standby while it follows the primary, and to the primary if it
 * writes (a read that is logged), if the standby is away, promoted or too far behind, and if the client has written
 * something that the standby has not replayed: a mutation answers with the position of the primary's log, which the client
 * sends with its next requests. So any process of the API decides alike, without a session.
 */

/** Position in the write-ahead log, as a number that can be compared. */
export type Position = bigint;

/** The header of requests and answers, and the cookie of pages of this server. */
export const positionHeader = "insights-position";
export const positionCookie = "insights_position";

/** Seconds for which a browser keeps the position: longer than a standby that is used can be behind. */
export const positionAge = 600;

/** From PostgreSQL's form, such as `16/B374D848`. */
export function readPosition(text: string | undefined): Position | undefined {
  const [, high, low] = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text?.trim() ?? "") ?? [];
  return high === undefined || low === undefined ? undefined : (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

export type ReplicaState = "ok" | "behind" | "away" | "promoted" | "of another database";

export interface ReplicaStatus {
  state: ReplicaState;
  /** Seconds by which the standby is behind; null while that is unknown. */
  lagSeconds: number | null;
}

/** A request that may be answered by the standby. */
interface Plan {
  /** The position that the client has seen. */
  position: Position | undefined;
  /** The parsed operation, the same object for each request with this text. */
  document: object | undefined;
  /** Once a request has read from the primary, it stays there. */
  primary: boolean;
}

export interface Replica {
  status(): ReplicaStatus;
  /** The statements with these settings are those of a query, and the standby may answer. */
  offer(pgSettings: object, document: object | undefined, position: string | undefined): void;
  /** The statements with these settings write: `answer` gets the position after each of them. */
  watch(pgSettings: object, answer: (position: string) => void): void;
  /** Sends what may be read on the standby there. */
  route<Client extends PgClient>(primary: WithPgClient<Client>, standby: WithPgClient<Client>): WithPgClient<Client>;
  close(): Promise<void>;
}

/** How often the positions of both servers are read, in milliseconds. */
const interval = 500;

/** Errors of what writes, as reads that are logged do: PostgreSQL's, and that of our functions in a read-only transaction. */
const writes = new Set(["25006", "CF005"]);

/** Further errors that the primary does not have: a conflict with the replay, a server that ends or starts. */
const passing = new Set(["40001", "57P01", "57P02", "57P03"]);

interface Reading {
  position: string;
  system: string;
}

/** Follows both servers. `pools` have one connection each, which nothing else uses. */
export function createReplica(
  { primary, standby }: { primary: pg.Pool; standby: pg.Pool },
  limitSeconds: number,
  log: (line: string) => void = console.error,
): Replica {
  const plans = new WeakMap<object, Plan>();
  /** Operations that write, as was seen once. */
  const writing = new WeakSet<object>();
  const answers = new WeakMap<object, (position: string) => void>();
  /** Positions of the primary with the time at which they were read, the oldest first. */
  const past: { at: number; position: Position }[] = [];
  let replayed: Position = 0n;
  /** Time of the latest state of the primary that the standby has replayed. */
  let freshAt: number | undefined;
  let state: ReplicaState = "away";
  let known = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  const lag = (): number | null => (freshAt === undefined ? null : Math.max(0, performance.now() - freshAt) / 1000);

  function change(to: ReplicaState, reason = ""): void {
    if (known && to === state) return;
    const before = state;
    state = to;
    known = true;
    if (to === "ok") log(`standby: queries are answered by it${before === "ok" ? "" : ` again`}`);
    else log(`standby: it is ${to}${reason}, so that the primary answers its queries`);
  }

  async function follow(): Promise<void> {
    const at = performance.now();
    let current: Reading | undefined;
    try {
      const { rows } = await primary.query<Reading>(
        `select pg_current_wal_insert_lsn()::text as position, system_identifier::text as system
         from pg_control_system()`,
      );
      current = rows[0];
      past.push({ at, position: readPosition(current?.position) ?? 0n });
    } catch {
      // The standby is used while the primary is away, until it is too old.
    }
    try {
      const { rows } = await standby.query<Reading & { follows: boolean }>(
        `select pg_is_in_recovery() as follows, pg_last_wal_replay_lsn()::text as position,
           system_identifier::text as system
         from pg_control_system()`,
      );
      const [found] = rows;
      if (found?.follows !== true) return change("promoted");
      if (current !== undefined && found.system !== current.system) return change("of another database");
      replayed = readPosition(found.position) ?? 0n;
      while (past[0] !== undefined && past[0].position <= replayed) freshAt = past.shift()?.at;
      // The newest positions are not needed one by one while the standby is far behind.
      if (past.length > 10_000) past.splice(1, 5000);
      const behind = lag();
      if (behind === null || behind > limitSeconds) change("behind", ` (${behind?.toFixed(1) ?? "more than known"} s)`);
      else change("ok");
    } catch (error) {
      change("away", ` (${loggableLine(error)})`);
    }
  }

  let running: Promise<void>;
  const loop = (): void => {
    running = follow().finally(() => {
      if (!closed) timer = setTimeout(loop, interval);
    });
  };
  loop();

  /** The position after everything that has been committed. */
  async function currentPosition(): Promise<string> {
    const { rows } = await primary.query<{ position: string }>("select pg_current_wal_insert_lsn()::text as position");
    return rows[0]?.position ?? "unknown";
  }

  /** The standby may be used now, for a client that has seen this position. */
  const mayRead = ({ position, document, primary: isFixed }: Plan): boolean =>
    !isFixed &&
    state === "ok" &&
    (lag() ?? Number.POSITIVE_INFINITY) <= limitSeconds &&
    (position === undefined || position <= replayed) &&
    !(document !== undefined && writing.has(document));

  return {
    status: () => ({ state, lagSeconds: lag() }),
    offer(pgSettings, document, position) {
      const read = readPosition(position);
      plans.set(pgSettings, { position: read, document, primary: position !== undefined && read === undefined });
    },
    watch: (pgSettings, answer) => void answers.set(pgSettings, answer),
    route(onPrimary, onStandby) {
      const routed = (async (pgSettings, callback) => {
        const plan = pgSettings === null || pgSettings === undefined ? undefined : plans.get(pgSettings);
        if (plan === undefined || !mayRead(plan)) {
          if (plan !== undefined) plan.primary = true;
          const result = await onPrimary(pgSettings, callback);
          const answer = pgSettings ? answers.get(pgSettings) : undefined;
          // A position that cannot be read, now or later, means the primary.
          answer?.(await currentPosition().catch(() => "unknown"));
          return result;
        }
        try {
          return await onStandby(pgSettings, callback);
        } catch (error) {
          const code = errorCode(error) ?? "";
          if (!writes.has(code) && !passing.has(code) && !isUnreachable(error)) throw error;
          if (isUnreachable(error)) change("away", ` (${loggableLine(error)})`);
          plan.primary = true;
          if (pgSettings) forgetBusy(pgSettings);
          const result = await onPrimary(pgSettings, callback);
          if (writes.has(code) && plan.document !== undefined) writing.add(plan.document);
          return result;
        }
      }) as typeof onPrimary;
      routed.release = async () => {
        await onPrimary.release?.();
        await onStandby.release?.();
      };
      return routed;
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await running;
    },
  };
}
