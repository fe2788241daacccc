import type { Item } from "../importer/items.ts";
import {
  BodyError,
  type Call,
  compact,
  idOf,
  isObject,
  type Json,
  numberOf,
  objectOf,
  type Route,
  shareOf,
  type Translated,
  textOf,
} from "./dialect.ts";

/*
 * Live Events of Canvas LMS in its own format, one event per request. They have no id: the message id is a hash of the
 * event, so that one that is delivered again is stored once. Items are `<type>:<id>`, courses too.
 */

const item = (type: string, id: unknown): string | undefined => {
  const text = textOf(id);
  return text === undefined ? undefined : `${type}:${text}`;
};

/** Meaning of an event: its name, its learner where that is not the user of the request, and its properties. */
interface Meaning {
  event: string;
  userId?: unknown;
  properties: Record<string, unknown>;
}

const submitted = (body: Json): Meaning => ({
  event: "Task Submitted",
  userId: body["user_id"],
  properties: {
    item: item("assignment", body["assignment_id"]),
    itemKind: "task",
    attempt: numberOf(body["attempt"]),
    late: typeof body["late"] === "boolean" ? body["late"] : undefined,
  },
});

/** Of teachers, assistants, designers and observers, whom Canvas enrols too, only that something changed. */
const enrolment = (body: Json, event: string): Meaning => {
  const role = textOf(body["type"]);
  return {
    event: role === undefined || role === "StudentEnrollment" ? event : "Enrolment Changed",
    userId: body["user_id"],
    properties: {
      item: item("course", body["course_id"]),
      itemKind: "course",
      status: body["workflow_state"],
      role: role === "StudentEnrollment" ? undefined : role,
    },
  };
};

const meanings: Readonly<Record<string, (body: Json) => Meaning>> = {
  asset_accessed: (body) => ({
    event: "Page Viewed",
    properties: {
      item: item(textOf(body["asset_subtype"]) ?? textOf(body["asset_type"]) ?? "asset", body["asset_id"]),
      itemTitle: body["asset_name"] ?? body["display_name"],
    },
  }),
  logged_in: () => ({ event: "Signed In", properties: {} }),
  logged_out: () => ({ event: "Signed Out", properties: {} }),
  submission_created: submitted,
  quiz_submitted: (body) => ({
    event: "Task Submitted",
    userId: body["user_id"],
    properties: { item: item("quiz", body["quiz_id"]), itemKind: "task" },
  }),
  grade_change: (body) => ({
    event: textOf(body["old_score"]) === undefined && body["old_score"] !== 0 ? "Task Graded" : "Grade Changed",
    userId: body["student_id"] ?? body["user_id"],
    properties: {
      item: item("assignment", body["assignment_id"]),
      itemKind: "task",
      score: shareOf(numberOf(body["score"]), numberOf(body["points_possible"])),
      previousScore: shareOf(
        numberOf(body["old_score"]),
        numberOf(body["old_points_possible"] ?? body["points_possible"]),
      ),
      grader: textOf(body["grader_id"]),
    },
  }),
  enrollment_created: (body) => enrolment(body, "Course Enrolled"),
  enrollment_updated: (body) =>
    enrolment(body, body["workflow_state"] === "deleted" ? "Course Dropped" : "Enrolment Changed"),
  course_completed: (body) => ({
    event: "Course Completed",
    userId: objectOf(body["user"])["id"],
    properties: { item: item("course", objectOf(body["course"])["id"]), itemKind: "course" },
  }),
  discussion_entry_created: (body) => ({
    event: "Message Posted",
    userId: body["user_id"],
    properties: { item: item("discussion_topic", body["discussion_topic_id"]), itemKind: "discussion" },
  }),
};

/** `wiki_page_created` as `Wiki Page Created`. */
const titled = (name: string): string =>
  name
    .split("_")
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join(" ");

function translate(event: Json): Translated {
  const metadata = objectOf(event["metadata"]);
  const body = objectOf(event["body"]);
  const name = textOf(metadata["event_name"]);
  const meaning = name !== undefined && Object.hasOwn(meanings, name) ? meanings[name]?.(body) : undefined;
  const course = metadata["context_type"] === "Course" ? item("course", metadata["context_id"]) : undefined;
  const properties = meaning?.properties ?? {};
  const common = compact({
    messageId: idOf({ ...event, timestamp: metadata["event_time"] }),
    // An administrator who acts as a learner is not the learner.
    userId: textOf(meaning?.userId) ?? textOf(metadata["real_user_id"]) ?? textOf(metadata["user_id"]),
    timestamp: metadata["event_time"],
    properties: compact({ ...properties, parent: course === properties["item"] ? undefined : course }),
  });
  return meaning?.event === "Page Viewed"
    ? { type: "page", ...common }
    : { type: "track", event: meaning?.event ?? (name === undefined ? undefined : titled(name)), ...common };
}

/** Events that create or change what a course contains: the type of the item, its kind, and the fields of its id and title. */
const structures: Readonly<Record<string, { type: string; kind: string; id: string; title: string }>> = {
  course: { type: "course", kind: "course", id: "course_id", title: "name" },
  module: { type: "context_module", kind: "module", id: "module_id", title: "name" },
  wiki_page: { type: "wiki_page", kind: "page", id: "wiki_page_id", title: "title" },
  assignment: { type: "assignment", kind: "task", id: "assignment_id", title: "title" },
  discussion_topic: { type: "discussion_topic", kind: "discussion", id: "discussion_topic_id", title: "title" },
  attachment: { type: "attachment", kind: "file", id: "attachment_id", title: "display_name" },
};

/** The items that a Live Event describes: of the course that it is about, of what it creates, and of what was opened. */
export function canvasItems(event: Json): Item[] {
  const metadata = objectOf(event["metadata"]);
  const body = objectOf(event["body"]);
  const course = item("course", metadata["context_type"] === "Course" ? metadata["context_id"] : undefined);
  const about: Item[] = course === undefined ? [] : [{ item: course, kind: "course" }];
  const name = textOf(metadata["event_name"]) ?? "";
  const [, part = ""] = /^(\w+)_(?:created|updated)$/.exec(name) ?? [];
  const known = Object.hasOwn(structures, part) ? structures[part] : undefined;
  const created = known === undefined ? undefined : item(known.type, body[known.id]);
  if (known !== undefined && created !== undefined) {
    const title = textOf(body[known.title])?.slice(0, 500);
    const own = textOf(body["context_type"]) === "Course" ? item("course", body["context_id"]) : undefined;
    const parent = known.kind === "course" ? undefined : (own ?? course);
    about.push({
      item: created,
      kind: known.kind,
      ...(title === undefined ? {} : { title }),
      ...(parent === undefined ? {} : { parent }),
    });
  }
  return about;
}

export function canvasMessages({ body }: Pick<Call, "body">): Translated[] {
  if (!isObject(body) || !isObject(body["metadata"])) {
    throw new BodyError("the body is not a Live Event of Canvas", 'Send {"metadata": {"event_name", …}, "body": {…}}.');
  }
  return [translate(body)];
}

export const canvasRoutes: readonly Route[] = [
  {
    name: "/canvas",
    method: "POST",
    path: /^\/canvas\/?$/,
    key: "headers",
    signed: true,
    messages: canvasMessages,
    answer: () => ({ status: 200 }),
    statuses: {},
  },
];
