import { RowIdentity } from "./identity.ts";
import type { Message } from "./message.ts";
import { type Reader, readTable } from "./table.ts";
import { parseTime } from "./time.ts";

const COLUMNS = ["user_id", "event_time", "action", "component", "event_name", "event_context"] as const;

/** Our kinds of items for Moodle's contexts; a context that is not listed is a page. */
const KINDS: Readonly<Record<string, string>> = {
  Course: "course",
  Assignment: "task",
  Quiz: "task",
  Choice: "task",
  Feedback: "task",
  Lesson: "task",
  Workshop: "task",
};

/**
 * Actions that open and show something: these become page views, from which time on page is derived; all others become
 * events.
 */
const VIEW = /\b(viewed|reviewed)\.?$/i;

/**
 * Moodle's event log. Events keep Moodle's names; the coded action, the component and the context become properties.
 *
 * The log has times to the second in the site's own time zone, and no ids: a hash of the row is used.
 */
export function moodleReader(options: { timeZone: string }): Reader {
  return (lines) =>
    readTable(lines, ",", (header) => {
      const positions = COLUMNS.map((name) => header.position(name));
      const identity = new RowIdentity("moodle");
      return (cells) => {
        const row = positions.map((position) => cells[position] ?? "");
        const [person = "", at = "", action = "", component = "", event = "", context = ""] = row;
        // 0 is a visitor, "-" an event of no user.
        if (person === "" || person === "0" || person === "-") return { what: "no user_id" };
        if (event === "") return { what: "no event_name" };
        const time = parseTime(at, options.timeZone);
        if (typeof time !== "number") return { ...time, what: `event_time: ${time.what}` };
        const properties = { ...itemOf(context), ...present({ action, component, context }) };
        const base = {
          messageId: identity.idOf(row),
          userId: person,
          timestamp: new Date(time).toISOString(),
          properties,
        };
        return VIEW.test(event) ? { ...base, type: "page", name: event } : { ...base, type: "track", event };
      };
    });
}

/** `Course: 3621691 : Learning Analytics` is course 3621691; other contexts have only their kind and title. */
function itemOf(context: string): NonNullable<Message["properties"]> {
  const [, type = "", rest = ""] = /^([^:]+): (.+)$/.exec(context) ?? [];
  if (rest === "") return {};
  const kind = KINDS[type] ?? "page";
  const [, number, title] = /^(\d+) : (.+)$/.exec(rest) ?? [];
  const slug = type.toLowerCase().replaceAll(" ", "-");
  return { item: `moodle/${slug}/${number ?? rest}`, itemKind: kind, itemTitle: title ?? rest };
}

function present(properties: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== ""));
}
