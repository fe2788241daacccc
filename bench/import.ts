/*
 * Files of real platforms through their importers, and a second time with nothing to do; then the cost of reading alone,
 * without a database, of rows that are generated in the form of each system. Needs ../shared/data for the first part.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/import.ts [--store] [--rows 1000000] [--only moodle,csv] [--remove 500000]
 *
 * With --store, files of generated rows are imported by the command instead, twice: what it stored, and its memory.
 * Without DATABASE_URL it runs on the embedded database. Each format is read by a process of its own: its processor time,
 * and the most memory that it had. With --remove, an import of as many rows is removed instead, beside one that stays:
 * the time of each part in that of storing as many rows.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
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
import { zip } from "../test/support/zip.ts";
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
  ["oulad", "oulad/courses.csv.gz", ouladReader],
  ["oulad", "oulad/assessments.csv.gz", ouladReader],
  ["oulad", "oulad/vle.csv.gz", ouladReader],
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
  const { total, accepted, duplicates, leftOut, rejected, items, knownItems, reasons } = summary;
  console.log(
    `${name.padEnd(8)} ${path.padEnd(46)} ${[total, accepted, duplicates, leftOut, rejected, items, knownItems]
      .map((each) => count(each).padStart(9))
      .join("")} ${count(Math.round(total / seconds)).padStart(9)}/s`,
  );
  for (const [what, reason] of reasons) console.log(`           ${count(reason.count).padStart(9)} ${what}`);
}

/** Rows in the form of a system; numbers that differ make ids, people and items. Of 100, one is of no user. */
interface Generated {
  make: Make;
  /** The importer and its options. */
  command: string[];
  header?: string;
  row: (index: number) => string;
  /** Its file, where it is not that of the importer. */
  file?: string;
}

const person = (index: number): number => 2 + ((index * 7_919) % 5_000);
const uuid = (index: number): string => `3e246700-e305-4130-91de-${String(index).padStart(12, "0")}`;
const noUser = (index: number): boolean => index % 100 === 99;

const generated: Record<string, Generated> = {
  moodle: {
    make: () => moodleReader({ timeZone: "Europe/Rome", dateOrder: "dmy" }),
    command: ["moodle", "--time-zone", "Europe/Rome", "--date-order", "dmy"],
    header: "Time,User full name,Affected user,Event context,Component,Event name,Description,Origin,IP address",
    row: (index) => {
      const [user, course] = [noUser(index) ? 0 : person(index), 2 + (index % 90)];
      const time = `${1 + (index % 28)}/0${1 + (index % 9)}/24, 1${index % 10}:${10 + (index % 50)}:${10 + (index % 47)}`;
      return `"${time}","Ada ${user}",-,"Course: C ${course}",System,Course viewed,"The user with id '${user}' viewed the course with id '${course}'.",web,10.0.${index % 200}.1`;
    },
  },
  logstore: {
    make: () => moodleReader({ timeZone: "UTC" }),
    command: ["moodle"],
    header:
      "id,eventname,component,action,target,objecttable,objectid,crud,edulevel,contextid,contextlevel,contextinstanceid,userid,courseid,relateduserid,anonymous,other,timecreated,origin,ip,realuserid",
    row: (index) =>
      `${index + 1},\\mod_quiz\\event\\course_module_viewed,mod_quiz,viewed,course_module,quiz,${index % 300},r,2,${900 + (index % 300)},70,${index % 300},${noUser(index) ? 0 : person(index)},${2 + (index % 90)},NULL,0,"a:0:{}",${1_700_000_000 + index},web,10.0.0.1,NULL`,
  },
  edx: {
    make: edxReader,
    command: ["edx"],
    row: (index) =>
      `{"name":"play_video","event_type":"play_video","event_source":"browser","username":"${noUser(index) ? "" : "ada"}","page":"https://lms.example/x","session":"c0","ip":"10.0.0.1","context":{"user_id":${noUser(index) ? null : person(index)},"course_id":"course-v1:a+b+c","org_id":"a","path":"/event"},"time":"${timeOf(index)}","event":"{\\"id\\":\\"v${index % 300}\\",\\"currentTime\\":${index % 600},\\"code\\":\\"html5\\"}"}`,
  },
  xapi: {
    make: xapiReader,
    command: ["xapi"],
    row: (index) =>
      `{"id":"${uuid(index)}","actor":{${noUser(index) ? '"objectType":"Group","member":[{"mbox":"mailto:a@example.org"}]' : `"account":{"homePage":"https://a.example","name":"${person(index)}"}`}},"verb":{"id":"http://adlnet.gov/expapi/verbs/completed","display":{"en":"completed"}},"object":{"id":"https://a.example/x/${index % 300}","definition":{"type":"http://adlnet.gov/expapi/activities/assessment","name":{"en":"Task ${index % 300}"}}},"context":{"contextActivities":{"grouping":[{"id":"https://a.example/course/${index % 9}","definition":{"type":"http://adlnet.gov/expapi/activities/course","name":{"en":"Course ${index % 9}"}}}]}},"timestamp":"${timeOf(index)}"}`,
  },
  canvas: {
    make: canvasReader,
    command: ["canvas"],
    row: (index) =>
      `{"metadata":{"event_name":"asset_accessed","event_time":"${timeOf(index)}",${noUser(index) ? "" : `"user_id":"${person(index)}",`}"context_type":"Course","context_id":"${index % 90}","root_account_uuid":"x"},"body":{"asset_id":"${index % 300}","asset_type":"wiki_page","asset_name":"Page ${index % 300}","role":"StudentEnrollment"}}`,
  },
  "page views": {
    make: canvasReader,
    command: ["canvas"],
    header:
      "request_id,user_id,url,context_id,context_type,controller,action,interaction_seconds,created_at,http_method",
    row: (index) =>
      `${uuid(index)},${noUser(index) ? "" : person(index)},https://a.example/courses/${index % 90}/assignments/${index % 300},${index % 90},Course,assignments,show,5.0,${timeOf(index)},GET`,
  },
  caliper: {
    make: caliperReader,
    command: ["caliper"],
    row: (index) =>
      `{"@context":"http://purl.imsglobal.org/ctx/caliper/v1p1","id":"urn:uuid:${uuid(index)}","type":"NavigationEvent",${noUser(index) ? "" : `"actor":{"id":"https://a.example/${person(index)}","type":"Person"},`}"action":"NavigatedTo","object":{"id":"https://a.example/x/${index % 300}","type":"WebPage","name":"Page"},"group":{"id":"https://a.example/sections/${index % 9}","type":"CourseSection","name":"Section"},"eventTime":"${timeOf(index)}"}`,
  },
  segment: {
    make: segmentReader,
    command: ["segment"],
    row: (index) =>
      `{"type":"track","event":"Clicked",${noUser(index) ? "" : `"userId":"${person(index)}",`}"messageId":"${uuid(index)}","timestamp":"${timeOf(index)}","properties":{"item":"i${index % 300}"}}`,
  },
  csv: {
    make: () =>
      columnReader({ person: "student", at: "at", event: "Clicked", item: "page", properties: [], timeZone: "UTC" }),
    command: ["csv", "--person", "student", "--at", "at", "--event", "Clicked", "--item", "page"],
    header: "student,at,page",
    row: (index) => `${noUser(index) ? "" : person(index)},${timeOf(index)},p${index % 300}`,
  },
  oulad: {
    make: ouladReader,
    command: ["oulad"],
    header: "code_module,code_presentation,id_student,id_site,date,sum_click",
    row: (index) => `AAA,2013J,${noUser(index) ? "" : person(index)},${index % 300},${index % 260},${index % 9}`,
    file: "anonymisedData.zip",
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

/** The file of a format, with as many rows. */
async function writeRows(format: string, rows: number, directory: string): Promise<string> {
  const one = generated[format];
  if (one === undefined) throw new Error(`there is no format ${format}`);
  const table = join(directory, one.file === undefined ? "rows.txt" : "studentVle.csv");
  const file = await open(table, "w");
  if (one.header !== undefined) await file.write(`${one.header}\n`);
  for (let index = 0; index < rows; index += 5_000) {
    const lines = Array.from({ length: Math.min(5_000, rows - index) }, (_, offset) => one.row(index + offset));
    await file.write(`${lines.join("\n")}\n`);
  }
  await file.close();
  if (one.file === undefined) return table;
  const vle = Array.from({ length: 300 }, (_, site) => `${site},AAA,2013J,${site % 2 === 0 ? "quiz" : "resource"}`);
  const members = {
    "courses.csv": "code_module,code_presentation,module_presentation_length\nAAA,2013J,268\n",
    "vle.csv": `id_site,code_module,code_presentation,activity_type\n${vle.join("\n")}\n`,
    "studentVle.csv": await readFile(table),
  };
  const path = join(directory, one.file);
  writeFileSync(path, zip(Object.entries(members).map(([name, content]) => ({ name, content: Buffer.from(content) }))));
  return path;
}

/** The command, as its user runs it: what it prints, its time, and the most memory that it had. */
async function runCommand(url: string, words: string[]): Promise<{ output: string; seconds: number; memory: number }> {
  const started = performance.now();
  const child = spawn(process.execPath, [fileURLToPath(new URL("../src/cli.ts", import.meta.url)), ...words], {
    env: { ...process.env, DATABASE_URL: url },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += String(chunk);
    });
  }
  let memory = 0;
  const timer = setInterval(() => {
    readFile(`/proc/${child.pid}/status`, "utf8")
      .then((status) => {
        memory = Math.max(memory, Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024));
      })
      .catch(() => undefined);
  }, 100);
  await once(child, "close");
  clearInterval(timer);
  return { output, seconds: (performance.now() - started) / 1_000, memory };
}

/** Each format through the command, twice. */
async function storeAll(formats: readonly string[], rows: number): Promise<void> {
  const { url, name, close } = await benchDatabase();
  console.log(`${name}, ${count(rows)} rows of each format, of which every hundredth is of no user\n`);
  console.log(
    "| format | stored | left out | rejected | items | rows per second | memory | again: stored | rows per second |",
  );
  console.log("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
  const reasons: string[] = [];
  for (const format of formats) {
    const directory = mkdtempSync(join(tmpdir(), "insights-bench-"));
    try {
      const path = await writeRows(format, rows, directory);
      const words = ["import", ...(generated[format]?.command ?? []), path, "--source", format, "--show", "1"];
      const first = await runCommand(url, words);
      const again = await runCommand(url, words);
      const number = (output: string, pattern: RegExp): string =>
        [...output.matchAll(pattern)].at(-1)?.[1] ?? (output.includes("rows:") ? "0" : "?");
      const speed = (seconds: number): string => count(Math.round(rows / seconds));
      console.log(
        `| ${format} | ${[
          number(first.output, /([\d,]+) stored/g),
          number(first.output, /([\d,]+) left out/g),
          number(first.output, /([\d,]+) rejected/g),
          number(first.output, /([\d,]+) items of the structure/g),
          speed(first.seconds),
          `${Math.max(first.memory, again.memory)} MB`,
          number(again.output, /([\d,]+) stored/g),
          speed(again.seconds),
        ].join(" | ")} |`,
      );
      const why = first.output.split("\n").filter((line) => /^(left out|rejected): |^error/.test(line));
      reasons.push(...why.map((line) => `${format}: ${line}`));
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
  console.log(`\n${reasons.join("\n")}`);
  await close();
}

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    only: { type: "string" },
    read: { type: "string" },
    remove: { type: "string" },
    store: { type: "boolean", default: false },
  },
});
if (values.read !== undefined) {
  await readOne(values.read, Number(values.rows));
} else if (values.store) {
  await storeAll(values.only?.split(",") ?? Object.keys(generated), Number(values.rows));
} else if (values.remove !== undefined) {
  const database = await benchDatabase();
  console.log(database.name);
  await removeOne(database, Number(values.remove));
  await database.close();
} else {
  const only = values.only?.split(",");
  const { client, name, close } = await benchDatabase();
  console.log(name);
  console.log(`${"importer".padEnd(55)}      rows   stored duplicate left out rejected    items    known`);
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
