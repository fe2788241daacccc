import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, inject, test } from "vitest";
import { examine } from "../../src/commands/doctor.ts";
import { readConfig } from "../../src/config.ts";
import { canReplicate, type Replication, type Server, startReplication } from "../support/standby.ts";

/*
 * A primary server and a hot standby of it: how far the standby is behind, in health, the metrics and the doctor, while
 * it follows, when its replay is paused, when it is away, and when its slot has lost data. `.ci/run --full` runs it.
 */

const possible = canReplicate && inject("server").kind === "native";
const replication = possible ? await startReplication() : (undefined as unknown as Replication);
const { primary, standby, slot } = replication ?? {};
afterAll(() => replication?.close());

interface Finding {
  health_check: string;
  subject: string;
  severity: string;
  message: string;
  fix: string;
}

/** Findings of health about replication. */
async function findings(server: Server): Promise<Finding[]> {
  const found = await server.rows<Finding>(
    "select found.* from monitor.health() as health cross join unnest(health.findings) as found",
  );
  return found.filter(({ health_check }) => health_check === "replication");
}

async function finding(server: Server, message: RegExp): Promise<Finding> {
  return await expect
    .poll(async () => (await findings(server)).find((found) => message.test(found.message)), {
      timeout: 60_000,
      interval: 250,
    })
    .toBeDefined()
    .then(async () => (await findings(server)).find((found) => message.test(found.message)) as Finding);
}

const noFindings = (server: Server): Promise<void> =>
  expect.poll(() => findings(server), { timeout: 60_000, interval: 250 }).toEqual([]);

/** Runs the statement of a fix on the server that it names. */
async function execute(server: Server, { fix }: Finding): Promise<void> {
  const [, sql] = /: ((?:select|grant) .*?)(?:\. [A-Z].*|\.?)$/.exec(fix) ?? [];
  expect(sql, fix).toBeDefined();
  await server.rows(sql as string);
}

async function metrics(labels: object): Promise<Record<string, number>> {
  await primary.rows("select monitor.observe(array['replication'])");
  const rows = await primary.rows<{ metric: string; value: number }>(
    `select metric, value from monitor.metrics()
     where labels = $1 and measured_at = (select max(sampled_at) from monitor.sample)`,
    [JSON.stringify(labels)],
  );
  return Object.fromEntries(rows.map(({ metric, value }) => [metric.replace("insights_replication_", ""), value]));
}

const doctor = async (server: Server): Promise<Record<string, { status: string; text: string; fix?: string }>> =>
  Object.fromEntries(
    (await examine(readConfig({ DATABASE_URL: server.url() }))).map(({ check, ...rest }) => [check, rest]),
  );

const write = (): Promise<unknown> =>
  primary.rows("insert into track.item (external_id, kind) values (gen_random_uuid()::text, 'course')");

test("without the right to see it, the lag is named as not visible, and the fix ends that", async ({ skip }) => {
  if (!possible) skip("needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine");
  await replication.caughtUp();
  const unseen = await finding(primary, /not visible/);
  expect(unseen).toMatchObject({
    subject: "visibility",
    severity: "warning",
    message: "standbys are connected (1), and how far they are behind is not visible",
  });
  expect((await doctor(primary))["replication"]).toMatchObject({
    status: "warning",
    fix: "As an administrator: grant pg_read_all_stats to insights_owner",
  });
  // The name is known without it.
  expect(await metrics({ standby: slot })).toEqual({ absence_seconds: 0 });
  await execute(primary, unseen);
  await noFindings(primary);
  expect((await doctor(primary))["replication"]).toMatchObject({
    status: "ok",
    text: expect.stringMatching(/^1 connected: standby_1/),
  });
});

test("a standby that follows has no finding on either server, and its metrics are near 0", async ({ skip }) => {
  if (!possible) skip("needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine");
  await write();
  await replication.caughtUp();
  expect(await findings(standby)).toEqual([]);
  const { lag_bytes, lag_seconds, absence_seconds } = await metrics({ standby: slot });
  expect(lag_bytes).toBeLessThan(1e6);
  expect(lag_seconds).toBeLessThan(30);
  expect(absence_seconds).toBe(0);
  expect(await metrics({ slot })).toMatchObject({ slot_active: 1 });
  expect((await doctor(standby))["server"]).toMatchObject({
    status: "failure",
    text: expect.stringContaining("a standby"),
  });
});

test("a standby whose replay is paused is behind, found on both servers; the fix continues it", async ({ skip }) => {
  if (!possible) skip("needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine");
  await primary.rows("update monitor.alert_setting set standby_lag_limit = '2 seconds'");
  await replication.caughtUp();
  await standby.rows("select pg_wal_replay_pause()");
  await write();
  const behind = await finding(primary, /behind/);
  expect(behind).toMatchObject({
    subject: `standby ${slot}`,
    message: expect.stringMatching(/^the standby standby_1 is \d+ seconds behind$/),
  });
  expect((await metrics({ standby: slot }))["lag_seconds"]).toBeGreaterThan(2);
  expect((await metrics({ standby: slot }))["lag_bytes"]).toBeGreaterThan(0);
  const paused = await finding(standby, /paused/);
  expect(paused).toMatchObject({
    subject: "this standby",
    message: expect.stringMatching(/^this standby has paused its replay, and is \d+ seconds behind$/),
    fix: "Continue it: select pg_wal_replay_resume()",
  });
  // Twelve times the limit, on the primary, which the standby does not replay.
  await expect
    .poll(async () => (await findings(primary))[0]?.severity, { timeout: 60_000, interval: 500 })
    .toBe("critical");
  await execute(standby, behind);
  await replication.caughtUp();
  await noFindings(standby);
  await write();
  await noFindings(primary);
});

test("a standby that is away is found by its absence, and by the log that its slot keeps", async ({ skip }) => {
  if (!possible) skip("needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine");
  await metrics({ standby: slot });
  standby.stop();
  const away = await finding(primary, /has not been connected/);
  expect(away).toMatchObject({
    subject: `standby ${slot}`,
    message: expect.stringMatching(/^the standby standby_1 has not been connected for \d+ seconds$/),
    fix: expect.stringContaining("Start it; its log has the reason"),
  });
  const first = (await metrics({ standby: slot }))["absence_seconds"] ?? 0;
  expect(first).toBeGreaterThan(2);
  await wait(1100);
  // The absence grows from observation to observation.
  expect((await metrics({ standby: slot }))["absence_seconds"]).toBeGreaterThan(first + 1);
  expect(await metrics({ slot })).toMatchObject({ slot_active: 0 });
  await write();
  expect((await metrics({ slot }))["slot_retained_bytes"]).toBeGreaterThan(0);

  standby.start();
  await replication.caughtUp();
  await noFindings(primary);
  expect((await metrics({ standby: slot }))["absence_seconds"]).toBe(0);
});

test("a slot that has lost data is critical, and its fix makes room for another standby", async ({ skip }) => {
  if (!possible) skip("needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine");
  standby.stop();
  await primary.rows("alter system set max_slot_wal_keep_size = '1MB'");
  await primary.rows("select pg_reload_conf()");
  for (let segment = 0; segment < 3; segment += 1) {
    await write();
    await primary.rows("select pg_switch_wal()");
  }
  await primary.rows("checkpoint");
  const lost = await finding(primary, /has lost data/);
  expect(lost).toMatchObject({ subject: `slot ${slot}`, severity: "critical" });
  await execute(primary, lost);
  expect(await primary.rows("select from pg_replication_slots")).toEqual([]);
  await primary.rows("alter system reset max_slot_wal_keep_size");
  await primary.rows("select pg_reload_conf()");
  await primary.rows("select pg_create_physical_replication_slot($1, true)", [slot]);
  replication.rebuild();
  await replication.caughtUp();
  await noFindings(primary);
});

test("a standby that is promoted is no longer one, and does not miss itself", async ({ skip }) => {
  if (!possible) skip("needs TEST_DATABASE_URL and the programs of PostgreSQL on this machine");
  await metrics({ standby: slot });
  await replication.caughtUp();
  standby.promote();
  await wait(2500);
  expect(await findings(standby)).toEqual([]);
  expect((await doctor(standby))["server"]).toMatchObject({ status: "ok" });
  expect(await finding(primary, /has not been connected/)).toMatchObject({ subject: `standby ${slot}` });
});
