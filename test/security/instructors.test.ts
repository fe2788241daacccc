import { describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { makeCampus } from "../support/campus.ts";
import { testDatabase } from "../support/database.ts";

/* Instructors over HTTP: what they see of their own courses, and that they see nothing of others. */

const database = await testDatabase();
await makeCampus(database);
const { ask, post, token } = await testApi(database);

const learners =
  "query ($course: String!) { analyticsCourseLearners(course: $course) { nodes { person name eventCount engaged { minutes } shareOfTasks } } }";
const journey = `query ($course: String!, $person: String!) {
  analyticsCourseJourney(course: $course, person: $person, since: "2026-01-01T00:00:00Z") { nodes { event item } }
}`;

describe("an instructor", () => {
  test("lists the courses, their learners, and what one of them did, by pages", async () => {
    const courses = await ask("instructor:tess", "{ trackTaughtCourses { nodes { course title role } } }");
    expect(courses.data.trackTaughtCourses.nodes).toEqual([
      { course: "algebra", title: "Algebra", role: "instructor" },
      { course: "lab", title: "Laboratory", role: "instructor" },
    ]);
    const { data, errors } = await ask("instructor:tess", learners, { course: "algebra" });
    expect(errors).toEqual([]);
    expect(data.analyticsCourseLearners.nodes).toEqual([
      { person: "ada", name: "Ada L.", eventCount: "4", engaged: { minutes: 5 }, shareOfTasks: 0.5 },
      { person: "ben", name: null, eventCount: null, engaged: null, shareOfTasks: null },
      { person: "cleo", name: "Cleo C.", eventCount: "1", engaged: { minutes: 0 }, shareOfTasks: 0 },
      { person: "gus", name: null, eventCount: "0", engaged: { minutes: 0 }, shareOfTasks: 0 },
    ]);
    const page = await ask(
      "instructor:tess",
      '{ analyticsCourseLearners(course: "algebra", first: 1, offset: 2) { totalCount nodes { person } pageInfo { hasNextPage } } }',
    );
    expect(page.data.analyticsCourseLearners).toEqual({
      totalCount: 4,
      nodes: [{ person: "cleo" }],
      pageInfo: { hasNextPage: true },
    });
    const steps = await ask("instructor:tess", journey, { course: "algebra", person: "ada" });
    expect(steps.data.analyticsCourseJourney.nodes.map(({ item }: { item: string }) => item)).toEqual([
      "page",
      "task",
      "exam",
      "bench",
      "bench",
    ]);
  });

  test("does for herself what a learner does", async () => {
    const sent = await ask(
      "instructor:tess",
      'mutation { trackIngest(input: {batch: [{type: "page", messageId: "own", userId: "tess", properties: {item: "page"}}]}) { result { accepted errors } } }',
    );
    expect(sent.data.trackIngest.result).toEqual({ accepted: 1, errors: [] });
    const { data, errors } = await ask(
      "instructor:tess",
      "{ trackMyJourney { nodes { item } } recommendForMe { nodes { item } } trackItemRoles { nodes { role } } trackEvents { totalCount } }",
    );
    expect(errors).toEqual([]);
    expect(data.trackMyJourney.nodes).toEqual([{ item: "page" }]);
    expect(data.trackItemRoles.nodes).toEqual([{ role: "instructor" }]);
    expect(data.trackEvents.totalCount).toBe(2);
    // She may not send events of her learners.
    const forged = await ask(
      "instructor:tess",
      'mutation { trackIngest(input: {batch: [{type: "page", messageId: "forged", userId: "ada"}]}) { result { accepted errors } } }',
    );
    expect(forged.data.trackIngest.result).toMatchObject({ accepted: 0, errors: [{ code: "CF005" }] });
  });
});

test.each([
  ["instructor:otto", "algebra"],
  ["instructor:lara", "algebra"],
  ["instructor:tess", "poetry"],
  ["instructor:tess", "program"],
  ["instructor:past", "algebra"],
  ["instructor:next", "algebra"],
  ["instructor:axel", "algebra"],
  ["instructor:ada", "algebra"],
  ["instructor:unknown", "algebra"],
  ["instructor:a browser", "algebra"],
  ["instructor:tess", "nothing"],
])("%s does not teach %s", async (who, course) => {
  const refusal = {
    message: `you do not teach a course "${course}"`,
    extensions: { code: "CF002", hint: "track.taught_courses returns the courses that you teach." },
  };
  for (const query of [
    learners,
    journey,
    ...["DropoutRisk", "CompletionProbability", "ExpectedNextWeekActivity"].map(
      (name) => `query ($course: String!) { analytics${name}(course: $course) { nodes { person } } }`,
    ),
  ]) {
    const { errors, data } = await ask(who, query, { course, person: "ada" });
    expect(errors).toMatchObject([refusal]);
    expect(Object.values(data)).toEqual([null]);
  }
});

test("several courses in one request are each decided on their own", async () => {
  const { data, errors } = await ask(
    "instructor:otto",
    '{ one: analyticsCourseLearners(course: "poetry") { nodes { person } } other: analyticsCourseLearners(course: "algebra") { nodes { person } } }',
  );
  expect(data).toEqual({ one: { nodes: [{ person: "ada" }, { person: "dan" }] }, other: null });
  expect(errors).toMatchObject([{ path: ["other"], extensions: { code: "CF002" } }]);
});

test("a token of an instructor must name a person", async () => {
  const response = await post(JSON.stringify({ query: "{ trackTaughtCourses { nodes { course } } }" }), {
    authorization: `Bearer ${await token("instructor")}`,
  });
  expect(response.status).toBe(401);
  expect(await response.json()).toMatchObject({
    errors: [
      { message: 'the token has no "sub"', extensions: { hint: "This claim must hold the instructor's userId." } },
    ],
  });
});

test("access ends with the role, from the next request on", async () => {
  expect((await ask("instructor:tess", learners, { course: "algebra" })).errors).toEqual([]);
  await database.query("update campus.staff set ended_at = now() where person = 'tess'");
  await database.query("select track.sync_item_roles('campus.staff')");
  expect((await ask("instructor:tess", learners, { course: "algebra" })).errors).toMatchObject([
    { extensions: { code: "CF002" } },
  ]);
});
