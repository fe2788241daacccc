import { expect, test } from "vitest";
import type { RunAs } from "../../src/api/run-as.ts";
import { type Call, createLatencies, latencyBounds } from "../../src/metrics/latencies.ts";

/** A flush as the database receives it. */
interface Flush {
  writer: string;
  number: number;
  age: number;
  operations: string[];
  counts: string[];
}

function databaseOf(answer: (flush: Flush) => void | Promise<void>): RunAs {
  return async (_role, _text, values = []) => {
    const [writer, number, age, operations, counts] = values as [string, number, number, string[], string[]];
    await answer({ writer, number, age, operations, counts });
    return [];
  };
}

const call = (operation: string, seconds = 0.01, more: Partial<Call> = {}): Call => ({
  operation,
  seconds,
  failed: false,
  messages: 0,
  ...more,
});

const total = (counts: string | undefined): number =>
  (counts ?? "")
    .slice(1, -1)
    .split(",")
    .reduce((sum, count) => sum + Number(count), 0);

test("each duration is in the bucket of the first bound that is not below it", async () => {
  const flushes: Flush[] = [];
  const latencies = createLatencies(databaseOf((flush) => void flushes.push(flush)));
  const durations = [0, 1e-9, 0.0003, 0.002, 0.0021, 0.25, 1, 131, 131.08, 1e6, ...latencyBounds];
  for (const [index, seconds] of durations.entries()) latencies.add(call(`operation_${index}`, seconds));
  await latencies.close();
  const [flush] = flushes;
  for (const [index, seconds] of durations.entries()) {
    const counts = flush?.counts[index]?.slice(1, -1).split(",").map(Number) ?? [];
    const expected = latencyBounds.findIndex((bound) => bound >= seconds);
    expect(counts.indexOf(1), `${seconds} s`).toBe(expected === -1 ? 37 : expected);
    expect(total(flush?.counts[index])).toBe(1);
  }
});

test("a flush without a confirmation keeps its number and its counts, and later calls are in the next", async () => {
  const seen: Flush[] = [];
  let down = true;
  let clock = 1000;
  const latencies = createLatencies(
    databaseOf((flush) => {
      seen.push(flush);
      if (down) throw new Error("the connection was lost");
    }),
    () => clock,
  );
  latencies.add(call("trackIngest"));
  clock += 20_000;
  await latencies.write();
  latencies.add(call("trackIngest"));
  latencies.add(call("/healthz"));
  clock += 30_000;
  await latencies.write();
  down = false;
  clock += 30_000;
  await latencies.write();
  await latencies.write();
  await latencies.close();
  expect(seen.map(({ number, age, operations, counts }) => [number, age, operations, counts.map(total)])).toEqual([
    [1, 20, ["trackIngest"], [1]],
    [1, 50, ["trackIngest"], [1]],
    [1, 80, ["trackIngest"], [1]],
    [2, 60, ["trackIngest", "/healthz"], [1, 1]],
  ]);
  expect(new Set(seen.map(({ writer }) => writer)).size).toBe(1);
});

test("calls while a flush is being written are in the next one", async () => {
  const seen: number[] = [];
  const latencies = createLatencies(
    databaseOf(async ({ counts }) => {
      if (seen.length === 0) latencies.add(call("trackIngest"));
      seen.push(total(counts[0]));
    }),
  );
  latencies.add(call("trackIngest"));
  await Promise.all([latencies.write(), latencies.write(), latencies.close()]);
  expect(seen).toEqual([1, 1]);
});
