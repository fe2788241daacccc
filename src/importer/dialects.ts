import { hash } from "node:crypto";
import { caliperMessages, idOfEntity } from "../collector/caliper.ts";
import { BodyError, objectOf, type Translated, textOf } from "../collector/dialect.ts";
import { readStatements, type Statement } from "../collector/xapi/statement.ts";
import { containersOf, eventOf } from "../collector/xapi/translate.ts";
import { RowIdentity } from "./identity.ts";
import type { Item } from "./items.ts";
import type { Message } from "./message.ts";
import { type Problem, shown } from "./problem.ts";
import { ISO_TIMES, readObjects } from "./segment.ts";
import type { Outcome, Reader } from "./table.ts";

const noted = (reader: Reader): Reader => Object.assign(reader, { notes: () => [ISO_TIMES] });

/**
 * Caliper: one envelope, or one event or entity, per line. A membership is stored as an enrolment, also where it is a part
 * of an event; its events repeat it, so that each is sent once.
 */
export const caliperReader = (): Reader => {
  const sent = new Set<string>();
  const translate = (body: Record<string, unknown>): Translated[] => {
    const envelope = Array.isArray(body["data"])
      ? body
      : {
          sensor: "file",
          sendTime: body["eventTime"] ?? body["dateCreated"],
          dataVersion: body["@context"],
          data: [body],
        };
    const memberships = (envelope["data"] as unknown[])
      .map((entity) => enrolmentOf(objectOf(entity)))
      .filter((message) => message !== undefined && !sent.has(message.messageId)) as Message[];
    if (sent.size > MOST_MEMBERSHIPS) sent.clear();
    for (const { messageId } of memberships) sent.add(messageId);
    return [...memberships, ...caliperMessages({ body: envelope })];
  };
  return dialectReader(translate, (body) =>
    (Array.isArray(body["data"]) ? body["data"] : [body]).flatMap((entity) => groupsOf(objectOf(entity)["group"], 0)),
  );
};

/** The group of an event, a course or a part of one, and the courses that it is a part of. */
function groupsOf(group: unknown, depth: number): Item[] {
  const entity = objectOf(group);
  const [item, type] = [idOfEntity(entity), textOf(entity["type"])];
  if (item === undefined || type === undefined || !/^(Course|CourseOffering|CourseSection)$/.test(type) || depth > 3) {
    return [];
  }
  const title = textOf(entity["name"]);
  const above = groupsOf(entity["subOrganizationOf"], depth + 1);
  const parent = above[0]?.item;
  return [
    {
      item,
      kind: "course",
      ...(title === undefined ? {} : { title: title.slice(0, 500) }),
      ...(parent === undefined || parent === item ? {} : { parent }),
    },
    ...above,
  ];
}

/** Further ones are sent again, and are duplicates. */
const MOST_MEMBERSHIPS = 100_000;

/** The enrolment of a learner that an entity of the type Membership describes, with the time of its creation. */
function enrolmentOf(entity: Record<string, unknown>): Message | undefined {
  const membership = entity["type"] === "Membership" ? entity : objectOf(entity["membership"]);
  const [member, organization] = [idOfEntity(membership["member"]), idOfEntity(membership["organization"])];
  const timestamp = textOf(membership["dateCreated"]);
  const roles = [membership["roles"]].flat().map((role) => /(\w+)$/.exec(String(role))?.[1]);
  if (member === undefined || organization === undefined || timestamp === undefined || !roles.includes("Learner")) {
    return undefined;
  }
  const title = textOf(objectOf(membership["organization"])["name"]);
  const properties = { item: organization, itemKind: "course", ...(title === undefined ? {} : { itemTitle: title }) };
  const digest = hash("sha256", JSON.stringify([member, organization, timestamp]), "hex").slice(0, 32);
  return {
    type: "track",
    event: "Course Enrolled",
    messageId: `membership-${digest}`,
    userId: member,
    timestamp,
    properties,
  };
}

/**
 * xAPI: one statement, or a list, per line. Only their events are stored: statements that clients can read back are sent
 * to `/xapi`.
 */
export const xapiReader = (): Reader =>
  noted((lines) => {
    const identity = new RowIdentity("xapi");
    return readObjects(lines, (value) => {
      const read = readStatements(value);
      if ("problem" in read) {
        return [
          { what: read.problem, value: shown(JSON.stringify(value)), hint: "a statement has actor, verb and object" },
        ];
      }
      return read.statements.flatMap((statement): Outcome[] => {
        const outcome = messageOf(statement, identity);
        return "what" in outcome ? [outcome] : [...containersOf(statement), outcome];
      });
    });
  });

function messageOf(statement: Statement, identity: RowIdentity): Message | Problem {
  const event = eventOf(statement);
  if (event === undefined) return { what: "a statement that voids another one", isLeftOut: true };
  const actor = objectOf(statement.actor);
  const sha1 = textOf(actor["mbox_sha1sum"]);
  const userId =
    textOf(objectOf(actor["account"])["name"]) ??
    textOf(actor["mbox"])?.slice("mailto:".length) ??
    textOf(actor["openid"]) ??
    (sha1 === undefined ? undefined : `sha1:${sha1}`);
  if (userId === undefined) return { what: "a group of people", isLeftOut: true };
  const timestamp = statement.timestamp ?? statement.stored;
  if (timestamp === undefined) return { what: "no timestamp", value: shown(JSON.stringify(statement)) };
  const messageId = statement.id ?? identity.idOf([JSON.stringify(statement)]);
  return { ...event, messageId, userId, timestamp } as Message;
}

/** `other` converts objects that are not of the dialect. */
export function dialectReader(
  translate: (body: Record<string, unknown>) => Translated[],
  itemsOf: (body: Record<string, unknown>) => Item[],
  other: (value: Record<string, unknown>) => (Message | Problem)[] | undefined = () => undefined,
): Reader {
  return noted((lines) =>
    readObjects(lines, (value): Outcome[] => {
      const others = other(value);
      if (others !== undefined) return others;
      try {
        return [...itemsOf(value), ...translate(value).map(complete)];
      } catch (error) {
        if (!(error instanceof BodyError)) throw error;
        return [{ what: error.message, value: shown(JSON.stringify(value)), hint: error.hint }];
      }
    }),
  );
}

/** Nothing is sent now: the times of a file are those of its events. An event of no user is left out. */
function complete(message: Translated): Message | Problem {
  const { sentAt: _, ...kept } = message as Message;
  return kept.userId === undefined && kept.anonymousId === undefined ? { what: "no user", isLeftOut: true } : kept;
}
