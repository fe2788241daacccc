import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const root = fileURLToPath(new URL("../..", import.meta.url));
const directory = await mkdtemp(join(tmpdir(), "insights-import-"));
afterAll(() => rm(directory, { recursive: true }));

// The two commands alone, so that the test does not depend on others.
const PROGRAM = `
  import { Command } from "commander";
  import importCommand from "./src/commands/import.ts";
  import simulateCommand from "./src/commands/simulate.ts";
  import { describeError } from "./src/errors.ts";
  const program = new Command();
  program.addCommand(importCommand.name("import")).addCommand(simulateCommand.name("simulate"));
  await program.parseAsync(["node", "insights", ...process.argv.slice(1)]).catch((error) => {
    console.error(describeError(error));
    process.exitCode = 1;
  });
`;

function start(...words: string[]): ChildProcess {
  return spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM, "--", ...words], {
    cwd: root,
    env: { ...process.env, DATABASE_URL: database.url() },
  });
}

async function insights(
  words: string[],
  input?: Uint8Array,
): Promise<{ status: number; output: string; errors: string }> {
  const child = start(...words);
  let output = "";
  let errors = "";
  child.stdout?.on("data", (chunk) => {
    output += String(chunk);
  });
  child.stderr?.on("data", (chunk) => {
    errors += String(chunk);
  });
  if (input !== undefined) child.stdin?.end(input);
  const [status] = await once(child, "close");
  return { status: Number(status), output, errors };
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

const stored = (source: string): Promise<number> =>
  database.value<number>(
    "select count(*)::int from track.event where source_id = (select source_id from track.source where name = $1)",
    [source],
  );

const csv = (path: string, ...more: string[]): string[] => [
  "import",
  "csv",
  path,
  "--person",
  "user_id",
  "--item",
  "movie_id",
  "--at",
  "rated_at",
  "--event",
  "Course Rated",
  ...more,
];

const ratings = (count: number): string =>
  `user_id,movie_id,rating,rated_at\n${Array.from(
    { length: count },
    (_, index) => `${index % 500},${index % 70},${1 + (index % 5)},${881_250_949 + index}\n`,
  ).join("")}`;

describe("insights import", () => {
  test("stores a file, reports it, and has nothing to do the second time", async () => {
    const path = await file("ratings.csv", gzipSync(ratings(1_500)));
    const words = csv(path, "--item-kind", "course", "--property", "rating");
    const first = await insights(words);
    expect(first.output).toMatch(/ratings\.csv: 1,500 rows: 1,500 stored, 0 duplicates, 0 rejected, \d/);
    expect(first).toMatchObject({ status: 0, errors: "" });
    expect((await insights(words)).output).toMatch(/: 0 stored, 1,500 duplicates, 0 rejected/);
    expect(await stored("csv")).toBe(1_500);
  });

  test("killed in the middle and run again, it stores each row once", async () => {
    const count = 60_000;
    const path = await file("many.csv", ratings(count));
    const words = csv(path, "--source", "killed");
    const child = start(...words);
    const closed = once(child, "close");
    let before = 0;
    while (before < 3_000 && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      before = await stored("killed");
    }
    child.kill("SIGKILL");
    await closed;
    // A call of the killed process may still be in progress on the server. (On the embedded database this statement
    // runs after it.)
    await expect
      .poll(
        () =>
          database.value(
            "select count(*)::int from pg_stat_activity where datname = current_database() and application_name = 'canvas-flow-insights'",
          ),
        { timeout: 60_000 },
      )
      .toBe(0);
    before = await stored("killed");
    expect(before).toBeGreaterThanOrEqual(3_000);
    expect(before).toBeLessThan(count);
    const { output, status } = await insights(words);
    const number = (value: number): string => value.toLocaleString("en");
    expect(output).toContain(`: ${number(count - before)} stored, ${number(before)} duplicates, 0 rejected`);
    expect(status).toBe(0);
    expect(await stored("killed")).toBe(count);
  });

  test("reports rejected rows by line, some of them on the terminal and all of them in a file", async () => {
    const bad = Array.from({ length: 10 }, (_, index) => `,7,3,${index}\n`).join("");
    const rejects = join(directory, "rejects.jsonl");
    const words = csv("-", "--source", "bad", "--show", "2", "--rejects", rejects);
    const { status, output, errors } = await insights(words, Buffer.from(`${ratings(3)}${bad}9,9,9,never\n`));
    expect(status).toBe(1);
    expect(output).toMatch(/: 14 rows: 3 stored, 0 duplicates, 11 rejected/);
    expect(errors.trim().split("\n")).toEqual([
      "line 5: no user_id",
      "line 6: no user_id",
      `and 9 more, all in ${rejects}`,
    ]);
    // The rows are data of people.
    expect((await stat(rejects)).mode & 0o777).toBe(0o600);
    const written = (await readFile(rejects, "utf8")).trim().split("\n");
    expect(written).toHaveLength(11);
    expect(JSON.parse(written[10] ?? "")).toEqual({
      line: 15,
      what: "rated_at: not a time",
      value: "never",
      hint: expect.stringContaining("--time-zone"),
    });
  });

  test.each<[string, string[], RegExp]>([
    ["a file that is not there", csv("nowhere.csv"), /cannot open nowhere\.csv/],
    ["a column that is not there", csv("-", "--item-title", "titel"), /no column "titel"[\s\S]*hint: /],
    ["a time zone that does not exist", csv("-", "--time-zone", "Europe/Belrin"), /did you mean Europe\/Berlin/],
    ["a delimiter of two characters", csv("-", "--delimiter", "||"), /one character/],
    ["a file for bad rows that cannot be written", csv("-", "--rejects", directory), /cannot write/],
  ])("%s is a clear error", async (_, words, message) => {
    const { status, errors } = await insights(words, Buffer.from(ratings(1)));
    expect(errors).toMatch(message);
    expect(errors).not.toContain("    at ");
    expect(status).toBe(1);
  });
});

describe("insights simulate", () => {
  const small = ["simulate", "--learners", "5", "--courses", "4", "--weeks", "2", "--until", "2025-03-03"];

  test("fills the database once", async () => {
    const first = await insights([...small, "--seed", "9"]);
    expect(first.output).toMatch(/5 learners, 4 courses, \d+ sessions: .* messages stored/);
    expect(first.status).toBe(0);
    const count = await stored("simulator");
    expect(count).toBeGreaterThan(0);
    const again = await insights([...small, "--seed", "9"]);
    expect(again).toMatchObject({ status: 0, output: expect.stringContaining("nothing was changed") });
    expect(await stored("simulator")).toBe(count);
    const other = await insights([...small, "--seed", "10"]);
    expect(other).toMatchObject({ status: 1, errors: expect.stringContaining("--seed 9 --until 2025-03-03") });
  });

  test.each([
    [["--learners", "many"], /--learners is many/],
    [["--weeks", "0"], /--weeks is 0/],
    [["--until", "2026-02-30"], /--until is 2026-02-30: not a day/],
    [["--until", "2999-01-01"], /is in the future/],
  ])("%j is a clear error", async (words, message) => {
    const { status, errors } = await insights(["simulate", ...words]);
    expect(errors).toMatch(message);
    expect(status).toBe(1);
  });
});
