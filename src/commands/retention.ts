import { setTimeout as pause } from "node:timers/promises";
import Table from "cli-table3";
import { Command } from "commander";
import type pg from "pg";
import { errorCode, InsightsError, loggableLine } from "../errors.ts";
import { asAdministrator, inTransaction, withSession } from "./session.ts";

interface Step {
  rule: string;
  table_name: string;
  method: string;
  row_count: string;
  partitions: string[];
  held_count: string | null;
  oldest: string | null;
  horizon: string | null;
}

const columns = `rule, table_name, method, row_count::text, partitions, held_count::text,
  to_char(oldest_at at time zone 'UTC', 'YYYY-MM-DD') as oldest, to_char(horizon at time zone 'UTC', 'YYYY-MM-DD') as horizon`;

/** How often a step is tried again while other transactions use its tables, each time after a second. */
const mostWaits = 30;

const plan = new Command("plan")
  .description("Prints what the next run deletes, by rule. Nothing is changed.")
  .option("--json", "print JSON")
  .action(async (options: { json?: true }) => {
    const steps = await asAdministrator(
      "retention",
      async (client) => (await client.query<Step>(`select ${columns} from privacy.retention_plan()`)).rows,
      { readOnly: true },
    );
    if (options.json) {
      console.log(JSON.stringify(steps, null, 2));
      return;
    }
    if (steps.length === 0) {
      console.log("There is no rule, so that nothing is deleted. Set one: insights retention set events '13 months'");
      return;
    }
    const table = new Table({ head: ["rule", "before", "method", "rows", "partitions", "restricted", "oldest"] });
    for (const { rule, horizon, method, row_count: rows, partitions, held_count: held, oldest } of steps) {
      table.push([rule, horizon ?? "", method, rows, partitions.length, held ?? "", oldest ?? ""]);
    }
    console.log(table.toString());
  });

const one = <T extends pg.QueryResultRow>(pool: pg.Pool, sql: string, values: unknown[] = []): Promise<T | undefined> =>
  inTransaction(pool, async (client) => (await client.query<T>(sql, values)).rows[0]);

/** Applies the rules in steps, prints each, and returns the number of rows. Recorded as a run of the worker's task. */
async function applyRules(pool: pg.Pool, confirmClock: boolean): Promise<number> {
  const run = await one<{ key: string }>(pool, "select monitor.start_run('apply_retention') as key");
  let rows = 0;
  let waits = 0;
  try {
    while (true) {
      const step = await one<Step>(
        pool,
        `select ${columns} from privacy.apply_retention(confirm_clock => ${confirmClock})`,
      );
      if (step === undefined) break;
      if (step.method === "wait") {
        waits += 1;
        if (waits > mostWaits) {
          throw new InsightsError(`${step.table_name} is in use by other transactions`, {
            hint: "Run the command again. Look for long transactions in pg_stat_activity.",
          });
        }
        await pause(1000);
        continue;
      }
      waits = 0;
      if (step.method === "delete" || step.method === "anonymize") rows += Number(step.row_count);
      console.log([step.rule, step.method, step.row_count, step.partitions.join(", ")].join("\t"));
    }
  } catch (error) {
    // The error itself is reported, even if it could not be recorded.
    await one(pool, "select monitor.fail_run($1, $2)", [run?.key, loggableLine(error)]).catch(() => {});
    throw error;
  }
  await one(pool, "select monitor.finish_run($1, $2)", [run?.key, rows]);
  return rows;
}

const apply = new Command("apply")
  .description("Deletes what the rules say, in steps that can be interrupted. The worker does the same each day.")
  .option("--yes", "delete: this cannot be undone")
  .option("--confirm-clock", "the clock of the server is right, although it differs much from that of the last run")
  .action(async (options: { yes?: true; confirmClock?: true }) => {
    if (!options.yes) {
      throw new InsightsError("data would be deleted, which cannot be undone", {
        hint: "See insights retention plan, and run the command again with --yes.",
      });
    }
    const rows = await withSession("retention", ({ pool }) => applyRules(pool, options.confirmClock === true));
    console.log(`${rows} rows. What is derived from them follows with the next refresh of the worker.`);
  });

interface Rule {
  counted: string;
  method: string;
  purpose?: string;
  keepSums?: true;
}

const set = new Command("set")
  .description("Sets the time for which data of a class, or events of a purpose, is kept.")
  .argument("<class>", "class of data, such as events: see privacy.retention_class")
  .argument("<keep>", "interval, such as '13 months'")
  .option("--purpose <purpose>", "only events of this purpose")
  .option("--counted <from>", "count from the event or from its arrival", "event")
  .option("--method <method>", "delete, or anonymize events", "delete")
  .option("--keep-sums", "keep the sums of whole months, without people")
  .action(async (dataClass: string, keep: string, options: Rule) => {
    const rule = await asAdministrator("retention", async (client) => {
      const { rows } = await client.query<{ rule: string }>(
        "select rule from privacy.set_retention($1, $2::interval, $3, $4, $5, $6)",
        [dataClass, keep, options.purpose ?? null, options.counted, options.method, options.keepSums === true],
      );
      return rows[0]?.rule;
    }).catch((error: unknown) => {
      // Text that is not an interval, or one that is too large for PostgreSQL.
      if (!/^220(07|08|15)$/.test(errorCode(error) ?? "")) throw error;
      throw new InsightsError(`keep is "${keep.slice(0, 100)}"`, {
        hint: "Give an interval from 1 day to 1000 years, such as '13 months'.",
        cause: error,
      });
    });
    console.log(`set ${rule}: see insights retention plan`);
  });

const drop = new Command("drop")
  .description("Removes a rule: its data is kept from then on.")
  .argument("<class>", "class of data")
  .option("--purpose <purpose>", "the rule for events of this purpose")
  .action(async (dataClass: string, options: { purpose?: string }) => {
    const dropped = await asAdministrator("retention", async (client) => {
      const { rows } = await client.query<{ dropped: boolean }>("select privacy.drop_retention($1, $2) as dropped", [
        dataClass,
        options.purpose ?? null,
      ]);
      return rows[0]?.dropped === true;
    });
    console.log(dropped ? "dropped" : "there was no such rule");
  });

export default new Command()
  .description("Rules that say how long data is kept, per class of data and per purpose of events.")
  .addCommand(plan)
  .addCommand(apply)
  .addCommand(set)
  .addCommand(drop)
  .addHelpText(
    "after",
    `
Examples:
  insights retention set events '25 months' --keep-sums
  insights retention set events '90 days' --purpose advertising
  insights retention plan
  insights retention apply --yes
`,
  );
