import { isObject, type Json, objectOf, shareOf, textOf } from "../collector/dialect.ts";
import { RowIdentity } from "./identity.ts";
import type { Item } from "./items.ts";
import type { Message } from "./message.ts";
import { type Problem, shown } from "./problem.ts";
import { readObjects } from "./segment.ts";
import { structureReader } from "./structure.ts";
import type { Reader } from "./table.ts";
import { Times } from "./time.ts";

/*
 * Tracking logs of Open edX, one JSON object per line, in both shapes: the log file (`time`, `event`) and the event of
 * the bus or of Segment (`timestamp`, `data`). An `event` of a browser is a text that contains JSON. Items have the keys
 * of the platform: `course-v1:…` for courses, `block-v1:…` for what they contain.
 */

/** Our names of events (docs/events.md). Others keep the platform's name. */
const NAMES: Readonly<Record<string, string>> = {
  "edx.course.enrollment.activated": "Course Enrolled",
  "edx.course.enrollment.deactivated": "Course Dropped",
  "edx.certificate.created": "Course Completed",
  "edx.course.completed": "Course Completed",
  "edx.course.grade.passed.first_time": "Course Completed",
  "edx.grades.problem.submitted": "Task Graded",
  "edx.grades.subsection.grade_calculated": "Grade Changed",
  "edx.grades.course.grade_calculated": "Grade Changed",
  "edx.special_exam.practice.attempt.started": "Task Started",
  "edx.special_exam.practice.attempt.submitted": "Task Submitted",
  "edx.forum.thread.created": "Message Posted",
  "edx.forum.response.created": "Message Posted",
  "edx.forum.comment.created": "Message Posted",
  "edx.forum.searched": "Search Performed",
  "edx.special_exam.proctored.attempt.started": "Task Started",
  "edx.special_exam.proctored.attempt.submitted": "Task Submitted",
  "edx.special_exam.timed.attempt.started": "Task Started",
  "edx.special_exam.timed.attempt.submitted": "Task Submitted",
  "openassessmentblock.create_submission": "Task Submitted",
  load_video: "Video Loaded",
  "edx.video.loaded": "Video Loaded",
  play_video: "Video Playback Started",
  "edx.video.played": "Video Playback Started",
  pause_video: "Video Playback Paused",
  "edx.video.paused": "Video Playback Paused",
  seek_video: "Video Playback Seek Completed",
  "edx.video.position.changed": "Video Playback Seek Completed",
  stop_video: "Video Playback Completed",
  "edx.video.stopped": "Video Playback Completed",
  problem_check: "Task Submitted",
};

/** Events that staff or the platform cause for a learner, whom the event itself names; the context has who caused it. */
const ABOUT_LEARNER = /^edx\.(?:course\.(?:enrollment|grade|completed)|grades|certificate|special_exam)\b/;

/** Events that open and show something: page views. */
const VIEWS = new Set([
  "edx.forum.thread.viewed",
  "edx.ui.lms.outline.selected",
  "edx.ui.lms.sequence.next_selected",
  "edx.ui.lms.sequence.previous_selected",
  "edx.ui.lms.sequence.tab_selected",
  "page_view",
  "seq_goto",
  "seq_next",
  "seq_prev",
  "textbook.pdf.page.navigated",
]);

const KINDS: Readonly<Record<string, string>> = {
  chapter: "module",
  discussion: "discussion",
  openassessment: "task",
  problem: "task",
  sequential: "module",
  video: "video",
};

/** Fields that are not stored: texts of learners, and the state of the platform. Others are kept if they are single values. */
const UNUSED = new Set([
  "answers",
  "submission",
  "state",
  "correct_map",
  "body",
  "code",
  "id",
  "problem_id",
  "user_id",
]);
const LONGEST_VALUE = 500;

export function edxReader(): Reader {
  const times = new Times({ timeZone: "UTC" });
  const log: Reader = (lines) => {
    const identity = new RowIdentity("edx");
    const read = (value: Json): Message | Problem => {
      const context = objectOf(value["context"]);
      const name = textOf(value["name"]) ?? textOf(value["event_type"]);
      if (name === undefined) return { what: "no name", value: shown(JSON.stringify(value)), hint: HINT };
      const data = payloadOf(value["event"] ?? value["data"]);
      const learner = ABOUT_LEARNER.test(name) ? idOf(data["user_id"] ?? data["attempt_user_id"]) : undefined;
      const person = learner ?? idOf(context["user_id"]) ?? idOf(value["user_id"]) ?? idOf(value["username"]);
      if (person === undefined) return { what: "no user", isLeftOut: true };
      const at = textOf(value["time"]) ?? textOf(value["timestamp"]);
      if (at === undefined) return { what: "no time", value: shown(JSON.stringify(value)), hint: HINT };
      const time = times.read(at);
      if (typeof time !== "number") return { ...time, what: `time: ${time.what}` };
      const properties = propertiesOf(name, context, data);
      const base = {
        messageId: textOf(value["id"]) ?? textOf(value["uuid"]) ?? identity.idOf([JSON.stringify(value)]),
        userId: person,
        timestamp: new Date(time).toISOString(),
        properties,
      };
      // Requests of the server have the path as their name.
      return VIEWS.has(name) || name.startsWith("/")
        ? { ...base, type: "page", name: name.startsWith("/") ? "Page requested" : name }
        : { ...base, type: "track", event: isCheckOfBrowser(value, name) ? name : (NAMES[name] ?? name) };
    };
    return readObjects(lines, (value) => [read(value)]);
  };
  const reader: Reader = structureReader(log, itemsOf);
  reader.parentKind = "course";
  reader.notes = () => times.notes();
  return reader;
}

/** The course of its block: events name it by the key of the course. */
function keyOf(block: string): string {
  const [, prefix = "", run] = /^(ccx-)?block-v1:(.+)\+type@course\+block@/.exec(block) ?? [];
  if (run !== undefined) return `${prefix === "" ? "course" : "ccx"}-v1:${run}`;
  const [, organization, course, name] = /^i4x:\/\/([^/]+)\/([^/]+)\/course\/([^/]+)$/.exec(block) ?? [];
  return name === undefined ? block : `${organization}/${course}/${name}`;
}

/**
 * The tree of a course: the file `course_structure` of the data packages and of dump_course_structure (`category`,
 * `metadata`), and the answer of the blocks API (`blocks`, with `type` and `display_name`).
 */
function itemsOf(document: Json): ReadonlyMap<string, Item> | undefined {
  const blocks = Object.entries(isObject(document["blocks"]) ? document["blocks"] : document);
  if (blocks.length === 0 || !blocks.every(([key, block]) => BLOCK.test(key) && isObject(block))) return undefined;
  const parents = new Map<string, string>();
  for (const [key, block] of blocks) {
    const children = objectOf(block)["children"];
    for (const child of Array.isArray(children) ? children : []) {
      if (typeof child === "string" && !parents.has(child)) parents.set(child, keyOf(key));
    }
  }
  const items = new Map<string, Item>();
  for (const [key, value] of blocks) {
    const block = objectOf(value);
    const isCourse = (textOf(block["category"]) ?? textOf(block["type"])) === "course";
    const title = textOf(objectOf(block["metadata"])["display_name"]) ?? textOf(block["display_name"]);
    const url = textOf(block["lms_web_url"]);
    const parent = isCourse ? undefined : parents.get(key);
    items.set(key, {
      item: keyOf(key),
      kind: isCourse ? "course" : kindOf(key),
      ...(title === undefined ? {} : { title: title.slice(0, LONGEST_VALUE) }),
      ...(url === undefined ? {} : { url }),
      ...(parent === undefined ? {} : { parent }),
    });
  }
  return items;
}

/** A browser announces the check of a problem, and the server reports it with its grade: one submission. */
const isCheckOfBrowser = (value: Json, name: string): boolean =>
  name === "problem_check" &&
  (value["event_source"] === "browser" || typeof (value["event"] ?? value["data"]) === "string");

/** Without a user, the platform writes nothing, an empty text or null. */
const idOf = (value: unknown): string | undefined => textOf(value) || undefined;

const HINT = "a line of a tracking log has name, context, time and event (or timestamp and data)";

function propertiesOf(name: string, context: Json, data: Json): Record<string, unknown> {
  const course = textOf(context["course_id"]) || textOf(data["course_id"]);
  const module = objectOf(context["module"]);
  const block = blockOf(name, course, module, data);
  const isCourse = block === undefined;
  const item = block ?? (course === "" ? undefined : course);
  const kind = isCourse ? "course" : name.startsWith("edx.special_exam.") ? "task" : kindOf(block);
  const kept = Object.entries(data).filter(
    ([key, value]) =>
      !UNUSED.has(key) &&
      key !== "course_id" &&
      (typeof value === "number" ||
        typeof value === "boolean" ||
        (typeof value === "string" && value !== "" && value.length <= LONGEST_VALUE)),
  );
  const score = scoreOf(data);
  // The module of a calculated grade is the problem that caused the calculation.
  const title = module["usage_key"] === block ? textOf(module["display_name"]) : textOf(data["exam_name"]);
  const position = data["currentTime"] ?? data["current_time"] ?? data["new_time"];
  return {
    ...Object.fromEntries(kept),
    ...(item === undefined ? {} : { item, itemKind: kind }),
    ...(item !== undefined && !isCourse && course !== undefined ? { parent: course } : {}),
    ...(title === undefined || isCourse ? {} : { itemTitle: title }),
    ...(score === undefined ? {} : { score }),
    ...(typeof data["attempts"] === "number" ? { attempt: data["attempts"] } : {}),
    ...(typeof position === "number" ? { position } : {}),
  };
}

function kindOf(block: string): string {
  if (block.includes("/discussion/")) return "discussion";
  const type = /\+type@(\w+)\+|^i4x:\/\/[^/]+\/[^/]+\/(\w+)\//.exec(block)?.slice(1).find(Boolean);
  return KINDS[type ?? ""] ?? "page";
}

/** Earned of possible points: of a problem, of a subsection, and of a course. */
function scoreOf(data: Json): number | undefined {
  return (
    shareOf(data["grade"], data["max_grade"]) ??
    shareOf(data["weighted_earned"], data["weighted_possible"]) ??
    shareOf(data["weighted_graded_earned"], data["weighted_graded_possible"]) ??
    shareOf(data["percent_grade"], 1)
  );
}

const BLOCK = /^(?:(?:ccx-)?block-v1:|i4x:\/\/)/;

/** The key of the block that an event is about; a discussion has the key of its course, and its own. */
function blockOf(name: string, course: string | undefined, module: Json, data: Json): string | undefined {
  if (name === "edx.grades.course.grade_calculated") return undefined;
  const thread = /^edx\.forum\.(?:thread|response|comment)\./.test(name)
    ? (textOf(objectOf(data["discussion"])["id"]) ?? textOf(data["id"]))
    : undefined;
  if (thread !== undefined) return course === undefined ? undefined : `${course}/discussion/${thread}`;
  const target = /\/((?:ccx-)?block-v1:[^/?#]+)/.exec(textOf(data["target_url"]) ?? "")?.[1];
  const given =
    textOf(data["block_id"]) ??
    textOf(data["exam_content_id"]) ??
    textOf(module["usage_key"]) ??
    textOf(data["problem_id"]) ??
    textOf(data["usage_key"]) ??
    target ??
    textOf(data["id"]);
  if (given === undefined) return undefined;
  if (BLOCK.test(given)) return given;
  // Events of browsers have the last part of the key alone.
  const [, prefix = "", run] = /^(ccx-|course-)v1:(.+)$/.exec(course ?? "") ?? [];
  const type = /video|transcript/.test(name) ? "video" : name === "problem_check" ? "problem" : undefined;
  return type !== undefined && run !== undefined && /^[\w-]+$/.test(given)
    ? `${prefix === "ccx-" ? prefix : ""}block-v1:${run}+type@${type}+block@${given}`
    : undefined;
}

function payloadOf(value: unknown): Json {
  if (typeof value !== "string") return objectOf(value);
  try {
    return objectOf(JSON.parse(value));
  } catch {
    // A form: the problem is in the names of its fields, and answers are not stored.
    const id = /(?:^|&)input_(\w{32})_/.exec(value)?.[1];
    return id === undefined ? {} : { id };
  }
}
