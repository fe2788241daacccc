import { canvasItems, canvasMessages } from "../collector/canvas.ts";
import { type Json, numberOf, objectOf, textOf } from "../collector/dialect.ts";
import { dialectReader } from "./dialects.ts";
import type { Line } from "./lines.ts";
import type { Message } from "./message.ts";
import { ImportError, type Problem, shown } from "./problem.ts";
import { ISO_TIMES } from "./segment.ts";
import { type Header, type Reader, type Reading, readTable } from "./table.ts";
import { decode } from "./text.ts";
import { Times } from "./time.ts";

/*
 * Visits as Canvas exports them, in forms that differ by the fields of their rows:
 *
 *   Live Events     `metadata` and `body`, as JSON lines: translated as requests of the collector are.
 *   page views      of a user: the CSV of her page in Canvas, and the JSON of GET /api/v1/users/:id/page_views.
 *   web logs        the table canvas_logs.web_logs of Canvas Data 2 (TSV, CSV, JSON lines; names with key. and value.),
 *                   and `requests` of Canvas Data 1, its predecessor.
 */

/** A request, with the names of page views; all texts, because CSV has no others. */
type Request = Readonly<Record<string, string | undefined>>;

/** Items by the part of an address after `/courses/N`; the names are those of Live Events. */
const ASSETS: Readonly<Record<string, { type: string; kind: string }>> = {
  assignments: { type: "assignment", kind: "task" },
  discussion_topics: { type: "discussion_topic", kind: "discussion" },
  files: { type: "attachment", kind: "file" },
  quizzes: { type: "quiz", kind: "task" },
};

/** Columns of the web logs with the number of an asset. */
const COLUMNS: readonly [string, keyof typeof ASSETS][] = [
  ["quiz_id", "quizzes"],
  ["discussion_id", "discussion_topics"],
  ["assignment_id", "assignments"],
];

const leftOut = (what: string): Problem => ({ what, isLeftOut: true });

/** Names of columns without the prefixes of Canvas Data 2, and as page views have them. */
function nameOf(column: string): string {
  const name = column.replace(/^(?:key|value|meta)\./, "");
  const known: Readonly<Record<string, string>> = {
    id: "request_id",
    timestamp: "created_at",
    web_application_controller: "controller",
    web_application_action: "action",
    web_applicaiton_action: "action",
    web_application_context_type: "context_type",
    web_application_context_id: "context_id",
  };
  return known[name] ?? name;
}

/** A row of JSON: a page view with its `links`, or a web log, with `key` and `value` or without. */
function requestOf(value: Json): Request {
  const links = objectOf(value["links"]);
  const fields = { ...value, ...objectOf(value["key"]), ...objectOf(value["value"]) };
  const named = Object.entries(fields).map(([name, field]) => [
    nameOf(name),
    typeof field === "boolean" ? String(field) : textOf(field),
  ]);
  const linked = ["user", "real_user", "context"].map((name) => [`${name}_id`, textOf(links[name])]);
  return Object.fromEntries([...named, ...linked.filter(([, id]) => id !== undefined)]) as Request;
}

/** The path of an address without its query, which may have tokens. */
function pathOf(address: string): string | undefined {
  const [, path] = /^(?:https?:\/\/[^/?#]+)?(\/[^?#]*)/i.exec(address) ?? [];
  return path?.replace(/(?<=.)\/$/, "");
}

/** The item of a request: the asset of its address or of its columns, its course, or the path itself. */
function itemOf(request: Request): Record<string, unknown> {
  const path = pathOf(request["url"] ?? "") ?? "";
  const [, ofPath, part = "", id] = /^\/courses\/([\d~]+)(?:\/(\w+)(?:\/([^/]+))?)?/.exec(path) ?? [];
  const ofColumns = request["course_id"] ?? (request["context_type"] === "Course" ? request["context_id"] : undefined);
  const course = ofColumns ?? ofPath;
  const parent = course === undefined ? {} : { parent: `course:${course}` };
  const shownPart = Object.hasOwn(ASSETS, part) ? ASSETS[part] : undefined;
  const [column, columnPart = ""] = COLUMNS.find(([name]) => request[name] !== undefined) ?? [];
  if (column !== undefined) {
    const asset = ASSETS[columnPart];
    return { item: `${asset?.type}:${request[column]}`, itemKind: asset?.kind, ...parent };
  }
  if (shownPart !== undefined && id !== undefined && /^[\d~]+$/.test(id)) {
    return { item: `${shownPart.type}:${id}`, itemKind: shownPart.kind, ...parent };
  }
  if (course !== undefined && (path === "" || /^\/courses\/[\d~]+$/.test(path))) {
    return { item: `course:${course}`, itemKind: "course" };
  }
  return path === "" ? {} : { item: path.slice(0, 512), itemKind: "page", ...parent };
}

function messageOf(request: Request, times: Times, line?: number): Message | Problem {
  const user = request["real_user_id"] ?? request["user_id"];
  if (user === undefined) return leftOut("no user");
  const id = request["request_id"];
  if (id === undefined) return { what: "no request_id" };
  if (request["created_at"] === undefined) return { what: "no time" };
  const time = times.read(request["created_at"], line);
  if (typeof time !== "number") return { ...time, what: `time: ${time.what}` };
  const { controller, action, http_method: method, http_status: status } = request;
  if (Number(status) >= 400) return leftOut("a request that failed");
  if (request["user_request"] === "false") return leftOut("a request that the user did not make");
  const isSubmission = controller === "submissions" && action === "create";
  if (!isSubmission && method !== undefined && method.toUpperCase() !== "GET") {
    return leftOut("a request that shows no page");
  }
  // Page views name the requests of users; web logs have those of programs, too.
  if (request["user_request"] === undefined && /^\/api\//.test(pathOf(request["url"] ?? "") ?? "")) {
    return leftOut("a request of a program");
  }
  const micros = numberOf(request["interaction_micros"]);
  const seconds = numberOf(request["interaction_seconds"]) ?? (micros === undefined ? undefined : micros / 1_000_000);
  const properties = Object.fromEntries(
    Object.entries({
      ...itemOf(request),
      controller,
      action,
      interactionSeconds: seconds,
      participated: request["participated"] === "true" ? true : undefined,
      platform: request["app_name"],
    }).filter(([, value]) => value !== undefined),
  );
  const base = { messageId: id, userId: user, timestamp: new Date(time).toISOString(), properties };
  return isSubmission
    ? { ...base, type: "track", event: "Task Submitted" }
    : { ...base, type: "page", name: "Page Viewed" };
}

/** A cell: texts of Canvas Data write null as \N, and escape tabs and line ends; CSV writes nothing. */
function cellOf(text: string, isEscaped: boolean): string | undefined {
  if (text === "" || (isEscaped && text === String.raw`\N`)) return undefined;
  return isEscaped && text.includes("\\") ? text.replaceAll(/\\(.)/g, "$1") : text;
}

function tableOf(lines: AsyncIterable<Line[]>, times: Times): AsyncGenerator<Reading[], void, undefined> {
  let isEscaped = false;
  return readTable(
    lines,
    undefined,
    (header: Header) => {
      const names = header.names.map(nameOf);
      const missing = ["request_id", "user_id", "created_at", "url"].filter((name) => !names.includes(name));
      if (missing.length > 0) {
        throw new ImportError(
          `this is not an export of page views of Canvas: it has no ${missing.join(", ")}; its columns are ${shown(header.names.join(", "))}`,
          "give the CSV of page views (request_id, user_id, url, created_at), or web_logs of Canvas Data (id, user_id, timestamp, url)",
        );
      }
      const twice = names.find((name, position) => names.indexOf(name) !== position);
      if (twice !== undefined) {
        throw new ImportError(`the file has two columns "${twice}"`, "rename one of them");
      }
      return (cells, line) =>
        messageOf(
          Object.fromEntries(names.map((name, position) => [name, cellOf(cells[position] ?? "", isEscaped)])),
          times,
          line,
        );
    },
    (delimiter) => {
      isEscaped = delimiter === "\t";
    },
    "\t",
  );
}

/** The kind of a line of JSON. */
function messagesOf(value: Json, times: Times): (Message | Problem)[] {
  if (value["metadata"] === undefined && value["sensor"] !== undefined) {
    return [{ what: "an event in Caliper's format", hint: "insights import caliper" }];
  }
  return [messageOf(requestOf(value), times)];
}

const isRequest = (value: Json): boolean =>
  value["metadata"] === undefined &&
  (value["links"] !== undefined || value["value"] !== undefined || value["url"] !== undefined);

/** Live Events, page views, and web logs of Canvas. */
export function canvasReader(): Reader {
  const times = new Times({ timeZone: "UTC" });
  const live = dialectReader(
    (body) => canvasMessages({ body }),
    (body) => canvasItems(body),
    (value) => (isRequest(value) || value["sensor"] !== undefined ? messagesOf(value, times) : undefined),
  );
  const reader: Reader = async function* (lines) {
    const batches = lines[Symbol.asyncIterator]();
    const head: Line[][] = [];
    let text: string | undefined;
    while (text === undefined) {
      const batch = await batches.next();
      if (batch.done === true) break;
      head.push(batch.value);
      text = batch.value
        .map(({ bytes }) => String(decode(bytes ?? new Uint8Array())))
        .find((each) => each.trim() !== "");
    }
    async function* all(): AsyncGenerator<Line[]> {
      yield* head;
      for (let batch = await batches.next(); batch.done !== true; batch = await batches.next()) yield batch.value;
    }
    yield* text === undefined || /^\s*[[{]/.test(text) ? live(all()) : tableOf(all(), times);
  };
  reader.parentKind = "course";
  reader.notes = () => (times.notes().length > 0 ? times.notes() : [ISO_TIMES]);
  return reader;
}
