import { setTimeout as wait } from "node:timers/promises";
import { Counter, Gauge, Registry } from "prom-client";
import { BusyError } from "../api/connections.ts";
import { createRunAs } from "../api/run-as.ts";
import { createPool, type Database } from "../database/connect.ts";
import { loggableLine } from "../errors.ts";

/*
 * Reads `monitor.metrics()` on a connection of its own, so that a scrape never takes one from the API's clients: one
 * query at a time, at most every ten seconds, however many scrapers there are.
 */

/** One series of `monitor.metrics()`. */
export interface Series {
  metric: string;
  kind: "gauge" | "counter";
  labels: Record<string, string>;
  value: number;
  description: string;
}

export interface DatabaseMetrics {
  /** The metrics as text; undefined when the database does not answer in time. */
  read(): Promise<string | undefined>;
  close(): Promise<void>;
}

export const readingLimits = {
  /** Milliseconds for which a reading is used, and for which it is used while the next one takes longer than `wait`. */
  fresh: 10_000,
  stale: 60_000,
  /** Milliseconds that a scrape waits. Prometheus waits 10 s for the answer. The embedded database has one session. */
  wait: { native: 3000, embedded: 8000 },
  /** Milliseconds until the connection is closed. */
  query: { native: 10_000, embedded: 60_000 },
} as const;

/** The series in Prometheus' text format. */
export async function formatSeries(series: readonly Series[]): Promise<string> {
  const registry = new Registry();
  const metrics = new Map<string, Series[]>();
  for (const one of series) {
    const same = metrics.get(one.metric);
    if (same === undefined) metrics.set(one.metric, [one]);
    else same.push(one);
  }
  for (const [name, all] of metrics) {
    const [{ kind, description }] = all as [Series];
    const options = {
      name,
      help: description.trim().split("\n", 1)[0] ?? "",
      labelNames: [...new Set(all.flatMap(({ labels }) => Object.keys(labels)))],
      registers: [registry],
    };
    if (kind === "counter") {
      const counter = new Counter(options);
      for (const { labels, value } of all) counter.inc(labels, value);
    } else {
      const gauge = new Gauge(options);
      for (const { labels, value } of all) gauge.set(labels, value);
    }
  }
  return await registry.metrics();
}

export function createDatabaseMetrics(database: Database): DatabaseMetrics {
  const kind = database.embedded ? "embedded" : "native";
  const longest = readingLimits.query[kind];
  // A server that is gone without closing the connection never answers: the driver's own limits close it.
  const pool = createPool(database, 1, {
    connectionTimeoutMillis: longest,
    query_timeout: longest,
    idleTimeoutMillis: 60_000,
  });
  const run = createRunAs(pool, longest);
  let last: { text: string; at: number } | undefined;
  let reading: Promise<string | undefined> | undefined;
  let isDown = false;

  const query = async (): Promise<string | undefined> => {
    try {
      const series = await run<Series>(
        "worker",
        "select metric, kind, labels, value, description from monitor.metrics() order by metric, labels",
      );
      const text = await formatSeries(series);
      last = { text, at: performance.now() };
      if (isDown) console.error("metrics: the database answers again");
      isDown = false;
      return text;
    } catch (error) {
      last = undefined;
      // A scraper comes every few seconds: once is enough.
      const reason = error instanceof BusyError ? `no answer within ${longest / 1000} s` : loggableLine(error);
      if (!isDown) console.error(`metrics: the database cannot be read: ${reason}`);
      isDown = true;
      return undefined;
    }
  };

  const age = (): number => (last === undefined ? Number.POSITIVE_INFINITY : performance.now() - last.at);

  return {
    async read() {
      if (last !== undefined && age() < readingLimits.fresh) return last.text;
      reading ??= query().finally(() => {
        reading = undefined;
      });
      const abort = new AbortController();
      const late = wait(readingLimits.wait[kind], undefined, { signal: abort.signal }).then(
        () => (age() < readingLimits.stale ? last?.text : undefined),
        () => undefined,
      );
      try {
        return await Promise.race([reading, late]);
      } finally {
        abort.abort();
      }
    },
    async close() {
      await pool.end();
    },
  };
}
