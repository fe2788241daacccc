import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { canvasReader } from "../../src/importer/canvas.ts";
import { columnReader } from "../../src/importer/columns.ts";
import { caliperReader, xapiReader } from "../../src/importer/dialects.ts";
import { edxReader } from "../../src/importer/edx.ts";
import { importFile } from "../../src/importer/import.ts";
import { inputOf } from "../../src/importer/input.ts";
import { linesOf } from "../../src/importer/lines.ts";
import type { Message } from "../../src/importer/message.ts";
import { moodleReader } from "../../src/importer/moodle.ts";
import { ouladReader } from "../../src/importer/oulad.ts";
import type { Problem } from "../../src/importer/problem.ts";
import { segmentReader } from "../../src/importer/segment.ts";
import { sourcesOf } from "../../src/importer/sources.ts";
import type { Reader } from "../../src/importer/table.ts";

/* Each importer with the files of all others, and with files that are not logs: nothing is stored, and the reason is named. */

const directory = mkdtempSync(join(tmpdir(), "insights-foreign-"));
afterAll(() => rmSync(directory, { recursive: true }));
writeFileSync(
  join(directory, "courses.csv"),
  "code_module,code_presentation,module_presentation_length\nAAA,2013J,268\n",
);
writeFileSync(join(directory, "studentVle.csv"), "");
const [table] = (await sourcesOf(join(directory, "studentVle.csv"))) as [Awaited<ReturnType<typeof sourcesOf>>[number]];

const readers: Record<string, () => Reader | Promise<Reader>> = {
  moodle: () => moodleReader({ timeZone: "UTC", dateOrder: "dmy" }),
  edx: edxReader,
  xapi: xapiReader,
  canvas: canvasReader,
  caliper: caliperReader,
  segment: segmentReader,
  oulad: async () => (await ouladReader(table)) as Reader,
  csv: () => columnReader({ person: "student", at: "at", event: "Clicked", properties: [], timeZone: "UTC" }),
};

const context = { user_id: 7, course_id: "course-v1:a+b+c" };
const files: Record<string, string> = {
  moodle: [
    "Time,User full name,Affected user,Event context,Component,Event name,Description,Origin,IP address",
    `"31/01/24, 10:00:00",Ada,-,Course: A,System,Course viewed,The user with id '7' viewed the course with id '2'.,web,::1`,
  ].join("\n"),
  edx: JSON.stringify({ name: "play_video", context, time: "2024-01-31T10:00:00Z", event: { id: "v" } }),
  xapi: JSON.stringify({
    id: "c2d8c7b0-6d3c-4a3b-9c54-0d3a1c0b9f11",
    actor: { account: { homePage: "https://a.example", name: "7" } },
    verb: { id: "http://adlnet.gov/expapi/verbs/completed" },
    object: { id: "https://a.example/x" },
    timestamp: "2024-01-31T10:00:00Z",
  }),
  canvas: JSON.stringify({
    metadata: { event_name: "asset_accessed", event_time: "2024-01-31T10:00:00Z", user_id: "7", context_id: "1" },
    body: { asset_id: "1", asset_type: "course" },
  }),
  caliper: JSON.stringify({
    "@context": "http://purl.imsglobal.org/ctx/caliper/v1p1",
    id: "urn:uuid:ff9ec22a-fc59-4ae1-ae8d-2c9463ee2f8f",
    type: "NavigationEvent",
    actor: { id: "https://a.example/7", type: "Person" },
    action: "NavigatedTo",
    object: { id: "https://a.example/x", type: "WebPage" },
    eventTime: "2024-01-31T10:00:00.000Z",
  }),
  segment: JSON.stringify({ type: "track", event: "Clicked", userId: "7", timestamp: "2024-01-31T10:00:00Z" }),
  oulad: "code_module,code_presentation,id_student,id_site,date,sum_click\nAAA,2013J,7,1,3,4",
  csv: "student,at,page\n7,2024-01-31T10:00:00Z,x",
};

/** Files without events, and the importers that read them. */
const structures: Record<string, { of: string; content: string }> = {
  "a course of edX": {
    of: "edx",
    content: JSON.stringify({
      "block-v1:a+b+c+type@course+block@course": { category: "course", children: [], metadata: {} },
    }),
  },
  "vle.csv": { of: "oulad", content: "id_site,code_module,code_presentation,activity_type\n1,AAA,2013J,quiz" },
};

interface Outcome {
  stored: Message[];
  items: unknown[];
  problems: [number, Problem][];
  error: string | undefined;
}

async function attempt(reader: Reader, content: AsyncIterable<Uint8Array>): Promise<Outcome> {
  const outcome: Outcome = { stored: [], items: [], problems: [], error: undefined };
  try {
    await importFile(
      {
        query: (sql, values) => {
          if (sql.includes("track.import_items")) {
            const items = JSON.parse(String(values?.[0])) as unknown[];
            outcome.items.push(...items);
            return Promise.resolve({ rows: [{ inserted: items.length, updated: 0, unchanged: 0 }] });
          }
          const messages = JSON.parse(String(values?.[0])) as Message[];
          outcome.stored.push(...messages);
          return Promise.resolve({ rows: [{ accepted: messages.length, duplicates: 0, rejected: 0, errors: [] }] });
        },
      },
      {
        input: await inputOf(content, undefined, "file"),
        reader,
        source: "s",
        onRejected: (line, problem) => outcome.problems.push([line, problem]),
      },
    );
  } catch (error) {
    outcome.error = error instanceof Error ? error.message : String(error);
  }
  return outcome;
}

async function* stream(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part as string);
}

/** Whether `track.ingest` would accept it: only the reader of Segment sends what it does not know. */
const isMessage = ({ type, userId, event, timestamp }: Message): boolean =>
  userId !== undefined && timestamp !== undefined && (type === "page" || (type === "track" && event !== undefined));

describe.each(Object.keys(readers))("%s", (name) => {
  const make = async (): Promise<Reader> => (await readers[name]?.()) as Reader;

  test("its own file is read", async () => {
    const { stored, problems, error } = await attempt(await make(), stream(`${files[name]}\n`));
    expect({ problems, error }).toEqual({ problems: [], error: undefined });
    expect(stored.length).toBeGreaterThan(0);
    expect(stored.every(isMessage)).toBe(true);
  });

  test.each(Object.keys(files).filter((other) => other !== name))("the file of %s is refused", async (other) => {
    const { stored, items, problems, error } = await attempt(await make(), stream(`${files[other]}\n`));
    expect(stored.filter(isMessage)).toEqual([]);
    expect(items).toEqual([]);
    // By its columns, or line by line.
    if (name !== "segment") expect(error ?? problems[0]?.[1].what).toMatch(/\w/);
    for (const [line] of problems) expect(line).toBeGreaterThan(0);
  });

  test.each(Object.keys(structures))("%s is read or refused", async (other) => {
    const { of = "", content = "" } = structures[other] ?? {};
    const { stored, items, problems, error } = await attempt(await make(), stream(`${content}\n`));
    expect(stored.filter(isMessage)).toEqual([]);
    expect(items).toHaveLength(of === name ? 1 : 0);
    if (of !== name && name !== "segment") expect(error ?? problems[0]?.[1].what).toMatch(/\w/);
  });

  test.each<[string, (string | Uint8Array)[]]>([
    ["an empty file", []],
    ["empty lines", ["\n\n\r\n"]],
    ["a binary file", [Uint8Array.from({ length: 5_000 }, (_, index) => (index * 7919) % 256), "\n"]],
    ["null bytes", [new Uint8Array(4_096)]],
    ["a web page", ["<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"]],
    [
      "a header alone",
      [`${files[name]?.split("\n")[0]?.startsWith("{") === true ? "" : files[name]?.split("\n")[0]}\n`],
    ],
  ])("%s stores nothing", async (_, parts) => {
    const { stored, items } = await attempt(await make(), stream(...parts));
    expect({ stored, items }).toEqual({ stored: [], items: [] });
  });

  test("a line without an end is refused with its length, in bounded memory", async () => {
    const part = Buffer.alloc(1 << 18, "x");
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`${files[name]}\n`);
      for (let sent = 0; sent < 200 << 20; sent += part.length) yield part;
    }
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    async function* watched(): AsyncGenerator<Uint8Array> {
      for await (const chunk of endless()) {
        most = Math.max(most, process.memoryUsage().arrayBuffers - before);
        yield chunk;
      }
    }
    const { stored, problems } = await attempt(await make(), watched());
    expect(stored.length).toBeGreaterThan(0);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.[1].what).toMatch(/a line of 209,715,200 bytes, more than 1,048,576/);
    expect(most).toBeLessThan(64 << 20);
  });

  test("a stream that stops is an error, and the rows before it are sent", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from(`${files[name]}\n`);
      throw new Error("read ECONNRESET");
    }
    const { stored, error } = await attempt(await make(), broken());
    expect(error).toMatch(/ECONNRESET/);
    expect(stored.length).toBeGreaterThan(0);
  });
});

test("a column that occurs twice is named", async () => {
  const csv = async (header: string): Promise<string | undefined> =>
    (await attempt((await readers["csv"]?.()) as Reader, stream(`${header}\n7,7,2024-01-31\n`))).error;
  expect(await csv("student,student,at")).toBe('the file has two columns "student"');
});

test("a column of the table of Moodle that occurs twice is named", async () => {
  const header = "id,eventname,action,userid,userid,timecreated";
  const { stored, error } = await attempt(
    moodleReader({ timeZone: "UTC" }),
    stream(`${header}\n1,\\\\core\\\\event,viewed,7,8,1700000000\n`),
  );
  expect({ stored, error }).toEqual({ stored: [], error: 'the file has two columns "userid"' });
});

test("messages name the file's kind, the column and the value, shortly", async () => {
  const wrong = await attempt(moodleReader({ timeZone: "UTC" }), stream(`${files["edx"]}\n`));
  expect(wrong.error).toMatch(/^line 1 should name the columns, but it is JSON: \{"name"/);
  const table = await attempt(edxReader(), stream(`"a",b,c\n${"x".repeat(5_000)}\n{"name":\n`));
  expect(table.problems.map(([line, { what }]) => [line, what])).toEqual([
    [1, expect.stringMatching(/^not JSON: .* at column 4$/)],
    [2, expect.stringMatching(/^not JSON: /)],
    [3, expect.stringMatching(/^not JSON: /)],
  ]);
  for (const [, { what, value = "" }] of table.problems) {
    expect(value.length).toBeLessThanOrEqual(100);
    expect(what.length).toBeLessThanOrEqual(100);
  }
  const statement = await attempt(xapiReader(), stream(`${files["edx"]}\n`));
  expect(statement.problems[0]?.[1]).toMatchObject({ hint: "a statement has actor, verb and object" });
});

test("a file that is not text is refused at once; text of any script is not", async () => {
  const binary = Buffer.from(Array.from({ length: 9_000 }, (_, index) => (index * 7919) % 256));
  const refused = await attempt(edxReader(), stream(binary));
  expect(refused).toMatchObject({ stored: [], problems: [], error: "file is not text" });
  const greek = await attempt(
    (await readers["csv"]?.()) as Reader,
    stream(Buffer.from("student,at,page\n7,2024-01-31,Ωμέγα\t日本語\n", "utf16le")),
  );
  expect(greek).toMatchObject({ problems: [], error: undefined });
  expect(greek.stored).toHaveLength(1);
});

test("lines are counted as an editor counts them", async () => {
  const seen: number[] = [];
  for await (const lines of linesOf(stream("a\n\nb\r\nc"))) seen.push(...lines.map(({ number }) => number));
  expect(seen).toEqual([1, 2, 3, 4]);
});
