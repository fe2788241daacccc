import type pg from "pg";
import { InsightsError } from "../errors.ts";
import { withClient } from "./connect.ts";
import { migrateLock } from "./graphile-migrate.ts";

/*
 * The distribution of the tables of `track.distribution` over the nodes of a cluster of Citus. `track.distribution_steps`
 * reads from the catalogue what is left to do, so that a run that was interrupted continues where it ended.
 */

/** Roles as which the coordinator opens connections to the workers: those as which a statement can read or write. */
const rolesOfStatements = ["owner", "reader", "visitor", "learner", "instructor", "analyst", "admin", "worker"].map(
  (name) => `insights_${name}`,
);

/** With which a worker makes text of times, as the functions do that pin them. */
const workerSettings = [
  ["TimeZone", "UTC"],
  ["DateStyle", "ISO, MDY"],
  ["IntervalStyle", "postgres"],
  ["extra_float_digits", "1"],
] as const;

/** Whether this database is the coordinator, or a worker, of a cluster of Citus. */
export async function hasCitus(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ present: boolean }>(
    "select exists (select from pg_catalog.pg_extension where extname = 'citus') as present",
  );
  return rows[0]?.present === true;
}

interface Step {
  action: string;
  relation: string;
  detail: string | null;
  statement: string;
}

/** Steps that are left, in order. */
async function distributionSteps(client: pg.ClientBase, undo: boolean): Promise<Step[]> {
  const { rows } = await client.query<Step>("select * from track.distribution_steps($1)", [undo]);
  return rows;
}

interface Worker {
  name: string;
  /** Null where the node cannot be reached. */
  state: {
    vector: string | null;
    availableVector: string | null;
    server: number;
    roles: string[];
    settings: string[];
  } | null;
  error: string | null;
}

/** The workers of the cluster as they answer now. */
async function workers(client: pg.ClientBase): Promise<Worker[]> {
  const state = `select pg_catalog.json_build_object(
      'vector', (select extversion from pg_catalog.pg_extension where extname = 'vector'),
      'availableVector', (select default_version from pg_catalog.pg_available_extensions where name = 'vector'),
      'server', pg_catalog.current_setting('server_version_num')::int / 10000,
      'settings', (select coalesce((select pg_catalog.to_json(setconfig) from pg_catalog.pg_db_role_setting
        where setrole = 0 and setdatabase = (
          select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()
        )), '[]')),
      'roles', (select coalesce(pg_catalog.json_agg(rolname), '[]') from pg_catalog.pg_roles
        where rolcanlogin and rolname = any ('{${rolesOfStatements.join(",")}}'))
    )`;
  const { rows } = await client.query<{ name: string; success: boolean; result: string }>(
    `select format('%s:%s', nodename, nodeport) as name, success, result
     from run_command_on_workers($1) order by nodename, nodeport`,
    [state],
  );
  return rows.map(({ name, success, result }) => ({
    name,
    state: success ? (JSON.parse(result) as Worker["state"]) : null,
    error: success ? null : result,
  }));
}

/** Refuses a cluster on which a step would fail, before anything is changed. */
async function checkCluster(client: pg.ClientBase): Promise<void> {
  if (!(await hasCitus(client))) {
    throw new InsightsError("this database does not have the extension citus", {
      hint:
        "On each node, with citus first in shared_preload_libraries: create extension citus, in a database of this name; " +
        "then, on the coordinator: select citus_set_coordinator_host('…'); select citus_add_node('…', 5432) for each worker.",
    });
  }
  const { rows } = await client.query<{ coordinator: boolean }>(
    "select groupid = 0 as coordinator from pg_catalog.pg_dist_local_group",
  );
  if (rows[0]?.coordinator !== true) {
    throw new InsightsError("this database is on a worker of the cluster", {
      hint: "Set DATABASE_URL to the coordinator.",
    });
  }
  const nodes = await workers(client);
  if (nodes.length === 0) {
    throw new InsightsError("the cluster has no workers", {
      hint: "On the coordinator: select citus_add_node('host of the worker', 5432). A worker has a database of the same name, with the extension citus.",
    });
  }
  for (const { name, state, error } of nodes) {
    if (state === null) {
      throw new InsightsError(`the worker ${name} cannot be reached: ${error}`, {
        hint:
          "Start it, or remove it (select citus_remove_node('…', …)). The coordinator connects to it as the role of the statement: " +
          "see pg_hba.conf of the worker and pg_dist_authinfo. Then run this again.",
      });
    }
    if (state.vector === null && state.availableVector === null) {
      throw new InsightsError(`the worker ${name} does not have the extension pgvector`, {
        hint: `Install it there (Debian: postgresql-${state.server}-pgvector), then run this again.`,
      });
    }
  }
}

/** Objects of an application on a table of the list that Citus refuses. */
const obstacles = `
  with listed as (
    select to_regclass(format('%I.%I', schema_name, table_name))::oid as oid, format('%s.%s', schema_name, table_name) as name,
      column_name
    from track.distribution
  )
  select format('the foreign key %I of %s refers to %s', conname, conrelid::regclass, listed.name) as what,
    format('alter table %s drop constraint %I', conrelid::regclass, conname) as fix
  from pg_catalog.pg_constraint
  join listed on listed.oid = confrelid
  where contype = 'f' and conparentid = 0 and conrelid not in (select oid from listed)
  union all
  select format('the trigger %I is on %s', tgname, listed.name), format('drop trigger %I on %s', tgname, listed.name)
  from pg_catalog.pg_trigger
  join listed on listed.oid = tgrelid
  where not tgisinternal
  union all
  select format('the unique index %s of %s does not contain %s', index.indexrelid::regclass, listed.name, listed.column_name),
    format('drop index %s', index.indexrelid::regclass)
  from listed
  join pg_catalog.pg_index as index on index.indrelid = listed.oid and index.indisunique
  join pg_catalog.pg_attribute as attribute on attribute.attrelid = listed.oid and attribute.attname = listed.column_name
  where attribute.attnum <> all ((index.indkey::int2[])[0:index.indnkeyatts - 1])
  order by 1`;

async function checkTables(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ what: string; fix: string }>(obstacles);
  const [first] = rows;
  if (first === undefined) return;
  const others = rows.length === 1 ? "" : `, and ${rows.length - 1} more`;
  throw new InsightsError(`${first.what}${others}: Citus does not distribute such a table`, {
    hint: `It does not belong to this installation. Remove it: ${rows.map(({ fix }) => fix).join("; ")}. Then run this again.`,
  });
}

/** One statement on each worker; refuses the first one that fails. */
async function onWorkers(client: pg.ClientBase, statement: string, what: string): Promise<void> {
  const { rows } = await client.query<{ name: string; success: boolean; result: string }>(
    `select format('%s:%s', nodename, nodeport) as name, success, result from run_command_on_workers($1)`,
    [statement],
  );
  const failed = rows.find(({ success }) => !success);
  if (failed === undefined) return;
  throw new InsightsError(`${what} on the worker ${failed.name} failed: ${failed.result}`, {
    hint: `As an administrator of that node: ${statement}. Then run this again.`,
  });
}

const hasSettings = ({ state }: Worker): boolean => {
  const known = state?.settings.map((setting) => setting.toLowerCase());
  return workerSettings.every(([name, value]) => known?.includes(`${name}=${value}`.toLowerCase()));
};

/** Roles that may log in: a statement runs on a worker as the role that it has here. Citus itself copies roles and pgvector. */
async function prepareWorkers(client: pg.ClientBase, nodes: Worker[], say: (line: string) => void): Promise<void> {
  const missing = rolesOfStatements.filter((role) => nodes.some(({ state }) => !state?.roles.includes(role)));
  if (missing.length > 0) {
    for (const role of missing) {
      // Each worker by itself: Citus would repeat it on the others, which do the same.
      await onWorkers(
        client,
        `set citus.enable_ddl_propagation to off; alter role ${role} login`,
        `letting ${role} log in`,
      );
    }
    say(`roles that may log in on the workers: ${missing.join(", ")}`);
  }
  // Settings of a function apply on the coordinator only.
  if (!nodes.every(hasSettings)) {
    const { rows } = await client.query<{ name: string }>("select quote_ident(current_database()) as name");
    for (const [name, value] of workerSettings) {
      await onWorkers(
        client,
        `set citus.enable_ddl_propagation to off; alter database ${rows[0]?.name} set ${name} to ${value}`,
        `setting ${name}`,
      );
    }
    say(`settings of the workers: ${workerSettings.map(([name, value]) => `${name} = ${value}`).join(", ")}`);
  }
}

/** Hashes of the functions of the rooms by their signatures, whatever the search_path. */
const definitions = `
  select coalesce(pg_catalog.json_object_agg(
    pg_catalog.format('%s.%s(%s)', namespace.nspname, function.proname, (
      select pg_catalog.string_agg(type.typname, ', ' order by argument.place)
      from pg_catalog.unnest(function.proargtypes) with ordinality as argument (type, place)
      join pg_catalog.pg_type as type on type.oid = argument.type
    )),
    pg_catalog.md5(pg_catalog.concat_ws('|', function.prosrc, function.provolatile, function.proisstrict, function.proconfig,
      -- A body that was printed and parsed again has names of output columns that it did not have before.
      pg_catalog.regexp_replace(pg_catalog.pg_get_function_sqlbody(function.oid), ' AS "?[a-z0-9_]+"?|\\s', '', 'g')))
  ), '{}')
  from pg_catalog.pg_proc as function
  join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
  where function.prokind = 'f'
    and namespace.nspname in ('common', 'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')`;

/** Functions that the workers execute, and that are missing there or have another definition, by the worker. */
async function changedFunctions(client: pg.ClientBase): Promise<Map<string, string[]>> {
  const { rows: own } = await client.query<{ here: Record<string, string> }>(
    `select (${definitions} and function.oid in (
       select objid from pg_catalog.pg_dist_object where classid = 'pg_catalog.pg_proc'::regclass
     )) as here`,
  );
  const { rows } = await client.query<{ name: string; success: boolean; result: string }>(
    `select format('%s:%s', nodename, nodeport) as name, success, result
     from run_command_on_workers($1) order by nodename, nodeport`,
    [definitions],
  );
  const changed = new Map<string, string[]>();
  for (const { name, success, result } of rows) {
    if (!success) continue;
    const there = JSON.parse(result) as Record<string, string>;
    const names = Object.entries(own[0]?.here ?? {}).flatMap(([signature, hash]) =>
      there[signature] === hash ? [] : [signature],
    );
    if (names.length > 0) changed.set(name, names);
  }
  return changed;
}

/** Copies the functions that the workers execute, and that differ there. Returns their number. */
export async function copyFunctions(client: pg.ClientBase, say: (line: string) => void): Promise<number> {
  const changed = new Set([...(await changedFunctions(client)).values()].flat());
  for (const signature of changed) {
    const { rows } = await client.query<{ statement: string }>(
      `select format('set citus.enable_ddl_propagation to off; set check_function_bodies to off; %s; alter function %s owner to %s',
         pg_get_functiondef(oid), oid::regprocedure, proowner::regrole) as statement
       from pg_catalog.pg_proc where oid = $1::regprocedure`,
      [signature],
    );
    await onWorkers(client, rows[0]?.statement ?? "", `copying ${signature}`);
    say(`copy again: ${signature}`);
  }
  return changed.size;
}

export interface ClusterState {
  /** False on a worker. */
  coordinator: boolean;
  /** Number of tables of `track.distribution` that are distributed. */
  distributed: number;
  workers: string[];
  /** Workers that cannot be reached, with the error. */
  away: string[];
  /** Workers on which a role of statements may not log in, or that have other settings of times. */
  unprepared: string[];
  /** Steps that are left, as `action relation`. */
  steps: string[];
  /** Functions that differ on a worker. */
  changed: ReadonlyMap<string, readonly string[]>;
}

export interface DistributeOptions {
  undo?: boolean;
  say?(line: string): void;
}

/**
 * Distributes the tables, or brings them back. Safe to repeat: each step is a transaction of its own. Returns the number
 * of steps.
 */
export async function distribute(url: string, options: DistributeOptions = {}): Promise<number> {
  const { undo = false, say = () => {} } = options;
  return await withClient(url, async (client) => {
    const { rows } = await client.query<{ mine: boolean }>(
      "select pg_catalog.pg_try_advisory_lock($1::bigint) as mine",
      [migrateLock],
    );
    if (rows[0]?.mine !== true) {
      throw new InsightsError("another session migrates or distributes this database", {
        hint: "Wait until it has ended (select pid, query from pg_stat_activity), then run this again.",
      });
    }
    await checkCluster(client);
    if (!undo) await checkTables(client);
    // So that `set local` applies on the workers, too.
    await client.query("set citus.propagate_set_commands to 'local'");
    let done = 0;
    let last = "";
    for (;;) {
      const [step] = await distributionSteps(client, undo);
      if (step === undefined) break;
      if (step.statement === last) {
        throw new InsightsError(`${step.action} of ${step.relation} had no effect`, {
          hint: "The version of Citus may not be supported: this was tested with Citus 14.",
        });
      }
      last = step.statement;
      const started = performance.now();
      await client.query("begin");
      try {
        // Many notices about rows that are not visible any more.
        await client.query("set local client_min_messages to warning");
        // Functions are copied one by one, before those that they call.
        await client.query("set local check_function_bodies to off");
        await client.query(step.statement);
        await client.query("commit");
      } catch (error) {
        await client.query("rollback").catch(() => {});
        throw new InsightsError(
          `${step.action} of ${step.relation}: ${error instanceof Error ? error.message : error}`,
          {
            hint: "The steps before it are done, and this one has changed nothing. Run this again when the cause is removed.",
            cause: error,
          },
        );
      }
      done += 1;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      say(`${step.action}: ${step.relation}${step.detail === null ? "" : ` (${step.detail})`}, ${seconds} s`);
    }
    if (!undo) {
      // After the steps: the first of them copies the roles of the coordinator, which may not log in.
      await prepareWorkers(client, await workers(client), say);
      done += await copyFunctions(client, say);
    }
    return done;
  });
}

/** The state of the cluster for `insights doctor`; null where the database is not on one. */
export async function examineCluster(client: pg.ClientBase): Promise<ClusterState | null> {
  if (!(await hasCitus(client))) return null;
  const { rows: own } = await client.query<{ coordinator: boolean }>(
    "select groupid = 0 as coordinator from pg_catalog.pg_dist_local_group",
  );
  const coordinator = own[0]?.coordinator === true;
  const { rows } = await client.query<{ distributed: number }>(
    coordinator
      ? `select count(*)::int as distributed from pg_catalog.pg_dist_partition
         where logicalrelid in (
           select to_regclass(format('%I.%I', schema_name, table_name)) from track.distribution
         )`
      : "select 0 as distributed",
  );
  const nodes = coordinator ? await workers(client) : [];
  const reached = nodes.filter(({ state }) => state !== null);
  return {
    coordinator,
    distributed: rows[0]?.distributed ?? 0,
    workers: nodes.map(({ name }) => name),
    unprepared: reached.flatMap((node) =>
      hasSettings(node) && rolesOfStatements.every((role) => node.state?.roles.includes(role)) ? [] : [node.name],
    ),
    away: nodes.flatMap(({ name, error }) => (error === null ? [] : [`${name}: ${error}`])),
    steps: coordinator
      ? (await distributionSteps(client, false)).map(({ action, relation }) => `${action} ${relation}`)
      : [],
    changed: reached.length > 0 ? await changedFunctions(client) : new Map(),
  };
}
