import { defineTask, nothing } from "../src/worker/define-task.ts";

/** The record of runs, kept for 90 days. */
export default defineTask({
  name: "delete_old_runs",
  payload: nothing,
  async run(_payload, { call }) {
    const [row] = await call<{ forgotten: string }>("select monitor.delete_old_runs() as forgotten");
    return { rows: Number(row?.forgotten ?? 0) };
  },
});
