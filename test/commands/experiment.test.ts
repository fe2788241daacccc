import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
await database.query(
  `select track.ingest('[{"type": "track", "messageId": "1", "userId": "ada", "event": "Lesson Completed"}]')`,
);
endAtEndOfFile();
const directory = await mkdtemp(join(tmpdir(), "insights-"));
afterAll(async () => await rm(directory, { recursive: true }));

// The embedded database behaves like a pooler, which its address does not show.
const environment = { DATABASE_URL: database.url(), INSIGHTS_POOLER: String(!database.native) };

async function call(...words: string[]): Promise<{ code: number | null; out: string; said: string }> {
  const running = insights(["experiment", ...words], environment);
  return { code: await running.exitCode(), out: running.printed(), said: running.output() };
}

async function file(name: string, content: unknown): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const experiment = {
  key: "new-player",
  feature: "player",
  goals: ["rate"],
  variations: [
    { key: "control", value: false },
    { key: "new", value: true },
  ],
};
const plan = {
  layers: [{ layer: "page", description: "The page." }],
  holdouts: [{ holdout: "none", share: 0.05, description: "Without changes." }],
  features: [{ feature_key: "player", description: "The new player.", rules: [{ force: true, coverage: 0 }] }],
  // The ratio comes before what it divides.
  metrics: [
    { metric_key: "rate", type: "ratio", numerator: "lessons", denominator: "people" },
    {
      metric_key: "lessons",
      type: "count",
      events: ["Lesson Completed"],
      period: "7 days",
      property_filter: { score: { $gt: 1 } },
    },
    { metric_key: "people", type: "proportion", events: ["Lesson Completed"] },
  ],
  experiments: [{ ...experiment, layer: "page", holdout: "none" }],
};

test("define, list, show, start, weights, stop, ship and history", async () => {
  expect(await call("list")).toMatchObject({ code: 0, out: expect.stringContaining("insights experiment define") });
  const path = await file("plan.json", plan);
  expect(await call("define", path)).toMatchObject({
    code: 0,
    out: "defined: 1 layer, 1 holdout, 1 feature, 3 metrics, 1 experiment\n",
  });
  const changes = () => database.value("select count(*)::int from experiment.change");
  const before = await changes();
  expect(await call("define", path)).toMatchObject({ code: 0 });
  expect(await changes()).toBe(before);

  expect(await call("start", "new-player")).toMatchObject({ code: 0, out: '"new-player" is running\n' });
  expect(await call("weights", "new-player", "0.2", "0.8", "--coverage", "0.5")).toMatchObject({ code: 0 });
  const shown = await call("show", "new-player");
  expect(JSON.parse(shown.out)).toMatchObject({ key: "new-player", weights: [0.2, 0.8], coverage: 0.5, layer: "page" });
  expect((await call("list")).out).toMatch(/new-player.*running.*player.*control 20.0 %, new 80.0 %/);
  for (const wrong of [
    ["x", "0.8"],
    ["0.2", "0.8", "--coverage", "half"],
  ]) {
    expect((await call("weights", "new-player", ...wrong)).said).toMatch(/Use a number, such as 0\.5\./);
  }
  expect(await call("stop", "new-player", "--reason", "Enough.")).toMatchObject({ code: 0 });
  expect(await call("ship", "new-player", "new")).toMatchObject({ code: 0, out: '"new" of "new-player" is shipped\n' });
  expect(JSON.parse((await call("list", "--json")).out)).toMatchObject([
    { experiment: "new-player", state: "shipped", shipped: "new" },
  ]);
  const history = await call("history", "new-player");
  expect(history.out).toMatch(/defined[\s\S]*started[\s\S]*weights changed[^\n]*coverage[\s\S]*stopped[\s\S]*shipped/);
  expect(JSON.parse((await call("history", "new-player", "--json")).out)).toHaveLength(5);
  expect(await call("history", "other")).toMatchObject({ code: 0, out: '"other" has no history\n' });
}, 60_000);

test("the plan of the guide can be defined and started", async () => {
  // The events of the simulated platform, which a reader of the guide has started.
  const simulator = await readFile(join(packageRoot, "src/simulator/behaviour.ts"), "utf8");
  for (const event of ["Module Completed", "Course Dropped"]) {
    expect(simulator).toContain(`"${event}"`);
    await database.query("select track.ingest($1)", [
      JSON.stringify([{ type: "track", messageId: event, userId: "ada", event }]),
    ]);
  }
  const guide = await readFile(join(packageRoot, "docs/experiments.md"), "utf8");
  const [, content = ""] = /```json\n(.*?)```/s.exec(guide) ?? [];
  const own = content.replaceAll("new-player", "of-the-guide").replaceAll('"player"', '"guide"');
  expect(await call("define", await file("guide.json", own))).toMatchObject({ code: 0 });
  expect(await call("start", "of-the-guide")).toMatchObject({ code: 0 });
}, 60_000);

test("results and health of an experiment are printed, with warnings", async () => {
  await database.query(`
    select track.ingest(jsonb_agg(jsonb_build_object(
      'type', 'track', 'messageId', 'v' || i, 'userId', 'person ' || i, 'event', 'Experiment Viewed',
      'properties', jsonb_build_object('experiment_id', 'of-the-guide', 'variation_id', case when i <= 40 then 0 else 1 end)
    )))
    from generate_series(1, 44) as i`);
  while ((await database.rows("select from track.refresh(1000)")).length > 0);
  const results = await call("results", "of-the-guide");
  expect(results).toMatchObject({ code: 0 });
  expect(results.said).toMatch(/metric.*variation.*people.*effect/);
  expect(results.said).toContain("warning: Sample ratio mismatch");
  const rows = JSON.parse((await call("results", "of-the-guide", "--all", "--absolute", "--json")).said) as {
    people: string;
    difference: string;
  }[];
  expect(rows[0]).toMatchObject({ people: "40", difference: "absolute" });
  const health = await call("health", "of-the-guide");
  expect(health.said).toMatch(/control.*40.*22/);
  expect(await call("results", "of-the-giude")).toMatchObject({
    code: 1,
    said: expect.stringContaining('"of-the-guide"'),
  });
  expect(await call("results", "of-the-guide", "--test", "z")).toMatchObject({ code: 1 });
}, 60_000);

test("an error changes nothing, and names the value and the way out", async () => {
  const before = await database.value("select count(*)::int from experiment.change");
  const invalid: [content: unknown, said: string][] = [
    [
      {
        ...plan,
        layers: [{ layer: "new", description: "New." }],
        experiments: [{ ...experiment, key: "next", goals: ["rat"] }],
      },
      'Did you mean "rate"?',
    ],
    [{ ...experiment, key: "next", weights: [0.5, 0.6] }, "the weights add up to 1.1"],
    [{ metrics: [{ metric_key: "x", type: "count", event: ["a"] }] }, "metrics.0"],
    [{ experiment: [] }, "experiment"],
    ["{", "is not JSON"],
    ["[]", "the definition of one experiment"],
  ];
  for (const [index, [content, said]] of invalid.entries()) {
    const result = await call("define", await file(`invalid-${index}.json`, content));
    expect(result.code, said).toBe(1);
    expect(result.said).toContain(said);
  }
  expect(await call("start", "new-plaier")).toMatchObject({ code: 1, said: expect.stringContaining('"new-player"') });
  expect(await call("stop", "new-player")).toMatchObject({ code: 2 });
  expect(await call("define", join(directory, "missing.json"))).toMatchObject({ code: 1 });
  expect(await database.value("select count(*)::int from experiment.change")).toBe(before);
}, 60_000);
