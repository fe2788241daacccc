import { rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Command } from "commander";
import { errorCode, InsightsError } from "../errors.ts";
import { asAdministrator } from "./session.ts";

/** Writes a file for its owner alone, which is complete whenever it has its name; a device or a pipe is written to. */
async function store(path: string, text: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const direct = found !== undefined && !found.isFile();
  const partial = direct ? path : join(dirname(path), `.${basename(path)}.${process.pid}`);
  try {
    await writeFile(partial, text, { mode: 0o600 });
    if (!direct) await rename(partial, path);
  } catch (error) {
    if (!direct) await rm(partial, { force: true });
    throw new InsightsError(`cannot write ${path} (${errorCode(error)})`, {
      hint: "Give the name of a file in a directory that exists, that you may write to, and that has enough space.",
      cause: error,
    });
  }
}

export default new Command()
  .description(
    "Writes all data of a person as one JSON document, as GDPR articles 15 and 20 and FERPA ask, and logs that it was " +
      "exported.",
  )
  .argument("<person>", "userId or anonymousId; the data of all names of the person is exported")
  .option("-o, --output <file>", "write to this file, which only you may read; it gets its name when it is complete")
  .addHelpText(
    "after",
    `
The document has the keys person (the names), purposes, index (each table with its meaning, number of rows and columns)
and data (the rows by table, with names in place of keys). Times are in UTC. The export itself is logged.

Examples:
  insights export ada --output ada.json
  insights export ada | jq '.data["track.event"][].event'
`,
  )
  .action(async (person: string, { output }: { output?: string }) => {
    const text = await asAdministrator("export", async (client) => {
      const { rows } = await client.query<{ document: string }>(
        "select jsonb_pretty(privacy.export_person($1)) as document",
        [person],
      );
      const document = `${rows[0]?.document ?? ""}\n`;
      // Within the transaction: what could not be written is not logged as exported.
      if (output !== undefined && output !== "-") await store(output, document);
      return document;
    });
    if (output === undefined || output === "-") process.stdout.write(text);
    else console.log(`the data of "${person}" is in ${output}`);
  });
