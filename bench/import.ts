/*
 * Import of the Moodle log of a whole course, and a second one with nothing to do. Needs
 * ../shared/data/moodle_la_course.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/import.ts
 *
 * Without DATABASE_URL it runs on the embedded database. Reading alone, without a database, shows the cost of the file.
 */
import { fileURLToPath } from "node:url";
import { importFile } from "../src/importer/import.ts";
import { openInput } from "../src/importer/input.ts";
import { moodleReader } from "../src/importer/moodle.ts";
import { benchDatabase } from "./database.ts";

const file = fileURLToPath(new URL("../../shared/data/moodle_la_course/events.csv.gz", import.meta.url));

const count = (value: number): string => value.toLocaleString("en");
const run = async (label: string, query: Parameters<typeof importFile>[0]): Promise<void> => {
  const started = performance.now();
  const reader = moodleReader({ timeZone: "Europe/Helsinki" });
  const { total, accepted, duplicates, rejected } = await importFile(query, {
    input: await openInput(file),
    reader,
    source: "moodle",
  });
  const seconds = (performance.now() - started) / 1_000;
  console.log(
    `${label.padEnd(14)} ${seconds.toFixed(1).padStart(5)} s ${count(Math.round(total / seconds)).padStart(8)} rows per second: ` +
      `${count(accepted)} stored, ${count(duplicates)} duplicates, ${count(rejected)} rejected`,
  );
};

const { client, name, close } = await benchDatabase();
console.log(name);
await run("reading alone", {
  query: async (_sql, values) => ({
    rows: [{ accepted: (JSON.parse(String(values?.[0])) as unknown[]).length, duplicates: 0, rejected: 0, errors: [] }],
  }),
});
await run("first import", client);
await run("second import", client);
await close();
