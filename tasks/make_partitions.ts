import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Creates the partitions of the coming months. */
export default defineTask({
  name: "make_partitions",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ created: number }>("select track.make_partitions() as created");
    return { rows: row?.created ?? 0 };
  },
});
