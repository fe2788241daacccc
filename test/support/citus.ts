import pg from "pg";
import { withClient } from "../../src/database/connect.ts";
import { distribute } from "../../src/database/distribution.ts";

/*
 * A distributed database for each test file. TEST_CITUS_URL names the coordinator of a cluster: its database has the
 * extension citus and the workers (citus_add_node), as superuser.
 */

/** One statement after the other in a session of its own. */
const run = (url: string, ...statements: string[]): Promise<pg.QueryResult[]> =>
  withClient(url, async (client) => {
    const results: pg.QueryResult[] = [];
    for (const statement of statements) results.push(await client.query(statement));
    return results;
  });

const at = (url: string, host: string, port: number, database: string): string => {
  const result = new URL(url);
  result.host = `${host}:${port}`;
  result.pathname = `/${database}`;
  return result.href;
};

/**
 * Makes an installed database on the coordinator the one of a cluster with the workers of `url`, and distributes its
 * tables. Returns what removes the databases of the workers.
 */
export async function joinCluster(url: string, name: string): Promise<() => Promise<void>> {
  const [found] = await run(
    url,
    `select groupid, nodename, nodeport from pg_dist_node where noderole = 'primary' and isactive order by groupid`,
  );
  const nodes = (found?.rows ?? []) as { groupid: number; nodename: string; nodeport: number }[];
  const workers = nodes.filter(({ groupid }) => groupid !== 0);
  const identifier = pg.escapeIdentifier(name);
  for (const { nodename, nodeport } of workers) {
    await run(at(url, nodename, nodeport, "postgres"), `create database ${identifier}`);
    await run(at(url, nodename, nodeport, name), "create extension vector", "create extension citus");
  }
  const coordinator = nodes.find(({ groupid }) => groupid === 0);
  const own = new URL(url);
  own.pathname = `/${name}`;
  await run(
    own.href,
    "create extension citus",
    `alter database ${identifier} set citus.shard_count = 4`,
    `select citus_set_coordinator_host('${coordinator?.nodename ?? own.hostname}', ${coordinator?.nodeport ?? Number(own.port || 5432)})`,
    ...workers.map(({ nodename, nodeport }) => `select citus_add_node('${nodename}', ${nodeport})`),
  );
  await distribute(own.href);
  return async () => {
    for (const { nodename, nodeport } of workers) {
      await run(at(url, nodename, nodeport, "postgres"), `drop database if exists ${identifier} with (force)`);
    }
  };
}
