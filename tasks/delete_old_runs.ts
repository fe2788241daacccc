import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Deletes old runs, all but the latest of each task, and old latencies. */
export default defineTask({
  name: "delete_old_runs",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ deleted: string }>(
      `select monitor.delete_old_runs(privacy.kept_for('runs'))
         + monitor.delete_old_latencies(privacy.kept_for('latencies')) as deleted`,
    );
    return { rows: Number(row?.deleted ?? 0) };
  },
});
