import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { migrate } from "../../src/database/migrate.ts";
import { testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase({ empty: true });
endAtEndOfFile();

interface Finding {
  check: string;
  status: string;
  text: string;
  fix?: string;
}

async function doctor(): Promise<{ code: number | null; findings: Record<string, Finding> }> {
  const call = insights(["doctor", "--json"], { DATABASE_URL: database.url() });
  const code = await call.exitCode();
  const findings = JSON.parse(call.printed()) as Finding[];
  return { code, findings: Object.fromEntries(findings.map((finding) => [finding.check, finding])) };
}

test("a database that was never migrated has one fix, and it works", async () => {
  for (const words of [["train"], ["recommend", "ada"], ["api"], ["worker"]]) {
    const call = insights(words, { DATABASE_URL: database.url(), PORT: "0" });
    expect(await call.exitCode()).toBe(1);
    expect(call.output()).toMatch(/hint: (The database has not been migrated\. )?Run: insights migrate/);
  }
  const before = await doctor();
  expect(before.code).toBe(1);
  for (const check of [
    "pgvector",
    "migrations",
    "months",
    "queue",
    "runs",
    "rollups",
    "refresh",
    "requests",
    "retention",
    "models",
  ]) {
    expect(before.findings[check]).toMatchObject({ status: "failure", fix: "Run: insights migrate" });
  }
  await migrate(database.url());
  const after = await doctor();
  expect(after.code).toBe(0);
  const fine = [
    "server",
    "pgvector",
    "pooler",
    "migrations",
    "months",
    "queue",
    "runs",
    "rollups",
    "refresh",
    "requests",
    "retention",
  ];
  for (const check of fine) {
    expect(after.findings[check]).toMatchObject({ status: "ok" });
  }
  expect(after.findings["models"]).toMatchObject({ status: "warning", fix: "Run: insights train" });
  // The tests sign in as a superuser, which is not for an API in production.
  expect(after.findings["roles"]).toMatchObject({
    status: "warning",
    text: expect.stringContaining("a superuser"),
    fix: expect.stringContaining("in role insights_api"),
  });
});

test("an unreachable server is a problem of DATABASE_URL", async () => {
  const call = insights(["migrate"], { DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing" });
  expect(await call.exitCode()).toBe(1);
  expect(call.output()).toContain("hint: Check DATABASE_URL");
});

test("a server that does not answer ends in a timeout", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  for (const [command, hint] of [
    ["migrate", "hint: Check DATABASE_URL"],
    ["doctor", `Check that a server listens at 127.0.0.1:${port}`],
  ] as const) {
    const url = `postgres://nobody@127.0.0.1:${port}/nothing?connect_timeout=1`;
    const call = insights([command], { DATABASE_URL: url });
    expect(await call.exitCode()).toBe(1);
    expect(call.output()).toContain(hint);
  }
  silent.close();
});

test.skipIf(!database.native)("a read-only database is named (needs native PostgreSQL)", async () => {
  const readOnly = await testDatabase();
  const name = new URL(readOnly.url()).pathname.slice(1);
  await database.query(`alter database ${name} set default_transaction_read_only = on`);
  for (const words of [["migrate"], ["worker"], ["train"], ["doctor"]]) {
    const call = insights(words, { DATABASE_URL: readOnly.url() });
    expect(await call.exitCode(), words.join(" ")).toBe(1);
    expect(call.output()).toContain("Set DATABASE_URL to the primary server");
  }
});

test("without a database nothing is created", async () => {
  const nowhere = join(tmpdir(), `insights-nowhere-${process.pid}`);
  const call = insights(["doctor"], { INSIGHTS_DATA_DIR: nowhere });
  expect(await call.exitCode()).toBe(1);
  expect(call.output()).toContain(`no embedded database in ${nowhere}`);
  expect(existsSync(nowhere)).toBe(false);
});

test("problems are named: failed runs, jobs, stale models", async () => {
  await database.query(`
    insert into monitor.run (task, started_at, finished_at, outcome, error)
    values ('refresh', now() - interval '2 hours', now(), 'ok', null), ('train', now() - interval '1 hour', now(), 'failed', 'no events');
    insert into ml.project (name, task, metric) values ('recommend.course', 'recommendation', 'ndcg');
    insert into ml.model (project_id, version, algorithm, data_watermark)
    select project_id, 3, 'ease', now() - interval '30 days' from ml.project;
    insert into ml.deployment (project_id, model_id, strategy) select project_id, model_id, 'first' from ml.model;
    select insights_queue.add_job('insights:train', max_attempts => 1);
    update insights_queue._private_jobs set attempts = 1;
    select track.ingest(jsonb_build_array(jsonb_build_object(
      'type', 'track', 'event', 'Page Viewed', 'userId', 'ada', 'messageId', 'm1', 'timestamp', now()
    )));
  `);
  const { code, findings } = await doctor();
  expect(code).toBe(0);
  expect(findings["runs"]).toMatchObject({ status: "warning", text: "the latest run failed: train (no events)" });
  expect(findings["queue"]).toMatchObject({
    status: "warning",
    text: "1 jobs have failed permanently: insights:train",
  });
  expect(findings["models"]).toMatchObject({
    status: "warning",
    text: expect.stringContaining("recommend.course (version 3"),
  });
});

test("a trust score below 1 is named", async () => {
  await database.query(`
    insert into track.rollup_check (check_id, rollup, checked_at, month, block, checked, differing, example, duration)
    values (1, 'track.step', now(), '2026-03-01', 0, 30, 0, null, '1 s'), (1, 'track.presence', now(), '2026-03-01', 0, 10, 4, 'block 0', '1 s')
  `);
  expect((await doctor()).findings["rollups"]).toMatchObject({
    status: "warning",
    text: "trust score 0.9: 4 of 40 cells differed from the events, and were repaired: track.presence (4)",
    // Without a time, the task would stop after 20 seconds.
    fix: expect.stringContaining(`add_job('insights:check_rollups', '{"seconds": 3600}')`),
  });
  await database.query("update track.rollup_check set differing = 0");
  expect((await doctor()).findings["rollups"]).toMatchObject({
    status: "ok",
    text: expect.stringContaining("40 cells"),
  });
});

test("a request of a person that was not answered in time is named, without the person", async () => {
  await database.query(
    `select track.ingest('{"type": "track", "messageId": "request", "userId": "ada", "event": "X"}')`,
  );
  const id = await database.value("select request_id from privacy.open_request('ada', 'access')");
  expect((await doctor()).findings["requests"]).toMatchObject({
    status: "ok",
    text: expect.stringMatching(/^1 open, the next to be answered until \d{4}-\d\d-\d\d$/),
  });
  await database.query("update privacy.request set received_at = '2026-01-01', due_at = '2026-02-01 12:00Z'");
  expect((await doctor()).findings["requests"]).toMatchObject({
    status: "warning",
    text: `not answered in time: ${id} (access, 2026-02-01)`,
    fix: expect.stringContaining("privacy.complete_request"),
  });
  await database.query("select privacy.complete_request($1)", [id]);
  expect((await doctor()).findings["requests"]).toMatchObject({ text: "no request of a person is open" });
});

test("rules of retention that are not applied are named", { timeout: 120_000 }, async () => {
  await database.query("select privacy.set_retention('runs', '1 year')");
  expect((await doctor()).findings["retention"]).toMatchObject({ status: "ok", text: "runs 1 year" });
  await database.query("update privacy.retention set set_at = now() - interval '3 days'");
  expect((await doctor()).findings["retention"]).toMatchObject({
    status: "warning",
    text: "runs 1 year; never applied",
    fix: expect.stringContaining("insights retention apply --yes"),
  });
  await database.query(
    "insert into monitor.run (task, outcome, started_at) values ('apply_retention', 'ok', '2026-01-02 12:00Z')",
  );
  expect((await doctor()).findings["retention"]).toMatchObject({
    text: "runs 1 year; last applied on 2026-01-02",
  });
  await database.query("delete from monitor.run where task = 'apply_retention'");
  await database.query("select privacy.drop_retention('runs')");
});

test("a function that the refresh would call and that is not there is named", { timeout: 120_000 }, async () => {
  await database.query(`
    alter function recommend.refresh_interactions rename to refresh_interaction;
    insert into privacy.listener values ('track.rebuild', 'Takes something else.');
    insert into privacy.handler (room, position, export_function, description) values ('lost', 99, 'track.sign_in', 'A test.');
    insert into track.person_set (name, description, members) values ('lost', 'A test.', 'track.lost_people');
    insert into experiment.handler (room, check_function, exposure_function, description)
    values ('lost', 'track.check_lost', 'track.rebuild', 'A test.')`);
  const { code, findings } = await doctor();
  expect(code).toBe(1);
  expect(findings["refresh"]).toMatchObject({
    status: "failure",
    text:
      "missing: recommend.refresh_interactions(bigint[], timestamp with time zone[], timestamp with time zone[]), " +
      "track.check_lost(text, jsonb), track.lost_people(text, bigint[]), track.rebuild(bigint[]), " +
      "track.rebuild(bigint[]), track.sign_in(privacy.subject)",
    fix: expect.stringContaining("track.consumer"),
  });
  await database.query(`
    alter function recommend.refresh_interaction rename to refresh_interactions;
    delete from track.person_set where name = 'lost';
    delete from privacy.handler where room = 'lost';
    delete from experiment.handler where room = 'lost';
    delete from privacy.listener where function_name = 'track.rebuild'`);
});

test("a database ahead of this version is not changed, but reported", async () => {
  await database.query("insert into graphile_migrate.migrations (hash, filename) values ('sha1:future', '999999.sql')");
  const { code, findings } = await doctor();
  expect(code).toBe(1);
  expect(findings["migrations"]).toMatchObject({ text: expect.stringContaining("999999") });
});

test("privileges that differ are named with the statement that restores them", async () => {
  expect((await doctor()).findings["rights"]).toMatchObject({ status: "ok" });
  const schema = await database.value<string>(
    "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'",
  );
  await database.query(`
    grant create on schema ${schema} to public;
    alter function track.rebuild(text) set search_path to '';
    alter function monitor.start_run(text) owner to insights_worker;
    grant execute on function recommend.train(text, bigint) to public`);
  const { code, findings } = await doctor();
  expect(code).toBe(1);
  expect(findings["rights"]).toMatchObject({ status: "warning", text: "4 rights differ from the expected ones" });
  const [, fixes = ""] = /^As an administrator: (.*)$/.exec(findings["rights"]?.fix ?? "") ?? [];
  expect(fixes).toContain(`revoke create on schema ${schema} from public`);
  await database.query(fixes);
  expect((await doctor()).findings["rights"]).toMatchObject({ status: "ok" });
});
