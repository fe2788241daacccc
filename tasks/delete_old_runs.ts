import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Deletes old runs, all but the latest of each task, old latencies, and old notifications. */
export default defineTask({
  name: "delete_old_runs",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ deleted: string }>(
      `select monitor.delete_old_runs(privacy.kept_for('runs'))
         + monitor.delete_old_latencies(privacy.kept_for('latencies'))
         + monitor.delete_old_notifications(privacy.kept_for('runs')) as deleted`,
    );
    const [alerts] = await call<{ deleted: string }>("select monitor.delete_old_alerts() as deleted");
    return { rows: Number(row?.deleted ?? 0) + Number(alerts?.deleted ?? 0) };
  },
});
