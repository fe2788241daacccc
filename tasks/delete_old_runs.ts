import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Deletes old runs, all but the latest of each task, and notifications of that age. */
export default defineTask({
  name: "delete_old_runs",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ deleted: string }>(
      `select
         monitor.delete_old_runs(kept_for) + monitor.delete_old_notifications(kept_for) as deleted
       from privacy.kept_for('runs') as kept_for`,
    );
    return { rows: Number(row?.deleted ?? 0) };
  },
});
