import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Refreshes the materialized views. */
export default defineTask({
  name: "refresh_views",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ rows: number }>("select analytics.refresh_views()::int as rows");
    return { rows: row?.rows ?? 0 };
  },
});
