import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import pg from "pg";
import { type Config, readConfig } from "../config.ts";
import { type Database, openDatabase, withClient } from "../database/connect.ts";
import { examineCluster } from "../database/distribution.ts";
import { findMissingParts } from "../database/indexes.ts";
import { queueSchema } from "../database/logins.ts";
import { checkServer, checkVector } from "../database/migrate.ts";
import { describeBoundary, findDetachedMonths, findWrongBoundaries } from "../database/months.ts";
import { hasStoredPageViews } from "../database/page-views.ts";
import { isPooled } from "../database/pooler.ts";
import { readReleases, releaseState } from "../database/release.ts";
import { pendingCurrent } from "../database/source.ts";
import { errorCode, InsightsError, readOnlyHint, suggestion } from "../errors.ts";

interface Finding {
  check: string;
  status: "ok" | "warning" | "failure";
  text: string;
  fix?: string;
}

interface Context {
  client: pg.Client;
  config: Config;
  database: Database;
}

type Check = (context: Context) => Promise<Omit<Finding, "check">>;

const ok = (text: string): Omit<Finding, "check"> => ({ status: "ok", text });

async function one<T extends pg.QueryResultRow>({ client }: Context, sql: string, values: unknown[] = []): Promise<T> {
  const { rows } = await client.query<T>(sql, values);
  const [row] = rows;
  if (row === undefined) throw new Error(`no row from: ${sql}`);
  return row;
}

const exists = async (context: Context, relation: string): Promise<boolean> =>
  (await one<{ present: boolean }>(context, "select to_regclass($1) is not null as present", [relation])).present;

const roles = ["owner", "reader", "visitor", "learner", "instructor", "analyst", "admin", "worker", "api", "queue"].map(
  (name) => `insights_${name}`,
);

const rooms = ["common", "ml", "privacy", "track", "experiment", "analytics", "recommend", "monitor"];

/** A model is stale when data this much newer has arrived since it was trained. */
const staleAfter = "7 days";

const checks: Record<string, Check> = {
  async server(context) {
    await checkServer(context.client);
    const { version } = await one<{ version: string }>(context, "select current_setting('server_version') as version");
    const { reason } = await one<{ reason: string | null }>(
      context,
      `select case when pg_catalog.pg_is_in_recovery() then 'a standby'
         when current_setting('default_transaction_read_only')::boolean then 'read-only by default_transaction_read_only'
       end as reason`,
    );
    if (reason !== null) return { status: "failure", text: `PostgreSQL ${version}, ${reason}`, fix: readOnlyHint };
    return ok(`PostgreSQL ${version}${context.database.embedded ? ", embedded" : ""}`);
  },

  async pgvector(context) {
    await checkVector(context.client);
    const { version, schema } = await one<{ version: string | null; schema: string | null }>(
      context,
      `select max(extversion) as version, max(extnamespace::regnamespace::text) as schema
       from pg_catalog.pg_extension where extname = 'vector'`,
    );
    return version === null
      ? { status: "failure", text: "available, but not installed in this database", fix: "Run: insights migrate" }
      : ok(`${version} in schema ${schema}`);
  },

  async roles(context) {
    const { missing, login, superuser, api, queue } = await one<{
      missing: string[];
      login: string;
      superuser: boolean;
      api: boolean;
      queue: boolean;
    }>(
      context,
      `select
         coalesce(array_agg(name) filter (where role.oid is null), '{}') as missing,
         session_user::text as login,
         (select rolsuper from pg_catalog.pg_roles where rolname = session_user) as superuser,
         coalesce(bool_or(pg_has_role(session_user, role.oid, 'member')) filter (where name = 'insights_api'), false) as api,
         coalesce(bool_or(pg_has_role(session_user, role.oid, 'usage')) filter (where name = any ($2)), false) as queue
       from unnest($1::text[]) as name
       left join pg_catalog.pg_roles as role on role.rolname = name`,
      [roles, ["insights_owner", "insights_queue"]],
    );
    if (missing.length > 0) {
      return { status: "failure", text: `missing: ${missing.join(", ")}`, fix: "Run: insights migrate" };
    }
    const identifier = pg.escapeIdentifier(login);
    if (!api && !queue) {
      return {
        status: "failure",
        text: `"${login}" may serve neither the API nor the job queue`,
        fix: `As an administrator: grant insights_api to ${identifier} (for insights api), or grant insights_queue to ${identifier} (for insights worker)`,
      };
    }
    // An admin's token may evaluate expressions, and an expression may switch back to the login: set_config('role', …).
    if (superuser && !context.database.embedded) {
      return {
        status: "warning",
        text: `all ${roles.length}; signed in as "${login}", a superuser, whose rights the holder of an admin's token can obtain`,
        fix:
          "In production, for insights api: create role my_api login password '…' in role insights_api; " +
          "for insights worker: create role my_worker login password '…' in role insights_queue",
      };
    }
    // The policies trust the setting insights.person_id, which any session with these roles can set.
    const { impersonators } = await one<{ impersonators: string[] }>(
      context,
      `select coalesce(array_agg(rolname::text order by rolname), '{}') as impersonators
       from pg_catalog.pg_roles as login
       where rolcanlogin
         and has_database_privilege(login.oid, current_database(), 'connect')
         and (pg_has_role(login.oid, 'insights_learner', 'member') or pg_has_role(login.oid, 'insights_visitor', 'member'))
         and not pg_has_role(login.oid, 'insights_api', 'member')
         and not pg_has_role(login.oid, 'insights_owner', 'member')`,
    );
    if (impersonators.length > 0) {
      return {
        status: "warning",
        text: `${impersonators.map((name) => `"${name}"`).join(", ")} can act as every person: insights_learner, insights_instructor and insights_visitor are roles for requests of the API`,
        fix: `revoke insights_learner, insights_instructor, insights_visitor from ${impersonators.map((name) => pg.escapeIdentifier(name)).join(", ")}`,
      };
    }
    const may = [...(api ? ["serve the API"] : []), ...(queue ? ["process the job queue"] : [])].join(" and ");
    return ok(`all ${roles.length}; signed in as "${login}", which may ${may}`);
  },

  async rights(context) {
    const { fixes } = await one<{ fixes: string[] }>(
      context,
      `with extension as (
         select namespace.oid, namespace.nspname, namespace.nspowner, namespace.nspacl
         from pg_catalog.pg_extension as extension
         join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
         where extension.extname = 'vector'
       ),

       definer as (
         select function.oid::regprocedure as name, function.proowner::regrole::text as owner, function.proconfig as settings,
           exists (
             select from aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) as privilege
             where privilege.grantee = 0
           ) as is_public
         from pg_catalog.pg_proc as function
         where function.prosecdef
           and function.pronamespace in (select oid from pg_catalog.pg_namespace where nspname = any ($1))
       ),

       fix (statement) as (
         -- Definers that use pgvector look for its names in its schema: who may create there could run as their owner.
         select format('revoke create on schema %I from %s', extension.nspname,
           case privilege.grantee when 0 then 'public' else quote_ident(role.rolname) end)
         from extension
         cross join lateral aclexplode(coalesce(extension.nspacl, acldefault('n', extension.nspowner))) as privilege
         left join pg_catalog.pg_roles as role on role.oid = privilege.grantee
         where privilege.privilege_type = 'CREATE'
           and privilege.grantee <> extension.nspowner
           and not coalesce(role.rolsuper or pg_has_role(role.oid, 'insights_owner', 'member'), false)
         union all
         select format('alter function %s owner to insights_owner', name) from definer
         where owner not in ('insights_owner', 'insights_reader')
         union all
         select format('alter function %s set search_path to pg_catalog, pg_temp', name) from definer
         where not coalesce(settings, '{}') && array[
           'search_path=pg_catalog, pg_temp', (select format('search_path=%I, pg_temp', nspname) from extension)
         ]
         union all
         select format('revoke execute on function %s from public', name) from definer where is_public
         union all
         select format('grant temporary on database %I to %I', current_database(), role.rolname)
         from pg_catalog.pg_roles as role
         where role.rolname in ('insights_analyst', 'insights_admin', 'insights_worker')
           and not has_database_privilege(role.oid, current_database(), 'temporary')
       )

       select coalesce(array_agg(statement order by statement), '{}') as fixes from fix`,
      [rooms],
    );
    return fixes.length === 0
      ? ok(
          "no other role may create objects in the schema of pgvector, and the security definer functions are unchanged",
        )
      : {
          status: "warning",
          text: `${fixes.length} ${fixes.length === 1 ? "right differs" : "rights differ"} from the expected ones`,
          fix: `As an administrator: ${fixes.slice(0, 10).join("; ")}`,
        };
  },

  async pooler({ client, config, database }) {
    if (database.embedded) return ok("one session shared by all connections; pooler mode is on");
    if (config.pooler === false && (await isPooled(client))) {
      return {
        status: "warning",
        text: "the connection goes through a pooler, but INSIGHTS_POOLER is set to false, which means session mode",
        fix: "Unset INSIGHTS_POOLER, unless the pooler is in session mode",
      };
    }
    if (!database.pooler) return ok("none");
    return config.directUrl === undefined
      ? ok("pooler mode is on; insights migrate requires DIRECT_DATABASE_URL, the address of the server itself")
      : ok("pooler mode is on; insights migrate uses DIRECT_DATABASE_URL");
  },

  async migrations(context) {
    if (!(await exists(context, "graphile_migrate.migrations"))) {
      return { status: "failure", text: "the database has not been migrated", fix: "Run: insights migrate" };
    }
    const releases = await readReleases();
    const { pending, ahead } = await releaseState(context.client, releases);
    if (ahead.length > 0) {
      return {
        status: "failure",
        text: `the database is ahead of this version: it has release ${ahead.join(", ")}`,
        fix: "Update canvas-flow-insights to the version that migrated it",
      };
    }
    if (pending.length > 0) {
      const names = pending.map(({ file }) => file).join(", ");
      return { status: "failure", text: `pending: ${names}`, fix: "Run: insights migrate" };
    }
    const missing = await findMissingParts(context.client);
    if (missing.length > 0) {
      const indexes = [...new Set(missing.map(({ index }) => index))].join(", ");
      return {
        status: "warning",
        text: `incomplete: index ${indexes}, on ${missing.length} partitions`,
        fix: "Run: insights migrate",
      };
    }
    if (await hasStoredPageViews(context.client)) {
      return {
        status: "warning",
        text: "incomplete: page views of an earlier version are not in their sessions yet",
        fix: "Run: insights migrate",
      };
    }
    return (await pendingCurrent(context.client))
      ? { status: "warning", text: "the source has changed since it was applied", fix: "Run: insights migrate" }
      : ok(`all ${releases.length} applied`);
  },

  async months(context) {
    if (!(await exists(context, "track.event"))) {
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    }
    const [wrong, ...others] = await findWrongBoundaries(context.client);
    if (wrong !== undefined) {
      const more = others.length > 0 ? `, and ${others.length} more` : "";
      return {
        status: "failure",
        text: `${describeBoundary(wrong)}${more}: events between these times are refused or stored in the wrong month`,
        fix: "Run: insights migrate",
      };
    }
    const detached = await findDetachedMonths(context.client);
    if (detached.length > 0) {
      return {
        status: "warning",
        text: `not attached to track.event: ${detached.slice(0, 10).join(", ")}; events of these months are refused`,
        fix: "Attach the tables, or give them other names, which lets track.ingest create the months again",
      };
    }
    return ok("each month of track.event begins at 00:00 UTC");
  },

  async queue(context) {
    if (!(await exists(context, `${queueSchema}.jobs`))) {
      return { status: "failure", text: "the job queue is not installed", fix: "Run: insights migrate" };
    }
    const { waiting, failed, names } = await one<{ waiting: number; failed: number; names: string | null }>(
      context,
      `select count(*) filter (where run_at < now() - interval '15 minutes' and attempts < max_attempts and locked_at is null)::int as waiting,
         count(*) filter (where attempts >= max_attempts)::int as failed,
         string_agg(distinct task_identifier, ', ') filter (where attempts >= max_attempts) as names
       from ${queueSchema}.jobs`,
    );
    if (failed > 0) {
      return {
        status: "warning",
        text: `${failed} jobs have failed permanently: ${names}`,
        fix: `See last_error in ${queueSchema}.jobs; after the cause is fixed, remove the jobs or run them again`,
      };
    }
    return waiting > 0
      ? {
          status: "warning",
          text: `${waiting} jobs have waited for more than 15 minutes`,
          fix: "Start a worker: insights worker",
        }
      : ok("no job is late");
  },

  async replication(context) {
    if (context.database.embedded) return ok("the embedded database has no standby");
    const { standbys, visible } = await one<{ standbys: string[]; visible: boolean }>(
      context,
      `select
         coalesce(array_agg(application_name || case when replay_lag is null then '' else
           format(' (%s ms behind)', round(1000 * extract(epoch from replay_lag))) end order by application_name), '{}') as standbys,
         (select pg_has_role('insights_owner', 'pg_read_all_stats', 'usage')) as visible
       from pg_catalog.pg_stat_replication`,
    );
    if (standbys.length === 0) return ok("no standby is connected");
    const text = `${standbys.length} connected: ${standbys.join(", ")}`;
    return visible
      ? ok(text)
      : {
          status: "warning",
          text: `${text}; insights health and the metrics cannot see how far a standby is behind`,
          fix: "As an administrator: grant pg_read_all_stats to insights_owner",
        };
  },

  async standby(context) {
    const { readUrl, standbyLag } = context.config;
    if (readUrl === undefined) return ok("none: the primary answers all queries");
    const query = `select pg_is_in_recovery() as follows, system_identifier::text as system,
        (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end)::text as position
      from pg_control_system()`;
    interface Place {
      follows: boolean;
      system: string;
      position: string;
    }
    const primary = await one<Place>(context, query);
    let standby: Place | undefined;
    try {
      standby = await withClient(readUrl, async (client) => (await client.query<Place>(query)).rows[0]);
    } catch (error) {
      return {
        status: "failure",
        text: `DATABASE_READ_URL: ${error instanceof Error ? error.message : "no answer"}`,
        fix: "Start the standby, or unset DATABASE_READ_URL: until then the primary answers all queries",
      };
    }
    if (standby?.system !== primary.system || !standby.follows) {
      return {
        status: "failure",
        text: `DATABASE_READ_URL is ${standby?.system === primary.system ? "not a standby: it was promoted, or is the primary" : "a server of another database"}`,
        fix: "Set it to a hot standby of DATABASE_URL, or unset it",
      };
    }
    const { bytes } = await one<{ bytes: string }>(
      context,
      "select greatest(pg_wal_lsn_diff($1::pg_lsn, $2::pg_lsn), 0)::text as bytes",
      [primary.position, standby.position],
    );
    return ok(`answers the queries of the API while it is at most ${standbyLag} s behind; now ${bytes} bytes`);
  },

  async cluster({ client }) {
    const state = await examineCluster(client);
    if (state === null) return ok("none: one server has all tables");
    if (!state.coordinator) {
      return {
        status: "failure",
        text: "this database is on a worker of a cluster of Citus",
        fix: "Set DATABASE_URL to the coordinator",
      };
    }
    if (state.away.length > 0) {
      return {
        status: "failure",
        text: `of ${state.workers.length} workers, ${state.away.length} cannot be reached: ${state.away.join("; ")}`,
        fix: "Start them: until then events are refused, and the refresh waits",
      };
    }
    if (state.distributed === 0) {
      return {
        status: "warning",
        text: "this database has the extension citus, and no table is distributed",
        fix: "Run: insights distribute",
      };
    }
    if (state.steps.length > 0) {
      const steps = state.steps.slice(0, 10).join(", ") + (state.steps.length > 10 ? ", …" : "");
      return {
        status: "warning",
        text: `${state.steps.length} steps are left: ${steps}`,
        fix: "Run: insights distribute",
      };
    }
    if (state.unprepared.length > 0) {
      return {
        status: "failure",
        text: `the roles of statements may not log in, or the settings of times differ, on ${state.unprepared.join(", ")}`,
        fix: "Run: insights distribute",
      };
    }
    if (state.changed.size > 0) {
      const changed = [...state.changed].map(([name, functions]) => `${name}: ${functions.slice(0, 10).join(", ")}`);
      return {
        status: "warning",
        text: `functions differ on a worker (${changed.join("; ")})`,
        fix: "Run: insights distribute",
      };
    }
    return ok(`${state.distributed} tables are distributed over ${state.workers.length} workers`);
  },

  async runs(context) {
    if (!(await exists(context, "monitor.run")))
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    const { failed } = await one<{ failed: string | null }>(
      context,
      `select string_agg(format('%s (%s)', task, error), '; ' order by task) as failed
       from (select distinct on (task) task, outcome, error from monitor.run order by task, started_at desc) as latest
       where outcome = 'failed'`,
    );
    return failed === null
      ? ok("the latest run of each task succeeded")
      : {
          status: "warning",
          text: `the latest run failed: ${failed}`,
          fix: "See the error; the task runs again on schedule",
        };
  },

  async rollups(context) {
    if (!(await exists(context, "track.rollup_check")))
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    const { may } = await one<{ may: boolean }>(
      context,
      "select has_function_privilege('track.rollup_trust(int)', 'execute') as may",
    );
    if (!may) return ok("only a login that may read the trust score can check it");
    const { checked, score, differing, names } = await one<{
      checked: string | null;
      score: number | null;
      differing: string | null;
      names: string | null;
    }>(
      context,
      `select max(checked) filter (where rollup = 'all') as checked, max(score) filter (where rollup = 'all') as score,
         max(differing) filter (where rollup = 'all') as differing,
         string_agg(format('%s (%s)', rollup, differing), ', ' order by rollup)
           filter (where rollup <> 'all' and differing > 0) as names
       from track.rollup_trust()`,
    );
    if (score === null) return ok("no rollup has been compared with the events yet");
    return names === null
      ? ok(`${checked} cells were compared with the events, and all agree`)
      : {
          status: "warning",
          text: `trust score ${score}: ${differing} of ${checked} cells differed from the events, and were repaired: ${names}`,
          fix: `See example in track.rollup_check. To check all rows, for at most an hour: select ${queueSchema}.add_job('insights:check_rollups', '{"seconds": 3600}')`,
        };
  },

  async refresh(context) {
    if (!(await exists(context, "track.consumer")))
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    const { readable } = await one<{ readable: boolean }>(
      context,
      `select has_table_privilege('track.consumer', 'select') and has_table_privilege('track.person_set', 'select')
         and has_table_privilege('privacy.listener', 'select') and has_table_privilege('privacy.handler', 'select')
         and has_table_privilege('privacy.setting', 'select') as readable`,
    );
    if (!readable) return ok("only a login that may read its list, such as the one that migrates, can check it");
    // Of the version with experiments on.
    const handlers = (await exists(context, "experiment.handler"))
      ? `union all
         select called || '(text, jsonb)' from experiment.handler
         cross join unnest(array[check_function, ship_function]) as called where called is not null
         union all
         select exposure_function || '(bigint[])' from experiment.handler where exposure_function is not null`
      : "";
    // By the catalogue: the login may not have the right to use each schema.
    const { count, missing } = await one<{ count: number; missing: string | null }>(
      context,
      `with named as (
         select refresh || '(bigint[], timestamp with time zone[], timestamp with time zone[])' as name from track.consumer
         union all
         -- As JSON: the column is of a later version.
         select (to_jsonb(consumer) ->> 'reads_set') || '(text)' from track.consumer
         where to_jsonb(consumer) ->> 'reads_set' is not null
         union all
         select (to_jsonb(consumer) ->> 'incomplete_sets') || '()' from track.consumer
         where to_jsonb(consumer) ->> 'incomplete_sets' is not null
         union all
         select (to_jsonb(consumer) ->> 'forget_function') || '(bigint[], timestamp with time zone[])' from track.consumer
         where to_jsonb(consumer) ->> 'forget_function' is not null
         union all
         select (to_jsonb(consumer) ->> 'collect_function') || '(integer)' from track.consumer
         where to_jsonb(consumer) ->> 'collect_function' is not null
         union all
         select members || '(text, bigint[])' from track.person_set where members is not null
         union all
         select function_name || '(bigint[])' from privacy.listener
         union all
          select called || '(privacy.subject)' from privacy.handler
          cross join unnest(array[erase_function, export_function]) as called where called is not null
          union all
          select called || '(text)' from privacy.setting
          cross join unnest(array[subject_function, hold_function]) as called where called is not null
          union all
          select called || '(bigint[])' from privacy.setting
          cross join unnest(array[names_function, held_names_function]) as called where called is not null
          union all
          select lock_function || '(text, bigint)' from privacy.setting where lock_function is not null
          union all
          select unshared_function || '(privacy.subject)' from privacy.setting where unshared_function is not null
          union all
          select returned_function || '()' from privacy.setting where returned_function is not null
          ${handlers}
       ),
       existing as (
         select format('%s.%s(%s)', namespace.nspname, procedure.proname,
           array_to_string(procedure.proargtypes::oid[]::regtype[], ', ')) as name
         from pg_catalog.pg_proc as procedure
         join pg_catalog.pg_namespace as namespace on namespace.oid = procedure.pronamespace
         where namespace.nspname || '.' || procedure.proname in (select split_part(named.name, '(', 1) from named)
       )
       select count(*)::int as count,
         string_agg(named.name, ', ' order by named.name) filter (where existing.name is null) as missing
       from named
       left join existing using (name)`,
    );
    return missing === null
      ? ok(`all ${count} functions that it calls exist`)
      : {
          status: "failure",
          text: `missing: ${missing}`,
          fix: "Run: insights migrate; or correct the row of track.consumer, track.person_set, privacy.listener, privacy.handler, privacy.setting or experiment.handler that names it",
        };
  },

  async requests(context) {
    if (!(await exists(context, "privacy.open_requests")))
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    const { readable } = await one<{ readable: boolean }>(
      context,
      "select has_table_privilege('privacy.request', 'select') as readable",
    );
    if (!readable) return ok("only a login that may read requests of people can check them");
    const { open, overdue, next } = await one<{ open: number; overdue: string | null; next: string | null }>(
      context,
      `select count(*)::int as open,
         string_agg(format('%s (%s, %s)', request_id, kind, to_char(due_at, 'YYYY-MM-DD')), ', ' order by due_at)
           filter (where is_overdue) as overdue,
         to_char(min(due_at), 'YYYY-MM-DD') as next
       from privacy.open_requests`,
    );
    if (overdue === null)
      return ok(open === 0 ? "no request of a person is open" : `${open} open, the next to be answered until ${next}`);
    return {
      status: "warning",
      text: `not answered in time: ${overdue}`,
      fix: "Answer them, and record it: select privacy.complete_request('…')",
    };
  },

  async retention(context) {
    if (!(await exists(context, "privacy.retention_total")))
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    const { readable } = await one<{ readable: boolean }>(
      context,
      "select has_table_privilege('privacy.retention', 'select') as readable",
    );
    if (!readable) return ok("only a login that may read the rules of retention can check them");
    const { rules, is_late, last, missing } = await one<{
      rules: string | null;
      is_late: boolean;
      last: string | null;
      missing: string | null;
    }>(
      context,
      `with applied as (
         select max(started_at) as at from monitor.run where task = 'apply_retention' and outcome = 'ok'
       )
       select
         string_agg(format('%s %s', rule, keep), ', ' order by rule) as rules,
         coalesce(greatest(min(set_at), (select at from applied)) < now() - interval '2 days', false) as is_late,
         (select to_char(at, 'YYYY-MM-DD') from applied) as last,
         (
           select string_agg(called, ', ' order by called)
           from privacy.retention_class
           cross join unnest(array[plan_function, apply_function]) as called
           where called is not null and to_regproc(called) is null
         ) as missing
       from privacy.retention`,
    );
    if (missing !== null)
      return { status: "failure", text: `missing functions: ${missing}`, fix: "Run: insights migrate" };
    if (rules === null) return ok("no rule: all data is kept");
    return is_late
      ? {
          status: "warning",
          text: `${rules}; ${last === null ? "never applied" : `last applied on ${last}`}`,
          fix: "Start a worker, or see monitor.run for the error of apply_retention. To do it now: insights retention apply --yes",
        }
      : ok(rules);
  },

  async models(context) {
    if (!(await exists(context, "ml.deployment")))
      return { status: "failure", text: "not migrated", fix: "Run: insights migrate" };
    const { readable } = await one<{ readable: boolean }>(
      context,
      "select has_table_privilege('track.event', 'select') as readable",
    );
    if (!readable)
      return ok("their age can only be checked by a login that may read events, such as the one that migrates");
    const { count, stale } = await one<{ count: number; stale: string | null }>(
      context,
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
    if (count === 0) return { status: "warning", text: "no model has been trained", fix: "Run: insights train" };
    return stale === null
      ? ok(`${count} deployed, none of them trained more than ${staleAfter} before its newest data`)
      : { status: "warning", text: `stale: ${stale}`, fix: "Run: insights train" };
  },
};

function failure(error: unknown): Omit<Finding, "check"> {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof InsightsError)
    return { status: "failure", text, ...(error.hint === undefined ? {} : { fix: error.hint }) };
  return errorCode(error) === "42501"
    ? { status: "failure", text, fix: "Sign in as a login that may see this, such as the one that migrates" }
    : { status: "failure", text };
}

function unreachable(error: unknown, url: string | undefined): Finding {
  const found = failure(error);
  if (found.fix !== undefined || url === undefined) return { check: "connection", ...found };
  const { hostname, port, pathname } = new URL(url);
  const address = `Check that a server listens at ${hostname}:${port || 5432} and that the login may use database "${pathname.slice(1)}"`;
  return { check: "connection", ...found, fix: suggestion(error, address) ?? address };
}

/** The findings about the configured database. */
export async function examine(config: Config): Promise<Finding[]> {
  // Opening the embedded database would create it.
  if (config.databaseUrl === undefined && !existsSync(join(config.dataDirectory, "database", "PG_VERSION"))) {
    return [
      {
        check: "connection",
        status: "failure",
        text: `DATABASE_URL is not set, and there is no embedded database in ${config.dataDirectory}`,
        fix: "Run: insights start",
      },
    ];
  }
  let database: Database;
  try {
    database = await openDatabase(config, "doctor");
  } catch (error) {
    return [unreachable(error, config.databaseUrl)];
  }
  try {
    const findings: Finding[] = [];
    await withClient(database.migrationUrl ?? database.url, async (client) => {
      for (const [check, run] of Object.entries(checks)) {
        await client.query("begin transaction read only");
        // A login of the API or of a worker has no rights itself.
        await client.query(
          `select set_config('role', rolname, true)
           from pg_catalog.pg_roles
           where rolname = 'insights_worker' and pg_has_role(oid, 'member')
             and not exists (select from pg_catalog.pg_roles where rolname = 'insights_owner' and pg_has_role(oid, 'usage'))`,
        );
        findings.push({ check, ...(await run({ client, config, database }).catch(failure)) });
        await client.query("rollback");
      }
    });
    return findings;
  } catch (error) {
    return [unreachable(error, database.url)];
  } finally {
    await database.close();
  }
}

const marks = { ok: "ok  ", warning: "warn", failure: "FAIL" };

export default new Command()
  .description(
    "Checks the configured database: server version, pgvector, roles, pooler, pending migrations, job queue, task runs, " +
      "stale models. Prints a fix for each problem, changes nothing, and exits with 1 if there is a failure.",
  )
  .option("--json", "print the findings as JSON")
  .action(async (options: { json?: true }) => {
    const findings = await examine(readConfig());
    if (options.json === true) {
      console.log(JSON.stringify(findings, null, 2));
    } else {
      const width = Math.max(...findings.map(({ check }) => check.length));
      for (const { check, status, text, fix } of findings) {
        console.log(`${marks[status]}  ${check.padEnd(width)}  ${text}`);
        if (fix !== undefined) console.log(`      ${"".padEnd(width)}  → ${fix}`);
      }
    }
    if (findings.some(({ status }) => status === "failure")) process.exitCode = 1;
  });
