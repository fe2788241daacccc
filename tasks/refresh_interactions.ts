import { defineTask, nothing, workOff } from "../src/task.ts";

/** What recommenders learn from. */
export default defineTask({
  name: "refresh_interactions",
  payload: nothing,
  async run(_payload, tools) {
    const { people, calls } = await workOff(tools, "recommend.refresh_interactions() as people");
    return { rows: people, detail: { calls } };
  },
});
