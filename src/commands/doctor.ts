import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import type pg from "pg";
import { type Config, readConfig } from "../config.ts";
import { type Database, looksPooled, openDatabase, withClient } from "../database/connect.ts";
import { findMissingParts } from "../database/indexes.ts";
import { checkServer, checkVector } from "../database/migrate.ts";
import { readReleases, releaseState } from "../database/release.ts";
import { pendingCurrent } from "../database/source.ts";
import { errorCode, InsightsError } from "../errors.ts";

interface Finding {
  check: string;
  status: "ok" | "warning" | "failure";
  text: string;
  mend?: string;
}

interface Patient {
  client: pg.Client;
  config: Config;
  database: Database;
}

type Examination = (patient: Patient) => Promise<Omit<Finding, "check">>;

const ok = (text: string): Omit<Finding, "check"> => ({ status: "ok", text });

async function one<T extends pg.QueryResultRow>({ client }: Patient, sql: string, values: unknown[] = []): Promise<T> {
  const { rows } = await client.query<T>(sql, values);
  const [row] = rows;
  if (row === undefined) throw new Error(`no row from: ${sql}`);
  return row;
}

const exists = async (patient: Patient, relation: string): Promise<boolean> =>
  (await one<{ present: boolean }>(patient, "select to_regclass($1) is not null as present", [relation])).present;

const roles = ["owner", "reader", "visitor", "learner", "analyst", "admin", "worker", "api"].map(
  (name) => `insights_${name}`,
);

/** A model is stale when this much newer data has come since it was trained. */
const staleAfter = "7 days";

const examinations: Record<string, Examination> = {
  async server(patient) {
    await checkServer(patient.client);
    const { version } = await one<{ version: string }>(patient, "select current_setting('server_version') as version");
    return ok(`PostgreSQL ${version}${patient.database.embedded ? ", embedded" : ""}`);
  },

  async pgvector(patient) {
    await checkVector(patient.client);
    const { version, schema } = await one<{ version: string | null; schema: string | null }>(
      patient,
      `select max(extversion) as version, max(extnamespace::regnamespace::text) as schema
       from pg_catalog.pg_extension where extname = 'vector'`,
    );
    return version === null
      ? { status: "failure", text: "available, but not installed in this database", mend: "Run: insights migrate" }
      : ok(`${version} in schema ${schema}`);
  },

  async roles(patient) {
    const { missing, unreachable, login } = await one<{ missing: string[]; unreachable: string[]; login: string }>(
      patient,
      `select
         coalesce(array_agg(name) filter (where oid is null), '{}') as missing,
         coalesce(array_agg(name) filter (where not pg_has_role(current_user, oid, 'member')), '{}') as unreachable,
         current_user::text as login
       from unnest($1::text[]) as name
       left join pg_catalog.pg_roles on rolname = name`,
      [roles],
    );
    if (missing.length > 0) {
      return { status: "failure", text: `missing: ${missing.join(", ")}`, mend: "Run: insights migrate" };
    }
    const needed = unreachable.filter((name) => !["insights_owner", "insights_reader", "insights_api"].includes(name));
    if (needed.length > 0) {
      return {
        status: "failure",
        text: `"${login}" may not act as ${needed.join(", ")}`,
        mend: `As an administrator: grant insights_api to "${login}"`,
      };
    }
    // An admin's token may evaluate expressions, and an expression may go back to the login: set_config('role', …).
    const { above } = await one<{ above: boolean }>(
      patient,
      "select rolsuper as above from pg_catalog.pg_roles where rolname = session_user",
    );
    return above && !patient.database.embedded
      ? {
          status: "warning",
          text: `all ${roles.length}; signed in as "${login}", a superuser: so can be who holds an admin's token`,
          mend: "For insights api in production: create role <name> login noinherit password '…' in role insights_api",
        }
      : ok(`all ${roles.length}; signed in as "${login}"`);
  },

  async pooler({ config, database }) {
    if (database.embedded) return ok("one session shared by all connections, pooler mode on");
    const pooled = looksPooled(database.url);
    if (config.pooler === false && pooled) {
      return {
        status: "warning",
        text: "the address looks like a transaction pooler's, but INSIGHTS_POOLER says there is none",
        mend: "Set INSIGHTS_POOLER=true, or connect to the server itself",
      };
    }
    return ok(database.pooler ? "pooler mode on; migrate through a connection to the server itself" : "none");
  },

  async migrations(patient) {
    if (!(await exists(patient, "graphile_migrate.migrations"))) {
      return { status: "failure", text: "the database has not been migrated", mend: "Run: insights migrate" };
    }
    const releases = await readReleases();
    const { pending, ahead } = await releaseState(patient.client, releases);
    if (ahead.length > 0) {
      return {
        status: "failure",
        text: `the database is ahead of this version: it has release ${ahead.join(", ")}`,
        mend: "Update canvas-flow-insights to the version that migrated it",
      };
    }
    if (pending.length > 0) {
      const names = pending.map(({ file }) => file).join(", ");
      return { status: "failure", text: `pending: ${names}`, mend: "Run: insights migrate" };
    }
    const missing = await findMissingParts(patient.client);
    if (missing.length > 0) {
      const indexes = [...new Set(missing.map(({ index }) => index))].join(", ");
      return {
        status: "warning",
        text: `not complete: index ${indexes}, on ${missing.length} partitions`,
        mend: "Run: insights migrate",
      };
    }
    return (await pendingCurrent(patient.client))
      ? { status: "warning", text: "the source has changed since it was applied", mend: "Run: insights migrate" }
      : ok(`all ${releases.length} applied`);
  },

  async queue(patient) {
    if (!(await exists(patient, "graphile_worker.jobs"))) {
      return { status: "failure", text: "the job queue is not installed", mend: "Run: insights migrate" };
    }
    const { waiting, dead, names } = await one<{ waiting: number; dead: number; names: string | null }>(
      patient,
      `select count(*) filter (where run_at < now() - interval '15 minutes' and attempts < max_attempts and locked_at is null)::int as waiting,
         count(*) filter (where attempts >= max_attempts)::int as dead,
         string_agg(distinct task_identifier, ', ') filter (where attempts >= max_attempts) as names
       from graphile_worker.jobs`,
    );
    if (dead > 0) {
      return {
        status: "warning",
        text: `${dead} jobs have failed for good: ${names}`,
        mend: 'Look at last_error in graphile_worker.jobs, then: insights sql "select graphile_worker.permanently_fail_jobs(...)" or remove them',
      };
    }
    return waiting > 0
      ? {
          status: "warning",
          text: `${waiting} jobs have waited for more than 15 minutes`,
          mend: "Start a worker: insights worker",
        }
      : ok("no job is late");
  },

  async runs(patient) {
    if (!(await exists(patient, "monitor.run")))
      return { status: "failure", text: "not migrated", mend: "Run: insights migrate" };
    const { failed } = await one<{ failed: string | null }>(
      patient,
      `select string_agg(format('%s (%s)', task, error), '; ' order by task) as failed
       from (select distinct on (task) task, outcome, error from monitor.run order by task, started_at desc) as latest
       where outcome = 'failed'`,
    );
    return failed === null
      ? ok("the latest run of each task was fine")
      : {
          status: "warning",
          text: `failed last time: ${failed}`,
          mend: "Look at the error; the task runs again on schedule",
        };
  },

  async models(patient) {
    if (!(await exists(patient, "ml.deployment")))
      return { status: "failure", text: "not migrated", mend: "Run: insights migrate" };
    const { count, stale } = await one<{ count: number; stale: string | null }>(
      patient,
      `with newest as (
         select max(occurred_at) as at from track.event
       ),
       deployed as (
         select distinct on (project.project_id) project.name, model.version, model.data_watermark
         from ml.project as project
         join ml.deployment as deployment on deployment.project_id = project.project_id
         join ml.model as model on model.model_id = deployment.model_id
         order by project.project_id, deployment.deployment_id desc
       )
       select count(*)::int as count,
         string_agg(format('%s (version %s, data until %s)', name, version, data_watermark::date), ', ')
           filter (where data_watermark < newest.at - $1::interval) as stale
       from deployed cross join newest`,
      [staleAfter],
    );
    if (count === 0) return { status: "warning", text: "no model has been trained", mend: "Run: insights train" };
    return stale === null
      ? ok(`${count} in force, none older than its data by ${staleAfter}`)
      : { status: "warning", text: `stale: ${stale}`, mend: "Run: insights train" };
  },
};

function failure(error: unknown): Omit<Finding, "check"> {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof InsightsError)
    return { status: "failure", text, ...(error.hint === undefined ? {} : { mend: error.hint }) };
  return errorCode(error) === "42501"
    ? { status: "failure", text, mend: "Sign in as a login that may see this, such as the one that migrates" }
    : { status: "failure", text };
}

async function examine(config: Config): Promise<Finding[]> {
  // To look for it would be to make it.
  if (config.databaseUrl === undefined && !existsSync(join(config.dataDirectory, "database", "PG_VERSION"))) {
    return [
      {
        check: "connection",
        status: "failure",
        text: `DATABASE_URL is not set, and there is no embedded database in ${config.dataDirectory}`,
        mend: "Run: insights start",
      },
    ];
  }
  let database: Database;
  try {
    database = await openDatabase(config, "doctor");
  } catch (error) {
    return [{ check: "connection", ...failure(error) }];
  }
  try {
    const findings: Finding[] = [];
    await withClient(database.url, async (client) => {
      for (const [check, examination] of Object.entries(examinations)) {
        findings.push({ check, ...(await examination({ client, config, database }).catch(failure)) });
      }
    });
    return findings;
  } catch (error) {
    const { hostname, port, pathname } = new URL(database.url);
    return [
      {
        check: "connection",
        ...failure(error),
        mend: `Check that a server listens at ${hostname}:${port || 5432} and that the login may use database "${pathname.slice(1)}"`,
      },
    ];
  } finally {
    await database.close();
  }
}

const marks = { ok: "ok  ", warning: "warn", failure: "FAIL" };

export default new Command()
  .description(
    "Examines the configured database: server version, pgvector, roles, pooler, pending migrations, job queue, task runs, " +
      "stale models. Says how to mend what is wrong, changes nothing, and ends with 1 when something must be mended.",
  )
  .option("--json", "print the findings as JSON")
  .action(async (options: { json?: true }) => {
    const findings = await examine(readConfig());
    if (options.json === true) {
      console.log(JSON.stringify(findings, null, 2));
    } else {
      const width = Math.max(...findings.map(({ check }) => check.length));
      for (const { check, status, text, mend } of findings) {
        console.log(`${marks[status]}  ${check.padEnd(width)}  ${text}`);
        if (mend !== undefined) console.log(`      ${"".padEnd(width)}  → ${mend}`);
      }
    }
    if (findings.some(({ status }) => status === "failure")) process.exitCode = 1;
  });
