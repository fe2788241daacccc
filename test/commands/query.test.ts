import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { afterAll, describe, expect, inject, test } from "vitest";
import { csvField, isoTime } from "../../src/commands/query.ts";
import { openEmbedded } from "../../src/database/embedded.ts";
import { migrate } from "../../src/database/migrate.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, type Insights, insights } from "../support/insights.ts";

const database = await testDatabase();
const directory = await mkdtemp(join(tmpdir(), "insights-query-test-"));
endAtEndOfFile();
afterAll(() => rm(directory, { recursive: true, force: true }));

const call = (parameters: string[], input = "", environment: Record<string, string> = {}): Insights =>
  insights(["query", ...parameters], { DATABASE_URL: database.url(), ...environment }, input);

async function query(parameters: string[], input = ""): Promise<{ code: number | null; text: string }> {
  const running = call(parameters, input);
  return { code: await running.exitCode(), text: running.output() };
}

const values = `
  select 1 as number, -2.50 as numeric, 'NaN'::float8 as nan, true as yes, null::text as nothing, '' as empty,
    'a, "b"' as quoted, '=1+1' as formula, -1 as negative, array['x', null] as list, '{"a": [1]}'::jsonb as json,
    row(1, 'x') as composite, interval '1 day 90 seconds' as duration, timestamptz '2026-01-01 10:00:00.5+02' as at,
    timestamptz 'infinity' as never, date '2026-02-03' as day, time '10:00' as time, 'é' as letter`;

describe("functions that log which records of people they read", () => {
  test("are called by their name, and logged with the reason before the rows are printed", async () => {
    await database.query(`select track.ingest('[{"type": "page", "messageId": "read-1", "userId": "kay"}]')`);
    const read = ["track.journey", "--as", "admin", "--set", "person=kay", "--format", "json"];
    const { code, text } = await query([...read, "--reason", "Advising."]);
    expect(code).toBe(0);
    expect(JSON.parse(text)).toMatchObject([{ event: "Page Viewed" }]);
    expect(
      await database.rows("select role, function_name, reason, subject_name from privacy.disclosures('kay')"),
    ).toEqual([{ role: "admin", function_name: "track.journey", reason: "Advising.", subject_name: "kay" }]);
  });

  test("are refused within a statement, which only reads", async () => {
    const { code, text } = await query(["--as", "admin", "select * from track.journey('kay')"]);
    expect(code).toBe(1);
    expect(text).toContain("track.journey logs what it reads, and the transaction is read-only");
    const writes = await query(["--as", "admin", "delete from analytics.saved_query returning 1 as deleted"]);
    expect(writes.code).toBe(1);
  });

  test("an unknown name, and a function that is not for the role, are refused as before", async () => {
    for (const parameters of [["track.jorney", "--as", "admin"], ["track.journey"]])
      expect((await query([...parameters, "--set", "person=kay"])).code).toBe(1);
  });
});

describe("formats", () => {
  test("CSV", async () => {
    const { code, text } = await query(["--format", "csv", values]);
    expect(code).toBe(0);
    expect(text.split("\n")).toEqual([
      "number,numeric,nan,yes,nothing,empty,quoted,formula,negative,list,json,composite,duration,at,never,day,time,letter",
      `1,-2.50,NaN,true,,"","a, ""b""",'=1+1,-1,"[""x"", null]","{""a"": [1]}","{""f1"": 1, ""f2"": ""x""}",` +
        "P1DT1M30S,2026-01-01T08:00:00.5Z,infinity,2026-02-03,10:00:00,é",
      "",
    ]);
    expect((await query(["--format", "csv", "--raw", "select '=1' as \"+a\""])).text).toBe("+a\n=1\n");
    expect((await query(["--format", "csv", "select '=1' as \"+a\""])).text).toBe("'+a\n'=1\n");
    expect((await query(["--format", "csv", "select 1 as a where false"])).text).toBe("a\n");
  });

  test("JSON, one row per line", async () => {
    const { text } = await query(["--format", "json", `${values} union all ${values};`]);
    const row = {
      number: 1,
      numeric: -2.5,
      nan: "NaN",
      yes: true,
      nothing: null,
      empty: "",
      quoted: 'a, "b"',
      formula: "=1+1",
      negative: -1,
      list: ["x", null],
      json: { a: [1] },
      composite: { f1: 1, f2: "x" },
      duration: "P1DT1M30S",
      at: "2026-01-01T08:00:00.5Z",
      never: "infinity",
      day: "2026-02-03",
      time: "10:00:00",
      letter: "é",
    };
    expect(JSON.parse(text)).toEqual([row, row]);
    expect(text.trim().split("\n")).toHaveLength(4);
    expect((await query(["--format", "json", "select 1 as a where false"])).text).toBe("[]\n");
  });

  test("a table has at most 1,000 rows", async () => {
    const { text } = await query(["select n, 'é' as letter from generate_series(1, 2) as n"]);
    expect(text).toMatch(/│ n │ letter │/);
    expect(text).toMatch(/│ 2 │ é +│\n.*\n2 rows\n$/);
    const { text: long } = await query(["select n from generate_series(1, 1001) as n"]);
    expect(long).toMatch(/│ 1000 │\n.*\n1000 rows\nThere are more: --format csv or json prints all.\n$/);
    expect((await query(["select n from generate_series(1, 1000) as n"])).text).toMatch(/\n1000 rows\n$/);
  });

  test("rows keep their order, and columns may have the same name or none", async () => {
    const { text } = await query([
      "--format",
      "csv",
      "select n as a, n * 2 as a, 'x' from generate_series(1, 2500) as n order by n desc -- all",
    ]);
    const lines = text.trim().split("\n");
    expect(lines[0]).toBe("a,a,?column?");
    expect(lines.slice(1)).toEqual(Array.from({ length: 2500 }, (_, n) => `${2500 - n},${5000 - 2 * n},x`));
  });

  test("other statements that return rows", async () => {
    for (const text of ["values (1)", "with a as (select 1 as one) select * from a", "-- a comment\n(select 1)"]) {
      expect((await query(["--format", "csv", "-"], text)).text, text).toMatch(/^[\w?]+\n1\n$/);
    }
  });
});

test("a CSV file is read back as it was, for any text", () => {
  const field = fc.option(fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", "")));
  fc.assert(
    fc.property(fc.array(fc.tuple(field, field), { minLength: 1 }), (rows) => {
      const file = rows.map((row) => `${row.map((value) => csvField(value, false)).join(",")}\n`).join("");
      const read = parse(file, { cast: (value, { quoting }) => (value === "" && !quoting ? null : value) });
      expect(read).toEqual(rows);
    }),
  );
});

test.each(["=a", "+a", "-a", "@a", "\ta", "\ra", "\na", "＝a", "－a"])("%j does not begin a formula", (text) => {
  expect(parse(csvField(text, true))).toEqual([[`'${text}`]]);
  expect(parse(csvField(text, false))).toEqual([[text]]);
});

test("years beyond four digits are those of ISO 8601", () => {
  expect(isoTime("0044-03-15 12:00:00+00 BC")).toBe("-000043-03-15T12:00:00Z");
  expect(isoTime("0001-01-01 BC")).toBe("0000-01-01");
  expect(isoTime("12026-01-01 00:00:00")).toBe("+012026-01-01T00:00:00");
  expect(isoTime("-infinity")).toBe("-infinity");
});

describe("who runs it, and what it may do", () => {
  test("an analyst, unless told otherwise", async () => {
    const who = "select current_user as role, current_setting('insights.person', true) as person";
    expect((await query(["--format", "csv", who])).text).toBe('role,person\ninsights_analyst,""\n');
    expect((await query(["--format", "csv", "--as", "admin", who])).text).toBe('role,person\ninsights_admin,""\n');
    const refused = await query(["table track.event"]);
    expect(refused.code).toBe(1);
    expect(refused.text).toMatch(/^error: permission denied for table event \[42501\]\nhint: --as admin/);
    expect((await query(["--as", "admin", "table track.event"])).code).toBe(0);
  });

  test("a learner sees her own rows", async () => {
    for (const person of ["ada", "ben"]) {
      await database.query("select track.ingest($1)", [
        JSON.stringify([{ type: "track", event: "Task Submitted", messageId: person, userId: person }]),
      ]);
    }
    const own = await query([
      "--format",
      "csv",
      "--as",
      "learner",
      "--person",
      "ada",
      "select count(*) from track.event",
    ]);
    expect(own.text).toBe("count\n1\n");
  });

  test("a login that is an analyst only, such as that of a BI tool, runs no query as another role", async ({
    skip,
  }) => {
    if (!database.native) skip("the embedded database has one login");
    const login = `query_${process.pid}`;
    await database.query(`create role ${login} login in role insights_analyst`);
    try {
      const url = new URL(database.url());
      url.username = login;
      const as = async (...parameters: string[]) => {
        const running = call(["--format", "csv", ...parameters], "", { DATABASE_URL: url.href });
        return { code: await running.exitCode(), text: running.output() };
      };
      expect(await as("select common.author() as author, current_user")).toEqual({
        code: 0,
        text: `author,current_user\n${login},insights_analyst\n`,
      });
      const denied = await as("--as", "admin", "table track.event");
      expect(denied.code).toBe(1);
      expect(denied.text).toMatch(/^error: permission denied to set role "insights_admin" \[42501\]\nhint: --as/);
    } finally {
      await database.query(`drop role ${login}`);
    }
  });

  test.each([
    [
      "a write in a function",
      "select track.ingest('[]')",
      ["--as", "worker"],
      /\[25006\]\nhint: insights query only reads/,
    ],
    [
      "a write in a CTE",
      "with a as (delete from track.event returning *) select * from a",
      ["--as", "admin"],
      /WITH clause/,
    ],
    ["another statement", "delete from track.event", ["--as", "admin"], /\[42601\]\nhint: Give one statement/],
    ["two statements", "select 1; delete from track.event", ["--as", "admin"], /\[42601\]\nhint: Give one statement/],
    [
      "a parenthesis that closes another",
      "select 1) as a; commit; delete from track.event; --",
      ["--as", "admin"],
      /\[42601\]/,
    ],
    ["no column", "select", [], /\[CF002\]|no columns/],
    [
      "an error of a row",
      "select 1 / (2 - n) from generate_series(1, 3) as n",
      [],
      /^.*error: division by zero \[22012\]\n$/s,
    ],
  ])("%s is refused", async (_what, text, options, pattern) => {
    const answer = await query(["--format", "csv", ...options, text]);
    expect(answer.text).toMatch(pattern);
    expect(answer.code).toBe(1);
    expect(await database.value("select count(*)::int > 0 from track.event")).toBe(true);
  });

  test("wrong usage exits with 2", async () => {
    for (const parameters of [
      [],
      ["--list", "select 1"],
      ["--set", "a=1", "select 1"],
      ["--set", "a", "popular-courses"],
      ["--format", "xml", "select 1"],
      ["--as", "postgres", "select 1"],
    ]) {
      expect((await query(parameters)).code, parameters.join(" ")).toBe(2);
    }
  });
});

describe("saved queries and functions", () => {
  test("by name, with arguments", async () => {
    await database.query("select analytics.annotate('Term', '2026-02-01Z', '2026-06-01Z', 'term')");
    await database.query("select analytics.annotate('Release', '2025-02-01Z')");
    await database.query(
      "select analytics.save_query('marks', 'analytics.annotations', '{\"since\": \"2026-01-01\"}')",
    );
    const titles = async (...parameters: string[]) =>
      (parse((await query(["--format", "csv", ...parameters])).text, { columns: true }) as { title: string }[]).map(
        ({ title }) => title,
      );
    expect(await titles("marks")).toEqual(["Term"]);
    expect(await titles("marks", "--set", "since=2025-01-01")).toEqual(["Release", "Term"]);
    expect(await titles("marks", "--set", "since=2025-01-01", "--set", "until=2026-01-01")).toEqual(["Release"]);
    expect(await titles("analytics.annotations", "--set", "until=-P1D", "--set", "since=2000-01-01")).toContain(
      "Release",
    );
    expect((await query(["--list"])).text).toMatch(/│ marks +│ analytics\.annotations +│/);
  });

  test("errors have the nearest name", async () => {
    const unknown = await query(["popular-corses"]);
    expect(unknown).toEqual({
      code: 1,
      text: 'error: there is no saved query "popular-corses" [CF002]\nhint: The nearest name is "popular-courses".\n',
    });
    const { text } = await query(["popular-courses", "--set", "top=all"]);
    expect(text).toBe(
      'error: top of analytics.popular_courses is "all" [CF001]\nhint: Give a value of the type integer.\n',
    );
  });
});

describe("output", () => {
  test("a file is complete when it has its name", async () => {
    const file = join(directory, "rows.csv");
    const done = await query(["--format", "csv", "--output", file, "select n from generate_series(1, 3) as n"]);
    expect(done).toEqual({ code: 0, text: `3 rows in ${file}\n` });
    expect(await readFile(file, "utf8")).toBe("n\n1\n2\n3\n");
    // The second thousand of rows fails.
    const failed = await query([
      "--format",
      "csv",
      "--output",
      file,
      "select 1 / (1500 - n) from generate_series(1, 3000) as n",
    ]);
    expect(failed.code).toBe(1);
    expect(await readFile(file, "utf8")).toBe("n\n1\n2\n3\n");
    expect(await readdir(directory)).toEqual(["rows.csv"]);
    const nowhere = await query(["--output", join(directory, "none", "rows.csv"), "select 1"]);
    expect(nowhere.text).toMatch(/^error: cannot write .*rows\.csv \(ENOENT\)\nhint: /);
    expect((await query(["--output", directory, "select 1"])).text).toMatch(
      /^error: cannot write .* \(EISDIR\)\nhint: /,
    );
  });

  test("a device is written to", async () => {
    await writeFile(join(directory, "other"), "");
    expect(await query(["--format", "csv", "--output", "/dev/null", "select 1"])).toEqual({
      code: 0,
      text: "1 row in /dev/null\n",
    });
  });

  test("many rows need little memory", async () => {
    const running = call(
      ["--format", "csv", "select n, repeat('x', 500) as text from generate_series(1, 200000) as n"],
      "",
      { NODE_OPTIONS: "--max-old-space-size=64" },
    );
    let bytes = 0;
    running.child.stdout?.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    expect(await running.exitCode()).toBe(0);
    expect(bytes).toBeGreaterThan(200_000 * 500);
  });

  test("a reader that closes the pipe ends it", async () => {
    const running = call(["--format", "csv", "select n from generate_series(1, 1000000) as n"]);
    await once(running.child.stdout as NodeJS.ReadableStream, "data");
    running.child.stdout?.destroy();
    expect(await running.exitCode()).toBe(0);
    expect(running.output()).not.toMatch(/error/i);
  });

  test("Ctrl-C cancels the statement, and leaves no file", async ({ skip }) => {
    if (!database.native) skip("the embedded database cannot cancel a statement");
    const file = join(directory, "cancelled.csv");
    const running = call(["--output", file, "select pg_sleep(600)"]);
    const sleeping =
      "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    await expect.poll(() => database.value(sleeping), { timeout: 30_000 }).toBe(1);
    running.child.kill("SIGINT");
    expect(await running.exitCode()).toBe(130);
    expect(running.output()).toBe("cancelled\n");
    await expect.poll(() => database.value(sleeping), { timeout: 30_000 }).toBe(0);
    expect((await readdir(directory)).filter((name) => name.includes("cancelled"))).toEqual([]);
  });
});

describe.skipIf(inject("server").kind === "native")("on the embedded database", () => {
  test("while it is open in another process, whose session a paused reader does not keep", async () => {
    const dataDirectory = join(directory, "embedded");
    const embedded = await openEmbedded({
      dataDirectory,
      command: "test",
      onFailure: (error) => {
        throw error;
      },
    });
    try {
      await migrate(embedded.migrationUrl);
      const ask = (...parameters: string[]) => insights(["query", ...parameters], { INSIGHTS_DATA_DIR: dataDirectory });
      for (const format of ["csv", "table"]) {
        const paused = ask(
          "--format",
          format,
          "select n, repeat('x', 100) as text from generate_series(1, 20000) as n",
        );
        await once(paused.child.stdout as NodeJS.ReadableStream, "data");
        paused.child.stdout?.pause();
        const other = ask("--format", "csv", "select current_user");
        expect(await other.exitCode()).toBe(0);
        expect(other.output()).toBe("current_user\ninsights_analyst\n");
        paused.child.stdout?.resume();
        expect(await paused.exitCode()).toBe(0);
        expect(paused.printed().match(/x{100}/g)).toHaveLength(format === "csv" ? 20_000 : 1000);
      }
    } finally {
      await embedded.close();
    }
  });
});
