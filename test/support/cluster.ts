import { distribute } from "../../src/database/distribution.ts";
import { hasExtension, newDirectory, newServer, type Server } from "./postgres.ts";
import { prepareTemplate } from "./server.ts";

/* A cluster of Citus with servers of its own, for tests that kill a worker or move a shard. */

/** Whether this machine has the programs of PostgreSQL with Citus. */
export const canStartCluster = hasExtension("citus");

export interface Cluster {
  readonly coordinator: Server;
  readonly workers: readonly Server[];
  close(): void;
}

/** Starts a coordinator and two workers; the tables of the installed database "insights" are distributed. */
export async function startCluster(): Promise<Cluster> {
  const directory = newDirectory();
  const servers: Server[] = [];
  const close = (): void => {
    process.off("exit", close);
    for (const server of servers) server.remove();
  };
  process.on("exit", close);
  try {
    for (const name of ["coordinator", "worker-1", "worker-2"]) {
      servers.push(
        await newServer(`${directory}-${name}`, [
          "shared_preload_libraries = 'citus'",
          "citus.node_conninfo = 'sslmode=disable'",
          "citus.enable_statistics_collection = off",
          // A worker that ended decides its prepared transactions soon after it is back.
          "citus.recover_2pc_interval = '500ms'",
          "wal_level = logical",
          "max_prepared_transactions = 100",
          "max_worker_processes = 40",
          "max_connections = 150",
        ]),
      );
    }
    const [coordinator, ...workers] = servers as [Server, Server, Server];
    for (const worker of workers) {
      await worker.rows("create extension vector");
      await worker.rows("create extension citus");
    }
    await prepareTemplate(coordinator.url());
    await coordinator.rows("create extension citus");
    await coordinator.rows("alter database insights set citus.shard_count = 4");
    await coordinator.rows("select citus_set_coordinator_host('127.0.0.1', $1)", [coordinator.port]);
    for (const { port } of workers) await coordinator.rows("select citus_add_node('127.0.0.1', $1)", [port]);
    await distribute(coordinator.url());
    return { coordinator, workers, close };
  } catch (error) {
    close();
    throw error;
  }
}
