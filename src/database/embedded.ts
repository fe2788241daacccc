import { chmod, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { errorCode, InsightsError } from "../errors.ts";
import {
  answers,
  freeSocket,
  keptSecret,
  privateDirectory,
  socketFolder,
  socketPath,
  socketPort,
  sweep,
} from "./directory.ts";
import { type Address, lockHolder, takeLock } from "./lock.ts";
import { administrator, ordinaryLogin } from "./sign-in.ts";
import { serveSocket } from "./socket.ts";
import { SupervisedEngine } from "./supervisor.ts";

/** How the running embedded database is reached. */
export interface EmbeddedAddress {
  /** For the commands of this package: as an ordinary role, with time for long jobs. */
  readonly url: string;
  /** For migrations: as the superuser. */
  readonly migrationUrl: string;
}

/** The embedded database, open in this process. */
export interface EmbeddedDatabase extends EmbeddedAddress {
  /** For people with psql: as an ordinary role, without the password. */
  readonly psqlUrl: string;
  /** The port of 127.0.0.1, where one was asked for. */
  readonly port: number | undefined;
  close(): Promise<void>;
}

export interface EmbeddedOptions {
  dataDirectory: string;
  /** What the lock says to others: the command that holds the database. */
  command: string;
  /** A port of 127.0.0.1 to listen on beside the Unix socket, for clients with the password; 0 takes any free one. */
  port?: number | undefined;
  /** Called when the database ends and cannot be opened again; nothing that was acknowledged is lost. */
  onFailure?: (error: Error) => void;
}

/** What the password of TCP connections is kept in, in the data directory. */
export const passwordFile = "database-password";

/** Windows has no Unix sockets that PostgreSQL's clients know. */
const onlyTcp = process.platform === "win32";

/** Milliseconds between two looks at the rights of files that have come since. */
const sweepEvery = 60_000;

/** How long a statement of a command or of the worker may run, and one of a migration. */
const limits = { commands: "10min", migrations: "1h" };

const escaped = (text: string): string =>
  encodeURIComponent(text)
    .replaceAll("%2F", "/")
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);

/** An address that PostgreSQL's own clients and node-postgres understand, and a shell within double quotes. */
function urlOf({ host, port }: Address, user: string, password: string | undefined, limit?: string): string {
  const options = limit === undefined ? "" : `options=${encodeURIComponent(`-c statement_timeout=${limit}`)}`;
  if (host.startsWith("/")) {
    return `postgres:///postgres?host=${escaped(host)}&user=${user}${options === "" ? "" : `&${options}`}`;
  }
  const login = password === undefined ? user : `${user}:${password}`;
  return `postgres://${login}@${host}:${port}/postgres${options === "" ? "" : `?${options}`}`;
}

const addressesOf = (address: Address, password: string | undefined): EmbeddedAddress => ({
  url: urlOf(address, ordinaryLogin, password, limits.commands),
  migrationUrl: urlOf(address, administrator, password, limits.migrations),
});

/**
 * Opens the embedded database of a data directory, which nobody else may have open. It runs on a thread of its own, so
 * that a long statement does not hold up the rest of the process.
 */
export async function openEmbedded({
  dataDirectory,
  command,
  port: wantedPort = onlyTcp ? 0 : undefined,
  onFailure = () => {},
}: EmbeddedOptions): Promise<EmbeddedDatabase> {
  await privateDirectory(dataDirectory);
  const lock = await takeLock(dataDirectory, command);
  const giveBack: (() => Promise<void>)[] = [() => lock.release()];
  const closeAll = async (): Promise<void> => {
    for (const close of giveBack.splice(0).reverse()) await close();
  };
  try {
    const folder = onlyTcp ? undefined : await socketFolder(dataDirectory);
    const path = folder && socketPath(folder);
    if (path !== undefined) await freeSocket(path);
    const password = wantedPort === undefined ? undefined : await keptSecret(dataDirectory, passwordFile);

    const engine = await SupervisedEngine.open({ directory: join(dataDirectory, "database") }, onFailure);
    giveBack.push(async () => {
      await engine.close();
      await sweep(dataDirectory);
    });
    await sweep(dataDirectory);
    const sweeper = setInterval(() => void sweep(dataDirectory).catch(() => {}), sweepEvery).unref();
    giveBack.push(async () => clearInterval(sweeper));

    const tcp = wantedPort === undefined || password === undefined ? undefined : { port: wantedPort, password };
    const socket = await serveSocket(engine, { ...(path && { path }), ...(tcp && { tcp }) }).catch((error: unknown) => {
      if (errorCode(error) !== "EADDRINUSE") throw error;
      throw new InsightsError(`port ${wantedPort} is taken`, {
        hint: "Set INSIGHTS_DATABASE_PORT to a free port, or leave it out.",
        cause: error,
      });
    });
    giveBack.push(async () => {
      await socket.stop();
      if (path !== undefined) await rm(path, { force: true });
    });
    if (path !== undefined) await chmod(path, 0o600);

    const overTcp: Address = { host: "127.0.0.1", port: socket.port ?? 0 };
    const address: Address = folder === undefined ? overTcp : { host: folder, port: socketPort };
    await lock.publish(address);
    return {
      ...addressesOf(address, folder === undefined ? password : undefined),
      psqlUrl: urlOf(socket.port === undefined ? address : overTcp, ordinaryLogin, undefined),
      port: socket.port,
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** The running database of a data directory, when a process has it open; waits while that process starts or ends. */
export async function findEmbedded(dataDirectory: string): Promise<EmbeddedAddress | undefined> {
  for (const deadline = Date.now() + 30_000; ; await wait(100)) {
    const holder = await lockHolder(dataDirectory);
    if (holder === undefined) return undefined;
    const { address } = holder;
    if (address !== undefined) {
      const unix = address.host.startsWith("/");
      if (await answers(unix ? { path: socketPath(address.host) } : address)) {
        const password = unix ? undefined : (await readFile(join(dataDirectory, passwordFile), "utf8")).trim();
        return addressesOf(address, password);
      }
    }
    if (Date.now() > deadline) {
      throw new InsightsError(
        `"insights ${holder.command}" (process ${holder.pid}) holds ${dataDirectory} and does not answer`,
        { hint: "Look at what it says, end it, and try again." },
      );
    }
  }
}
