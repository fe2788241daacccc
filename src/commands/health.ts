import { setTimeout as wait } from "node:timers/promises";
import { Command, InvalidArgumentError } from "commander";
import type pg from "pg";
import { withSession } from "./session.ts";

interface Finding {
  health_check: string;
  subject: string;
  severity: "warning" | "critical";
  message: string;
  fix: string;
  value: number | null;
  threshold: number | null;
}

interface Health {
  status: "ok" | "warning" | "critical";
  summary: string;
  fix: string | null;
  problems: number;
  checks: number;
  checked_at: string;
  findings: Finding[];
}

/** A check that hangs is cancelled, and is then a finding. */
const limit = "20s";

async function examine(pool: pg.Pool): Promise<Health> {
  const client = await pool.connect();
  try {
    await client.query("begin transaction read only");
    await client.query(`set local statement_timeout to '${limit}'`);
    // An administrator, a worker or an analyst: what the login may be.
    await client.query(
      `select set_config('role', role, true)
       from unnest(array['insights_admin', 'insights_worker', 'insights_analyst']) with ordinality as role (role, position)
       where pg_has_role(session_user, role, 'member')
       order by position
       limit 1`,
    );
    const { rows } = await client.query<Health>(
      `select status, summary, fix, problems, checks, checked_at::text,
         coalesce(
           (select json_agg(found order by number) from unnest(findings) with ordinality
             as found (health_check, subject, severity, message, fix, value, threshold, number)), '[]'
         ) as findings
       from monitor.health()`,
    );
    await client.query("rollback");
    const [health] = rows;
    if (health === undefined) throw new Error("monitor.health returned no row");
    for (const finding of health.findings) delete (finding as { number?: number }).number;
    return health;
  } finally {
    client.release(true);
  }
}

const marks = { ok: "ok  ", warning: "warn", critical: "CRIT" };

function print({ status, summary, findings, checked_at }: Health): void {
  console.log(
    `${marks[status]}  ${findings.length === 0 ? summary : `${findings.length} ${findings.length === 1 ? "problem" : "problems"}`}  (${checked_at})`,
  );
  for (const { severity, health_check, message, fix } of findings) {
    console.log(`${marks[severity]}  ${health_check}: ${message}`);
    console.log(`      → ${fix}`);
  }
}

function seconds(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 86_400) throw new InvalidArgumentError("Use 1 to 86400 seconds.");
  return number;
}

export default new Command()
  .description(
    "Prints what is wrong with the running installation and how it is fixed: worker, queue, tasks, rollups, models, ledger, " +
      "tables, replication. Changes nothing, and exits with 1 if a problem is critical. insights doctor checks how it is " +
      "installed.",
  )
  .option("--json", "print JSON, one line each time")
  .option("--watch [seconds]", "repeat until it is stopped, every 10 seconds or as given", seconds)
  .action(async (options: { json?: true; watch?: true | number }) => {
    await withSession("health", async ({ pool }) => {
      const every = options.watch === true ? 10 : options.watch;
      for (;;) {
        const health = await examine(pool);
        if (options.json === true) console.log(JSON.stringify(health));
        else print(health);
        process.exitCode = health.status === "critical" ? 1 : 0;
        if (every === undefined) return;
        await wait(1000 * every);
      }
    });
  });
