import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Moves the days of live cohorts and segments on, and applies names that changed; the next refresh computes the people. */
export default defineTask({
  name: "refresh_cohorts",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [queued] = await call<{ people: number }>("select analytics.refresh_cohorts() as people");
    return { rows: queued?.people ?? 0 };
  },
});
