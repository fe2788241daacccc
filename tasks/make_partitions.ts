import { defineTask, nothing } from "../src/worker/define-task.ts";

/** The months ahead. */
export default defineTask({
  name: "make_partitions",
  payload: nothing,
  async run(_payload, { call }) {
    const [row] = await call<{ made: number }>("select track.make_partitions() as made");
    return { rows: row?.made ?? 0 };
  },
});
