import { setTimeout as wait } from "node:timers/promises";
import { canStartServer, freePort, newDirectory, newServer, runProgram, type Server, serverOf } from "./postgres.ts";
import { prepareTemplate } from "./server.ts";

/* A primary server and a hot standby of it, for tests of replication. */

/** Whether this machine has the programs of PostgreSQL and pgvector. */
export const canReplicate = canStartServer;

export type { Server } from "./postgres.ts";

export interface Replication {
  readonly primary: Server;
  readonly standby: Server;
  /** The slot of the standby on the primary. */
  readonly slot: string;
  /** Resolves when the standby has replayed what the primary has written. */
  caughtUp(): Promise<void>;
  /** Copies the primary to the standby again, such as after it was promoted. */
  rebuild(): void;
  close(): void;
}

/** Starts a primary with the installed database "insights", and a standby that has a slot on it. */
export async function startReplication(): Promise<Replication> {
  const directory = newDirectory();
  const standbyData = `${directory}-standby`;
  const slot = "standby_1";
  const standby = serverOf(await freePort(), standbyData);
  const servers = [standby];

  const close = (): void => {
    process.off("exit", close);
    for (const server of servers) server.remove();
  };
  process.on("exit", close);

  try {
    const primary = await newServer(`${directory}-primary`, [
      "wal_receiver_status_interval = 1",
      "wal_retrieve_retry_interval = '200ms'",
      "hot_standby_feedback = on",
    ]);
    servers.push(primary);
    await primary.rows("select pg_create_physical_replication_slot($1, true)", [slot]);
    await prepareTemplate(primary.url());
    const rebuild = (): void => {
      standby.remove();
      runProgram(
        `pg_basebackup --dbname='host=127.0.0.1 port=${primary.port} user=postgres' --pgdata=${standbyData} ` +
          `--write-recovery-conf --slot=${slot} --checkpoint=fast --no-sync`,
      );
      standby.configure(`port = ${standby.port}\ncluster_name = '${slot}'\n`);
      standby.start();
    };
    rebuild();
    return {
      primary,
      standby,
      slot,
      rebuild,
      close,
      async caughtUp() {
        const [position] = await primary.rows<{ lsn: string }>("select pg_current_wal_insert_lsn()::text as lsn");
        for (;;) {
          const [{ done } = { done: false }] = await standby.rows<{ done: boolean }>(
            "select pg_last_wal_replay_lsn() >= $1::pg_lsn as done",
            [position?.lsn],
          );
          if (done) return;
          await wait(50);
        }
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}
