import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { bootstrap, installWorker, runAsOwner } from "../../src/database/migrate.ts";
import { expandSql } from "../../src/database/sql.ts";
import { serveLocally } from "./embedded.ts";
import { createTemplate } from "./template.ts";

/** The origin of the databases of this run: a template on a server, or the directory of an embedded one. */
export type TestServer =
  | { kind: "native"; url: string; template: string; citus?: true }
  | { kind: "embedded"; directory: string };

declare module "vitest" {
  interface ProvidedContext {
    server: TestServer;
  }
}

/** A connection string for another database of the same server. */
export function withDatabase(url: string, database: string): string {
  const result = new URL(url);
  result.pathname = `/${database}`;
  return result.href;
}

/** Installs the product in an empty database. */
export async function prepareTemplate(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await bootstrap(client);
    await installWorker(url);
    await runAsOwner(client, await expandSql("install.sql"));
  } finally {
    await client.end();
  }
}

/** One template database for the run; each test file clones it, which takes 60 to 80 ms. */
async function native(project: TestProject, url: string, citus = false): Promise<() => Promise<void>> {
  const prefix = `insights_test_${process.pid}_${randomBytes(3).toString("hex")}`;
  const administrator = new pg.Client({ connectionString: url });
  await administrator.connect();
  const dropAll = async (): Promise<void> => {
    const { rows } = await administrator.query<{ name: string }>(
      "select datname as name from pg_database where starts_with(datname, $1)",
      [prefix],
    );
    for (const { name } of rows) {
      await administrator.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
    }
    await administrator.end();
  };
  const template = `${prefix}_template`;
  try {
    await administrator.query(`create database ${pg.escapeIdentifier(template)}`);
    await prepareTemplate(withDatabase(url, template));
  } catch (error) {
    await dropAll();
    throw error;
  }
  project.provide("server", { kind: "native", url, template, ...(citus ? { citus } : {}) });
  return dropAll;
}

/** One prepared data directory for the run, closed properly; each test file starts a copy of it in memory. */
async function embedded(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), "insights-test-"));
  const database = await createTemplate(directory);
  const socket = await serveLocally(database);
  try {
    await prepareTemplate(socket.url);
    await socket.stop();
    // Memory and files that are initialized at a start, before the first statement.
    await database.exec("alter system set shared_buffers = '4MB'");
    await database.exec("alter system set wal_init_zero = off");
  } finally {
    await database.close();
  }
  project.provide("server", { kind: "embedded", directory });
  return () => rm(directory, { recursive: true, force: true });
}

/** Whether a Docker daemon answers within a second. */
async function dockerAnswers(): Promise<boolean> {
  const host = process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock";
  const target = host.startsWith("unix://")
    ? { socketPath: host.slice("unix://".length) }
    : { host: new URL(host).hostname, port: new URL(host).port || 2375 };
  return await new Promise((resolve) => {
    const ping = request({ ...target, path: "/_ping", timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on("timeout", () => ping.destroy());
    ping.on("error", () => resolve(false));
    ping.end();
  });
}

/**
 * The order of choices: a server that the environment names, a container if a Docker daemon runs, the embedded
 * database. `INSIGHTS_TEST_EMBEDDED=1` selects the last one.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const citus = process.env["TEST_CITUS_URL"];
  if (citus) return await native(project, citus, true);
  const url = process.env["TEST_DATABASE_URL"];
  if (url) return await native(project, url);
  if (!process.env["INSIGHTS_TEST_EMBEDDED"] && (await dockerAnswers())) {
    // Not covered by machines without a Docker daemon.
    const { PostgreSqlContainer } = await import("@testcontainers/postgresql");
    const container = await new PostgreSqlContainer("pgvector/pgvector:pg17").start();
    const close = await native(project, container.getConnectionUri());
    return async () => {
      await close();
      await container.stop();
    };
  }
  return await embedded(project);
}
