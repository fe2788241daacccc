import { expect, test, vi } from "vitest";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import { asDatabase } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
vi.spyOn(console, "log").mockImplementation(() => {});
vi.spyOn(console, "error").mockImplementation(() => {});

interface Run {
  task: string;
  outcome: string;
  error: string | null;
  rows: number | null;
  detail: Record<string, unknown> | null;
}

/** Runs the jobs of these tasks, and returns their last runs. */
async function work(...tasks: string[]): Promise<Run[]> {
  for (const task of tasks) await database.query(`select insights_queue.add_job('insights:${task}')`);
  // A failed job is thrown after the others.
  await runWorkerOnce(asDatabase(database)).catch(() => {});
  return await database.rows<Run>(
    `select distinct on (task) task, outcome, error, row_count::int as rows, detail from monitor.run
     where task = any ($1) order by task, run_id desc`,
    [tasks],
  );
}

test("one round of all tasks erases the people who requested it, seals the receipt and verifies the ledger", async () => {
  const stored = [{ type: "track", messageId: "1", userId: "eve", event: "Course Enrolled" }];
  await database.query("select track.ingest($1)", [JSON.stringify(stored)]);
  await database.query("select privacy.open_request('eve', 'erasure')");
  await runWorkerOnce(asDatabase(database));
  expect(await database.value("select count(*)::int from track.identity where external_id = 'eve'")).toBe(0);
  expect(await database.value("select completed_at is not null from privacy.erasure")).toBe(true);
  expect(await database.rows("select task, outcome from monitor.run where task in ('seal', 'verify_ledger')")).toEqual([
    { task: "seal", outcome: "ok" },
    { task: "verify_ledger", outcome: "ok" },
  ]);
  expect(await database.value("select count(*)::int from privacy.erasure where ledger_position is null")).toBe(0);
});

test("a request for erasure that fails is the error of the run, after the others", async () => {
  const stored = ["kim", "lea", "max"].map((userId) => ({ type: "track", messageId: userId, userId, event: "Seen" }));
  await database.query("select track.ingest($1)", [JSON.stringify(stored)]);
  await database.query(
    `create function public.failing(subject privacy.subject) returns setof privacy.erased language plpgsql as $$
     begin
       if 'kim' = any (subject.names) then raise 'not her'; end if;
     end $$`,
  );
  await database.query(
    "insert into privacy.handler (room, position, erase_function, description) values ('other', 99, 'public.failing', '')",
  );
  for (const name of ["kim", "lea", "max"]) await database.query("select privacy.open_request($1, 'erasure')", [name]);
  await database.query("select privacy.restrict_person('max', 'claims')");
  const [failed] = await work("erase");
  expect(failed).toMatchObject({
    outcome: "failed",
    error: expect.stringContaining("requests for erasure that failed: 1;"),
  });
  const left = "select array_agg(external_id order by external_id) from track.identity where kind = 'user'";
  expect(await database.value(left)).toEqual(["kim", "max"]);
  expect(await database.value("select count(*)::int from privacy.erasure where completed_at is null")).toBe(0);

  await database.query("delete from privacy.handler where room = 'other'");
  expect(await work("erase")).toMatchObject([{ outcome: "ok" }]);
  expect(await database.value(left)).toEqual(["max"]);
  // Of a restricted person alone, there is nothing to do.
  const runs = "select count(*)::int from monitor.run where task = 'erase'";
  const before = await database.value(runs);
  await work("erase");
  expect(await database.value(runs)).toBe(before);
});

test("the worker seals new records, prints the head of the ledger, and reports a change", async () => {
  await runWorkerOnce(asDatabase(database));
  await database.query(
    'select track.ingest(\'[{"type": "track", "messageId": "seven", "userId": "seven", "event": "Seen"}]\')',
  );
  await database.query("select privacy.record_consents(track.find_person('seven'), true)");
  const [sealed] = await work("seal", "refresh_decisions");
  expect(sealed).toMatchObject({ task: "refresh_decisions", outcome: "ok", rows: 0 });
  const [{ position, hash } = { position: "", hash: "" }] = await database.rows<{ position: string; hash: string }>(
    "select position, hash from privacy.ledger_head()",
  );
  expect(await database.value("select count(*)::int from privacy.consent where ledger_position is null")).toBe(0);
  expect(await work("verify_ledger")).toMatchObject([{ outcome: "ok", detail: { position, hash, unsealed: "0" } }]);
  expect(
    await database.value("select detail ->> 'hash' from monitor.run where task = 'seal' order by run_id desc limit 1"),
  ).toBe(hash);

  await database.query("update privacy.consent set granted = false where purpose = 'advertising'");
  const [found] = await work("verify_ledger");
  expect(found?.outcome).toBe("failed");
  expect(found?.error).toMatch(/the ledger and the records differ: changed at position \d+ \(1 in all\)$/);
});
