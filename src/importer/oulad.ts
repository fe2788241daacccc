import { rowsOf } from "./csv.ts";
import { RowIdentity } from "./identity.ts";
import type { Item } from "./items.ts";
import { linesOf } from "./lines.ts";
import type { Message } from "./message.ts";
import { ImportError, type Problem, shown } from "./problem.ts";
import type { Source } from "./sources.ts";
import { type Header, type Reader, readTable } from "./table.ts";

/*
 * The tables of the Open University Learning Analytics Dataset (Kuzilek, Hlosta and Zdrahal, 2017): a directory of CSV
 * files. Their dates are days of a presentation, which begins in February (2013B) or October (2013J); the first of the
 * month is day 0, since the data set has no dates. Rows of a day have its midnight, UTC, as their time.
 */

const DAY = 86_400_000;

type Row = Readonly<Record<string, string>>;

/** Rows of the tables that others refer to, by key. */
interface Siblings {
  courses: ReadonlyMap<string, Row>;
  assessments: ReadonlyMap<string, Row>;
  vle: ReadonlyMap<string, Row>;
}

interface Table {
  columns: readonly string[];
  /** Tables of the same directory that must be there. */
  needs: readonly (keyof Siblings)[];
  convert: (row: Row, siblings: Siblings) => Event[] | Problem;
}

interface Event {
  type?: "page";
  event: string;
  /** A day of the presentation. */
  day: string;
  presentation: Row;
  properties: Record<string, unknown>;
}

/** Kinds of items by the activity types of the virtual learning environment; others are pages. */
const KINDS: Readonly<Record<string, string>> = {
  externalquiz: "task",
  forumng: "discussion",
  questionnaire: "task",
  quiz: "task",
};

const courseOf = (row: Row): string => `oulad/${row["code_module"]}/${row["code_presentation"]}`;

const STRUCTURES = "courses, assessments and vle";

const tables: Readonly<Record<string, Table>> = {
  studentVle: {
    columns: ["code_module", "code_presentation", "id_student", "id_site", "date", "sum_click"],
    needs: [],
    convert(row, { vle }) {
      const site = vle.get(row["id_site"] ?? "");
      const type = site?.["activity_type"];
      return [
        {
          type: "page",
          event: "Page Viewed",
          day: row["date"] ?? "",
          presentation: row,
          properties: {
            item: `oulad/site/${row["id_site"]}`,
            itemKind: KINDS[type ?? ""] ?? "page",
            parent: courseOf(row),
            clicks: Number(row["sum_click"]),
            ...(type === undefined ? {} : { itemTitle: `${type} ${row["id_site"]}` }),
          },
        },
      ];
    },
  },
  studentRegistration: {
    columns: ["code_module", "code_presentation", "id_student", "date_registration", "date_unregistration"],
    needs: [],
    convert(row) {
      const about = { presentation: row, properties: { item: courseOf(row), itemKind: "course" } };
      const [enrolled, left] = [row["date_registration"] ?? "", row["date_unregistration"] ?? ""];
      if (enrolled === "" && left === "") return { what: "no date of registration", isLeftOut: true };
      return [
        ...(enrolled === "" ? [] : [{ ...about, event: "Course Enrolled", day: enrolled }]),
        ...(left === "" ? [] : [{ ...about, event: "Course Dropped", day: left }]),
      ];
    },
  },
  studentAssessment: {
    columns: ["id_assessment", "id_student", "date_submitted", "is_banked", "score"],
    needs: ["assessments"],
    convert(row, { assessments }) {
      const assessment = assessments.get(row["id_assessment"] ?? "");
      if (assessment === undefined) return { what: "an assessment that assessments.csv does not have" };
      if (row["is_banked"] === "1") return { what: "a result of an earlier presentation", isLeftOut: true };
      const [due, score] = [assessment["date"] ?? "", row["score"] ?? ""];
      return [
        {
          event: "Task Submitted",
          day: row["date_submitted"] ?? "",
          presentation: assessment,
          properties: {
            item: `oulad/assessment/${row["id_assessment"]}`,
            itemKind: "task",
            itemTitle: `${assessment["assessment_type"]} ${row["id_assessment"]}`,
            parent: courseOf(assessment),
            ...(due === "" ? {} : { late: Number(row["date_submitted"]) > Number(due) }),
            ...(score === "" ? {} : { score: Number(score) / 100 }),
          },
        },
      ];
    },
  },
  studentInfo: {
    columns: ["code_module", "code_presentation", "id_student", "final_result", "num_of_prev_attempts"],
    needs: ["courses"],
    convert(row, { courses }) {
      const course = courses.get(courseOf(row));
      if (course === undefined) return { what: "a presentation that courses.csv does not have" };
      const result = row["final_result"] ?? "";
      // Withdrawals are in studentRegistration, with their days.
      if (result === "Withdrawn") return { what: "withdrawn: see studentRegistration", isLeftOut: true };
      return [
        {
          event: result === "Fail" ? "Course Failed" : "Course Completed",
          day: course["module_presentation_length"] ?? "",
          presentation: row,
          properties: {
            item: courseOf(row),
            itemKind: "course",
            result,
            attempt: Number(row["num_of_prev_attempts"]) + 1,
          },
        },
      ];
    },
  },
};

/** The tables without events, which give the items, also those that no row of a student is about. */
const structures: readonly { columns: readonly string[]; itemOf: (row: Row) => Item | Problem }[] = [
  {
    columns: ["id_site", "code_module", "code_presentation", "activity_type"],
    itemOf: (row) => pageOf(row["id_site"] ?? "", row["activity_type"], courseOf(row)),
  },
  {
    columns: ["id_assessment", "code_module", "code_presentation", "assessment_type"],
    itemOf: (row) => ({ ...taskOf(row), parent: courseOf(row) }),
  },
  {
    columns: ["code_module", "code_presentation", "module_presentation_length"],
    itemOf: (row) => ({
      item: courseOf(row),
      kind: "course",
      title: `${row["code_module"]} ${row["code_presentation"]}`,
    }),
  },
];

const pageOf = (site: string, type: string | undefined, parent: string): Item => ({
  item: `oulad/site/${site}`,
  kind: KINDS[type ?? ""] ?? "page",
  parent,
  ...(type === undefined ? {} : { title: `${type} ${site}` }),
});

const taskOf = (assessment: Row): Item => ({
  item: `oulad/assessment/${assessment["id_assessment"]}`,
  kind: "task",
  title: `${assessment["assessment_type"]} ${assessment["id_assessment"]}`,
});

/** The reader of one table. Those that it refers to are read from the same directory or archive. */
export async function ouladReader(source: Source): Promise<Reader> {
  const siblings: Siblings = {
    courses: await siblingOf(source, "courses", courseOf),
    assessments: await siblingOf(source, "assessments", (row) => row["id_assessment"] ?? ""),
    vle: await siblingOf(source, "vle", (row) => row["id_site"] ?? ""),
  };
  const reader: Reader = (lines) =>
    readTable(lines, ",", (header) => {
      const structure = structures.find(({ columns }) => columns.every((name) => header.has(name)));
      if (structure !== undefined) {
        const cellsOf = structure.columns.map((name) => [name, header.position(name)] as const);
        return (cells): Item | Problem => {
          const row = Object.fromEntries(cellsOf.map(([name, position]) => [name, cells[position] ?? ""]));
          const empty = structure.columns.find((name) => row[name] === "");
          return empty === undefined ? structure.itemOf(row) : { what: `no ${empty}` };
        };
      }
      const { columns, needs, convert } = tableOf(header);
      const missing = needs.find((name) => siblings[name].size === 0);
      if (missing !== undefined) {
        throw new ImportError(
          `this table refers to ${missing}.csv, which is not in its directory`,
          "put the tables of the data set into one directory, with their own names",
        );
      }
      const positions = columns.map((name) => [name, header.position(name)] as const);
      const identity = new RowIdentity("oulad");
      return (cells) => {
        const row = Object.fromEntries(positions.map(([name, position]) => [name, cells[position] ?? ""]));
        const person = row["id_student"] ?? "";
        if (person === "") return { what: "no id_student" };
        const events = convert(row, siblings);
        if (!Array.isArray(events)) return events;
        return events.map((event) => messageOf(event, person, identity));
      };
    });
  reader.parentKind = "course";
  reader.notes = () => [
    "times are days of a presentation, at midnight in UTC: day 0 of 2013B is 1 February, of 2013J 1 October",
  ];
  return reader;
}

function messageOf(event: Event, person: string, identity: RowIdentity): Message | Problem {
  const { type, event: name, day, presentation, properties } = event;
  const [, year, half] = /^(\d{4})([BJ])$/.exec(presentation["code_presentation"] ?? "") ?? [];
  if (year === undefined) return { what: "a presentation that is not like 2013J" };
  if (!/^-?\d{1,4}$/.test(day)) return { what: "not a day", value: shown(day) };
  const time = Date.UTC(Number(year), half === "B" ? 1 : 9, 1) + Number(day) * DAY;
  const base = {
    messageId: identity.idOf([name, person, day, JSON.stringify(properties)]),
    userId: person,
    timestamp: new Date(time).toISOString(),
    properties,
  };
  return type === undefined ? { ...base, type: "track", event: name } : { ...base, type };
}

function tableOf(header: Header): Table {
  const table = Object.values(tables).find(({ columns }) => columns.every((name) => header.has(name)));
  if (table !== undefined) return table;
  throw new ImportError(
    `this is not a table of OULAD: its columns are ${shown(header.names.join(", "))}`,
    `the tables are ${Object.keys(tables).join(", ")}; ${STRUCTURES} are those of the items`,
  );
}

/** The rows of a small table of the same directory or archive, by key; none if the table is missing. */
async function siblingOf(
  source: Source,
  table: keyof Siblings,
  keyOf: (row: Row) => string,
): Promise<ReadonlyMap<string, Row>> {
  const found = new Map<string, Row>();
  const file = (await source.siblings()).find(({ base }) => base === `${table}.csv`);
  if (file === undefined) return found;
  const input = await file.open();
  try {
    let header: string[] | undefined;
    for await (const rows of rowsOf(linesOf(input.bytes), ",")) {
      for (const row of rows) {
        if ("problem" in row) continue;
        if (header === undefined) header = row.cells.map((name) => name.trim());
        else {
          const entry = Object.fromEntries(header.map((name, index) => [name, row.cells[index] ?? ""]));
          found.set(keyOf(entry), entry);
        }
      }
    }
  } finally {
    await input.close();
  }
  return found;
}
