import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { begin, defineMetrics, expose } from "./outcomes.ts";

const database = await testDatabase();

beforeAll(() => defineMetrics(database));

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const report = (db: Queries, key = "exp") => db.value<string>("select experiment.report($1)", [key]);

test("has the decision, the people, the results with intervals, and the history", () =>
  world(async (db) => {
    await begin(db, {
      key: "exp",
      name: "Two lists",
      hypothesis: "The new list leads to more enrolments",
      secondary: ["points"],
      planned_people: 1000,
      maximum_duration: "30 days",
    });
    await expose(db, "exp", [
      { people: 400, enrolled: 80 },
      { people: 400, enrolled: 200 },
    ]);
    const lines = (await report(db)).split("\n");
    expect(lines[0]).toBe("# Two lists");
    expect(lines[2]).toMatch(/^\*\*Ship "new"\.\*\* The goal "enrolled" is better in "new": \+150\.0 %/);
    const text = lines.join("\n");
    expect(text).toContain("Hypothesis: The new list leads to more enrolments");
    expect(text).toMatch(/\| State \| running since \d{4}-\d\d-\d\d, 10\.0 days \|/);
    expect(text).toContain('800 people of the set "counted"; 0 who saw several variations');
    expect(text).toContain("control (control): 400 people, new (new): 400 people");
    expect(text).toContain('| Plan | test "sequential" at 5.0 %, at least 7 days, at most 30 days, 1,000 people |');
    expect(text).toContain("| enrolled | goal | control | 400 | 20.0 % | control |  |");
    expect(text).toMatch(/\| enrolled \| goal \| new \| 400 \| 50\.0 % \| \+150\.0 % \(.*\) \| better \|/);
    expect(text).toContain("| points | secondary | control | 400 | 0.0 | control |  |");
    expect(text).toMatch(/## Warnings\n\n- complained, new: .*\n- points, new: /);
    expect(text).toMatch(/- \d{4}-\d\d-\d\d \d\d:\d\d: started\n$/);
    // Without who made the changes.
    expect(text).not.toContain("postgres");
  }));

test("of a shipped experiment it names what was shipped, whatever the rule states", () =>
  world(async (db) => {
    await begin(db, { key: "exp" });
    await expose(db, "exp", [
      { people: 400, enrolled: 80 },
      { people: 400, enrolled: 200 },
    ]);
    await db.query("select experiment.ship('exp', 'control')");
    const text = await report(db);
    expect(text).toMatch(/^\*\*"control" is shipped\.\*\* The goal "enrolled" is better in "new": /m);
    expect(text).toContain("with 95.0 % confidence; of a guardrail, each end by itself.");
  }));

test("a draft has its plan", () =>
  world(async (db) => {
    await db.query("select experiment.define_experiment($1)", [
      JSON.stringify({ key: "exp", variations: [{ key: "control" }, { key: "new" }], goals: ["enrolled"] }),
    ]);
    expect(await report(db)).toContain("**Not started.**");
    expect(await report(db)).not.toContain("## Results");
  }));

test("texts of people have no meaning in Markdown or HTML, and stay in their line", () =>
  world(async (db) => {
    await begin(db, {
      key: "exp",
      name: "A | B\n\n# <script>alert(1)</script>",
      hypothesis: "**[x](javascript:alert)**\r\n| y |",
    });
    await db.query("select experiment.stop('exp', $1)", ["|\n## Fake heading\n<b>"]);
    const text = await report(db);
    expect(text.split("\n")[0]).toBe("# A \\| B # \\<script\\>alert(1)\\</script\\>");
    expect(text).toContain("Hypothesis: \\*\\*\\[x\\](javascript:alert)\\*\\* \\| y \\|");
    expect(text).not.toMatch(/^## Fake/m);
    expect(text).not.toMatch(/(?<!\\)</);
  }));

test("does not depend on the settings of the session", () =>
  world(async (db) => {
    await begin(db, { key: "exp" });
    await expose(db, "exp", [
      { people: 40, enrolled: 8 },
      { people: 40, enrolled: 20 },
    ]);
    const before = await report(db);
    await db.query(
      "set local timezone to 'Asia/Tokyo'; set local datestyle to 'German'; set local intervalstyle to 'iso_8601'; set local extra_float_digits to -5",
    );
    expect(await report(db)).toBe(before);
  }));

test("is for analysts, admins and workers", async () => {
  await begin(database, { key: "roles" });
  expect(await rolesThatMay(database, "select experiment.report('roles')")).toEqual(["analyst", "admin", "worker"]);
});
