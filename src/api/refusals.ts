import "postgraphile/grafserv/node";
import { errorCode, loggableLine } from "../errors.ts";
import type { RunAs } from "./run-as.ts";

/*
 * Counts requests and batches that were refused, by source, level and error code, so that `track.refused_messages` and
 * `insights refused` show a client that is broken or limited. `track.ingest` counts the messages that it refuses itself;
 * here are those that it never sees, and whole batches, whose transaction is rolled back.
 */

/** Level of trust of a sender: see `track.write_key`. */
export type Level = "server" | "signed_in" | "anonymous";

/** Where a refused request belongs. */
export interface Source {
  source: string;
  level: Level;
}

export interface Refusals {
  count(from: Source, code: string): void;
  /** Writes the counts. A database that does not answer keeps them here, up to a limit. */
  write(): Promise<void>;
  close(): Promise<void>;
}

/** Sources, levels and codes that are counted at a time; more have no room until the next write. */
const most = 1000;

const interval = 5000;

export function createRefusals(run: RunAs): Refusals {
  const counts = new Map<string, { from: Source; code: string; messages: number }>();
  let writing: Promise<void> = Promise.resolve();

  const count = (from: Source, code: string, messages = 1): void => {
    const name = JSON.stringify([from.source, from.level, code]);
    const found = counts.get(name);
    if (found !== undefined) found.messages += messages;
    else if (counts.size < most) counts.set(name, { from, code, messages });
  };

  const writeAll = async (): Promise<void> => {
    const taken = [...counts.values()];
    counts.clear();
    // In a fixed order, so that two processes do not wait for each other's rows in a circle.
    taken.sort((a, b) => (JSON.stringify([a.from, a.code]) < JSON.stringify([b.from, b.code]) ? -1 : 1));
    if (taken.length === 0) return;
    try {
      await run(
        "worker",
        `select track.count_refused(source, level, code, messages)
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as refused (source, level, code, messages)`,
        [
          taken.map(({ from }) => from.source),
          taken.map(({ from }) => from.level),
          taken.map(({ code }) => code),
          taken.map(({ messages }) => messages),
        ],
      );
    } catch (error) {
      for (const { from, code, messages } of taken) count(from, code, messages);
      console.error(`refused requests could not be counted: ${loggableLine(error)}`);
    }
  };

  const write = (): Promise<void> => {
    writing = writing.then(writeAll);
    return writing;
  };
  const timer = setInterval(() => void write(), interval).unref();

  return {
    count: (from, code) => count(from, code),
    write,
    async close() {
      clearInterval(timer);
      await write();
    },
  };
}

/** The parts of an error of an operation that are read here. */
interface OperationError {
  nodes?: readonly { kind: string; name?: { value: string } }[] | undefined;
  originalError?: unknown;
}

/** Calls `refused` with the code of each batch that `track.ingest` refused as a whole. `request` is that of Node. */
export const refusedBatchesPlugin = (refused: (request: object, code: string) => void): GraphileConfig.Plugin => ({
  name: "InsightsRefusedBatchesPlugin",
  version: "1.0.0",
  grafast: {
    middleware: {
      async execute(next, { args }) {
        const result = await next();
        const request = args.requestContext?.http?.requestContext.node?.req;
        if (request === undefined || !("errors" in result)) return result;
        for (const { nodes, originalError } of (result.errors ?? []) as readonly OperationError[]) {
          const code = errorCode(originalError);
          if (code === undefined || !/^CF\d{3}$/.test(code)) continue;
          if (nodes?.some(({ kind, name }) => kind === "Field" && name?.value === "trackIngest"))
            refused(request, code);
        }
        return result;
      },
    },
  },
});
