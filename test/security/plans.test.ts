import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/*
 * A session may log the plans of all its statements (debug_print_plan, client_min_messages = log), including those
 * inside of functions, and the plan of a statement contains the values of the variables that it was planned with: the
 * signing keys, people, counts below the floor. A definer lets no such message reach its caller.
 */

const database = await testDatabase();
const client = new pg.Client({ connectionString: database.url() });
let printed: string[] = [];
let secret = "";

/**
 * The messages of a session while it calls a function under a role, and whether one was the plan of a statement inside.
 */
async function plansOf(role: string, call: string): Promise<string[]> {
  printed = [];
  await client.query("begin");
  try {
    await client.query("set local insights.person = 'ben'");
    await client.query("select track.sign_in()");
    await client.query(`set local role ${role}`);
    await client.query("set local client_min_messages = log");
    await client.query("set local debug_print_plan = on");
    await client.query("set local debug_pretty_print = off");
    await client.query(call);
  } finally {
    await client.query("rollback");
  }
  return printed;
}

beforeAll(async () => {
  await makeWorld(database);
  await database.query("update recommend.setting set fewest_people = 3");
  await database.query("select recommend.train('course')");
  await client.connect();
  client.on("notice", ({ message, detail }) => {
    if (message?.startsWith("plan") === true) printed.push((detail ?? "").replaceAll(/\s+/g, " "));
  });
  const bytes = Buffer.from(
    await database.value<string>("select encode(inner_key, 'hex') from recommend.secret"),
    "hex",
  );
  // As a plan writes them.
  secret = [...new Int8Array(bytes)].join(" ");
});

afterAll(() => client.end());

describe("for_me", () => {
  const call = "select * from recommend.for_me(5)";

  /** `_explain` has the secret in a variable, which only a plan for its present value contains. */
  const install = (messages: string, plans: string) =>
    database.query(`
      do $$
      begin
        execute format('alter function %s set plan_cache_mode to ${plans}', 'recommend._explain'::regproc::regprocedure);
        execute format('alter function %s set client_min_messages to ${messages}', 'recommend._rank'::regproc::regprocedure);
      end;
      $$`);

  test("shows the secret in the plans of functions that let messages through", async () => {
    await install("log", "force_custom_plan");
    expect((await plansOf("insights_learner", call)).some((plan) => plan.includes(secret))).toBe(true);
  });

  test("hides it as it is installed", async () => {
    await install("notice", "force_generic_plan");
    const plans = await plansOf("insights_learner", call);
    // Those of her own statement, and of the invokers that it calls.
    expect(plans.length).toBeGreaterThan(0);
    expect(plans.some((plan) => plan.includes(secret))).toBe(false);
  });
});

test.each([
  "select * from analytics.popular_items()",
  "select * from analytics.popular_courses()",
  "select * from analytics.trending_items()",
  "select * from analytics.feature_usage()",
  "select * from analytics.trend('Page Viewed')",
  "select * from recommend.similar_items('course-algebra')",
])("an analyst sees the plan of her own statement alone: %s", async (call) => {
  expect(await plansOf("insights_analyst", call)).toHaveLength(1);
});
