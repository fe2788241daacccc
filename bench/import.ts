/*
 * Files of real platforms through their importers, and a second time with nothing to do; then the cost of reading alone,
 * without a database, of rows that are generated in the form of each system. Needs ../shared/data for the first part.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/import.ts [--rows 1000000] [--only moodle,csv] [--remove 500000]
 *
 * Without DATABASE_URL it runs on the embedded database. Each format is read by a process of its own: its processor time,
 * and the most memory that it had. With --remove, an import of as many rows is removed instead, beside one that stays:
 * the time of each part in that of storing as many rows.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { canvasReader } from "../src/importer/canvas.ts";
import { columnReader } from "../src/importer/columns.ts";
import { caliperReader, xapiReader } from "../src/importer/dialects.ts";
import { edxReader } from "../src/importer/edx.ts";
import { boundMemory, importFile, type Summary } from "../src/importer/import.ts";
import { inputOf } from "../src/importer/input.ts";
import { moodleReader } from "../src/importer/moodle.ts";
import { ouladReader } from "../src/importer/oulad.ts";
import { segmentReader } from "../src/importer/segment.ts";
import { type Source, sourcesOf } from "../src/importer/sources.ts";
import type { Reader } from "../src/importer/table.ts";
import { type BenchDatabase, benchDatabase } from "./database.ts";

const data = fileURLToPath(new URL("../../shared/data/", import.meta.url));
const count = (value: number): string => value.toLocaleString("en");

type Make = (source: Source) => Reader | Promise<Reader | undefined>;

/** Real files: the importer, the file, and its reader. */
const real: [string, string, Make][] = [
  ["moodle", "moodle_la_course/events.csv.gz", () => moodleReader({ timeZone: "Europe/Helsinki" })],
  [
    "csv",
    "kddcup2015_xuetangx/raw_events_sample.csv.gz",
    () =>
      columnReader({
        person: "enrollment_id",
        at: "time",
        eventColumn: "event",
        item: "object",
        properties: ["source"],
        timeZone: "Asia/Shanghai",
      }),
  ],
  ["oulad", "oulad/student_vle_sample_10k.csv.gz", ouladReader],
  ["oulad", "oulad/student_registration.csv.gz", ouladReader],
  ["oulad", "oulad/student_info.csv.gz", ouladReader],
  ["oulad", "oulad/student_assessment.csv.gz", ouladReader],
];

const nothing: Parameters<typeof importFile>[0] = {
  query: (_sql, values) => {
    const accepted = (JSON.parse(String(values?.[0])) as unknown[]).length;
    const [inserted, updated, unchanged] = [accepted, 0, 0];
    return Promise.resolve({
      rows: [{ accepted, duplicates: 0, rejected: 0, errors: [], inserted, updated, unchanged }],
    });
  },
};

async function importReal(client: Parameters<typeof importFile>[0], name: string, path: string, make: Make) {
  const [source] = await sourcesOf(join(data, path));
  const reader = source === undefined ? undefined : await make(source);
  if (source === undefined || reader === undefined) throw new Error(path);
  const input = await source.open();
  const started = performance.now();
  const summary: Summary = await importFile(client, { input, reader, source: name });
  const seconds = (performance.now() - started) / 1_000;
  const { total, accepted, duplicates, leftOut, rejected, reasons } = summary;
  console.log(
    `${name.padEnd(8)} ${path.padEnd(46)} ${[total, accepted, duplicates, leftOut, rejected]
      .map((each) => count(each).padStart(9))
      .join("")} ${count(Math.round(total / seconds)).padStart(9)}/s`,
  );
  for (const [what, reason] of reasons) console.log(`           ${count(reason.count).padStart(9)} ${what}`);
}

/** One row of a system; numbers that differ make ids, people and items. */
const generated: Record<string, { make: Make; header?: string; row: (index: number) => string }> = {
  moodle: {
    make: () => moodleReader({ timeZone: "Europe/Rome", dateOrder: "dmy" }),
    header: "Time,User full name,Affected user,Event context,Component,Event name,Description,Origin,IP address",
    row: (index) =>
      `"${1 + (index % 28)}/0${1 + (index % 9)}/24, 1${index % 10}:${10 + (index % 50)}:${10 + (index % 47)}",Ada ${index % 5_000},-,Course: C${index % 90},System,Course viewed,"The user with id '${index % 5_000}' viewed the course with id '${index % 90}'.",web,10.0.${index % 200}.1`,
  },
  edx: {
    make: edxReader,
    row: (index) =>
      `{"name":"play_video","context":{"user_id":${index % 5_000},"course_id":"course-v1:a+b+c"},"time":"${timeOf(index)}","event":{"id":"v${index % 300}","currentTime":${index % 600}}}`,
  },
  xapi: {
    make: xapiReader,
    row: (index) =>
      `{"actor":{"account":{"homePage":"https://a.example","name":"${index % 5_000}"}},"verb":{"id":"http://adlnet.gov/expapi/verbs/completed"},"object":{"id":"https://a.example/x/${index % 300}"},"timestamp":"${timeOf(index)}"}`,
  },
  canvas: {
    make: canvasReader,
    row: (index) =>
      `{"metadata":{"event_name":"asset_accessed","event_time":"${timeOf(index)}","user_id":"${index % 5_000}","context_id":"1"},"body":{"asset_id":"${index % 300}","asset_type":"course"}}`,
  },
  "page views of canvas": {
    make: canvasReader,
    header:
      "request_id,user_id,url,context_id,context_type,controller,action,interaction_seconds,created_at,http_method",
    row: (index) =>
      `3e246700-e305-0130-51de-${String(index).padStart(12, "0")},${index % 5_000},https://a.example/courses/${index % 90}/assignments/${index % 300},${index % 90},Course,assignments,show,5.0,${timeOf(index)},GET`,
  },
  caliper: {
    make: caliperReader,
    row: (index) =>
      `{"@context":"http://purl.imsglobal.org/ctx/caliper/v1p1","id":"urn:uuid:ff9ec22a-fc59-4ae1-ae8d-${String(index).padStart(12, "0")}","type":"NavigationEvent","actor":{"id":"https://a.example/${index % 5_000}","type":"Person"},"action":"NavigatedTo","object":{"id":"https://a.example/x/${index % 300}","type":"WebPage"},"eventTime":"${timeOf(index)}"}`,
  },
  segment: {
    make: segmentReader,
    row: (index) =>
      `{"type":"track","event":"Clicked","userId":"${index % 5_000}","timestamp":"${timeOf(index)}","properties":{"item":"i${index % 300}"}}`,
  },
  csv: {
    make: () =>
      columnReader({ person: "student", at: "at", event: "Clicked", item: "page", properties: [], timeZone: "UTC" }),
    header: "student,at,page",
    row: (index) => `${index % 5_000},${timeOf(index)},p${index % 300}`,
  },
  oulad: {
    make: ouladReader,
    header: "code_module,code_presentation,id_student,id_site,date,sum_click",
    row: (index) => `AAA,2013J,${index % 5_000},${index % 300},${index % 260},${index % 9}`,
  },
};

/** Rows of 20,000 people over two years, then their removal in the steps of the command. */
async function removeOne({ client }: BenchDatabase, rows: number): Promise<void> {
  const part = rows / 5;
  async function* content(from: number, until: number): AsyncGenerator<Uint8Array> {
    yield Buffer.from("student,at,page\n");
    for (let index = from; index < until; index += 1_000) {
      const lines = Array.from({ length: Math.min(1_000, until - index) }, (_, offset) => {
        const row = index + offset;
        return `${(row * 7_919) % 20_000},${new Date(1_700_000_000_000 + row * 120_000).toISOString()},p${row % 300}`;
      });
      yield Buffer.from(`${lines.join("\n")}\n`);
    }
  }
  const store = async (source: string, from: number, until: number): Promise<number> => {
    const reader = columnReader({
      person: "student",
      at: "at",
      event: "Clicked",
      item: "page",
      properties: [],
      timeZone: "UTC",
    });
    const started = performance.now();
    await importFile(client, { input: await inputOf(content(from, until), undefined, "rows"), reader, source });
    return performance.now() - started;
  };
  const memory = async (): Promise<number> => {
    const { rows: found } = await client.query("select pg_backend_pid() as pid");
    const status = await readFile(`/proc/${found[0].pid}/status`, "utf8").catch(() => "");
    return Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) / 1024);
  };
  await store("kept", 0, part);
  let stored = 0;
  for (let from = 0; from < rows; from += part) stored += await store("wrong", from, from + part);
  console.log(`${count(rows)} rows stored; the session has used ${count(await memory())} MB at most`);
  let done = 0;
  let next = part;
  let steps = 0;
  let longest = 0;
  const started = performance.now();
  let before = started;
  for (;;) {
    const stepped = performance.now();
    const { rows: found } = await client.query("select * from track.forget_import('wrong')");
    longest = Math.max(longest, performance.now() - stepped);
    steps += 1;
    done = Number(found[0].event_count);
    if (done >= next || found[0].completed_at !== null) {
      const now = performance.now();
      const name = found[0].completed_at === null ? `events up to ${count(done)}` : "items and the rest";
      console.log(
        `${name.padEnd(24)} ${((now - before) / (stored / 5)).toFixed(2)} times the time of storing ${count(part)}`,
      );
      [before, next] = [now, next + part];
    }
    if (found[0].completed_at !== null) break;
  }
  const all = performance.now() - started;
  console.log(
    `removed in ${(all / stored).toFixed(2)} times the time of storing, ${steps} steps, the longest ${((longest / all) * 100).toFixed(1)} % of it; the session has used ${count(await memory())} MB at most`,
  );
}

const timeOf = (index: number): string => new Date(1_700_000_000_000 + index * 1_000).toISOString();

/** In a process of its own: rows per second of processor time, and the largest resident set. */
async function readOne(format: string, rows: number): Promise<void> {
  boundMemory();
  const one = generated[format];
  if (one === undefined) throw new Error(`there is no format ${format}`);
  const directory = mkdtempSync(join(tmpdir(), "insights-bench-"));
  try {
    const path = join(directory, "studentVle.csv");
    writeFileSync(path, "");
    const [source] = await sourcesOf(path);
    const reader = source === undefined ? undefined : await one.make(source);
    if (reader === undefined) throw new Error(format);
    const base = process.cpuUsage();
    let making = 0;
    async function* content(): AsyncGenerator<Uint8Array> {
      if (one?.header !== undefined) yield Buffer.from(`${one.header}\n`);
      for (let index = 0; index < rows; index += 2_000) {
        const before = process.cpuUsage();
        const lines = Array.from({ length: Math.min(2_000, rows - index) }, (_, offset) => one?.row(index + offset));
        const chunk = Buffer.from(`${lines.join("\n")}\n`);
        making += process.cpuUsage(before).user;
        yield chunk;
      }
    }
    const { accepted } = await importFile(nothing, {
      input: await inputOf(content(), undefined, "generated"),
      reader,
      source: format,
    });
    const { user, system } = process.cpuUsage(base);
    const seconds = (user + system - making) / 1e6;
    const memory = Math.round(process.resourceUsage().maxRSS / 1024);
    console.log(
      `${format.padEnd(8)} ${count(rows).padStart(10)} rows ${count(accepted).padStart(10)} sent ${count(
        Math.round(rows / seconds),
      ).padStart(9)} rows/s of processor time ${count(memory).padStart(5)} MB`,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    only: { type: "string" },
    read: { type: "string" },
    remove: { type: "string" },
  },
});
if (values.read !== undefined) {
  await readOne(values.read, Number(values.rows));
} else if (values.remove !== undefined) {
  const database = await benchDatabase();
  console.log(database.name);
  await removeOne(database, Number(values.remove));
  await database.close();
} else {
  const only = values.only?.split(",");
  const { client, name, close } = await benchDatabase();
  console.log(name);
  console.log(`${"importer".padEnd(55)}      rows   stored duplicate left out rejected`);
  for (const [importer, path, make] of real) {
    if (only !== undefined && !only.includes(importer)) continue;
    await importReal(client, importer, path, make);
    await importReal(client, importer, path, make);
  }
  await close();
  console.log("\nreading alone, a process per format");
  for (const format of Object.keys(generated)) {
    if (only !== undefined && !only.includes(format)) continue;
    process.stdout.write(
      execFileSync(process.execPath, [import.meta.filename, "--read", format, "--rows", values.rows]),
    );
  }
}
