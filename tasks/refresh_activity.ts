import { defineTask, nothing, workOff } from "../src/worker/define-task.ts";

/** The rollup that the analysis functions read. */
export default defineTask({
  name: "refresh_activity",
  payload: nothing,
  async run(_payload, tools) {
    const { people, calls } = await workOff(tools, (most) => `analytics.refresh_activity(${most}) as people`);
    return { rows: people, detail: { calls } };
  },
});
