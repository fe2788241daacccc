import { Command } from "commander";
import type pg from "pg";
import { InsightsError } from "../errors.ts";
import { isLost } from "../importer/import.ts";
import { reason } from "../importer/problem.ts";
import { step } from "../terminal.ts";
import { asAdministrator, inTransaction, withSession } from "./session.ts";

interface Contents {
  source: string;
  events: string;
  first_at: Date | null;
  last_at: Date | null;
  people: string;
  people_alone: string;
  items: string;
  items_alone: string;
}

interface Removal {
  name: string;
  completed_at: Date | null;
  event_count: string;
  person_count: string;
  item_count: string;
  event_type_count: string;
  kept_event_count: string;
  /** Whether it was completed by an earlier command. */
  is_earlier: boolean;
}

const count = (value: string): string => Number(value).toLocaleString("en");

async function contentsOf(client: pg.ClientBase, source: string): Promise<Contents | undefined> {
  const { rows } = await client.query<Contents>("select * from track.source_contents($1)", [source]);
  return rows[0];
}

function described(contents: Contents): string {
  const { events, first_at, last_at, people, people_alone, items, items_alone } = contents;
  const period =
    first_at === null || last_at === null
      ? ""
      : `, from ${first_at.toISOString().slice(0, 10)} to ${last_at.toISOString().slice(0, 10)}`;
  return (
    `${contents.source}: ${count(events)} events${period}\n` +
    `  of ${count(people)} people, ${count(people_alone)} of them without other events\n` +
    `  about ${count(items)} items, ${count(items_alone)} of them without other events`
  );
}

/**
 * Removes an import, in steps that are transactions of their own: a command that is killed continues with the next
 * call. Returns the row of the history.
 */
export async function forgetImport(pool: pg.Pool, source: string, total?: number): Promise<Removal> {
  return await step(
    `Removing ${source}`,
    async (bar) => {
      let done = 0;
      for (;;) {
        const [removal] = await inTransaction(pool, async (client) => {
          const { rows } = await client.query<Removal>(
            "select *, coalesce(completed_at < now(), false) as is_earlier from track.forget_import($1)",
            [source],
          );
          return rows;
        }).catch((error: unknown) => {
          if (!isLost(error)) throw error;
          throw new InsightsError(
            `the connection to the database was lost after ${count(String(done))} events were deleted: ${reason(error)}`,
            { hint: "Run the same command again: it continues where this one stopped" },
          );
        });
        if (removal === undefined) throw new Error("track.forget_import returned no row");
        done = Number(removal.event_count);
        bar.update(done, total);
        if (removal.completed_at !== null) return removal;
      }
    },
    ({ completed_at, is_earlier, event_count, person_count, item_count, event_type_count, kept_event_count }) =>
      (is_earlier ? `was removed at ${completed_at?.toISOString()}: ` : "") +
      `${count(event_count)} events deleted, with ${count(person_count)} people, ${count(item_count)} items and ` +
      `${count(event_type_count)} types of events that nothing else names` +
      (kept_event_count === "0" ? "" : `; ${count(kept_event_count)} events of people with restricted data stay`),
  );
}

/** Whether a source has stored something that is not removed yet. */
export async function isImported(pool: pg.Pool, source: string): Promise<boolean> {
  const { rows } = await pool.query<{ exists: boolean }>(
    `select exists (select from track.source where name = $1 and level = 'server')
       or exists (select from track.forgotten_import where name = $1 and completed_at is null) as exists`,
    [source],
  );
  return rows[0]?.exists === true;
}

export default new Command()
  .description("Removes an import: its events, all that is derived from them, and people and items that only it named.")
  .argument("<source>", "name of the import: that of --source, or else of its format, such as moodle")
  .option("--dry-run", "print what the import contains, and delete nothing")
  .addHelpText(
    "after",
    `
Each step is a transaction of its own: a command that is interrupted is completed by running it again. Afterwards the
same file can be imported again, with other options. Traits, links between names and decisions of Segment's messages
stay, because they are not recorded by source; insights erase erases a person. track.forgotten_import has the history.

Examples:
  insights forget-import moodle --dry-run
  insights forget-import moodle
  insights import moodle logs.csv --replace --time-zone Europe/Rome
`,
  )
  .action(async (source: string, options: { dryRun?: true }) => {
    if (options.dryRun === true) {
      const contents = await asAdministrator("forget-import", (client) => contentsOf(client, source));
      if (contents !== undefined) console.log(`${described(contents)}\nnothing is deleted`);
      return;
    }
    const total = await asAdministrator("forget-import", async (client) => {
      const { rows } = await client.query<{ events: string }>(
        `select (select count(*) from track.event where event.source_id = source.source_id) as events
         from track.source
         where name = $1 and level = 'server'`,
        [source],
      );
      return rows[0] === undefined ? undefined : Number(rows[0].events);
    });
    await withSession("forget-import", async ({ pool }) => {
      await forgetImport(pool, source, total);
    });
  });
