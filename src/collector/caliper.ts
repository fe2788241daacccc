import {
  BodyError,
  type Call,
  compact,
  idOf,
  isObject,
  type Json,
  objectOf,
  type Route,
  shareOf,
  type Translated,
  textOf,
} from "./dialect.ts";

/*
 * Envelopes of IMS Caliper 1.1 and 1.2. An entity of an event is an object, or its id alone. Ids are IRIs, and stay what
 * they are; those of Canvas (`urn:instructure:canvas:user:17`) become the number that Canvas itself uses.
 */

export const idOfEntity = (entity: unknown): string | undefined => {
  const id = textOf(isObject(entity) ? entity["id"] : entity);
  return id === undefined ? undefined : (/^urn:instructure:canvas:\w+:(\d+)$/.exec(id)?.[1] ?? id);
};

/** The kind of item of an entity's type. */
const kinds: Readonly<Record<string, string>> = {
  Assessment: "task",
  AssessmentItem: "question",
  AssignableDigitalResource: "task",
  CourseOffering: "course",
  CourseSection: "course",
  Document: "page",
  Forum: "discussion",
  MediaObject: "video",
  Page: "page",
  Thread: "discussion",
  VideoObject: "video",
  WebPage: "page",
};

/** Our names of events, by type and action. Others are the type and the action: `Forum Subscribed`. */
const names: Readonly<Record<string, string>> = {
  "AssessmentEvent Started": "Task Started",
  "AssessmentEvent Submitted": "Task Submitted",
  "AssessmentItemEvent Completed": "Question Answered",
  "AssignableEvent Started": "Task Started",
  "AssignableEvent Completed": "Task Completed",
  "AssignableEvent Submitted": "Task Submitted",
  "FeedbackEvent Ranked": "Item Rated",
  "GradeEvent Graded": "Task Graded",
  "MediaEvent Started": "Video Playback Started",
  "MediaEvent Paused": "Video Playback Paused",
  "MediaEvent Resumed": "Video Playback Resumed",
  "MediaEvent Ended": "Video Playback Completed",
  "MediaEvent JumpedTo": "Video Playback Seek Completed",
  "MessageEvent Posted": "Message Posted",
  "ResourceManagementEvent Downloaded": "Resource Downloaded",
  "SearchEvent Searched": "Search Performed",
  "SessionEvent LoggedIn": "Signed In",
  "SessionEvent LoggedOut": "Signed Out",
  "ToolUseEvent Used": "Feature Used",
};

const views: ReadonlySet<string> = new Set(["ViewEvent Viewed", "NavigationEvent NavigatedTo"]);

/** Seconds of an ISO 8601 duration such as PT1M30S. */
function secondsOf(duration: unknown): number | undefined {
  const [whole, hours = 0, minutes = 0, seconds = 0] =
    typeof duration === "string" ? (/^PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?$/.exec(duration) ?? []) : [];
  return whole === undefined ? undefined : Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

function translate(event: Json, sentAt: unknown): Translated {
  const [type, action] = [textOf(event["type"]) ?? "", textOf(event["action"]) ?? ""];
  const name = `${type} ${action}`;
  const object = objectOf(event["object"]);
  const isAttempt = object["type"] === "Attempt";
  // An attempt is of a task; a session, of no item; an answer to a message, of its thread.
  const about = isAttempt
    ? object["assignable"]
    : name.startsWith("MessageEvent")
      ? (object["isPartOf"] ?? event["object"])
      : event["object"];
  const entity = objectOf(about);
  const item = type === "SessionEvent" ? undefined : idOfEntity(about);
  const generated = objectOf(event["generated"]);
  const attempt = isAttempt ? object : generated;
  const graded = name === "GradeEvent Graded";
  const properties = compact({
    item,
    itemTitle: entity["name"],
    itemKind: kinds[textOf(entity["type"]) ?? ""],
    parent: idOfEntity(event["group"]) === item ? undefined : idOfEntity(event["group"]),
    position: type === "MediaEvent" ? secondsOf(objectOf(event["target"])["currentTime"]) : undefined,
    attempt: typeof attempt["count"] === "number" ? attempt["count"] : undefined,
    score: shareOf(generated["scoreGiven"], generated["maxScore"]),
    grader: graded ? idOfEntity(event["actor"]) : undefined,
    feature: type === "ToolUseEvent" ? (textOf(entity["name"]) ?? item) : undefined,
    query: type === "SearchEvent" ? objectOf(generated["query"])["searchTerms"] : undefined,
    rating: name === "FeedbackEvent Ranked" ? objectOf(generated["selections"])[0] : undefined,
  });
  const common = compact({
    messageId: textOf(event["id"])?.replace(/^urn:uuid:/, "") ?? idOf({ ...event, timestamp: event["eventTime"] }),
    // Of a grade, the learner who is concerned.
    userId: idOfEntity(graded ? object["assignee"] : event["actor"]),
    timestamp: event["eventTime"],
    sentAt,
  });
  if (views.has(name)) return { type: "page", ...common, properties };
  const words = (text: string): string => text.replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ");
  return {
    type: "track",
    ...common,
    event: names[name] ?? words(`${type.replace(/Event$/, "")} ${action}`.trim()),
    properties,
  };
}

export function caliperMessages({ body }: Pick<Call, "body">): Translated[] {
  const { sensor, sendTime, data } = objectOf(body);
  if (textOf(sensor) === undefined || textOf(sendTime) === undefined || !Array.isArray(data)) {
    throw new BodyError(
      "the body is not a Caliper envelope",
      'Send {"sensor", "sendTime", "dataVersion", "data": [event, …]}.',
    );
  }
  // Entities that are described without an event are not stored.
  return data.flatMap((event) =>
    isObject(event) && textOf(event["action"]) === undefined && !textOf(event["type"])?.endsWith("Event")
      ? []
      : [isObject(event) ? translate(event, sendTime) : event],
  );
}

export const caliperRoutes: readonly Route[] = [
  {
    name: "/caliper",
    method: "POST",
    path: /^\/caliper\/?$/,
    key: "bearer",
    messages: caliperMessages,
    answer: () => ({ status: 200 }),
    statuses: {},
  },
];
