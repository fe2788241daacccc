import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { zip } from "../support/zip.ts";

const database = await testDatabase();
const root = fileURLToPath(new URL("../..", import.meta.url));
const directory = await mkdtemp(join(tmpdir(), "insights-import-"));
afterAll(() => rm(directory, { recursive: true }));

// The commands alone, so that the test does not depend on others.
const PROGRAM = `
  import { Command } from "commander";
  import forgetCommand from "./src/commands/forget-import.ts";
  import importCommand from "./src/commands/import.ts";
  import simulateCommand from "./src/commands/simulate.ts";
  import { describeError } from "./src/errors.ts";
  const program = new Command();
  program.addCommand(forgetCommand.name("forget-import")).addCommand(importCommand.name("import")).addCommand(simulateCommand.name("simulate"));
  await program.parseAsync(["node", "insights", ...process.argv.slice(1)]).catch((error) => {
    console.error(describeError(error));
    process.exitCode = 1;
  });
`;

function start(words: string[], url = database.url()): ChildProcess {
  return spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM, "--", ...words], {
    cwd: root,
    env: { ...process.env, DATABASE_URL: url },
  });
}

async function insights(
  words: string[],
  input?: Uint8Array,
  child = start(words),
): Promise<{ status: number; output: string; errors: string }> {
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

const csv = (...more: string[]): string[] => [
  "import",
  "csv",
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
    const child = start(words);
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

  test.runIf(database.native)(
    "a server that stops in the middle: the error states how far it came, and the second run stores the others",
    async () => {
      const server = new URL(database.url());
      const sockets = new Set<Socket>();
      // The server of the command, which ends all connections, and then refuses new ones.
      const proxy = createServer((socket) => {
        const far = connect(Number(server.port || 5432), server.hostname);
        for (const [one, other] of [
          [socket, far],
          [far, socket],
        ] as const) {
          sockets.add(one);
          one.pipe(other);
          one.on("error", () => other.destroy()).on("close", () => other.destroy());
        }
      });
      await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
      const url = new URL(server);
      url.hostname = "127.0.0.1";
      url.port = String((proxy.address() as AddressInfo).port);
      const rows = 30_000;
      const words = csv(await file("restarted.csv", ratings(rows)), "--source", "restarted");
      const run = insights(words, undefined, start(words, url.href));
      await expect.poll(() => stored("restarted"), { timeout: 240_000, interval: 20 }).toBeGreaterThan(2_000);
      proxy.close();
      for (const socket of sockets) socket.destroy();
      const { status, errors } = await run;
      expect(status).toBe(1);
      const [, line = "", before = ""] =
        /the connection to the database was lost after line ([\d,]+): [\s\S]*hint: ([\d,]+) rows are stored/.exec(
          errors,
        ) ?? [];
      expect(errors).not.toContain("    at ");
      const number = (text: string): number => Number(text.replaceAll(",", ""));
      expect(number(before)).toBeGreaterThan(0);
      expect(number(line)).toBe(number(before) + 1);
      // The batch whose answer was lost is stored, or not, as a whole.
      await expect.poll(() => stored("restarted").then((count) => count % 1_000), { timeout: 60_000 }).toBe(0);
      const { output } = await insights(words);
      const [, added = "", known = ""] = /: ([\d,]+) stored, ([\d,]+) duplicates, 0 rejected/.exec(output) ?? [];
      expect(number(added) + number(known)).toBe(rows);
      expect(number(known) - number(before)).toBeGreaterThanOrEqual(0);
      expect(number(known) - number(before)).toBeLessThanOrEqual(2_000);
      expect(await stored("restarted")).toBe(rows);
    },
  );

  test("forget-import that is killed, or loses its connection, is completed by running it again", async () => {
    // Embedded, where sessions cannot be ended, the process alone is.
    const rows = database.native ? 40_000 : 24_000;
    const words = csv(await file("half.csv", ratings(rows)), "--source", "half");
    await insights(words);
    const deleted = (): Promise<number> =>
      database.value<number>(
        "select coalesce(max(event_count), 0)::int from track.forgotten_import where name = 'half'",
      );
    const first = start(["forget-import", "half"]);
    const closed = once(first, "close");
    await expect.poll(deleted, { timeout: 240_000, interval: 20 }).toBeGreaterThan(0);
    first.kill("SIGKILL");
    await closed;
    if (database.native) {
      const second = insights(["forget-import", "half"]);
      const before = await deleted();
      await expect.poll(deleted, { timeout: 240_000, interval: 20 }).toBeGreaterThan(before);
      await database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'canvas-flow-insights'`,
      );
      const { status, errors } = await second;
      // A command that was about to end has succeeded.
      if (status !== 0)
        expect(errors).toMatch(/connection to the database was lost after [\d,]+ events[\s\S]*hint: Run/);
    }
    const { output, status } = await insights(["forget-import", "half"]);
    expect(output).toMatch(new RegExp(`${rows.toLocaleString("en")} events deleted`));
    expect(status).toBe(0);
    expect(
      await database.value(
        "select count(*)::int from track.event join track.source using (source_id) where name like 'half%'",
      ),
    ).toBe(0);
    // The file can be stored again.
    expect((await insights(words)).output).toContain(`${rows.toLocaleString("en")} stored, 0 duplicates`);
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

  test("several files, plain, packed and in an archive, are reported one by one and in sum", async () => {
    const plain = await file("one.csv", ratings(300));
    const packed = await file("two.csv", gzipSync(ratings(500)));
    const archive = await file(
      "three.zip",
      zip([
        { name: "a.csv", content: `${ratings(600)},1,1,1\n` },
        { name: "b.csv", content: ratings(700) },
      ]),
    );
    const words = csv(plain, packed, archive, "-", "--source", "several");
    const { output, errors, status } = await insights(words, Buffer.from(ratings(800)));
    expect(output).toMatch(/one\.csv: 300 rows: 300 stored, 0 duplicates/);
    expect(output).toMatch(/two\.csv: 500 rows: 200 stored, 300 duplicates/);
    expect(output).toMatch(/three\.zip: a\.csv: 601 rows: 100 stored, 500 duplicates, 1 rejected/);
    expect(output).toMatch(/three\.zip: b\.csv: 700 rows: 100 stored, 600 duplicates, 0 rejected/);
    expect(output).toMatch(/standard input: 800 rows: 100 stored, 700 duplicates/);
    expect(output).toMatch(/^5 files: 2,901 rows: 800 stored, 2,100 duplicates, 1 rejected$/m);
    expect(errors).toMatch(/three\.zip: a\.csv, line 602: no user_id/);
    expect(status).toBe(1);
    expect(await stored("several")).toBe(800);
  });

  test("nothing is stored when one of several files is damaged", async () => {
    const good = await file("good.csv", ratings(10));
    const bad = await file("bad.zip", zip([{ name: "a.csv", content: ratings(600), crc: 1 }]));
    const { errors, status } = await insights(csv(good, bad, "--source", "none"));
    expect(errors).toMatch(/bad\.zip is truncated or damaged[\s\S]*nothing of it is stored/);
    expect(status).toBe(1);
    expect(await stored("none")).toBe(0);
  });

  test("a wrong import is replaced by one with a better mapping", async () => {
    const path = await file("mapped.csv", ratings(30));
    const wrong = [...csv(path, "--source", "mapped", "--item-kind", "video"), "--property", "item_number=movie_id"];
    expect(await insights(wrong)).toMatchObject({ status: 0 });
    const { output, status } = await insights(csv(path, "--source", "mapped", "--replace", "--property", "rating"));
    expect(output).toMatch(/Removing mapped: 30 events deleted/);
    expect(output).toMatch(/mapped\.csv: 30 rows: 30 stored, 0 duplicates/);
    expect(status).toBe(0);
    expect(await stored("mapped")).toBe(30);
    expect(
      await database.value(
        `select count(*)::int from track.event
         where source_id = (select source_id from track.source where name = 'mapped') and properties ? 'rating'`,
      ),
    ).toBe(30);
    // A source that is new has nothing to replace.
    expect(await insights(csv(path, "--source", "first", "--replace"))).toMatchObject({ status: 0 });
    expect(await stored("first")).toBe(30);
  });

  test("the source of an application is not imported into", async () => {
    await database.query("select track.create_write_key('campus of an application', 'server')");
    const path = await file("campus.csv", ratings(10));
    const { status, errors } = await insights(csv(path, "--source", "campus of an application"));
    expect(errors).toMatch(/is that of an application[\s\S]*hint: Name the import otherwise/);
    expect(status).toBe(1);
    expect(await stored("campus of an application")).toBe(0);
  });

  test("two imports of the same file at once store each row once", async () => {
    const words = csv(await file("both.csv", ratings(4_000)), "--source", "both");
    const [one, other] = await Promise.all([insights(words), insights(words)]);
    const count = (output: string): number => Number(/: ([\d,]+) stored/.exec(output)?.[1]?.replaceAll(",", ""));
    expect([one.status, other.status]).toEqual([0, 0]);
    expect(count(one.output) + count(other.output)).toBe(4_000);
    expect(await stored("both")).toBe(4_000);
  });

  test("of several files, the one with the error is named", async () => {
    const [good, bad] = [await file("good.csv", ratings(10)), await file("bad.csv", "user_id,user_id\n1,2\n")];
    const { errors } = await insights(csv(good, bad, "--source", "named"));
    expect(errors).toMatch(/^error: bad\.csv: the file has /m);
  });

  test("forget-import counts what it would delete, and deletes it", async () => {
    const path = await file("removed.csv", ratings(1_500));
    await insights(csv(path, "--source", "gone"));
    const dry = await insights(["forget-import", "gone", "--dry-run"]);
    expect(dry.output).toMatch(/gone: 1,500 events, from 1997-12-04 to 1997-12-04\n {2}of 500 people, \d+ of them/);
    expect(dry.output).toMatch(/nothing is deleted/);
    expect(await stored("gone")).toBe(1_500);
    const { output } = await insights(["forget-import", "gone"]);
    expect(output).toMatch(/Removing gone: 1,500 events deleted, with \d+ people, \d+ items/);
    expect(await stored("gone")).toBe(0);
    expect((await insights(["forget-import", "gone"])).output).toMatch(/was removed at 2\d+-.*: 1,500 events deleted/);
    expect(await insights(["forget-import", "gon"])).toMatchObject({
      status: 1,
      errors: expect.stringMatching(/there is no import "gon"/),
    });
  });

  test.each<[string, string[], RegExp]>([
    ["a file that is not there", csv("nowhere.csv"), /cannot open nowhere\.csv/],
    ["a column that is not there", csv("-", "--item-title", "titel"), /no column "titel"[\s\S]*hint: /],
    ["a time zone that does not exist", csv("-", "--time-zone", "Europe/Belrin"), /did you mean Europe\/Berlin/],
    ["a delimiter of two characters", csv("-", "--delimiter", "||"), /one character/],
    ["a source without a name", csv("-", "--source", " "), /1 to 100 characters/],
    ["a source with a long name", csv("-", "--source", "x".repeat(101)), /1 to 100 characters/],
    ["the source of messages without one", csv("-", "--source", "default"), /cannot be removed/],
    ["a directory", csv(directory), /is a directory/],
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
