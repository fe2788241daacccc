import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { canvasReader } from "../../src/importer/canvas.ts";
import { caliperReader, xapiReader } from "../../src/importer/dialects.ts";
import { edxReader } from "../../src/importer/edx.ts";
import { importFile, type Summary } from "../../src/importer/import.ts";
import { inputOf } from "../../src/importer/input.ts";
import { FirstStatements, type Item } from "../../src/importer/items.ts";
import { linesOf } from "../../src/importer/lines.ts";
import { moodleReader } from "../../src/importer/moodle.ts";
import { ouladReader } from "../../src/importer/oulad.ts";
import type { Problem } from "../../src/importer/problem.ts";
import { sourcesOf } from "../../src/importer/sources.ts";
import type { Reader, Reading } from "../../src/importer/table.ts";
import { testDatabase } from "../support/database.ts";

/* Courses and their parts as files state them, with and without events. */

async function* bytesOf(content: string): AsyncGenerator<Uint8Array> {
  // In small pieces, as a pipe gives them.
  const bytes = Buffer.from(content);
  for (let start = 0; start < bytes.length; start += 700) yield bytes.subarray(start, start + 700);
}

async function read(reader: Reader, content: string): Promise<Reading[]> {
  const readings: Reading[] = [];
  for await (const batch of reader(linesOf(bytesOf(content)))) readings.push(...batch);
  return readings;
}

const itemsOf = (readings: Reading[]): [number, Item][] =>
  readings.flatMap((reading) => ("item" in reading ? [[reading.line, reading.item] as [number, Item]] : []));

const run = "edX+DemoX+Demo";
const block = (type: string, id: string): string => `block-v1:${run}+type@${type}+block@${id}`;
const course = `course-v1:${run}`;

/** As dump_course_structure and the data packages write it. */
const structure = {
  [block("course", "course")]: {
    category: "course",
    children: [block("chapter", "c1")],
    metadata: { display_name: "Demonstration" },
  },
  [block("chapter", "c1")]: {
    category: "chapter",
    children: [block("sequential", "s1")],
    metadata: { display_name: "Week 1" },
  },
  [block("sequential", "s1")]: { category: "sequential", children: [block("vertical", "v1")], metadata: {} },
  [block("vertical", "v1")]: { category: "vertical", children: [block("video", "x")], metadata: {} },
  [block("video", "x")]: { category: "video", children: [], metadata: { display_name: "Welcome" } },
};

describe("the structure of an edX course", () => {
  const expected = [
    { item: course, kind: "course", title: "Demonstration" },
    { item: block("chapter", "c1"), kind: "module", title: "Week 1", parent: course },
    { item: block("sequential", "s1"), kind: "module", parent: block("chapter", "c1") },
    { item: block("vertical", "v1"), kind: "page", parent: block("sequential", "s1") },
    { item: block("video", "x"), kind: "video", title: "Welcome", parent: block("vertical", "v1") },
  ];

  test("of the data packages, on one line or many, with the lines of its blocks", async () => {
    expect(itemsOf(await read(edxReader(), JSON.stringify(structure))).map(([, item]) => item)).toEqual(expected);
    const lines = itemsOf(await read(edxReader(), `\n${JSON.stringify(structure, undefined, 2)}\n`));
    expect(lines.map(([, item]) => item)).toEqual(expected);
    expect(lines[0]?.[0]).toBe(3);
    expect(lines.map(([at]) => at)).toEqual(lines.map(([at]) => at).toSorted((one, other) => one - other));
  });

  test("of the blocks API, with addresses", async () => {
    const blocks = Object.fromEntries(
      Object.entries(structure).map(([id, { category, children, metadata }]) => [
        id,
        {
          id,
          type: category,
          children,
          display_name: "display_name" in metadata ? metadata.display_name : undefined,
          lms_web_url: `https://lms.example/${category}`,
        },
      ]),
    );
    const found = itemsOf(
      await read(edxReader(), JSON.stringify({ root: block("course", "course"), blocks }, undefined, 1)),
    );
    expect(found.map(([, item]) => item)).toEqual(
      expected.map((item, index) => ({
        ...item,
        url: `https://lms.example/${Object.values(structure)[index]?.category}`,
      })),
    );
  });

  test("of old courses, whose keys are locations", async () => {
    const old = {
      "i4x://edX/Demo/course/2012": { category: "course", children: ["i4x://edX/Demo/problem/p"], metadata: {} },
      "i4x://edX/Demo/problem/p": { category: "problem", children: [], metadata: { display_name: "P" } },
    };
    expect(itemsOf(await read(edxReader(), JSON.stringify(old))).map(([, item]) => item)).toEqual([
      { item: "edX/Demo/2012", kind: "course" },
      { item: "i4x://edX/Demo/problem/p", kind: "task", title: "P", parent: "edX/Demo/2012" },
    ]);
  });

  test("another document is read as a log: line by line, with its reasons", async () => {
    for (const other of [JSON.stringify({ a: { b: 1 } }), JSON.stringify({ a: { b: 1 } }, undefined, 2), "{", "{}"]) {
      const readings = await read(edxReader(), other);
      expect(itemsOf(readings)).toEqual([]);
      expect(readings.length).toBeGreaterThan(0);
      for (const reading of readings) expect(reading).toHaveProperty("problem");
    }
  });
});

test("the tables of OULAD without events are the items, and a row without a key is named", async () => {
  const directory = mkdtempSync(join(tmpdir(), "insights-structure-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  const tables: Record<string, string> = {
    "courses.csv": "code_module,code_presentation,module_presentation_length\nAAA,2013J,268\n",
    "vle.csv":
      "id_site,code_module,code_presentation,activity_type,week_from,week_to\n5,AAA,2013J,quiz,,\n6,AAA,2013J,resource,,\n7,,2013J,url,,\n",
    "assessments.csv":
      "code_module,code_presentation,id_assessment,assessment_type,date,weight\nAAA,2013J,1752,TMA,19,10\n",
  };
  for (const [name, content] of Object.entries(tables)) writeFileSync(join(directory, name), content);
  const found: unknown[] = [];
  for (const [name, content] of Object.entries(tables)) {
    const [source] = await sourcesOf(join(directory, name));
    if (source === undefined) throw new Error(name);
    const readings = await read(await ouladReader(source), content);
    found.push(...readings.map((reading) => ("item" in reading ? reading.item : reading)));
  }
  expect(found).toEqual([
    { item: "oulad/AAA/2013J", kind: "course", title: "AAA 2013J" },
    { item: "oulad/site/5", kind: "task", title: "quiz 5", parent: "oulad/AAA/2013J" },
    { item: "oulad/site/6", kind: "page", title: "resource 6", parent: "oulad/AAA/2013J" },
    { line: 4, problem: { what: "no code_module" } },
    { item: "oulad/assessment/1752", kind: "task", title: "TMA 1752", parent: "oulad/AAA/2013J" },
  ]);
});

test("parents and groupings of statements have the titles and kinds of their definitions", async () => {
  const activity = (id: string, type: string, name?: string) => ({
    id: `https://lms.example/${id}`,
    definition: {
      type: `http://adlnet.gov/expapi/activities/${type}`,
      ...(name === undefined ? {} : { name: { en: name } }),
    },
  });
  const statement = {
    actor: { mbox: "mailto:ada@example.org" },
    verb: { id: "http://adlnet.gov/expapi/verbs/completed" },
    object: activity("task/1", "assessment", "Task"),
    context: {
      contextActivities: {
        parent: [activity("module/1", "module", "Module")],
        // Without a kind of its own, it may be that of a person.
        grouping: [activity("course/1", "course", "Course"), { id: "https://lms.example/profile/ada" }],
      },
    },
    timestamp: "2025-03-03T10:00:00Z",
  };
  const found = itemsOf(await read(xapiReader(), JSON.stringify(statement)));
  expect(found.map(([, item]) => item)).toEqual([
    {
      item: "https://lms.example/module/1",
      kind: "module",
      title: "Module",
      parent: "https://lms.example/course/1",
    },
    { item: "https://lms.example/course/1", kind: "course", title: "Course" },
  ]);
});

test("Live Events that create what a course contains describe it, also without a user", async () => {
  const event = (name: string, body: Record<string, unknown>, context: Record<string, unknown> = {}): string =>
    JSON.stringify({ metadata: { event_name: name, event_time: "2025-03-03T10:00:00Z", ...context }, body });
  const readings = await read(
    canvasReader(),
    [
      event("course_created", { course_id: "4", name: "Algebra" }),
      event("module_created", { module_id: "7", name: "Week 1", context_id: "4", context_type: "Course" }),
      event("wiki_page_updated", { wiki_page_id: "9", title: "Welcome" }, { context_type: "Course", context_id: "4" }),
      event("assignment_created", { assignment_id: "11", title: "Essay", context_id: "4", context_type: "Course" }),
      event("user_account_association_created", { user_id: "3" }),
    ].join("\n"),
  );
  expect(itemsOf(readings).map(([line, item]) => [line, item])).toEqual([
    [1, { item: "course:4", kind: "course", title: "Algebra" }],
    [2, { item: "context_module:7", kind: "module", title: "Week 1", parent: "course:4" }],
    [3, { item: "course:4", kind: "course" }],
    [3, { item: "wiki_page:9", kind: "page", title: "Welcome", parent: "course:4" }],
    [4, { item: "assignment:11", kind: "task", title: "Essay", parent: "course:4" }],
  ]);
});

test("the group of a Caliper event is a course, in the one that it is a part of", async () => {
  const event = {
    type: "ViewEvent",
    action: "Viewed",
    actor: "https://example.edu/users/1",
    object: { id: "https://example.edu/docs/2", type: "Document" },
    group: {
      id: "https://example.edu/sections/1",
      type: "CourseSection",
      name: "Section",
      subOrganizationOf: { id: "https://example.edu/offerings/1", type: "CourseOffering", name: "Offering" },
    },
    eventTime: "2025-03-03T10:00:00Z",
  };
  expect(itemsOf(await read(caliperReader(), JSON.stringify(event))).map(([, item]) => item)).toEqual([
    {
      item: "https://example.edu/sections/1",
      kind: "course",
      title: "Section",
      parent: "https://example.edu/offerings/1",
    },
    { item: "https://example.edu/offerings/1", kind: "course", title: "Offering" },
  ]);
});

test("each attribute of an item counts where a file states it first", () => {
  const first = new FirstStatements();
  expect(first.of({ item: "a", kind: "course" })).toEqual({ item: "a", kind: "course" });
  expect(first.of({ item: "a", kind: "module", title: "A" })).toEqual({ item: "a", title: "A" });
  expect(first.of({ item: "a", kind: "module", title: "B" })).toBeUndefined();
  expect(first.of({ item: "b" })).toEqual({ item: "b" });
  expect(first.of({ item: "b" })).toBeUndefined();
});

const database = await testDatabase();

async function imported(
  content: string,
  reader: Reader,
  source: string,
): Promise<Summary & { bad: [number, Problem][] }> {
  const bad: [number, Problem][] = [];
  const summary = await importFile(database.pool, {
    input: await inputOf(bytesOf(content), undefined, "content"),
    reader,
    source,
    onRejected: (line, problem) => bad.push([line, problem]),
  });
  return { ...summary, bad };
}

const stored = (source: string) =>
  database.rows(
    `select item.external_id as item, item.kind, parent.external_id as parent
     from track.imported_item
     join track.source using (source_id)
     join track.item using (item_id)
     left join track.item as parent on parent.item_id = item.parent_item_id
     where source.name = $1
     order by item.external_id`,
    [source],
  );

test("a structure is stored once, counted, and removed with its import", async () => {
  const content = JSON.stringify(structure, undefined, 2);
  expect(await imported(content, edxReader(), "edx-structure")).toMatchObject({ total: 0, items: 5, knownItems: 0 });
  expect(await stored("edx-structure")).toHaveLength(5);
  expect(await imported(content, edxReader(), "edx-structure")).toMatchObject({ total: 0, items: 0, knownItems: 5 });
  for (;;) {
    if ((await database.value("select completed_at is not null from track.forget_import('edx-structure')")) === true)
      break;
  }
  expect(await database.rows("select from track.item where external_id like '%DemoX%'")).toHaveLength(0);
});

test("a block of a cycle is rejected alone, with its line", async () => {
  const odd = {
    ...structure,
    [block("chapter", "one")]: { category: "chapter", children: [block("chapter", "two")] },
    [block("chapter", "two")]: { category: "chapter", children: [block("chapter", "one")] },
  };
  const { bad, items } = await imported(JSON.stringify(odd, undefined, 2), edxReader(), "edx-cycle");
  expect(items).toBe(6);
  expect(bad).toHaveLength(1);
  expect(bad[0]?.[1].what).toContain("CF010");
  expect(bad[0]?.[0]).toBeGreaterThan(30);
});

test("courses that only rows name have their kind", async () => {
  const row =
    "\"3/03/25, 10:00:00\",Ada,-,Quiz: One,Quiz,Course module viewed,\"The user with id '7' viewed the 'quiz' activity with course module id '12'.\",web,10.0.0.1";
  const reader = moodleReader({ timeZone: "UTC", dateOrder: "dmy", course: "36" });
  const content = `Time,User full name,Affected user,Event context,Component,Event name,Description,Origin,IP address\n${row}\n`;
  expect(await imported(content, reader, "moodle-structure")).toMatchObject({ accepted: 1, items: 1 });
  expect(await stored("moodle-structure")).toEqual([{ item: "moodle/course/36", kind: "course", parent: null }]);
});
