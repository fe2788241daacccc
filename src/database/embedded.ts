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

/** Connections to the running embedded database. */
export interface EmbeddedAddress {
  /** For the commands of this package: an ordinary role, with a timeout for long jobs. */
  readonly url: string;
  /** For migrations: the superuser. */
  readonly migrationUrl: string;
}

/** The embedded database, open in this process. */
export interface EmbeddedDatabase extends EmbeddedAddress {
  /** For psql: an ordinary role, without the password. */
  readonly psqlUrl: string;
  /** The port of 127.0.0.1, if one was requested. */
  readonly port: number | undefined;
  close(): Promise<void>;
}

export interface EmbeddedOptions {
  dataDirectory: string;
  /** Recorded in the lock: the command that holds the database. */
  command: string;
  /**
   * A port of 127.0.0.1 to listen on in addition to the Unix socket, for clients with the password; 0 selects a free
   * one.
   */
  port?: number | undefined;
  /** Called when the database ends and cannot be opened again; nothing acknowledged is lost. */
  onFailure?: (error: Error) => void;
}

/** Name of the file in the data directory that contains the password of TCP connections. */
export const passwordFile = "database-password";

/** Windows has no Unix sockets that PostgreSQL's clients support. */
const onlyTcp = process.platform === "win32";

/** Milliseconds between two checks of the permissions of new files. */
const sweepEvery = 60_000;

/** Statement timeouts of a command or the worker, and of a migration. */
const limits = { commands: "10min", migrations: "1h" };

const escaped = (text: string): string =>
  encodeURIComponent(text)
    .replaceAll("%2F", "/")
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);

/** An address that PostgreSQL's own clients, node-postgres and a shell within double quotes accept. */
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
 * Opens the embedded database of a data directory, exclusively. It runs on a thread of its own, so that a long
 * statement does not block the rest of the process.
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

/** The running database of a data directory, if a process has it open; waits while that process starts or ends. */
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
        { hint: "Check its output, stop it, and try again." },
      );
    }
  }
}
