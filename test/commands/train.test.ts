import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";
import { makeWorld } from "../support/world.ts";

const database = await testDatabase();
// Small platforms are compared by time, too.
await database.query("update recommend.setting set fewest_test_people = 1");
endAtEndOfFile();

// The embedded database behaves like a pooler, which its address does not show.
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

const call = async (...words: string[]): Promise<{ code: number | null; out: string; said: string }> => {
  const running = insights(words, environment);
  const code = await running.exitCode();
  return { code, out: running.printed(), said: running.output() };
};

test("without data, each prints a hint", async () => {
  for (const words of [["train"], ["recommend", "ada"]]) {
    const { code, said } = await call(...words);
    expect(code).toBe(1);
    expect(said).toContain('there is no item of kind "course" [CF002]');
    expect(said).toContain("hint: There are no items yet");
  }
});

test("events, a model, recommendations with their reasons", async () => {
  await makeWorld(database);

  const popular = await call("recommend", "ada", "--json");
  expect(JSON.parse(popular.out)[0]).toMatchObject({ basis: "segment", model_version: null });

  await database.query("delete from recommend.ranked_list");
  const trained = await call("train");
  expect(trained.out).toMatch(/version 1 of recommend\.course: [a-z_+]+, 21 interactions of 11 people with 4 items/);
  expect(trained.out).toContain("NDCG@10");
  expect(trained.out).toContain("deployed (first)");
  expect(trained.code).toBe(0);

  // Also without a worker, people of whom nothing is known get what is popular.
  const [first] = JSON.parse((await call("recommend", "an unknown person", "--json")).out);
  expect(first).toMatchObject({ basis: "popularity" });

  const { code, out } = await call("recommend", "ada", "--top", "2");
  expect(code).toBe(0);
  expect(out).toContain("Analysis (course-analysis)");
  expect(out).toMatch(/Algebra \d\.\d\d/);
  expect(out).toContain("by version 1 of recommend.course");
  const list = JSON.parse((await call("recommend", "ada", "--json")).out) as {
    score: number;
    reasons: { contribution: number }[];
  }[];
  expect(list).toHaveLength(3);
  for (const { score, reasons } of list) {
    expect(reasons.reduce((sum, { contribution }) => sum + contribution, 0)).toBeCloseTo(score, 6);
  }
});

test("events that arrived since the last refresh count for a training", async () => {
  await database.query("select track.ingest($1)", [
    JSON.stringify([
      {
        type: "track",
        messageId: "late",
        userId: "ada",
        event: "Course Enrolled",
        properties: { item: "course-drama" },
      },
    ]),
  ]);
  const running = insights(["train", "--json"], environment);
  expect(await running.exitCode()).toBe(0);
  const json = running
    .printed()
    .split("\n")
    .find((line) => line.startsWith("{"));
  expect(JSON.parse(json ?? "")).toMatchObject({ version: 2, interactions: 22, people: 11 });
});

test("invalid arguments are refused", async () => {
  expect((await call("recommend")).code).toBe(2);
  expect((await call("recommend", "ada", "--top", "many")).code).toBe(2);
  const none = await call("recommend", "ada", "--kind", "curse");
  expect(none).toMatchObject({ code: 1, said: expect.stringContaining("hint: There are course") });
  expect(await call("recommend", "  ")).toMatchObject({ code: 1, said: expect.stringContaining("CF001") });
});

test("worker --once runs everything once", async () => {
  const { code, out } = await call("worker", "--once");
  expect(code).toBe(0);
  expect(out).toContain("worker: refresh_views:");
});
