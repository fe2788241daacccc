import { RowIdentity } from "./identity.ts";
import type { Message } from "./message.ts";
import { ImportError, type Problem, shown } from "./problem.ts";
import { type Header, noteTimes, type Reader, readTable } from "./table.ts";
import { type TimeRules, Times } from "./time.ts";

/*
 * Logs of Moodle in three forms, told by their columns:
 *
 *   the report     Site administration, Reports, Logs, Download: nine columns whose names, events and contexts are in the
 *                  language of the administrator. Descriptions are in English in every language (they are not part of
 *                  Moodle's language packs), and hold the keys of the user, the course and the activity.
 *   the table      logstore_standard_log, as exported from the database.
 *   the data set   user_id, event_time, action, component, event_name, event_context, as published with research.
 */

/** Our kinds of items for the types of Moodle's activities; others are pages. */
const KINDS: Readonly<Record<string, string>> = {
  assign: "task",
  assignment: "task",
  choice: "task",
  feedback: "task",
  forum: "discussion",
  h5pactivity: "task",
  hvp: "task",
  lesson: "task",
  quiz: "task",
  scorm: "task",
  survey: "task",
  workshop: "task",
};

/** The words for a course, for tasks, and for "as" (logged in as), in the languages of most sites. */
const COURSE = wordsOf(
  "course,kurs,cours,curso,corso,cursus,kurz,tečaj,predmet,курс,kursus,kurssi,kursas,ders,コース,课程,課程,코스,강좌",
  "khóa học,مقرر,קורס,μάθημα,tanfolyam,kurzus,fag,curs,ikastaroa",
);
const TASKS = wordsOf(
  "assignment,quiz,choice,feedback,lesson,workshop,aufgabe,test,abstimmung,lektion,devoir,consultation,leçon,atelier",
  "tarea,cuestionario,consulta,lección,taller,tarefa,questionário,escolha,lição,compito,scelta,lezione,opdracht,keuze,les",
  "zadanie,głosowanie,lekcja,задание,тест,опрос,лекция,課題,小テスト,投票,作业,测验,과제,퀴즈",
);
const AS = / (as|als|comme|en tant que|como|come|som|jako|как|olarak|として) /;

function wordsOf(...lists: string[]): ReadonlySet<string> {
  return new Set(lists.join(",").split(","));
}

const RESEARCH = ["user_id", "event_time", "action", "component", "event_name", "event_context"] as const;
const TABLE = ["eventname", "action", "userid", "timecreated"] as const;
const REPORT_COLUMNS = 9;

/** Events of the English names, and coded actions, that open and show something: these become page views. */
const VIEW = /\b(viewed|reviewed)\.?$/i;

/**
 * Events about another user than the one who caused them, by the name in the table: the name that we give them. The
 * learner is `relateduserid`. Tasks of the system and restored courses cause them, too.
 */
const OF_LEARNER: Readonly<Record<string, string>> = {
  course_completed: "Course Completed",
  user_enrolment_created: "Course Enrolled",
  user_enrolment_deleted: "Course Dropped",
  user_graded: "Task Graded",
};

/** The same events in the report: their descriptions, with the learner and the course, or the grade item. */
const DESCRIPTIONS: readonly { event: string; pattern: RegExp }[] = [
  {
    event: "Course Enrolled",
    pattern:
      /^The user with id '-?\d*' enrolled the user with id '(?<learner>\d+)' .*\bcourse with id '(?<course>\d+)'/s,
  },
  {
    event: "Course Dropped",
    pattern:
      /^The user with id '-?\d*' unenrolled the user with id '(?<learner>\d+)' .*\bcourse with id '(?<course>\d+)'/s,
  },
  {
    event: "Course Completed",
    pattern: /^The user with id '(?<learner>\d+)' completed the course with id '(?<course>\d+)'/,
  },
  {
    event: "Task Graded",
    pattern:
      /^The user with id '-?\d*' updated the grade with id '\d*' for the user with id '(?<learner>\d+)' for the grade item with id '(?<grade>\d+)'/,
  },
];

/** The meaning of a row. */
interface Meaning {
  person: string;
  time: string;
  name: string;
  /** The cells that identify the row, in an order that does not depend on the file; undefined: all of them. */
  identity?: string[];
  isView: boolean;
  properties: Record<string, unknown>;
}

type Convert = (cells: string[]) => Meaning | Problem;

export interface MoodleOptions extends TimeRules {
  /** The course of all rows, which the report of one course does not name: Moodle's number. */
  course?: string | undefined;
}

/**
 * Moodle's event log. Events keep Moodle's names. Left out are rows of visitors, of administrators who are logged in as
 * another user, and of restored courses and scheduled tasks: nothing that a known person did.
 *
 * The log has times to the second, or minute, and no ids: a hash of the row is used, or the key of the table.
 */
export function moodleReader(options: MoodleOptions): Reader {
  const times = new Times(options);
  let views = 0;
  let rows = 0;
  const reader: Reader = (lines) =>
    readTable(lines, undefined, (header) => {
      const { convert, id } = formOf(header, options);
      const identity = new RowIdentity("moodle");
      return (cells, line): Message | Problem => {
        const meaning = convert(cells);
        if ("what" in meaning) return meaning;
        const time = times.read(meaning.time, line);
        if (typeof time !== "number") return { ...time, what: `time: ${time.what}` };
        rows += 1;
        const base = {
          messageId: id === undefined ? identity.idOf(meaning.identity ?? cells) : `moodle-${cells[id]}`,
          userId: meaning.person,
          timestamp: new Date(time).toISOString(),
          properties: meaning.properties,
        };
        if (!meaning.isView) return { ...base, type: "track", event: meaning.name };
        views += 1;
        return { ...base, type: "page", name: meaning.name };
      };
    });
  reader.scan = (lines) =>
    noteTimes(lines, undefined, times, (header) => {
      const at = header.has("event_time") ? header.position("event_time") : 0;
      return (cells) => cells[at] ?? "";
    });
  reader.parentKind = "course";
  reader.notes = () => [
    ...times.notes(),
    ...(rows > 0 && views === 0
      ? ["none of the rows is a page view: time on page and popular courses will be empty"]
      : []),
  ];
  return reader;
}

/** How the rows below a header are read, and the column with their key. */
function formOf(header: Header, options: MoodleOptions): { convert: Convert; id?: number } {
  if (TABLE.every((name) => header.has(name))) return tableForm(header);
  if (header.has("user_id") || header.has("event_context")) return { convert: researchForm(header) };
  if (header.names.length === REPORT_COLUMNS) return { convert: reportForm(options.course) };
  throw new ImportError(
    `this is not a log of Moodle: its columns are ${shown(header.names.join(", "))}`,
    "give the download of Reports, Logs (nine columns), an export of logstore_standard_log, or the columns " +
      `${RESEARCH.join(", ")}; insights import csv reads any other table`,
  );
}

const leftOut = (what: string): Problem => ({ what, isLeftOut: true });

/** 0 is a visitor, 1 the account that visitors share, "-" an event of no user, and negative numbers are those of Moodle itself. */
function someone(person: string): Problem | undefined {
  if (person === "" || person === "-" || /^(0|-\d+)$/.test(person)) return leftOut("no user");
  return person === "1" ? leftOut("the account of visitors") : undefined;
}

function researchForm(header: Header): Convert {
  const positions = RESEARCH.map((name) => header.position(name));
  return (cells) => {
    const row = positions.map((position) => cells[position] ?? "");
    const [person = "", time = "", action = "", component = "", name = "", context = ""] = row;
    const problem = someone(person);
    if (problem !== undefined) return problem;
    if (name === "") return { what: "no event_name" };
    return {
      person,
      time,
      name,
      identity: row,
      isView: VIEW.test(action) || VIEW.test(name),
      properties: { ...itemOf(context), ...present({ action, component, context }) },
    };
  };
}

/** `Course: 3621691 : Learning Analytics` is course 3621691; other contexts have only their kind and title. */
function itemOf(context: string): Record<string, unknown> {
  const [, type = "", rest = ""] = /^([^:：]+?) ?[:：] ?(.+)$/.exec(context) ?? [];
  if (rest === "") return {};
  const word = type.toLowerCase();
  const isCourse = COURSE.has(word);
  const kind = isCourse ? "course" : TASKS.has(word) ? "task" : "page";
  const [, number, title] = /^(\d+) : (.+)$/.exec(rest) ?? [];
  const slug = isCourse ? "course" : word.replaceAll(" ", "-");
  return { item: `moodle/${slug}/${number ?? rest}`, itemKind: kind, itemTitle: title ?? rest };
}

/**
 * Time, full name, affected user, context, component, event, description, origin, address. A course is named by the
 * descriptions of its own events alone; those of an activity have its course module.
 */
function reportForm(givenCourse: string | undefined): Convert {
  return (cells) => {
    const [time = "", fullName = "", , context = "", component = "", name = "", description = "", origin = ""] = cells;
    for (const { event, pattern } of DESCRIPTIONS) {
      const { learner, course, grade } = pattern.exec(description)?.groups ?? {};
      if (learner === undefined) continue;
      const problem = someone(learner);
      if (problem !== undefined) return problem;
      const properties = {
        ...(grade === undefined ? place(course) : gradeItem(grade, givenCourse)),
        ...present({ component, origin }),
      };
      return { person: learner, time, name: event, isView: false, properties };
    }
    const person = /^The user with id '(-?\d*)'/.exec(description)?.[1];
    if (person === undefined) return fullName === "-" ? leftOut("no user") : { what: "a description without a user" };
    const problem = someone(person) ?? ofNobody(origin);
    if (problem !== undefined) return problem;
    // "Admin User as Ada Lovelace".
    if (AS.test(fullName)) return leftOut("an administrator, logged in as another user");
    if (name === "") return { what: "no event name" };
    const title = /^[^:：]+?[:：] ?(.+)$/.exec(context)?.[1];
    const course = /\bcourse with id '(\d+)'/.exec(description)?.[1] ?? givenCourse;
    const module = /\bcourse module id '(\d+)'/.exec(description)?.[1];
    const type =
      /the '(\w+)' activity with course module id/.exec(description)?.[1] ??
      /\b(?:the|a) (\w+)(?: activity)? with (?:the )?course module id/.exec(description)?.[1];
    return {
      person,
      time,
      name: name.replace(/\.$/, ""),
      isView: /^The user with id '\d+' (?:has )?viewed\b/.test(description),
      properties: {
        ...place(course, module, type, title),
        ...present({ component, origin }),
      },
    };
  };
}

/** The item of a row: an activity in its course, or the course. Course 1 is the front page of the site. */
function place(course?: string, module?: string, type?: string, title?: string): Record<string, unknown> {
  const ofCourse = course === undefined ? undefined : course === "1" ? "moodle/site" : `moodle/course/${course}`;
  if (module === undefined && ofCourse === undefined) return {};
  const about =
    module === undefined
      ? { item: ofCourse, itemKind: course === "1" ? "page" : "course" }
      : {
          item: `moodle/module/${module}`,
          itemKind: KINDS[type?.toLowerCase() ?? ""] ?? "page",
          ...(ofCourse === undefined || course === "1" ? {} : { parent: ofCourse }),
        };
  return { ...about, ...(title === undefined ? {} : { itemTitle: title }) };
}

/** The item of a grade, which the log does not connect with its activity. */
function gradeItem(id: string, course: string | undefined): Record<string, unknown> {
  const parent = course === undefined || course === "" || course === "0" ? {} : { parent: `moodle/course/${course}` };
  return { item: `moodle/grade/${id}`, itemKind: "grade", ...parent };
}

/** A field of `other`, which is JSON, or serialized by PHP in versions before 3.7. */
function otherOf(text: string, name: string): string | undefined {
  const [, json, php] = new RegExp(`"${name}"(?::"?([\\d.]+)|;(?:s:\\d+:"|[id]:)([\\d.]+))`).exec(text) ?? [];
  return json ?? php;
}

const ofNobody = (origin: string): Problem | undefined =>
  origin === "restore" || origin === "cli" ? leftOut(`an event of ${origin}, not of a person`) : undefined;

/** The columns of the table that are read. */
const COLUMNS = [
  "eventname",
  "action",
  "userid",
  "relateduserid",
  "realuserid",
  "origin",
  "contextlevel",
  "contextinstanceid",
  "courseid",
  "component",
  "target",
  "other",
  "timecreated",
] as const;

/** Levels of contexts in Moodle's database. */
const COURSE_LEVEL = "50";
const MODULE_LEVEL = "70";

function tableForm(header: Header): { convert: Convert; id?: number } {
  // A column that is there twice would be read once.
  const places = new Map(COLUMNS.filter((name) => header.has(name)).map((name) => [name, header.position(name)]));
  const convert: Convert = (cells) => {
    // Exports write null as nothing, NULL or \N.
    const cell = (name: (typeof COLUMNS)[number]): string => {
      const text = cells[places.get(name) ?? -1] ?? "";
      return text === "NULL" || text === "\\N" ? "" : text;
    };
    const name = cell("eventname").split("\\").at(-1) ?? "";
    const ofLearner = Object.hasOwn(OF_LEARNER, name) ? OF_LEARNER[name] : undefined;
    const person = ofLearner === undefined ? cell("userid") : cell("relateduserid");
    const problem = someone(person) ?? (ofLearner === undefined ? ofNobody(cell("origin")) : undefined);
    if (problem !== undefined) return problem;
    const course = cell("contextlevel") === COURSE_LEVEL ? cell("contextinstanceid") : cell("courseid");
    if (ofLearner !== undefined) {
      const other = cell("other");
      const [grade, points] = ["itemid", "finalgrade"].map((field) => otherOf(other, field));
      const about = ofLearner === "Task Graded" && grade !== undefined ? gradeItem(grade, course) : place(course);
      return {
        person,
        time: cell("timecreated"),
        name: ofLearner,
        isView: false,
        properties: {
          ...about,
          ...present({ component: cell("component"), origin: cell("origin") }),
          ...(points === undefined ? {} : { points: Number(points) }),
        },
      };
    }
    if (cell("realuserid") !== "") return leftOut("an administrator, logged in as another user");
    if (name === "") return { what: "no eventname" };
    return {
      person,
      time: cell("timecreated"),
      name: titled(name),
      isView: cell("action") === "viewed",
      properties: {
        ...place(
          course === "" || course === "0" ? undefined : course,
          cell("contextlevel") === MODULE_LEVEL ? cell("contextinstanceid") : undefined,
          cell("component").replace(/^mod_/, ""),
        ),
        ...present({ component: cell("component"), origin: cell("origin"), target: cell("target") }),
      },
    };
  };
  return header.has("id") ? { convert, id: header.position("id") } : { convert };
}

/** `course_viewed` as `Course viewed`, as in Moodle's report. */
const titled = (name: string): string => `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`.replaceAll("_", " ");

function present(properties: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== ""));
}
