import type { Item } from "../../importer/items.ts";
import { compact, isObject, type Json, objectOf, shareOf, textOf } from "../dialect.ts";
import { type Statement, voided } from "./statement.ts";

/*
 * The event of a statement, as a message of `track.ingest` without its person, id and time, which the database adds.
 * Names are those of the event catalogue, or else the last word of the verb.
 */

/** The kind of item of an activity's type, by the last part of its IRI. */
const kinds: Readonly<Record<string, string>> = {
  course: "course",
  module: "module",
  lesson: "module",
  assessment: "task",
  performance: "task",
  simulation: "task",
  task: "task",
  question: "question",
  "cmi.interaction": "question",
  media: "video",
  video: "video",
  page: "page",
  webpage: "page",
  link: "page",
  file: "file",
  discussion: "discussion",
  "community-site": "discussion",
};

/** `{kind}` is that of the item: Course, Module, Task. */
const names: Readonly<Record<string, string>> = {
  registered: "Course Enrolled",
  unregistered: "Course Dropped",
  answered: "Question Answered",
  attempted: "Task Submitted",
  submitted: "Task Submitted",
  passed: "Task Completed",
  failed: "Task Failed",
  scored: "Task Graded",
  evaluated: "Task Graded",
  paused: "Video Playback Paused",
  seeked: "Video Playback Seek Completed",
  commented: "Message Posted",
  replied: "Message Posted",
  posted: "Message Posted",
  downloaded: "Resource Downloaded",
  searched: "Search Performed",
  rated: "Item Rated",
  earned: "Badge Awarded",
  "logged-in": "Signed In",
  "logged-out": "Signed Out",
};

const started: Readonly<Record<string, string>> = {
  course: "Course Started",
  module: "Module Started",
  video: "Video Playback Started",
};
const completed: Readonly<Record<string, string>> = {
  course: "Course Completed",
  module: "Module Completed",
  video: "Video Playback Completed",
};

const views: ReadonlySet<string> = new Set(["experienced", "viewed", "accessed", "read"]);

const lastPart = (iri: string | undefined): string => /([^/#?]+)[/#]?$/.exec(iri ?? "")?.[1]?.toLowerCase() ?? "";

const titleOf = (map: unknown): string | undefined => {
  const texts = objectOf(map);
  return textOf(texts["en"] ?? texts["en-US"] ?? Object.values(texts)[0]);
};

/** Seconds of a duration in ISO 8601, of days and less: a month or year has no fixed length. */
function secondsOf(duration: string | undefined): number | undefined {
  const [whole, weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] =
    /^P(?:([\d.]+)W)?(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?$/.exec(duration ?? "") ?? [];
  if (whole === undefined) return undefined;
  return (
    Number(weeks) * 604_800 + Number(days) * 86_400 + Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)
  );
}

const video = "https://w3id.org/xapi/video/extensions/";

function nameOf(word: string, kind: string | undefined, position: unknown): string {
  if (word === "launched" || word === "initialized" || word === "started") return started[kind ?? ""] ?? "Task Started";
  if (word === "completed") return completed[kind ?? ""] ?? "Task Completed";
  if (word === "played") return position === 0 ? "Video Playback Started" : "Video Playback Resumed";
  const words = word.replaceAll(/[-_.]+/g, " ").replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase());
  return names[word] ?? (words.slice(0, 200) || "Statement");
}

/** The item of an activity. */
function itemOf(activity: Json): { item: string | undefined; title: string | undefined; kind: string | undefined } {
  const definition = objectOf(activity["definition"]);
  const type = lastPart(textOf(definition["type"]));
  return {
    item: textOf(activity["id"])?.slice(0, 512),
    title: titleOf(definition["name"])?.slice(0, 500),
    kind: kinds[type] ?? (definition["interactionType"] === undefined ? undefined : "question"),
  };
}

/**
 * Containers of the activity of a statement: its parent, and the course among the groupings, with their titles and kinds.
 * Activities of other kinds may be those of a person, and are named by her events alone.
 */
export function containersOf({ object, context = {} }: Statement): Item[] {
  const own = isObject(object) ? textOf(object["id"])?.slice(0, 512) : undefined;
  const { parent = [], grouping = [] } = context.contextActivities ?? {};
  const described = ([...parent, ...grouping] as Json[])
    .map(itemOf)
    .filter(({ item, kind }) => item !== undefined && item !== own && kind !== undefined);
  const course = described.find(({ kind }) => kind === "course")?.item;
  return described.map(({ item = "", title, kind }) => ({
    ...compact({ item, kind, title }),
    item,
    ...(kind === "course" || course === undefined || course === item || !isParent(parent, item)
      ? {}
      : { parent: course }),
  }));
}

const isParent = (parents: readonly unknown[], item: string): boolean =>
  parents.some((parent) => textOf(objectOf(parent)["id"])?.slice(0, 512) === item);

/** Undefined for a statement that voids another one. */
export function eventOf({ verb, object, result = {}, context = {} }: Statement): Json | undefined {
  if (verb.id === voided) return undefined;
  const activity = isObject(object) && (object["objectType"] ?? "Activity") === "Activity" ? object : {};
  const { item, title, kind } = itemOf(activity);
  const word = lastPart(verb.id);
  const { scaled, raw, min = 0, max } = result.score ?? {};
  const extensions = objectOf(result.extensions);
  const position = extensions[`${video}time`] ?? extensions[`${video}time-to`];
  const parent = context.contextActivities?.parent?.[0] ?? context.contextActivities?.grouping?.[0];
  const properties = compact({
    item,
    itemTitle: title,
    itemKind: kind,
    parent: parent?.id === item ? undefined : parent?.id.slice(0, 512),
    registration: context.registration,
    score: scaled ?? (max === undefined || raw === undefined ? undefined : shareOf(raw - min, max - min)),
    success: result.success,
    completion: result.completion,
    correct: word === "answered" ? result.success : undefined,
    duration: secondsOf(result.duration),
    position: typeof position === "number" ? position : undefined,
    platform: context.platform?.slice(0, 200),
    rating: word === "rated" ? raw : undefined,
  });
  if (views.has(word)) return { type: "page", properties };
  return { type: "track", event: nameOf(word, kind, position), properties };
}
