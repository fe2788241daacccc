import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { canvasReader } from "../../src/importer/canvas.ts";
import { columnReader } from "../../src/importer/columns.ts";
import { caliperReader, xapiReader } from "../../src/importer/dialects.ts";
import { edxReader } from "../../src/importer/edx.ts";
import { linesOf } from "../../src/importer/lines.ts";
import type { Message } from "../../src/importer/message.ts";
import { moodleReader } from "../../src/importer/moodle.ts";
import { ouladReader } from "../../src/importer/oulad.ts";
import { ImportError } from "../../src/importer/problem.ts";
import { segmentReader } from "../../src/importer/segment.ts";
import { sourcesOf } from "../../src/importer/sources.ts";
import type { Reader, Reading } from "../../src/importer/table.ts";

async function read(reader: Reader, content: string | Uint8Array): Promise<Reading[]> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(content as string);
  }
  const readings: Reading[] = [];
  for await (const batch of reader(linesOf(stream()))) readings.push(...batch);
  return readings;
}

const messages = (readings: Reading[]): Message[] =>
  readings.flatMap((reading) => ("message" in reading ? [reading.message] : []));
const problems = (readings: Reading[]): [number, string][] =>
  readings.flatMap((reading) =>
    "problem" in reading ? [[reading.line, reading.problem.what] as [number, string]] : [],
  );

describe("moodle", () => {
  const header = "user_id,event_time,action,component,event_name,event_context";
  const view = "ada,2019-09-09 14:08:01,Course_view,System,Course viewed,Course: 3621691 : Learning Analytics";
  const submit =
    "ada,2019-10-01 09:00:00,Assignment,Assignment,A submission has been submitted.,Assignment: Final Project";

  test("views become pages, other rows events, contexts items", async () => {
    const found = messages(
      await read(moodleReader({ timeZone: "Europe/Helsinki" }), `${header}\n${view}\n${submit}\n`),
    );
    expect(found).toMatchObject([
      {
        type: "page",
        name: "Course viewed",
        userId: "ada",
        timestamp: "2019-09-09T11:08:01.000Z",
        properties: {
          item: "moodle/course/3621691",
          itemKind: "course",
          itemTitle: "Learning Analytics",
          action: "Course_view",
          component: "System",
        },
      },
      {
        type: "track",
        event: "A submission has been submitted.",
        timestamp: "2019-10-01T06:00:00.000Z",
        properties: { item: "moodle/assignment/Final Project", itemKind: "task", itemTitle: "Final Project" },
      },
    ]);
  });

  test("equal rows are different events, and both keep their ids when the file is read again", async () => {
    const content = `${header}\n${view}\n${view}\n${submit}\n${view}\n`;
    const once = messages(await read(moodleReader({ timeZone: "UTC" }), content)).map(({ messageId }) => messageId);
    const again = messages(await read(moodleReader({ timeZone: "UTC" }), content)).map(({ messageId }) => messageId);
    expect(new Set(once).size).toBe(4);
    expect(again).toEqual(once);
    expect(once[1]).toBe(`${once[0]}-2`);
    expect(once[3]).toBe(`${once[0]}-3`);
  });

  test("ids stay distinct when the table of them has to grow", async () => {
    const rows = Array.from({ length: 20_000 }, (_, index) => view.replace("ada", `learner ${index % 15_000}`));
    const ids = messages(await read(moodleReader({ timeZone: "UTC" }), `${header}\n${rows.join("\n")}`));
    expect(new Set(ids.map(({ messageId }) => messageId)).size).toBe(20_000);
    expect(ids.filter(({ messageId }) => messageId.endsWith("-2"))).toHaveLength(5_000);
  });

  test("columns may be in any order, and a missing one is reported with the nearest name", async () => {
    const other = "event_time,user_id,event_name,event_context,component,action";
    const row = "2019-09-09 14:08:01,ada,Course viewed,Course: 3621691 : Learning Analytics,System,Course_view";
    const [a] = messages(await read(moodleReader({ timeZone: "UTC" }), `${header}\n${view}`));
    const [b] = messages(await read(moodleReader({ timeZone: "UTC" }), `${other}\n${row}`));
    expect(b).toEqual(a);
    await expect(read(moodleReader({ timeZone: "UTC" }), "user,event_time,event_context\n")).rejects.toMatchObject({
      message: 'the file has no column "user_id"',
      hint: expect.stringContaining('did you mean "user"?'),
    });
    await expect(read(moodleReader({ timeZone: "UTC" }), "user,event_time\n")).rejects.toMatchObject({
      message: "this is not a log of Moodle: its columns are user, event_time",
    });
    await expect(read(moodleReader({ timeZone: "UTC" }), "")).rejects.toBeInstanceOf(ImportError);
  });

  test("rejected rows are named by line, and the others are read", async () => {
    const rows = [",2019-09-09 14:08:01,a,b,c,d", "ada,yesterday,a,b,c,d", "ada,2019", view];
    expect(problems(await read(moodleReader({ timeZone: "UTC" }), `${header}\n${rows.join("\n")}`))).toEqual([
      [2, "no user"],
      [3, "time: not a time"],
      [4, "2 cells where the header has 6"],
    ]);
  });
});

/** The messages of a whole file, scanned first as the command does. */
async function readScanned(make: () => Reader, content: string): Promise<{ found: Message[]; notes: string[] }> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(content);
  }
  const reader = make();
  await reader.scan?.(linesOf(stream()));
  return { found: messages(await read(reader, content)), notes: reader.notes?.() ?? [] };
}

describe("the report of moodle", () => {
  const header =
    'Zeit,"Vollständiger Name","Betroffene/r Nutzer/in",Ereigniskontext,Komponente,Ereignisname,Beschreibung,Herkunft,IP-Adresse';
  const row = (
    description: string,
    { name = "Ada", context = "Kurs: Logik", origin = "web", time = "23.01.23, 12:09" } = {},
  ) => `"${time}","${name}",-,"${context}",System,"Kurs angezeigt","${description}",${origin},10.0.0.1`;

  test("in another language, people, courses, activities and views come from the descriptions", async () => {
    const rows = [
      row("The user with id '7' viewed the course with id '36'."),
      row("The user with id '7' viewed the 'page' activity with course module id '12'.", { context: "Seite: Lesen" }),
      row(
        "The user with id '7' has submitted the submission with id '3' for the assignment with course module id '9'.",
      ),
      row("The user with id '7' viewed the discussion with id '1' in the forum with course module id '5'."),
    ];
    const { found } = await readScanned(
      () => moodleReader({ timeZone: "Europe/Berlin", course: "36" }),
      [header, ...rows].join("\n"),
    );
    expect(found).toMatchObject([
      {
        type: "page",
        userId: "7",
        timestamp: "2023-01-23T11:09:00.000Z",
        properties: { item: "moodle/course/36", itemKind: "course", itemTitle: "Logik" },
      },
      {
        type: "page",
        properties: { item: "moodle/module/12", itemKind: "page", itemTitle: "Lesen", parent: "moodle/course/36" },
      },
      { type: "track", event: "Kurs angezeigt", properties: { item: "moodle/module/9", itemKind: "task" } },
      { type: "page", properties: { item: "moodle/module/5", itemKind: "discussion" } },
    ]);
    expect(JSON.stringify(found)).not.toMatch(/Ada|10\.0\.0\.1/);
  });

  test("enrolments, completions and grades of the report are those of the learner", async () => {
    const rows = [
      row(
        "The user with id '2' enrolled the user with id '7' using the enrolment method 'manual' in the course with id '36'.",
      ),
      row(
        "The user with id '2' unenrolled the user with id '7' using the enrolment method 'self' from the course with id '36'.",
      ),
      row("The user with id '7' completed the course with id '36'."),
      row(
        "The user with id '2' updated the grade with id '5' for the user with id '7' for the grade item with id '12'.",
      ),
      row(
        "The user with id '0' enrolled the user with id '7' using the enrolment method 'database' in the course with id '36'.",
        { origin: "cli", name: "-" },
      ),
    ];
    const readings = await read(
      moodleReader({ timeZone: "UTC", dateOrder: "dmy", course: "36" }),
      [header, ...rows].join("\n"),
    );
    expect(messages(readings).map(({ userId, event, properties }) => [userId, event, properties?.["item"]])).toEqual([
      ["7", "Course Enrolled", "moodle/course/36"],
      ["7", "Course Dropped", "moodle/course/36"],
      ["7", "Course Completed", "moodle/course/36"],
      ["7", "Task Graded", "moodle/grade/12"],
      ["7", "Course Enrolled", "moodle/course/36"],
    ]);
  });

  test("visitors, administrators as others, and restored rows are left out, not rejected", async () => {
    const rows = [
      row("The user with id '0' viewed the course with id '1'.", { name: "-" }),
      row("The user with id '1' viewed the course with id '1'."),
      row("The user with id '-1' viewed the course with id '1'."),
      row("The user with id '7' viewed the course with id '1'.", { name: "Admin User als Ada Lovelace" }),
      row("The user with id '7' viewed the course with id '1'.", { origin: "restore" }),
      row("The log was cleared.", { name: "-" }),
      row("An event of a plugin."),
    ];
    const readings = await read(moodleReader({ timeZone: "UTC", dateOrder: "dmy" }), [header, ...rows].join("\n"));
    expect(readings).toHaveLength(rows.length);
    expect(readings.map((reading) => ("problem" in reading ? reading.problem.isLeftOut : "stored"))).toEqual([
      ...Array.from({ length: 6 }, () => true),
      undefined,
    ]);
  });
});

describe("the table of moodle", () => {
  const header =
    "id,eventname,component,action,target,objecttable,objectid,crud,edulevel,contextid,contextlevel,contextinstanceid,userid,courseid,relateduserid,anonymous,other,timecreated,origin,ip,realuserid";
  const row = (id: number, level: number, instance: number, user: number, real = "NULL", event = "course_viewed") =>
    `${id},\\core\\event\\${event},${level === 70 ? "mod_quiz" : "core"},viewed,course,NULL,NULL,r,2,5,${level},${instance},${user},36,NULL,0,N;,1674475740,web,10.0.0.1,${real}`;

  test("has people, courses, activities and keys of its own", async () => {
    const content = [
      header,
      row(1, 50, 36, 7),
      row(2, 70, 9, 7, "NULL", "course_module_viewed"),
      row(3, 50, 36, 7, "2"),
    ];
    const readings = await read(moodleReader({ timeZone: "UTC" }), content.join("\n"));
    expect(messages(readings)).toMatchObject([
      {
        messageId: "moodle-1",
        type: "page",
        name: "Course viewed",
        timestamp: "2023-01-23T12:09:00.000Z",
        properties: { item: "moodle/course/36", itemKind: "course" },
      },
      {
        messageId: "moodle-2",
        properties: { item: "moodle/module/9", itemKind: "task", parent: "moodle/course/36" },
      },
    ]);
    expect(problems(readings)).toEqual([[4, "an administrator, logged in as another user"]]);
  });

  test("enrolments, completions and grades are those of the learner, also when others caused them", async () => {
    const event = (id: number, name: string, related: string, other: string, origin = "cli") =>
      `${id},\\core\\event\\${name},core,x,y,NULL,NULL,c,1,5,50,36,2,36,${related},0,${other},1674475740,${origin},10.0.0.1,2`;
    const content = [
      header,
      event(1, "user_enrolment_created", "7", '"{""enrol"":""manual""}"'),
      event(2, "user_enrolment_deleted", "7", "N;"),
      event(3, "course_completed", "7", "N;"),
      event(4, "user_graded", "7", '"{""itemid"":""12"",""overridden"":false,""finalgrade"":8.5}"', "web"),
      event(5, "user_graded", "7", '"a:2:{s:6:""itemid"";s:2:""12"";s:10:""finalgrade"";d:8.5;}"', "web"),
      event(6, "user_enrolment_created", "0", "N;"),
    ].join("\n");
    const readings = await read(moodleReader({ timeZone: "UTC" }), content);
    const course = { item: "moodle/course/36", itemKind: "course" };
    const grade = { item: "moodle/grade/12", itemKind: "grade", parent: "moodle/course/36", points: 8.5 };
    expect(messages(readings)).toMatchObject([
      { userId: "7", event: "Course Enrolled", properties: course },
      { userId: "7", event: "Course Dropped", properties: course },
      { userId: "7", event: "Course Completed", properties: course },
      { userId: "7", event: "Task Graded", properties: grade },
      { userId: "7", event: "Task Graded", properties: grade },
    ]);
    expect(problems(readings)).toEqual([[7, "no user"]]);
  });

  test("of a log without a view, a note warns", async () => {
    const content = [header, row(1, 50, 36, 7).replace("viewed,course", "created,course")].join("\n");
    const { notes } = await readScanned(() => moodleReader({ timeZone: "UTC" }), content);
    expect(notes).toContain("none of the rows is a page view: time on page and popular courses will be empty");
  });
});

describe("edx", () => {
  const line = (value: object): string => JSON.stringify({ time: "2025-03-03T10:00:00+00:00", ...value });
  const course = "course-v1:Org+C1+R1";

  test("events have our names, and courses and blocks are items with their parents", async () => {
    const found = messages(
      await read(
        edxReader(),
        [
          line({ name: "edx.course.enrollment.activated", context: { user_id: 4, course_id: course }, event: {} }),
          line({
            name: "play_video",
            username: "ada",
            context: { course_id: course },
            event: JSON.stringify({ id: "v1", currentTime: 12.5 }),
          }),
          line({
            name: "problem_check",
            context: {
              user_id: 4,
              course_id: course,
              module: { display_name: "Q1", usage_key: "block-v1:Org+C1+R1+type@problem+block@p1" },
            },
            event: { grade: 2, max_grade: 4, attempts: 9, answers: { a: "secret" }, success: "incorrect" },
          }),
          JSON.stringify({
            name: "edx.ui.lms.sequence.tab_selected",
            context: { user_id: 3, course_id: course },
            data: { id: "block-v1:Org+C1+R1+type@sequential+block@s1", current_tab: 4 },
            timestamp: "2025-03-03T10:04:00.829229+00:00",
          }),
        ].join("\n"),
      ),
    );
    expect(found).toMatchObject([
      { event: "Course Enrolled", userId: "4", properties: { item: course, itemKind: "course" } },
      {
        event: "Video Playback Started",
        userId: "ada",
        properties: {
          item: "block-v1:Org+C1+R1+type@video+block@v1",
          itemKind: "video",
          parent: course,
          position: 12.5,
        },
      },
      {
        event: "Task Submitted",
        properties: {
          item: "block-v1:Org+C1+R1+type@problem+block@p1",
          itemKind: "task",
          itemTitle: "Q1",
          parent: course,
          score: 0.5,
          attempt: 9,
          grade: 2,
          max_grade: 4,
        },
      },
      {
        type: "page",
        userId: "3",
        timestamp: "2025-03-03T10:04:00.829Z",
        properties: { item: "block-v1:Org+C1+R1+type@sequential+block@s1", parent: course },
      },
    ]);
    expect(JSON.stringify(found)).not.toContain("secret");
  });

  test("events of no user are left out, and lines of other files rejected", async () => {
    const readings = await read(
      edxReader(),
      [
        line({ name: "page_close", username: "", context: { user_id: null }, event: "{}" }),
        line({ context: { user_id: 4 } }),
        JSON.stringify({ name: "page_close", context: { user_id: 4 } }),
        "[1]",
        "time,user",
      ].join("\n"),
    );
    expect(problems(readings).map(([, what]) => what.slice(0, 8))).toEqual(
      ["no user", "no name", "no time", "not a mes", "not JSON"].map((what) => what.slice(0, 8)),
    );
  });
});

describe("Open edX: events whose meaning differs from their shape", () => {
  const course = "course-v1:edX+DemoX+Demo";
  const block = (type: string, id: string): string => `block-v1:edX+DemoX+Demo+type@${type}+block@${id}`;
  const hash = "3fc5461f86764ad7bdbdf6cbdde61e66";
  const event = async (name: string, data: unknown, more: Record<string, unknown> = {}): Promise<Message> => {
    const line = {
      name,
      context: { user_id: 3, course_id: course, ...more },
      time: "2024-01-31T10:00:00Z",
      event: data,
    };
    const [message] = messages(await read(edxReader(), `${JSON.stringify(line)}\n`));
    if (message === undefined) throw new Error("no message");
    return message;
  };

  test("a check in a browser is not the submission that the server reports", async () => {
    const form = `input_${hash}_2_1%5B%5D=choice_0&input_${hash}_2_1%5B%5D=choice_2`;
    expect(await event("problem_check", form)).toMatchObject({
      event: "problem_check",
      properties: { item: block("problem", hash), itemKind: "task", parent: course },
    });
    expect(JSON.stringify(await event("problem_check", form))).not.toContain("choice");
    const graded = { problem_id: block("problem", hash), grade: 1, max_grade: 2, attempts: 3 };
    expect(await event("problem_check", graded)).toMatchObject({
      event: "Task Submitted",
      properties: { score: 0.5, attempt: 3 },
    });
  });

  test.each([
    [
      "edx.grades.problem.submitted",
      { user_id: "4", problem_id: block("problem", "p"), weighted_earned: 1, weighted_possible: 4 },
      "Task Graded",
      { item: block("problem", "p"), itemKind: "task", score: 0.25 },
    ],
    [
      "edx.grades.subsection.grade_calculated",
      { user_id: "4", block_id: block("sequential", "s"), weighted_graded_earned: 3, weighted_graded_possible: 3 },
      "Grade Changed",
      { item: block("sequential", "s"), itemKind: "module", score: 1 },
    ],
    [
      "edx.grades.course.grade_calculated",
      { user_id: "4", percent_grade: 0.02 },
      "Grade Changed",
      { item: course, itemKind: "course", score: 0.02 },
    ],
    ["edx.course.grade.passed.first_time", { user_id: "4" }, "Course Completed", { item: course }],
    [
      "edx.course.enrollment.activated",
      { user_id: 4, mode: "audit" },
      "Course Enrolled",
      { item: course, mode: "audit" },
    ],
    [
      "edx.special_exam.timed.attempt.submitted",
      { attempt_user_id: 4, exam_content_id: block("sequential", "e"), exam_name: "Final" },
      "Task Submitted",
      { item: block("sequential", "e"), itemKind: "task", itemTitle: "Final" },
    ],
  ])("%s is about the learner and not about who caused it", async (name, data, expected, properties) => {
    const caused = { module: { usage_key: block("problem", "cause"), display_name: "Cause" } };
    const message = await event(name, data, name.includes("grade_calculated") ? caused : {});
    expect(message).toMatchObject({ userId: "4", event: expected, properties });
    expect(JSON.stringify(message.properties)).not.toContain("Cause");
  });

  test("answers and comments are about their discussion", async () => {
    for (const [name, data] of [
      ["edx.forum.thread.created", { id: "t1", body: "secret" }],
      ["edx.forum.comment.created", { id: "c9", discussion: { id: "t1" }, body: "secret" }],
    ] as const) {
      const message = await event(name, data);
      expect(message).toMatchObject({
        event: "Message Posted",
        properties: { item: `${course}/discussion/t1`, itemKind: "discussion", parent: course },
      });
      expect(JSON.stringify(message)).not.toContain("secret");
    }
  });

  test("videos of a custom course, and transcripts, have the keys of their blocks", async () => {
    const ccx = await event("play_video", { id: "v1" }, { course_id: "ccx-v1:edX+DemoX+Demo+ccx@1" });
    expect(ccx.properties).toMatchObject({
      item: "ccx-block-v1:edX+DemoX+Demo+ccx@1+type@video+block@v1",
      itemKind: "video",
    });
    expect((await event("show_transcript", { id: "v1" })).properties).toMatchObject({ item: block("video", "v1") });
    const outline = { target_url: `https://a.example/jump_to/${block("sequential", "s1")}?x=1`, target_name: "Lesson" };
    expect((await event("edx.ui.lms.outline.selected", outline)).properties).toMatchObject({
      item: block("sequential", "s1"),
    });
  });

  test("an empty user is not a person", async () => {
    expect(
      await read(
        edxReader(),
        '{"name": "play_video", "context": {"user_id": ""}, "username": "", "time": "2024-01-31T10:00:00Z", "event": {}}\n',
      ),
    ).toEqual([{ line: 1, problem: { what: "no user", isLeftOut: true } }]);
  });
});

describe("canvas and caliper", () => {
  test("are translated as requests are", async () => {
    const [live] = messages(
      await read(
        canvasReader(),
        JSON.stringify({
          metadata: { event_name: "submission_created", event_time: "2025-03-03T10:00:00Z", user_id: "17" },
          body: { user_id: "17", assignment_id: "5", attempt: 1 },
        }),
      ),
    );
    expect(live).toMatchObject({ event: "Task Submitted", userId: "17", properties: { item: "assignment:5" } });
    const event = {
      type: "ViewEvent",
      action: "Viewed",
      id: "urn:uuid:3a648e68-f00d-4c08-aa59-8738e1884f2c",
      actor: "https://example.edu/users/1",
      object: { id: "https://example.edu/docs/2", type: "Document" },
      eventTime: "2025-03-03T10:00:00Z",
    };
    const readings = await read(
      caliperReader(),
      [
        JSON.stringify(event),
        JSON.stringify({ sensor: "s", sendTime: "2025-03-03T10:00:01Z", data: [event, event] }),
        JSON.stringify({ ...event, actor: undefined }),
      ].join("\n"),
    );
    expect(messages(readings).map(({ type, timestamp }) => [type, timestamp])).toEqual(
      Array.from({ length: 3 }, () => ["page", "2025-03-03T10:00:00Z"]),
    );
    expect(problems(readings)).toEqual([[3, "no user"]]);
  });
});

test("enrolments of canvas are those of learners; a deleted one is dropped", async () => {
  const event = (name: string, body: object): string =>
    JSON.stringify({
      metadata: { event_name: name, event_time: "2025-03-03T10:00:00Z", user_id: "1" },
      body: { user_id: "17", course_id: "4", ...body },
    });
  const found = messages(
    await read(
      canvasReader(),
      [
        event("enrollment_created", { type: "StudentEnrollment", workflow_state: "active" }),
        event("enrollment_created", { type: "TeacherEnrollment", workflow_state: "active" }),
        event("enrollment_updated", { type: "StudentEnrollment", workflow_state: "deleted" }),
        event("enrollment_updated", { type: "StudentEnrollment", workflow_state: "completed" }),
      ].join("\n"),
    ),
  );
  expect(found.map(({ userId, event, properties }) => [userId, event, properties?.["item"]])).toEqual([
    ["17", "Course Enrolled", "course:4"],
    ["17", "Enrolment Changed", "course:4"],
    ["17", "Course Dropped", "course:4"],
    // The term of the course has ended.
    ["17", "Enrolment Changed", "course:4"],
  ]);
});

test("memberships of Caliper are enrolments of learners, each sent once", async () => {
  const membership = (member: string, roles: string[]) => ({
    id: `https://example.edu/memberships/${member}`,
    type: "Membership",
    member: `https://example.edu/users/${member}`,
    organization: { id: "https://example.edu/sections/1", type: "CourseSection", name: "Algebra" },
    roles,
    status: "Active",
    dateCreated: "2025-01-01T06:00:00.000Z",
  });
  const event = {
    type: "ViewEvent",
    action: "Viewed",
    actor: "https://example.edu/users/1",
    object: { id: "https://example.edu/docs/2", type: "Document" },
    eventTime: "2025-03-03T10:00:00Z",
    membership: membership("1", ["Learner"]),
  };
  const content = [
    JSON.stringify(event),
    JSON.stringify({
      sensor: "s",
      sendTime: "2025-03-03T10:00:01Z",
      data: [event, membership("2", ["urn:x#Learner"])],
    }),
    JSON.stringify(membership("3", ["Instructor"])),
    JSON.stringify({ ...membership("4", ["Learner"]), dateCreated: undefined }),
  ].join("\n");
  const enrolled = messages(await read(caliperReader(), content)).filter(({ event }) => event === "Course Enrolled");
  expect(enrolled.map(({ userId }) => userId)).toEqual(["https://example.edu/users/1", "https://example.edu/users/2"]);
  expect(enrolled[0]).toMatchObject({
    timestamp: "2025-01-01T06:00:00.000Z",
    properties: { item: "https://example.edu/sections/1", itemKind: "course", itemTitle: "Algebra" },
  });
});

describe("page views of canvas", () => {
  const columns =
    "request_id,user_id,url,context_id,context_type,asset_id,asset_type,controller,action,interaction_seconds,created_at,user_request,render_time,user_agent,participated,account_id,real_user_id,http_method,remote_ip";
  const row = (changes: Record<string, string>): string => {
    const values: Record<string, string> = {
      request_id: "3e246700-e305-0130-51de-02e33aa501ef",
      user_id: "17",
      url: "https://canvas.example/courses/4/assignments/7?token=secret",
      context_id: "4",
      context_type: "Course",
      controller: "assignments",
      action: "show",
      interaction_seconds: "7.21",
      created_at: "2024-05-31 16:00:00 UTC",
      user_request: "true",
      user_agent: "Mozilla/5.0",
      participated: "false",
      http_method: "GET",
      remote_ip: "10.0.0.7",
      ...changes,
    };
    return columns
      .split(",")
      .map((name) => values[name] ?? "")
      .join(",");
  };
  const at = "2024-05-31T16:00:00.000Z";

  test("the CSV of a user: assets are the items of Live Events; addresses lose their query, and devices are not read", async () => {
    const urls: Record<string, string> = {
      a: "https://canvas.example/courses/4/quizzes/9/take",
      b: "https://canvas.example/courses/4",
      c: "https://canvas.example/courses/4/pages/week-one?module_item_id=3",
      d: "https://canvas.example/calendar#view",
      e: "https://canvas.example/courses/4/assignments/syllabus",
    };
    const content = [
      columns,
      row({}),
      ...Object.entries(urls).map(([request_id, url]) =>
        row({ request_id, url, ...(request_id === "d" ? { context_type: "", context_id: "" } : {}) }),
      ),
    ].join("\n");
    const found = messages(await read(canvasReader(), content));
    expect(found[0]).toEqual({
      type: "page",
      name: "Page Viewed",
      messageId: "3e246700-e305-0130-51de-02e33aa501ef",
      userId: "17",
      timestamp: at,
      properties: {
        item: "assignment:7",
        itemKind: "task",
        parent: "course:4",
        controller: "assignments",
        action: "show",
        interactionSeconds: 7.21,
      },
    });
    expect(found.slice(1).map(({ properties }) => [properties?.["item"], properties?.["itemKind"]])).toEqual([
      ["quiz:9", "task"],
      ["course:4", "course"],
      ["/courses/4/pages/week-one", "page"],
      ["/calendar", "page"],
      ["/courses/4/assignments/syllabus", "page"],
    ]);
    expect(JSON.stringify(found)).not.toMatch(/secret|Mozilla|10\.0\.0/);
  });

  test("what the user did not do is left out, with the reason, and a submission is not a view", async () => {
    const content = [
      columns,
      row({ request_id: "1", user_request: "false" }),
      row({ request_id: "2", http_method: "POST", controller: "submissions", action: "create", participated: "true" }),
      row({ request_id: "3", http_method: "PUT" }),
      row({ request_id: "4", user_id: "" }),
      row({ request_id: "5", real_user_id: "1" }),
      row({ request_id: "6", created_at: "yesterday" }),
      row({ request_id: "", created_at: "" }),
    ].join("\n");
    const readings = await read(canvasReader(), content);
    expect(messages(readings)).toMatchObject([
      {
        type: "track",
        event: "Task Submitted",
        userId: "17",
        properties: { item: "assignment:7", participated: true },
      },
      // An administrator who acts as a learner is not the learner.
      { type: "page", userId: "1" },
    ]);
    expect(problems(readings)).toEqual([
      [2, "a request that the user did not make"],
      [4, "a request that shows no page"],
      [5, "no user"],
      [7, "time: not a time"],
      [8, "no request_id"],
    ]);
  });

  test("the JSON of the API, as lists and as lines, gives the same messages as the CSV", async () => {
    const view = {
      id: "3e246700-e305-0130-51de-02e33aa501ef",
      app_name: null,
      url: "https://canvas.example/courses/4/assignments/7",
      context_type: "Course",
      asset_type: null,
      controller: "assignments",
      action: "show",
      interaction_seconds: 7.21,
      created_at: "2024-05-31T16:00:00Z",
      user_request: true,
      participated: false,
      http_method: "GET",
      remote_ip: "10.0.0.7",
      links: { user: 17, context: 4, asset: null, real_user: null, account: 1 },
    };
    const [fromCsv] = messages(await read(canvasReader(), `${columns}\n${row({})}`));
    const content = `${JSON.stringify([view, { ...view, id: "2" }])}\n${JSON.stringify({ ...view, id: "3" })}`;
    expect(messages(await read(canvasReader(), content))).toEqual([
      fromCsv,
      { ...fromCsv, messageId: "2" },
      { ...fromCsv, messageId: "3" },
    ]);
  });

  test("the web logs of Canvas Data 2 as TSV and JSON lines, and requests of Canvas Data 1", async () => {
    const tsv = [
      ["key.id", "value.timestamp", "value.user_id", "value.real_user_id", "value.course_id", "value.quiz_id"],
      ["value.discussion_id", "value.assignment_id", "value.url", "value.http_method", "value.http_status"],
      ["value.web_application_controller", "value.web_application_action", "value.user_agent", "meta.ts"],
    ]
      .flat()
      .join("\t");
    const log = (id: string, url: string, status = "200", method = "GET"): string =>
      [id, "2024-05-31T16:00:00.000Z", "17", "\\N", "4", "\\N", "\\N", "7", url, method, status]
        .concat("assignments", "show", 'a "quoted" agent', "2024-06-01T00:00:00Z")
        .join("\t");
    const content = [
      tsv,
      log("1", "/courses/4/assignments/7"),
      log("2", "/courses/4/assignments/7", "404"),
      log("3", "/api/v1/courses/4/assignments/7"),
      log("4", "/courses/4/assignments/7", "302", "POST"),
    ].join("\n");
    const readings = await read(canvasReader(), content);
    const expected = {
      type: "page",
      messageId: "1",
      userId: "17",
      timestamp: at,
      properties: { item: "assignment:7", itemKind: "task", parent: "course:4", controller: "assignments" },
    };
    expect(messages(readings)).toMatchObject([expected]);
    expect(problems(readings)).toEqual([
      [3, "a request that failed"],
      [4, "a request of a program"],
      [5, "a request that shows no page"],
    ]);
    const json = JSON.stringify({
      key: { id: "1" },
      value: {
        timestamp: "2024-05-31T16:00:00.000Z",
        user_id: 17,
        course_id: 4,
        assignment_id: 7,
        url: "/courses/4/assignments/7",
        http_method: "GET",
        http_status: 200,
        web_application_controller: "assignments",
        web_application_action: "show",
      },
      meta: { ts: "2024-06-01T00:00:00Z" },
    });
    expect(messages(await read(canvasReader(), json))).toMatchObject([expected]);
    const requests = [
      ["id", "timestamp", "user_id", "course_id", "assignment_id", "url", "http_method", "interaction_micros"].join(
        "\t",
      ),
      ["1", "2016-05-31 16:00:00.000", "17", "4", "\\N", "/courses/4/assignments/7", "GET", "1500000"].join("\t"),
    ].join("\n");
    expect(messages(await read(canvasReader(), requests))).toMatchObject([
      {
        messageId: "1",
        timestamp: "2016-05-31T16:00:00.000Z",
        properties: { item: "assignment:7", parent: "course:4", interactionSeconds: 1.5 },
      },
    ]);
  });

  test("a table of another kind, Caliper's format, and a repeated column are named", async () => {
    await expect(read(canvasReader(), "a,b\n1,2\n")).rejects.toThrow(
      /not an export of page views of Canvas: it has no request_id, user_id, created_at, url; its columns are a, b/,
    );
    await expect(read(canvasReader(), "request_id,id,user_id,url,created_at\n1,2,3,/,x\n")).rejects.toThrow(
      'two columns "request_id"',
    );
    expect(
      problems(await read(canvasReader(), '{"sensor": "s", "sendTime": "2024-01-01T00:00:00Z", "data": []}')),
    ).toEqual([[1, "an event in Caliper's format"]]);
  });
});

describe("xapi", () => {
  const statement = (changes: object): string =>
    JSON.stringify({
      id: "fd41c918-b88b-4b20-a0a5-a4c32391aaa0",
      actor: { mbox: "mailto:ada@example.edu" },
      verb: { id: "http://adlnet.gov/expapi/verbs/passed" },
      object: {
        id: "https://example.edu/quiz/1",
        definition: { type: "http://adlnet.gov/expapi/activities/assessment" },
      },
      result: { score: { scaled: 0.8 } },
      timestamp: "2025-03-03T10:00:00Z",
      ...changes,
    });

  test("statements are translated as requests are; groups and voiding statements are left out", async () => {
    const readings = await read(
      xapiReader(),
      [
        statement({}),
        `[${statement({ actor: { account: { homePage: "https://example.edu", name: "7" } } })}]`,
        statement({ actor: { objectType: "Group", member: [{ mbox: "mailto:ada@example.edu" }] } }),
        statement({
          verb: { id: "http://adlnet.gov/expapi/verbs/voided" },
          object: { objectType: "StatementRef", id: "fd41c918-b88b-4b20-a0a5-a4c32391aaa1" },
        }),
        statement({ timestamp: undefined }),
        statement({ actor: undefined }),
      ].join("\n"),
    );
    expect(messages(readings)).toMatchObject([
      {
        type: "track",
        event: "Task Completed",
        messageId: "fd41c918-b88b-4b20-a0a5-a4c32391aaa0",
        userId: "ada@example.edu",
        properties: { item: "https://example.edu/quiz/1", itemKind: "task", score: 0.8 },
      },
      { userId: "7" },
    ]);
    expect(problems(readings).map(([line]) => line)).toEqual([3, 4, 5, 6]);
    expect(readings.flatMap((reading) => ("problem" in reading ? [reading.problem.isLeftOut === true] : []))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("oulad", () => {
  const directory = mkdtempSync(join(tmpdir(), "insights-oulad-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  writeFileSync(
    join(directory, "courses.csv"),
    "code_module,code_presentation,module_presentation_length\nAAA,2013J,268\n",
  );
  writeFileSync(
    join(directory, "assessments.csv.gz"),
    gzipSync("code_module,code_presentation,id_assessment,assessment_type,date,weight\nAAA,2013J,1752,TMA,19,10\n"),
  );
  const tableOf = async (path: string): Promise<Reader> => {
    const [source] = await sourcesOf(path);
    const reader = source === undefined ? undefined : await ouladReader(source);
    if (reader === undefined) throw new Error("no table of events");
    return reader;
  };
  const readTableOf = async (content: string): Promise<Reading[]> =>
    read(await tableOf(join(directory, "table.csv")), content);

  test("days of a presentation become times, and tables of the directory are joined", async () => {
    expect(
      messages(
        await readTableOf(
          "code_module,code_presentation,id_student,id_site,date,sum_click\nAAA,2013J,28400,546652,-10,4\nAAA,2013B,28400,546652,0,4\n",
        ),
      ),
    ).toMatchObject([
      {
        type: "page",
        userId: "28400",
        timestamp: "2013-09-21T00:00:00.000Z",
        properties: { item: "oulad/site/546652", parent: "oulad/AAA/2013J", clicks: 4 },
      },
      { timestamp: "2013-02-01T00:00:00.000Z" },
    ]);
    expect(
      messages(
        await readTableOf(
          "code_module,code_presentation,id_student,date_registration,date_unregistration\nAAA,2013J,1,-159,\nAAA,2013J,2,-30,12\n",
        ),
      ).map(({ userId, event, timestamp }) => [userId, event, timestamp.slice(0, 10)]),
    ).toEqual([
      ["1", "Course Enrolled", "2013-04-25"],
      ["2", "Course Enrolled", "2013-09-01"],
      ["2", "Course Dropped", "2013-10-13"],
    ]);
    const results = await readTableOf(
      "id_assessment,id_student,date_submitted,is_banked,score\n1752,1,18,0,78\n1752,2,20,0,\n1752,3,-1,1,70\n9,4,1,0,1\n",
    );
    expect(messages(results)).toMatchObject([
      { event: "Task Submitted", properties: { item: "oulad/assessment/1752", score: 0.78, late: false } },
      { properties: { late: true } },
    ]);
    expect(problems(results)).toEqual([
      [4, "a result of an earlier presentation"],
      [5, "an assessment that assessments.csv does not have"],
    ]);
    expect(
      messages(
        await readTableOf(
          "code_module,code_presentation,id_student,num_of_prev_attempts,final_result\nAAA,2013J,1,0,Pass\nAAA,2013J,2,1,Fail\nAAA,2013J,3,0,Withdrawn\n",
        ),
      ).map(({ event, timestamp, properties }) => [event, timestamp.slice(0, 10), properties?.["attempt"]]),
    ).toEqual([
      ["Course Completed", "2014-06-26", 1],
      ["Course Failed", "2014-06-26", 2],
    ]);
  });

  test("another table, and one whose related table is missing, are named", async () => {
    await expect(readTableOf("a,b\n1,2\n")).rejects.toMatchObject({
      message: "this is not a table of OULAD: its columns are a, b",
    });
    await expect(
      read(await tableOf("-"), "id_assessment,id_student,date_submitted,is_banked,score\n1752,1,18,0,78\n"),
    ).rejects.toMatchObject({ message: "this table refers to assessments.csv, which is not in its directory" });
  });
});

describe("csv", () => {
  const mapping = {
    person: "user_id",
    item: "movie_id",
    at: "rated_at",
    event: "Course Rated",
    itemKind: "course",
    properties: ["rating", "code=zip"],
    timeZone: "UTC",
    delimiter: ",",
  };

  test("columns become people, items, times and properties", async () => {
    const content = "user_id,movie_id,rating,zip,rated_at\n196,242,3.5,00705,881250949\n196,302,,x,881250950\n";
    expect(messages(await read(columnReader(mapping), content))).toMatchObject([
      {
        type: "track",
        event: "Course Rated",
        userId: "196",
        timestamp: "1997-12-04T15:55:49.000Z",
        properties: { item: "242", itemKind: "course", rating: 3.5, code: "00705" },
      },
      { properties: { item: "302", itemKind: "course", code: "x" } },
    ]);
  });

  test("a column of ids is used, and another event of the same rows has other ids", async () => {
    const content = "user_id,movie_id,rating,zip,rated_at,id\n196,242,3,1,881250949,first\n";
    const [given] = messages(await read(columnReader({ ...mapping, messageId: "id" }), content));
    expect(given?.messageId).toBe("first");
    const [one] = messages(await read(columnReader(mapping), content));
    const [other] = messages(await read(columnReader({ ...mapping, event: "Course Viewed" }), content));
    expect(one?.messageId).not.toBe(other?.messageId);
  });

  test("names of events come from a column, and a name that is a column is refused", async () => {
    const content =
      "id,at,what,thing\n1,2014-06-14T09:38:29,navigate,a\n1,2014-06-14T09:38:39,video,b\n1,2014-06-14,,c\n";
    const columns = { person: "id", at: "at", item: "thing", properties: [], timeZone: "UTC" };
    const readings = await read(columnReader({ ...columns, eventColumn: "what" }), content);
    expect(messages(readings).map(({ event }) => event)).toEqual(["navigate", "video"]);
    expect(problems(readings)).toEqual([[4, "no what"]]);
    await expect(read(columnReader({ ...columns, event: "what" }), content)).rejects.toMatchObject({
      message: '--event "what" is the name of a column',
      hint: "to take the names of the events from it: --event-column what",
    });
  });

  test("the separator and the order of dates are recognized, and said", async () => {
    const columns = { person: "id", at: "at", event: "Used", properties: ["note"], timeZone: "UTC" };
    const content = 'id;at;note\n1;02/03/2024 10:00;"a;b"\n2;13/03/2024 10:00;x\n';
    const { found, notes } = await readScanned(() => columnReader(columns), content);
    expect(found.map(({ timestamp }) => timestamp)).toEqual(["2024-03-02T10:00:00.000Z", "2024-03-13T10:00:00.000Z"]);
    expect(found[0]?.properties).toEqual({ note: "a;b" });
    expect(notes).toEqual([
      'cells are separated by ";"',
      "dates are dmy, as line 3 shows: 13/03/2024 10:00",
      "2 times without an offset: read in UTC",
    ]);
  });

  test("required cells that are empty, and missing columns, are named", async () => {
    const content = "user_id,movie_id,rating,zip,rated_at\n,242,3,1,881250949\n196,,3,1,881250949\n196,242,3,1,soon\n";
    expect(problems(await read(columnReader(mapping), content)).map(([, what]) => what)).toEqual([
      "no user_id",
      "no movie_id",
      "rated_at: not a time",
    ]);
    await expect(read(columnReader({ ...mapping, item: "movieid" }), content)).rejects.toMatchObject({
      hint: expect.stringContaining('did you mean "movie_id"?'),
    });
    await expect(read(columnReader({ ...mapping, properties: ["item=zip"] }), content)).rejects.toBeInstanceOf(
      ImportError,
    );
  });
});

describe("segment", () => {
  const track = {
    type: "track",
    messageId: "m1",
    userId: "ada",
    event: "Task Submitted",
    timestamp: "2026-01-01T00:00:00Z",
  };

  test("one message per line, a request per line, a list per line", async () => {
    const lines = [
      track,
      { batch: [{ ...track, messageId: "m2" }], sentAt: "2026-01-01T00:00:01Z" },
      [{ ...track, messageId: "m3" }],
    ];
    const found = await read(segmentReader(), lines.map((line) => JSON.stringify(line)).join("\n\n"));
    expect(found.map(({ line }) => line)).toEqual([1, 3, 5]);
    expect(messages(found).map(({ messageId }) => messageId)).toEqual(["m1", "m2", "m3"]);
  });

  test("a time of sending is ignored without the time of receipt, which only a server has", async () => {
    const sentAt = "2026-01-01T00:00:05Z";
    const receivedAt = "2026-01-01T00:01:05Z";
    const originalTimestamp = "2025-12-31T23:59:00Z";
    const content = [
      { ...track, sentAt },
      { ...track, sentAt, receivedAt },
      { ...track, timestamp: undefined, originalTimestamp },
    ];
    const [unknown, known, original] = messages(
      await read(segmentReader(), content.map((line) => JSON.stringify(line)).join("\n")),
    );
    expect(unknown).toEqual(track);
    expect(known).toEqual({ ...track, sentAt, receivedAt });
    expect(original).toEqual({ ...track, timestamp: originalTimestamp });
  });

  test("messages without an id get one that the file determines", async () => {
    const { messageId: _, ...nameless } = track;
    const content = `${JSON.stringify(nameless)}\n${JSON.stringify(nameless)}\n`;
    const once = messages(await read(segmentReader(), content)).map(({ messageId }) => messageId);
    expect(new Set(once).size).toBe(2);
    expect(messages(await read(segmentReader(), content)).map(({ messageId }) => messageId)).toEqual(once);
  });

  test("numbers beyond double precision stay as they are", async () => {
    const content = `{"type":"track","messageId":"m1","userId":12345678901234567890,"event":"x","properties":{"a":1.10,"b":1e400}}`;
    const [found] = messages(await read(segmentReader(), content));
    expect(JSON.stringify(found)).toContain('"userId":12345678901234567890');
    expect(JSON.stringify(found)).toContain('"b":1e400');
  });

  test("a row that cannot be stored is rejected, and the file is read on", async () => {
    const deep = `{"type":"track","properties":${'{"a":'.repeat(70)}1${"}".repeat(70)}}`;
    const lines = [
      "{not json",
      '"text"',
      '{"type":"track","event":"a\\u0000b"}',
      '{"type":"track","properties":{"\\ud800":1}}',
      '{"type":"track","event":"\\\\u0000 is text, and \\ud83d\\ude00 a character"}',
      deep,
      '{"batch":[1]}',
      "null",
      `{"type":"track","event":"${"x".repeat(1 << 20)}"}`,
    ];
    const found = await read(segmentReader(), lines.join("\n"));
    expect(problems(found).map(([line, what]) => [line, what.split(/[:,]/)[0]])).toEqual([
      [1, "not JSON"],
      [2, "not a message"],
      [3, "a null byte"],
      [4, "an unpaired surrogate"],
      [6, "nested more than 64 levels"],
      [7, "not a message"],
      [8, "not a message"],
      [9, "a line of 1"],
    ]);
    expect(messages(found)).toHaveLength(1);
  });
});
