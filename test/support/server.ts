import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { bootstrap, installWorker, runAsOwner } from "../../src/database/migrate.ts";
import { expandSql } from "../../src/database/sql.ts";
import { serveLocally } from "./embedded.ts";

/** Where the databases of this run come from: a template on a server, or the archived directory of an embedded one. */
export type TestServer = { kind: "native"; url: string; template: string } | { kind: "embedded"; archive: string };

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

async function prepareTemplate(url: string): Promise<void> {
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
async function native(project: TestProject, url: string): Promise<() => Promise<void>> {
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
  project.provide("server", { kind: "native", url, template });
  return dropAll;
}

/**
 * One archive of a prepared data directory for the run; each test file loads it into a database of its own. A start costs
 * what it reads and initializes, so the archive has small files of the write-ahead log, little of it to replay, and few
 * buffers: 0.2 s instead of 0.4 s.
 */
async function embedded(project: TestProject): Promise<() => Promise<void>> {
  const database = await PGlite.create({ extensions: { vector }, initDbStartParams: ["--wal-segsize=1"] });
  const socket = await serveLocally(database);
  const directory = await mkdtemp(join(tmpdir(), "insights-test-"));
  const archive = join(directory, "template.tar");
  try {
    await prepareTemplate(socket.url);
    await socket.stop();
    await database.exec("alter system set shared_buffers = '16MB'");
    await database.exec("alter system set wal_init_zero = off");
    await database.exec("checkpoint");
    await writeFile(archive, Buffer.from(await (await database.dumpDataDir("none")).arrayBuffer()));
  } finally {
    await database.close();
  }
  project.provide("server", { kind: "embedded", archive });
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
 * The ladder: a server that the caller names, a container where a Docker daemon runs, the embedded database.
 * `INSIGHTS_TEST_EMBEDDED=1` goes straight to the last rung.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const url = process.env["TEST_DATABASE_URL"];
  if (url) return await native(project, url);
  if (!process.env["INSIGHTS_TEST_EMBEDDED"] && (await dockerAnswers())) {
    // Not exercised by the project's own machines, which have no Docker daemon.
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
