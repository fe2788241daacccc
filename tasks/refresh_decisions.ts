import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Queues people whose grants expired or who came of age; the next refresh computes what is derived from their data. */
export default defineTask({
  name: "refresh_decisions",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [changed] = await call<{ people: number }>("select privacy.refresh_decisions() as people");
    return { rows: changed?.people ?? 0 };
  },
});
