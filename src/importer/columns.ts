import { RowIdentity } from "./identity.ts";
import type { Message } from "./message.ts";
import { ImportError, type Problem } from "./problem.ts";
import { noteTimes, type Reader, readTable } from "./table.ts";
import { type TimeRules, Times } from "./time.ts";

/** The columns of the file by meaning. */
export interface ColumnMapping extends TimeRules {
  person: string;
  at: string;
  /** The name of all events, or the column with their names. */
  event?: string | undefined;
  eventColumn?: string | undefined;
  item?: string;
  itemKind?: string;
  itemTitle?: string;
  /** The column with the ids of the events; without one, a hash of the row is used. */
  messageId?: string;
  /** Columns to store as properties, each as `column` or `name=column`. */
  properties: readonly string[];
  /** Undefined: guessed from the header. */
  delimiter?: string | undefined;
}

/** Property names that have a meaning in messages, which a column must not get by accident. */
const RESERVED = new Set(["item", "itemKind", "itemTitle", "parent", "viewId"]);

/** Any table of events: a row is one event of one person at one time, usually about one item. */
export function columnReader(mapping: ColumnMapping): Reader {
  const times = new Times(mapping);
  let guess: string | undefined;
  const reader: Reader = (lines) =>
    readTable(
      lines,
      mapping.delimiter,
      (header) => {
        if (mapping.event !== undefined && header.has(mapping.event)) {
          throw new ImportError(
            `--event "${mapping.event}" is the name of a column`,
            `to take the names of the events from it: --event-column ${mapping.event}`,
          );
        }
        const person = header.position(mapping.person);
        const eventColumn = optional(mapping.eventColumn, (name) => header.position(name));
        const at = header.position(mapping.at);
        const item = optional(mapping.item, (name) => header.position(name));
        const itemTitle = optional(mapping.itemTitle, (name) => header.position(name));
        const messageId = optional(mapping.messageId, (name) => header.position(name));
        const properties = mapping.properties.map((text) => {
          const [name = "", column = name] = text.split(/=(.*)/, 2);
          if (RESERVED.has(name)) {
            throw new ImportError(`a property cannot be named "${name}"`, `give it another name: other=${column}`);
          }
          return { name, position: header.position(column) };
        });
        const identity = new RowIdentity("csv");
        // The name is in the cells already where it comes from a column.
        const identified = (event: string, cells: string[]): string[] =>
          eventColumn === undefined ? [event, ...cells] : cells;

        return (cells, line): Message | Problem => {
          const cell = (position: number): string => cells[position] ?? "";
          if (cell(person) === "") return { what: `no ${mapping.person}` };
          const time = times.read(cell(at), line);
          if (typeof time !== "number") return { ...time, what: `${mapping.at}: ${time.what}` };
          const event = eventColumn === undefined ? (mapping.event ?? "") : cell(eventColumn).trim();
          if (event === "") return { what: `no ${mapping.eventColumn}` };
          if (item !== undefined && cell(item) === "") return { what: `no ${mapping.item}` };
          if (messageId !== undefined && cell(messageId) === "") return { what: `no ${mapping.messageId}` };
          const about: Record<string, unknown> = {};
          if (item !== undefined) {
            about["item"] = cell(item);
            if (mapping.itemKind !== undefined) about["itemKind"] = mapping.itemKind;
            if (itemTitle !== undefined && cell(itemTitle) !== "") about["itemTitle"] = cell(itemTitle);
          }
          for (const { name, position } of properties) {
            if (cell(position) !== "") about[name] = cellValue(cell(position));
          }
          return {
            type: "track",
            messageId: messageId === undefined ? identity.idOf(identified(event, cells)) : cell(messageId),
            userId: cell(person),
            event,
            properties: about,
            timestamp: new Date(time).toISOString(),
          };
        };
      },
      (delimiter) => {
        guess = delimiter;
      },
    );
  // Many data sets number their people from 0.
  reader.keptIds = ["0"];
  reader.scan = (lines) =>
    noteTimes(lines, mapping.delimiter, times, (header) => {
      const at = header.position(mapping.at);
      return (cells) => cells[at] ?? "";
    });
  reader.notes = () => [
    ...(guess === undefined || guess === ","
      ? []
      : [`cells are separated by ${guess === "\t" ? "tabs" : `"${guess}"`}`]),
    ...times.notes(),
  ];
  return reader;
}

const NUMBER = /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?$/;

/** Numbers and booleans keep their type, everything else is a string: 007 and 1e5 are codes more often than numbers. */
function cellValue(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return NUMBER.test(text) ? Number(text) : text;
}

function optional<T, R>(value: T | undefined, use: (value: T) => R): R | undefined {
  return value === undefined ? undefined : use(value);
}
