import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Deletes old runs, all but the latest of each task. */
export default defineTask({
  name: "forget_runs",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ deleted: string }>("select monitor.forget_runs() as deleted");
    return { rows: Number(row?.deleted ?? 0) };
  },
});
