import { defineTask, nothing, workOff } from "../src/worker/define-task.ts";

/** What recommenders learn from. */
export default defineTask({
  name: "refresh_interactions",
  payload: nothing,
  async run(_payload, tools) {
    const { people, calls } = await workOff(tools, (most) => `recommend.refresh_interactions(${most}) as people`);
    return { rows: people, detail: { calls } };
  },
});
