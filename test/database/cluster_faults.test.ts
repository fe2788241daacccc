import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { examine } from "../../src/commands/doctor.ts";
import { readConfig } from "../../src/config.ts";
import { distribute } from "../../src/database/distribution.ts";
import { type Cluster, canStartCluster, startCluster } from "../support/cluster.ts";

/*
 * A cluster of Citus whose nodes fail and whose shards move while events arrive. A client repeats each batch until it is
 * acknowledged, as the published ones do: afterwards each message is stored once, and each rollup agrees with the events.
 */
const server = inject("server");
const possible = canStartCluster && server.kind === "native" && server.citus === true;

const people = 40;
let cluster: Cluster;
let pool: pg.Pool;

beforeAll(async () => {
  if (!possible) return;
  cluster = await startCluster();
  pool = new pg.Pool({ connectionString: cluster.coordinator.url(), max: 8 });
  pool.on("error", () => {});
});

afterAll(async () => {
  await pool?.end();
  cluster?.close();
});

const rows = async <T extends object>(sql: string, values: unknown[] = []): Promise<T[]> =>
  (await pool.query<T>(sql, values)).rows;

/** Sends batches, and refreshes, until `work` has ended. Returns the number of messages, and of calls that failed. */
async function whileEventsArrive(name: string, work: () => Promise<void>): Promise<{ sent: number; failures: number }> {
  let ended = false;
  let sent = 0;
  let failures = 0;
  const sender = async (number: number): Promise<void> => {
    for (let batch = 0; !ended || batch < 5; batch++) {
      const messages = Array.from({ length: 10 }, (_, place) => ({
        type: place % 3 === 0 ? "page" : "track",
        name: "Lesson",
        event: "Course Viewed",
        messageId: `${name}-${number}-${batch}-${place}`,
        userId: `person-${(batch * 7 + place * 3 + number) % people}`,
        timestamp: new Date(Date.UTC(2026, 0, 5, 8, 0, batch % 3000, place)).toISOString(),
        properties: { item: `course-${place % 4}` },
      }));
      for (;;) {
        try {
          const [result] = await rows<{ accepted: number; duplicates: number; errors: unknown[] }>(
            "select accepted, duplicates, errors from track.ingest($1)",
            [JSON.stringify(messages)],
          );
          expect(result?.errors).toEqual([]);
          expect((result?.accepted ?? 0) + (result?.duplicates ?? 0)).toBe(messages.length);
          sent += messages.length;
          break;
        } catch (error) {
          if (!(error instanceof Error) || error.name === "AssertionError") throw error;
          failures += 1;
          await wait(50);
        }
      }
    }
  };
  const refresher = async (): Promise<void> => {
    while (!ended) {
      await rows("select count(*) from track.refresh()").catch(() => {
        failures += 1;
      });
      await wait(100);
    }
  };
  const loops = Promise.all([sender(0), sender(1), refresher()]);
  try {
    await wait(500);
    await work();
    await wait(500);
  } finally {
    ended = true;
  }
  await loops;
  return { sent, failures };
}

/** Refreshes to the end; then nothing is queued, and no rollup differs from the events. */
async function agree(): Promise<void> {
  for (let calls = 0; (await rows("select from track.refresh()")).length > 0; calls++) expect(calls).toBeLessThan(100);
  expect(await rows("select count(*)::int from track.stale")).toEqual([{ count: 0 }]);
  const [checked] = await rows<{ checked: number; differing: number }>(
    "select sum(checked)::int as checked, sum(differing)::int as differing from track.check_rollups(20)",
  );
  expect(checked).toMatchObject({ differing: 0 });
  expect(checked?.checked).toBeGreaterThan(0);
}

const stored = async (): Promise<number> =>
  (await rows<{ count: number }>("select count(*)::int from track.event"))[0]?.count ?? 0;

describe.runIf(possible)("a cluster of Citus with servers of its own", () => {
  test("doctor names the tables, and a worker that is away, and health what fails without it", async () => {
    const config = readConfig({ DATABASE_URL: cluster.coordinator.url() });
    const finding = async () => (await examine(config)).find(({ check }) => check === "cluster");
    expect(await finding()).toMatchObject({
      status: "ok",
      text: expect.stringMatching(/^\d+ tables .* over 2 workers$/),
    });
    const [, worker] = cluster.workers;
    worker?.stop();
    try {
      expect(await finding()).toMatchObject({
        status: "failure",
        text: expect.stringContaining(`of 2 workers, 1 cannot be reached: 127.0.0.1:${worker?.port}`),
      });
      const [health] = await rows<{ status: string; findings: string }>(
        "select status, findings::text from monitor.health()",
      );
      expect(health?.status).toBe("warning");
      expect(health?.findings).toContain(`127.0.0.1:${worker?.port} failed`);
    } finally {
      worker?.start();
    }
    await worker?.rows("set citus.enable_ddl_propagation to off; alter role insights_reader nologin");
    expect(await finding()).toMatchObject({ status: "failure", text: expect.stringContaining("may not log in") });
    await worker?.rows("set citus.enable_ddl_propagation to off; alter role insights_reader login");
    await worker?.rows("set citus.enable_ddl_propagation to off; alter function track._event_id strict");
    expect(await finding()).toMatchObject({
      status: "warning",
      text: expect.stringContaining(`127.0.0.1:${worker?.port}: track._event_id(`),
      fix: "Run: insights distribute",
    });
    const lines: string[] = [];
    await distribute(cluster.coordinator.url(), { say: (line) => void lines.push(line) });
    expect(lines).toEqual([expect.stringContaining("copy again: track._event_id(")]);
    expect(await finding()).toMatchObject({ status: "ok" });
  });

  test("a worker that is killed while events arrive, and comes back", async () => {
    const before = await stored();
    const { sent, failures } = await whileEventsArrive("killed", async () => {
      for (const worker of cluster.workers) {
        worker.kill();
        await wait(700);
        worker.start();
        await wait(1500);
      }
    });
    expect(failures).toBeGreaterThan(0);
    expect((await stored()) - before).toBe(sent);
    await agree();
  });

  test("a coordinator that is killed while events arrive", async () => {
    const before = await stored();
    const { sent, failures } = await whileEventsArrive("coordinator", async () => {
      cluster.coordinator.kill();
      await wait(300);
      cluster.coordinator.start();
      await wait(1500);
    });
    expect(failures).toBeGreaterThan(0);
    expect((await stored()) - before).toBe(sent);
    await agree();
  });

  test("shards that move to another worker while events arrive", async () => {
    const before = await stored();
    const [first, second] = cluster.workers;
    const placed = (): Promise<{ shardid: string; nodeport: number }[]> =>
      rows(`select shardid, nodeport from citus_shards where table_name = 'track.event'::regclass order by shardid`);
    const { sent } = await whileEventsArrive("moved", async () => {
      for (const { shardid, nodeport } of await placed()) {
        const target = nodeport === first?.port ? second?.port : first?.port;
        await rows("select citus_move_shard_placement($1, '127.0.0.1', $2, '127.0.0.1', $3, 'force_logical')", [
          shardid,
          nodeport,
          target,
        ]);
        expect((await placed()).find((shard) => shard.shardid === shardid)?.nodeport).toBe(target);
      }
    });
    expect((await stored()) - before).toBe(sent);
    await agree();
  });
});
