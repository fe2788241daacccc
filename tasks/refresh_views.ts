import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Refreshes the materialized views, and the ranked lists of the recommender, which are computed from them. */
export default defineTask({
  name: "refresh_views",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ rows: number }>("select analytics.refresh_views()::int as rows");
    await call("select recommend.refresh_item_vectors()");
    const [lists] = await call<{ rows: number }>("select recommend.refresh_lists()::int as rows");
    return { rows: row?.rows ?? 0, listed: lists?.rows ?? 0 };
  },
});
