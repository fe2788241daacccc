import { Command } from "commander";
import { InsightsError } from "../errors.ts";
import { type Queryable, requireIngest } from "../importer/deliver.ts";
import { midnight, Options } from "../simulator/options.ts";
import { findPopulation, type SimulationSummary, simulate } from "../simulator/run.ts";
import { step } from "../terminal.ts";
import { withSession } from "./session.ts";

type Given = Partial<Record<"learners" | "courses" | "weeks" | "seed" | "until", string>>;

const NOTES = `
The same options generate the same events, byte for byte. A database holds one population: repeating the command completes
it if it was interrupted, and otherwise does nothing. Without --until, an existing population keeps its end.

The application's tables are in the schema canvas_flow, the true attributes of the people in canvas_flow_truth.

Exit status: 0 if the whole population is in the database, otherwise 1.`;

export default new Command()
  .description("Fills the database with a seeded Canvas Flow population whose true attributes are recorded.")
  .option("--learners <count>", "number of learners (default: 200)")
  .option("--courses <count>", "number of courses (default: 24)")
  .option("--weeks <count>", "length of the simulated time (default: 8)")
  .option("--seed <number>", "seed of the random numbers (default: 1)")
  .option("--until <date>", "the day, in UTC, before which it ends (default: today)")
  .addHelpText("after", NOTES)
  .action(async (given: Given) => {
    await withSession("simulate", async ({ pool }) => {
      await requireIngest(pool);
      const options = await readOptions(pool, given);
      const client = await pool.connect();
      try {
        await step(
          "Simulating a platform",
          (bar) => simulate(client, options, ({ fraction }) => bar.update(fraction, 1)),
          describe,
        );
      } finally {
        client.release();
      }
    });
  });

function describe(summary: SimulationSummary): string {
  if (summary.wasThere) return "this population is already in the database; nothing was changed";
  const { learners, courses, sessions, accepted, duplicates } = summary;
  const count = (value: number): string => value.toLocaleString("en");
  return `${count(learners)} learners, ${count(courses)} courses, ${count(sessions)} sessions: ${count(accepted)} messages stored, ${count(duplicates)} duplicates`;
}

/** The options of the command line; the default of --until is the end of the existing population, or today. */
async function readOptions(database: Queryable, { until, ...counts }: Given): Promise<Options> {
  const numbers = Object.fromEntries(Object.entries(counts).map(([name, text]) => [name, Number(text)]));
  const end = until === undefined ? ((await findPopulation(database))?.until ?? midnight(new Date())) : parseDay(until);
  const parsed = Options.safeParse({ ...numbers, until: end });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = String(issue?.path[0]) as keyof Given;
  throw new InsightsError(`--${name} is ${{ ...counts, until }[name]}: ${issue?.message}`, {
    hint: "insights simulate --help lists the options.",
  });
}

function parseDay(text: string): Date {
  const day = new Date(`${text}T00:00:00Z`);
  if (/^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text))
    return day;
  throw new InsightsError(`--until is ${text}: not a day`, { hint: "Write it as 2026-05-31." });
}
