import { randomUUID } from "node:crypto";
import type { RunAs } from "../api/run-as.ts";
import { loggableLine } from "../errors.ts";

/*
 * Durations of requests by operation, added to `monitor.latency` every 30 seconds. A process that is killed loses those
 * of its last 30 seconds.
 */

/** Upper bounds of the buckets in seconds, as `common.duration_bounds()` returns them. */
export const latencyBounds: readonly number[] = Array.from(
  { length: 37 },
  // A product with a power of two is exact, so that these are the same numbers.
  (_, index) => 0.0005 * (index % 2 === 0 ? 1 : Math.SQRT2) * 2 ** Math.floor(index / 2),
);

/** One request. */
export interface Call {
  operation: string;
  seconds: number;
  failed: boolean;
  /** Messages in it, for `trackIngest`. */
  messages: number;
}

export interface Latencies {
  add(call: Call): void;
  /** Writes what was counted. A database that does not answer leaves it here. */
  write(): Promise<void>;
  close(): Promise<void>;
}

interface Counts {
  counts: number[];
  failures: number;
  messages: number;
  seconds: number;
}

/** The counts that are written at once. They keep their number until the database has confirmed them. */
interface Flush {
  number: number;
  began: number;
  operations: Map<string, Counts>;
}

const interval = 30_000;

/** The index of the first bound that is not below, as `common.duration_bucket` counts from 1. */
function bucketOf(seconds: number): number {
  const index = latencyBounds.findIndex((bound) => seconds <= bound);
  return index === -1 ? latencyBounds.length : index;
}

/** `now` is a clock in milliseconds that never jumps. */
export function createLatencies(run: RunAs, now: () => number = () => performance.now()): Latencies {
  const writer = randomUUID();
  let number = 0;
  let operations = new Map<string, Counts>();
  let began = now();
  let pending: Flush | undefined;
  let writing: Promise<void> = Promise.resolve();

  const store = async ({ number, began, operations }: Flush): Promise<void> => {
    const rows = [...operations.entries()];
    await run(
      "worker",
      `select monitor.record_latencies($1, $2, make_interval(secs => $3), array(
         select row(operation, counts::bigint[], failures, messages, seconds)::monitor.latency_counts
         from unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::float8[])
           as measured (operation, counts, failures, messages, seconds)
       ))`,
      [
        writer,
        number,
        Math.max(0, now() - began) / 1000,
        rows.map(([operation]) => operation),
        rows.map(([, { counts }]) => `{${counts}}`),
        rows.map(([, { failures }]) => failures),
        rows.map(([, { messages }]) => messages),
        rows.map(([, { seconds }]) => seconds),
      ],
    );
  };

  const writeAll = async (): Promise<void> => {
    try {
      // One that was not confirmed comes first: the database may have stored it under its number.
      while (pending !== undefined || operations.size > 0) {
        if (pending === undefined) {
          number += 1;
          pending = { number, began, operations };
          operations = new Map();
        }
        await store(pending);
        pending = undefined;
      }
    } catch (error) {
      console.error(`latencies could not be recorded: ${loggableLine(error)}`);
    }
  };

  const write = (): Promise<void> => {
    writing = writing.then(writeAll);
    return writing;
  };
  const timer = setInterval(() => void write(), interval).unref();

  return {
    add({ operation, seconds, failed, messages }) {
      if (operations.size === 0) began = now();
      let counted = operations.get(operation);
      if (counted === undefined) {
        counted = { counts: Array(latencyBounds.length + 1).fill(0), failures: 0, messages: 0, seconds: 0 };
        operations.set(operation, counted);
      }
      const bucket = bucketOf(seconds);
      counted.counts[bucket] = (counted.counts[bucket] ?? 0) + 1;
      if (failed) counted.failures += 1;
      counted.messages += messages;
      counted.seconds += seconds;
    },
    write,
    async close() {
      clearInterval(timer);
      await write();
    },
  };
}
